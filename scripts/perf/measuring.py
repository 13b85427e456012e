"""What perf-check, perf-noise and perf-selftest have in common: options, and how two builds are
compared on this machine."""

import argparse
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import capacity
import loads
import procedure
import processes
import trial
from builds import Build, UnknownCommit
from loads import LoadName
from processes import CheckFailed
from session import Side


@dataclass(frozen=True)
class Options:
    """How to measure."""

    pairs: int
    duration_s: float
    seed: int
    half_rate_per_s: float | None
    """`None`: it is found out."""
    budget_s: float | None = None
    """After that long no more pairs and no second session are begun; `None`: always."""


@dataclass(frozen=True)
class Bench:
    """Two builds, and the load that they get."""

    builds: Mapping[Side, Build]
    loadgen: Path
    """The generator, the same one for both sides."""
    options: Options
    cores: trial.Cores
    half_rate_per_s: float

    def run_trial(self, side: Side, load: LoadName, seed: int) -> trial.Trial:
        """One trial of one side."""
        server = self.builds[side].server
        return trial.run_trial(server, self.loadgen, load, self._load(load), self.cores, seed)

    def compare(self, floors: Mapping[str, float], seed: int) -> procedure.Outcome:
        """The whole procedure."""
        began_s, budget_s = time.monotonic(), self.options.budget_s

        def has_time() -> bool:
            return budget_s is None or time.monotonic() - began_s < budget_s

        return procedure.compare(
            self.run_trial, self.options.pairs, floors, seed, progress, has_time
        )

    def _load(self, name: LoadName) -> loads.Load:
        if name is LoadName.HALF:
            return loads.half(self.half_rate_per_s, self.options.duration_s)
        return loads.saturation(self.options.duration_s)


def make_bench(
    base: Build, candidate: Build, loadgen: Path, options: Options, cores: trial.Cores
) -> Bench:
    """Moves this process to where it disturbs nothing, and finds out what half of the base's
    capacity is, unless that is given."""
    # Beside the load, and never beside the server.
    os.sched_setaffinity(0, {cores.load})
    builds = {Side.BASE: base, Side.CANDIDATE: candidate}
    rate = options.half_rate_per_s
    if rate is None:
        rate = half_rate(base.server, loadgen, cores, options.seed)
    return Bench(builds, loadgen, options, cores, rate)


def half_rate(server: Path, loadgen: Path, cores: trial.Cores, seed: int) -> int:
    """Half of what the `server` binary carries with time to spare, in texts a second."""

    def run_rate(rate_per_s: float) -> trial.Trial:
        load = loads.half(rate_per_s, loads.CAPACITY_DURATION_S)
        return trial.run_trial(server, loadgen, LoadName.HALF, load, cores, seed)

    return round(capacity.search(run_rate, progress) / 2)


def choose_cores() -> trial.Cores:
    """The first core that this process may use for the server, which pins its worker to the
    first one that it finds, and the last for the load."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise CheckFailed("server and load need a core each, and there is only one")
    return trial.Cores(allowed[0], allowed[-1], frozenset(allowed))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `Options`."""
    group = parser.add_argument_group("measuring")
    group.add_argument(
        "--pairs",
        type=whole(MIN_PAIRS, 1000),
        help=f"pairs of trials for each load and session, at least {MIN_PAIRS} "
        f"[default: {DEFAULT_PAIRS}; doubled, once, where it is inconclusive]",
    )
    group.add_argument(
        "--seconds",
        type=seconds,
        default=loads.DURATION_S,
        metavar="S",
        help="recorded in each trial, 0.8 to 60 [default: %(default)s]",
    )
    group.add_argument(
        "--quick",
        action="store_true",
        help=f"{MIN_PAIRS} pairs instead of {DEFAULT_PAIRS}",
    )
    group.add_argument(
        "--half-rate",
        type=whole(1, 10_000_000),
        metavar="TEXTS",
        help="texts a second of the load at half of the capacity [default: found out]",
    )
    group.add_argument(
        "--budget-min",
        type=whole(1, 1000),
        metavar="MIN",
        help="minutes of trials after which no more pairs and no second session are begun: what "
        "they were to tell stays inconclusive [default: no limit]",
    )
    group.add_argument(
        "--seed",
        type=whole(0, 2**31),
        default=1,
        help="of the order of trials and of what is sent [default: 1]",
    )


