"""perf-history: adds a row of what HEAD costs to results/history.csv.

Runs the loads of perf-check against the server of HEAD, a dozen trials each, and writes the
medians, with the machine and the commit. Rows of other machines are of other machines: compare
within one, and trust perf-check, which compares in one run, more than this.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import argparse
import csv
import os
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import builds
import loads
import machine
import measuring
import trial
from loads import LoadName
from metrics import METRICS
from processes import CheckFailed


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    check_columns(arguments.out)
    cores = measuring.choose_cores()
    workshop = builds.workshop()
    head = workshop.commit("HEAD")
    if workshop.working_tree().tree != head.tree:
        raise CheckFailed("something is not committed: a row belongs to a commit")
    with workshop.locked():
        measuring.progress("building server and loadgen")
        server, loadgen = workshop.build(head).server, workshop.loadgen(head)
        os.sched_setaffinity(0, {cores.load})
        half_rate = measuring.half_rate(server, loadgen, cores, seed=1)
        both = {
            LoadName.HALF: loads.half(half_rate, arguments.seconds),
            LoadName.SATURATION: loads.saturation(arguments.seconds),
        }

        def run_trial(name: LoadName, seed: int) -> trial.Trial:
            return trial.run_trial(server, loadgen, name, both[name], cores, seed)

        medians = measure(run_trial, arguments.trials)
    who = machine.identity()
    row = {
        "measured_at": datetime.now(UTC).date().isoformat(),
        "commit": head.commit,
        "machine": f"{who.cpu_model} x{who.processors}",
        "kernel": who.kernel,
        "half_texts_per_s": half_rate,
        **{key: f"{value:.4g}" for key, value in medians.items()},
    }
    append(arguments.out, row)
    print(", ".join(f"{name} {value}" for name, value in row.items()))
    return 0


def measure(run_trial: Callable[[LoadName, int], trial.Trial], trials: int) -> dict[str, float]:
    """The median of each metric, by its key, over `trials` trials that nothing spoiled: at most
    as many again may be."""
    kept: dict[LoadName, list[trial.Trial]] = {name: [] for name in LoadName}
    reasons: Counter[str] = Counter()
    for seed in range(2 * trials):
        for name, good in kept.items():
            if len(good) < trials:
                one = run_trial(name, seed)
                if one.spoiled:
                    reasons[f"{name}: {trial.alike(one.spoiled)}"] += 1
                else:
                    good.append(one)
    if any(len(good) < trials for good in kept.values()):
        (reason, count), *_ = reasons.most_common(1)
        raise CheckFailed(f"{reasons.total()} trials were spoiled, {count} by this: {reason}")
    return {
        metric.key: statistics.median(one.values[metric.key] for one in kept[metric.load])
        for metric in METRICS
    }


def append(file: Path, row: dict[str, object]) -> None:
    """Adds a row with a value for each of `COLUMNS`, below the head of a new file."""
    check_columns(file)
    is_new = not file.exists()
    with file.open("a", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def check_columns(file: Path) -> None:
    """Fails if there is a file with other columns."""
    if not file.exists():
        return
    with file.open(newline="") as lines:
        found = next(csv.reader(lines), [])
    if found != COLUMNS:
        raise CheckFailed(f"{file} has the columns {found}, and not {COLUMNS}")


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="perf-history",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trials", type=measuring.whole(3, 100), default=12)
    parser.add_argument("--seconds", type=measuring.seconds, default=loads.DURATION_S)
    history = Path(__file__).resolve().parents[2] / "results" / "history.csv"
    parser.add_argument(
        "--out", type=measuring.output_file, default=history, help="[default: %(default)s]"
    )
    return parser.parse_args(words)


COLUMNS = [
    *("measured_at", "commit", "machine", "kernel", "half_texts_per_s"),
    *(metric.key for metric in METRICS),
]
"""Of the file. When one comes or goes, it is to be put right by hand, rows and all."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
