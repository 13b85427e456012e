"""Counts what does not depend on how busy the machine is: instructions, allocations and system
calls of fixed pieces of work, built and run in a checkout of the project.

benches/instructions and benches/steady do the counting. What they need beside cargo is installed
when it is missing: valgrind by apt-get as root, gungraun-runner by cargo.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path


class CountsUnavailable(Exception):
    """The checkout has no benchmarks that count: it is older than they are."""


class CountsFailed(Exception):
    """The benchmarks could not be built or run; a sentence for a person."""


def collect(tree: Path, target_dir: Path) -> dict:
    """Builds and runs the counting benchmarks of the checkout `tree`, into `target_dir`.

    Returns {"instructions": {name: count}, "allocations": {name: count},
    "syscalls_per_delivery": {name: ratio}}. Two calls give the same, for checkouts that were built
    by the same toolchain; a name that only one of two checkouts has is a new or a dropped
    benchmark.

    Raises CountsUnavailable if the checkout has no such benchmarks, and CountsFailed.
    """
    for bench in ("instructions", "steady"):
        if not (tree / "benches" / bench / "main.rs").is_file():
            raise CountsUnavailable(f"{tree} has no benches/{bench}")
    runner_version = locked_version(tree, "gungraun-runner")
    need_valgrind()
    need_runner(runner_version)
    counts = count_instructions(tree, target_dir)
    scenes = run_bench(tree, target_dir, "steady")
    for scene, cost in scenes[0].items():
        counts["allocations"][scene] = cost["allocations"]
    counts["syscalls_per_delivery"] = {
        scene: cost["syscalls"] / cost["deliveries"] for scene, cost in scenes[0].items()
    }
    return counts


def count_instructions(tree: Path, target_dir: Path) -> dict:
    counts = {"instructions": {}, "allocations": {}}
    options = ["--output-format=json", "--parallel=auto"]
    rows = run_bench(tree, target_dir, "instructions", *options)
    for row in rows:
        name = f"{row['function_name']}/{row['id']}"
        totals = {
            profile["tool"]: profile["data"]["total"]["metrics"] for profile in row["profiles"]
        }
        counts["instructions"][name] = totals["Callgrind"]["Ir"]["values"]["new"]
        counts["allocations"][name] = totals["DHAT"]["TotalBlocks"]["values"]["new"]
    return counts


def run_bench(tree: Path, target_dir: Path, bench: str, *arguments: str) -> list:
    """Runs a benchmark that prints JSON, and returns what it printed, line by line."""
    command = ["cargo", "bench", "--locked", "--package", "bullhorn", "--bench", bench]
    # The same features for both, so that the library is built once.
    command += ["--features", "bare,counts", "--", *arguments]
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(target_dir.resolve()),
        # Where gungraun puts its profiles.
        "GUNGRAUN_HOME": str(target_dir.resolve() / "gungraun"),
        "PATH": f"{cargo_bin()}{os.pathsep}{os.environ['PATH']}",
    }
    done = run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not rows:
        raise CountsFailed(f"{bench} counted nothing")
    return rows


def locked_version(tree: Path, package: str) -> str:
    """The version of a package in the lock file; the runner must be of that of the library."""
    lock = tomllib.loads((tree / "Cargo.lock").read_text())
    versions = [entry["version"] for entry in lock["package"] if entry["name"] == package]
    if len(versions) != 1:
        raise CountsFailed(f"{tree}/Cargo.lock has not one {package}, but {versions}")
    return versions[0]


def need_valgrind() -> None:
    if shutil.which("valgrind"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise CountsFailed("valgrind is missing: on Debian, apt-get install valgrind")
    print("installing valgrind with apt-get", file=sys.stderr)
    # Some of its tools do not start without the symbols of the C library.
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "valgrind", "libc6-dbg"]
    run(["apt-get", "update", "-qq"], stdout=sys.stderr)
    run(install, stdout=sys.stderr, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})


def need_runner(version: str) -> None:
    runner = cargo_bin() / "gungraun-runner"
    if runner.is_file():
        found = subprocess.run([runner, "--version"], stdout=subprocess.PIPE, text=True, check=False)
        if found.stdout.split()[-1:] == [version]:
            return
    print(f"compiling gungraun-runner {version}, about 3 minutes on 2 cores", file=sys.stderr)
    install = ["cargo", "install", "--quiet", "--locked", "gungraun-runner", "--version", version]
    run([*install, "--root", str(cargo_bin().parent)], stdout=sys.stderr)


def cargo_bin() -> Path:
    return Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "bin"


def run(command: list, **options) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(command, check=True, **options)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CountsFailed(str(error)) from error


def commit_of(tree: Path) -> str:
    """The commit of a checkout, with a mark if it has changes."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return run(describe, cwd=tree, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> int:
    here = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(prog="scripts/perf-counts", description=__doc__)
    parser.add_argument("--tree", type=Path, default=here, help="the checkout; default: this one")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    arguments = parser.parse_args()
    target_dir = Path(os.environ.get("CARGO_TARGET_DIR", arguments.tree / "target"))
    try:
        counts = collect(arguments.tree, target_dir)
    except (CountsUnavailable, CountsFailed) as error:
        print(f"scripts/perf-counts: {error}", file=sys.stderr)
        return 1
    report = {"schema": SCHEMA, "commit": commit_of(arguments.tree), **counts}
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    return 0


SCHEMA = "bullhorn-perf-counts/1"

if __name__ == "__main__":
    sys.exit(main())
