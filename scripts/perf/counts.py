"""perf-counts: counts what does not depend on how busy the machine is.

Builds the server, benches/instructions and benches/steady in a checkout of the project, and
writes as JSON what fixed pieces of work take: instructions, allocations, system calls, packets,
datagrams and bytes. What that needs besides cargo is installed when it is missing: valgrind and
strace by apt-get as root, gungraun-runner by cargo. A count that is not the same in all of 5
runs is null.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import builds
import debian
import machine
import measuring
import processes
import subject
from builds import Source, Workshop
from processes import CheckFailed
from scenes import SCENES, Room, Scene, allow_sockets, wait_for
from verdict import Verdict

Counts = dict[str, dict[str, float | None]]
"""By kind (`MAX_RATIOS`), then by name. `None`: not the same in every run."""


@dataclass(frozen=True)
class CountJudgement:
    """One count, and what it means."""

    kind: str
    name: str
    base: float | None
    candidate: float | None
    verdict: Verdict
    note: str = ""


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    target_dir = Path(os.environ.get("CARGO_TARGET_DIR", arguments.tree / "target"))
    record: dict[str, Any] = {"schema": SCHEMA, "commit": builds.commit_of(arguments.tree)}
    record |= collect(arguments.tree, target_dir)
    arguments.out.write_text(json.dumps(record, indent=2) + "\n")
    return 0


def compare(workshop: Workshop, base: Source, candidate: Source) -> list[CountJudgement]:
    """Counts both, unless that has been done before, and compares them."""
    (before, _), (after, removed) = _of(workshop, base), _of(workshop, candidate)
    return judge(before, after, removed)


def judge(
    base: Mapping[str, Mapping[str, float | None]],
    candidate: Mapping[str, Mapping[str, float | None]],
    removed: Collection[str] = (),
) -> list[CountJudgement]:
    """Compares all counts, in the order of kinds and names. `removed` are the names of those
    that were removed on purpose."""
    judgements = []
    for kind, most in MAX_RATIOS.items():
        bases, candidates = base.get(kind, {}), candidate.get(kind, {})
        for name in sorted(bases.keys() | candidates.keys()):
            before, after = bases.get(name), candidates.get(name)
            verdict, note = Verdict.PASS, ""
            if name not in bases:
                note = "new"
            elif name not in candidates and name in removed:
                note = "removed on purpose"
            elif name not in candidates:
                # Whoever drops a count would otherwise drop the guard with it.
                verdict = Verdict.REGRESSED
                note = f"vanished: if on purpose, name it in {REMOVED_FILE}"
            elif before is None:
                note = "not judged: the base's runs differ"
            elif after is None:
                verdict, note = Verdict.INCONCLUSIVE, "the candidate's runs differ"
            elif after > before * most:
                verdict = Verdict.REGRESSED
            judgements.append(CountJudgement(kind, name, before, after, verdict, note))
    return judgements


def removed_names(tree: Path) -> set[str]:
    """The counts that `tree` says were removed on purpose: a name per line, without what follows
    a `#`."""
    file = tree / REMOVED_FILE
    lines = file.read_text().splitlines() if file.exists() else []
    return {name for line in lines if (name := line.partition("#")[0].strip())}


def collect(tree: Path, target_dir: Path) -> Counts:
    """Builds the checkout `tree` into `target_dir`, and counts.

    Two calls give the same where the toolchain and the `environment` are. Raises CheckFailed.
    """
    _need_tools(tree)
    counts: Counts = {kind: {} for kind in MAX_RATIOS}
    if all((tree / main).is_file() for main in MAINS):
        _count_instructions(tree, target_dir, counts)
        for name, cost in _run_bench(tree, target_dir, "steady")[0].items():
            counts["allocations"][name] = cost["allocations"]
            counts["syscalls_per_delivery"][name] = cost["syscalls"] / cost["deliveries"]
    measuring.progress("counting in stepped scenes")
    command = ["cargo", "build", "--release", "--locked", "--package=bullhorn", "--bin=server"]
    processes.run(command, LIMIT_S, cwd=tree, env=_environment(target_dir))
    for scene in SCENES:
        runs = [count_scene(target_dir / "release" / "server", scene) for _ in range(RUNS)]
        for kind, value in equal(runs).items():
            counts[kind][f"stepped/{scene.name}"] = value
    return counts


def count_scene(server: Path, scene: Scene) -> dict[str, float]:
    """What a delivery of a scene takes, by kind."""
    allow_sockets()
    with (
        subject.running(server, {machine.choose_cores().server}) as running,
        tempfile.TemporaryDirectory(prefix="perf-counts-") as directory,
    ):
        room, log = Room(running, scene), Path(directory) / "strace"
        try:
            room.step()
            with _traced(room.worker, log):
                # The first one is not counted: strace may still be taking hold.
                steps = [room.step() for _ in range(1 + STEPS)][1:]
        finally:
            room.close()
        syscalls, packets = count_calls(log.read_text())
    deliveries = scene.deliveries * STEPS
    return {
        "syscalls_per_delivery": syscalls / deliveries,
        "packets_per_delivery": packets / deliveries,
        "datagrams_per_delivery": sum(step.datagrams for step in steps) / deliveries,
        "bytes_per_delivery": sum(step.payload_bytes for step in steps) / deliveries,
    }


def count_calls(log: str) -> tuple[int, int]:
    """The system calls and the packets that were sent with them, of a log by strace, from the
    second step on. A sleep that ends without an event is left out: the stop has ended it."""
    attached, *steps = log.split(STOP)
    if len(steps) != 1 + STEPS:
        raise CheckFailed(f"strace saw {len(steps)} stops instead of {1 + STEPS}: {attached}")
    syscalls = packets = 0
    call_and_result = r"^(\w+)\(.* = (-?\d+)(?: .*)?$"
    for call, result in re.findall(call_and_result, "".join(steps[1:]), re.MULTILINE):
        if call.startswith("epoll_") and "wait" in call and int(result) <= 0:
            continue
        syscalls += 1
        if call == "sendmmsg":
            packets += max(0, int(result))
        elif call in ("sendmsg", "sendto"):
            packets += int(result) >= 0
    return syscalls, packets


def equal(runs: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    """The values that all runs have, and `None` where they differ."""
    return {
        kind: value if all(run[kind] == value for run in runs) else None
        for kind, value in runs[0].items()
    }


def environment() -> str:
    """What else decides over counts, besides the sources and the toolchain."""
    valgrind = processes.run(["valgrind", "--version"], TOOL_LIMIT_S).strip()
    return f"{valgrind}, {' '.join(platform.libc_ver())}, {machine.identity().cpu_model}, {SCENES}"


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = measuring.parser("perf-counts", __doc__)
    here = Path(__file__).resolve().parents[2]
    parser.add_argument("--tree", type=checkout, default=here, help="a checkout; default: this one")
    parser.add_argument(
        "--out", type=measuring.output_file, required=True, help="the JSON file to write"
    )
    return parser.parse_args(words)


def checkout(text: str) -> Path:
    """Parses the directory of a checkout."""
    tree = Path(text)
    if not (tree / ".git").exists() or not all((tree / main).is_file() for main in MAINS):
        raise argparse.ArgumentTypeError(
            f"{text} is not the top directory of a checkout of bullhorn with {' and '.join(MAINS)}"
        )
    return tree


def _of(workshop: Workshop, source: Source) -> tuple[Counts, set[str]]:
    """The counts of a source, and the names of those it has removed on purpose."""
    with workshop.unpacked(source) as tree:
        _need_tools(tree)
        kept = workshop.directory / "counts" / f"{workshop.key(source, environment())}.json"
        if kept.exists():
            kept.touch()
        else:
            counts = collect(tree, workshop.cargo_target)
            kept.parent.mkdir(parents=True, exist_ok=True)
            builds.write_whole(kept, json.dumps(counts).encode())
            builds.prune(kept.parent)
        return json.loads(kept.read_text()), removed_names(tree)


@contextmanager
def _traced(thread: int, log: Path) -> Iterator[None]:
    """Writes the system calls of a thread to `log` as long as the block lasts."""
    command: list[str | Path] = ["strace", "-qq", "-s", "0", "-o", log, "-p", str(thread)]
    status = Path(f"/proc/{thread}/status")
    with processes.child(command):
        wait_for("strace", lambda: "TracerPid:\t0\n" not in status.read_text())
        yield


def _count_instructions(tree: Path, target_dir: Path, counts: Counts) -> None:
    options = ("--output-format=json", "--parallel=auto")
    for row in _run_bench(tree, target_dir, "instructions", *options):
        name = f"{row['function_name']}/{row['id']}"
        totals = {
            profile["tool"]: profile["data"]["total"]["metrics"] for profile in row["profiles"]
        }
        counts["instructions"][name] = totals["Callgrind"]["Ir"]["values"]["new"]
        counts["allocations"][name] = totals["DHAT"]["TotalBlocks"]["values"]["new"]


def _run_bench(tree: Path, target_dir: Path, bench: str, *arguments: str) -> list[dict[str, Any]]:
    """Runs a benchmark that prints JSON, and returns what it printed, line by line."""
    command = ["cargo", "bench", "--locked", "--package", "bullhorn", "--bench", bench]
    # The same features for both, so that the library is built once. Older ones have `bare`, too.
    known = tomllib.loads((tree / "Cargo.toml").read_text())["features"]
    features = ",".join(feature for feature in ("bare", "counts") if feature in known)
    command += ["--features", features, "--", *arguments]
    measuring.progress(f"counting with benches/{bench}")
    printed = processes.run(command, LIMIT_S, cwd=tree, env=_environment(target_dir))
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    if not rows:
        raise CheckFailed(f"{bench} counted nothing")
    return rows


def _environment(target_dir: Path) -> dict[str, str]:
    return os.environ | {
        "CARGO_TARGET_DIR": str(target_dir.resolve()),
        # Where gungraun puts its profiles.
        "GUNGRAUN_HOME": str(target_dir.resolve() / "gungraun"),
        "PATH": f"{_cargo_bin()}{os.pathsep}{os.environ['PATH']}",
    }


def _need_tools(tree: Path) -> None:
    """Installs what is missing. The runner must be of the version of the library."""
    if not shutil.which("valgrind"):
        # Some of its tools do not start without the symbols of the C library.
        debian.install(["valgrind", "libc6-dbg"])
    if not shutil.which("strace"):
        debian.install(["strace"])
    lock = tomllib.loads((tree / "Cargo.lock").read_text())
    versions = [entry["version"] for entry in lock["package"] if entry["name"] == RUNNER]
    if not versions:
        return
    try:
        said = processes.run([_cargo_bin() / RUNNER, "--version"], TOOL_LIMIT_S)
    except CheckFailed:
        said = ""
    if said.split()[-1:] != versions:
        measuring.progress(f"compiling {RUNNER} {versions[0]}, about 3 minutes on 2 cores")
        install = ["cargo", "install", "--quiet", "--locked", RUNNER, "--version", versions[0]]
        processes.run([*install, "--root", _cargo_bin().parent], LIMIT_S)


def _cargo_bin() -> Path:
    return Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "bin"


MAX_RATIOS = {
    # The compiler's choices elsewhere in a program move it by less.
    "instructions": 1.02,
    # The steady state allocates nothing; what comes in stays.
    "allocations": 1.0,
    # A batch that is cut once more in a hundred is a detail; one that is not made is 10 % and more.
    "syscalls_per_delivery": 1.02,
    # Handed to the kernel: where it cuts each into several datagrams (GSO), they are fewer.
    "packets_per_delivery": 1.02,
    "datagrams_per_delivery": 1.02,
    "bytes_per_delivery": 1.02,
}
"""Candidate by base, by kind: more is a regression."""

REMOVED_FILE = "scripts/perf/removed-counts.txt"
"""In the candidate's tree, so that it is read together with the change."""

SCHEMA = "bullhorn-perf-counts/2"
"""Of the file. The number rises when a key goes or changes its meaning."""

MAINS = ("benches/instructions/main.rs", "benches/steady/main.rs")
"""The benchmarks that count begin there."""

RUNNER = "gungraun-runner"
"""Both a crate and its program, which gungraun runs its benchmarks by."""

RUNS = 5
"""Of a stepped scene, each with a server of its own."""

STEPS = 10
"""Of a run, so that what is done once in a few steps is seen."""

STOP = "stopped by SIGSTOP"
"""What strace writes at the start of a step."""

LIMIT_S = 1800.0
"""To build something from nothing takes some minutes on two cores."""

TOOL_LIMIT_S = 10.0
"""To say its version takes a tool some milliseconds."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