def add_floors(parser: argparse.ArgumentParser) -> None:
    """The option of a file with noise floors, which must be there."""
    parser.add_argument(
        "--floors",
        type=floors_file,
        metavar="FILE",
        help="noise floors that scripts/perf-noise wrote [default: what it keeps for this user; "
        "cautious defaults where there is nothing of this machine]",
    )


def floors_file(text: str) -> Path:
    """Parses the name of a file that perf-noise wrote."""
    try:
        is_record = "floors" in json.loads(Path(text).read_text())
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    except (ValueError, TypeError):
        is_record = False
    if not is_record:
        raise argparse.ArgumentTypeError(f"{text} is no record of scripts/perf-noise")
    return Path(text)


def existing(text: str) -> Path:
    """Parses the name of a file that is there."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def output_file(text: str) -> Path:
    """Parses the name of a file to be written, and makes its directory: what cannot be written
    is to be known before anything is measured."""
    path = Path(text).absolute()
    try:
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{path} is a directory, and no file")
        if not path.exists():
            output_directory(str(path.parent))
        elif not os.access(path, os.W_OK):
            raise argparse.ArgumentTypeError(f"{path} cannot be written to")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None
    return path


def output_directory(text: str) -> Path:
    """Parses the name of a directory to be written to, and makes it, for the same reason."""
    path = Path(text).absolute()
    try:
        there = next(one for one in (path, *path.parents) if one.exists())
        if not there.is_dir():
            raise argparse.ArgumentTypeError(f"{there} is no directory")
        if not os.access(there, os.W_OK | os.X_OK):
            raise argparse.ArgumentTypeError(f"{there} cannot be written to")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None
    return path


def options(arguments: argparse.Namespace) -> Options:
    """What the arguments say."""
    default = MIN_PAIRS if arguments.quick else DEFAULT_PAIRS
    return Options(
        pairs=arguments.pairs or default,
        duration_s=arguments.seconds,
        seed=arguments.seed,
        half_rate_per_s=arguments.half_rate,
        budget_s=arguments.budget_min * 60 if arguments.budget_min else None,
    )


def repeat_options(options: Options, half_rate_per_s: float | None) -> list[str]:
    """The arguments that measure in the same way again."""
    arguments = [f"--pairs={options.pairs}", f"--seconds={options.duration_s:g}"]
    if half_rate_per_s is not None:
        arguments.append(f"--half-rate={half_rate_per_s:.0f}")
    if options.budget_s is not None:
        arguments.append(f"--budget-min={options.budget_s / 60:.0f}")
    return [*arguments, f"--seed={options.seed}"]


def command_line(program: str, arguments: list[str]) -> str:
    """A command for a shell."""
    return shlex.join([f"scripts/{program}", *arguments])


def whole(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers between bounds."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def seconds(text: str) -> float:
    """Parses the length of a trial: of a shorter one too few looks at the server
    (`generator.INTERVAL_S`) fall into the recording."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.8 <= number <= 60:
        raise argparse.ArgumentTypeError("must be a number of seconds from 0.8 to 60")
    return number


def progress(line: str) -> None:
    """Says what has been done, where it disturbs no result."""
    print(line, file=sys.stderr, flush=True)


def exit_code(main: Callable[[], int]) -> int:
    """Runs a program: what fails is said in a line, and children are ended in any case."""
    processes.stop_on_signals()
    try:
        return main()
    except UnknownCommit as error:
        print(f"no commit: {error}", file=sys.stderr)
        return WRONG_USE
    except (CheckFailed, OSError) as error:
        print(f"the check failed: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, CheckFailed) else FAILED
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


MIN_PAIRS = 12
"""That many are promised; the smallest p-value of 12 is 1/4096, enough after Holm's correction."""

DEFAULT_PAIRS = 20
"""On a machine with 5 % noise the interval is then about 3 % to either side."""

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
"""Exit codes beside those of the verdicts."""
