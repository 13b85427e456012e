"""perf-counts: counts what does not depend on how busy the machine is.

Builds benches/instructions and benches/steady in a checkout of the project, runs them, and
writes the instructions, allocations and system calls of fixed pieces of work as JSON. What that
needs beside cargo is installed when it is missing: valgrind by apt-get as root, gungraun-runner
by cargo.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import builds
import debian
import machine
import measuring
import processes
from processes import CheckFailed


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    target_dir = Path(os.environ.get("CARGO_TARGET_DIR", arguments.tree / "target"))
    record: dict[str, Any] = {"schema": SCHEMA, "commit": builds.commit_of(arguments.tree)}
    record |= collect(arguments.tree, target_dir)
    arguments.out.write_text(json.dumps(record, indent=2) + "\n")
    return 0


def collect(tree: Path, target_dir: Path) -> dict[str, dict[str, float]]:
    """Builds and runs the counting benchmarks of the checkout `tree`, into `target_dir`.

    Returns {"instructions": {name: count}, "allocations": {name: count},
    "syscalls_per_delivery": {name: ratio}}, or nothing if the checkout is older than these
    benchmarks. Two calls give the same where the toolchain and the `environment` are; a name
    that only one of two checkouts has is a new or a dropped benchmark.

    Raises CheckFailed.
    """
    if not has_benchmarks(tree):
        return {}
    _need_valgrind()
    _need_runner(_locked_version(tree, RUNNER))
    counts = _count_instructions(tree, target_dir)
    scenes = _run_bench(tree, target_dir, "steady")[0]
    counts["allocations"] |= {scene: cost["allocations"] for scene, cost in scenes.items()}
    counts["syscalls_per_delivery"] = {
        scene: cost["syscalls"] / cost["deliveries"] for scene, cost in scenes.items()
    }
    return counts


def has_benchmarks(tree: Path) -> bool:
    """Whether the checkout `tree` has what counts."""
    return all((tree / main).is_file() for main in MAINS)


def environment() -> str:
    """What else decides over counts, beside the sources and the toolchain."""
    _need_valgrind()
    valgrind = processes.run(["valgrind", "--version"], TOOL_LIMIT_S).strip()
    library = " ".join(platform.libc_ver())
    return f"{valgrind}, {library}, {machine.identity().cpu_model}"


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="perf-counts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    here = Path(__file__).resolve().parents[2]
    parser.add_argument("--tree", type=checkout, default=here, help="a checkout; default: this one")
    parser.add_argument(
        "--out", type=measuring.output_file, required=True, help="the JSON file to write"
    )
    return parser.parse_args(words)


def checkout(text: str) -> Path:
    """Parses the directory of a checkout that has something to count."""
    tree = Path(text)
    if not (tree / ".git").exists() or not has_benchmarks(tree):
        folders = " and ".join(f"benches/{bench}" for bench in BENCHES)
        raise argparse.ArgumentTypeError(
            f"{text} is none; it takes the top directory of a checkout of bullhorn with {folders}"
        )
    return tree


def _count_instructions(tree: Path, target_dir: Path) -> dict[str, dict[str, float]]:
    counts: dict[str, dict[str, float]] = {"instructions": {}, "allocations": {}}
    options = ("--output-format=json", "--parallel=auto")
    for row in _run_bench(tree, target_dir, "instructions", *options):
        name = f"{row['function_name']}/{row['id']}"
        totals = {
            profile["tool"]: profile["data"]["total"]["metrics"] for profile in row["profiles"]
        }
        counts["instructions"][name] = totals["Callgrind"]["Ir"]["values"]["new"]
        counts["allocations"][name] = totals["DHAT"]["TotalBlocks"]["values"]["new"]
    return counts


def _run_bench(tree: Path, target_dir: Path, bench: str, *arguments: str) -> list[dict[str, Any]]:
    """Runs a benchmark that prints JSON, and returns what it printed, line by line."""
    command = ["cargo", "bench", "--locked", "--package", "bullhorn", "--bench", bench]
    # The same features for both, so that the library is built once.
    command += ["--features", _features(tree), "--", *arguments]
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(target_dir.resolve()),
        # Where gungraun puts its profiles.
        "GUNGRAUN_HOME": str(target_dir.resolve() / "gungraun"),
        "PATH": f"{_cargo_bin()}{os.pathsep}{os.environ['PATH']}",
    }
    measuring.progress(f"counting with benches/{bench}")
    printed = processes.run(command, COUNT_LIMIT_S, cwd=tree, env=environment)
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    if not rows:
        raise CheckFailed(f"{bench} counted nothing")
    return rows


def _features(tree: Path) -> str:
    """The features of the benchmarks in the checkout `tree`. Older ones have `bare`, too."""
    known = tomllib.loads((tree / "Cargo.toml").read_text())["features"]
    return ",".join(feature for feature in ("bare", "counts") if feature in known)


def _locked_version(tree: Path, package: str) -> str:
    """The version of a package in the lock file; the runner must be of that of the library."""
    lock = tomllib.loads((tree / "Cargo.lock").read_text())
    versions = [entry["version"] for entry in lock["package"] if entry["name"] == package]
    if len(versions) != 1:
        raise CheckFailed(f"{tree}/Cargo.lock has not one {package}, but {versions}")
    return str(versions[0])


def _need_valgrind() -> None:
    if not shutil.which("valgrind"):
        # Some of its tools do not start without the symbols of the C library.
        debian.install(["valgrind", "libc6-dbg"])


def _need_runner(version: str) -> None:
    try:
        said = processes.run([_cargo_bin() / RUNNER, "--version"], TOOL_LIMIT_S)
    except CheckFailed:
        said = ""
    if said.split()[-1:] == [version]:
        return
    measuring.progress(f"compiling {RUNNER} {version}, about 3 minutes on 2 cores")
    install = ["cargo", "install", "--quiet", "--locked", RUNNER, "--version", version]
    processes.run([*install, "--root", _cargo_bin().parent], COMPILE_LIMIT_S)


def _cargo_bin() -> Path:
    return Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "bin"


SCHEMA = "bullhorn-perf-counts/1"
"""Of the file. The number rises when a key goes or changes its meaning."""

BENCHES = ("instructions", "steady")
"""The benchmarks that count."""

MAINS = tuple(f"benches/{bench}/main.rs" for bench in BENCHES)
"""Their sources begin there."""

RUNNER = "gungraun-runner"
"""Both a crate and its program, which gungraun runs its benchmarks by."""

COUNT_LIMIT_S = 1800.0
"""To build a benchmark from nothing takes some minutes on two cores, and to run it one."""

COMPILE_LIMIT_S = 1800.0
"""Of the runner: it takes some minutes on two cores."""

TOOL_LIMIT_S = 10.0
"""To say its version takes a tool some milliseconds."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
