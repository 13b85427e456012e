"""compare: bullhorn beside what one would take instead.

Builds the servers and the benchmark `compare` and runs it, about 7 minutes on 2 cores, and
writes results/compare.json, compare.md and compare.svg, and the table in README.md between its
markers. What is compared and how: benches/README.md. nats-server and mosquitto are installed
when they are missing and it runs as root under apt-get; without one of them the others are
compared.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import argparse
import json
import os
import shutil
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import builds
import compare_plot
import compare_tables
import debian
import measuring
import pages
import processes
from builds import Workshop
from processes import CheckFailed


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    workshop = builds.workshop()
    raw = arguments.raw or measure(workshop, QUICK if arguments.quick else FULL)
    record = compare_tables.summary(json.loads(raw.read_text()))
    page = compare_tables.page(record)
    results = workshop.repository / "results"
    out = arguments.out or (target(workshop) if arguments.quick else results)
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.json").write_text(pages.record_text(record))
    (out / "compare.md").write_text(page)
    compare_plot.draw(record, out / "compare.svg")
    print(page)
    measuring.progress(f"written: compare.json, compare.md and compare.svg in {out}")
    if out == results:
        readme = workshop.repository / "README.md"
        compare_tables.replace_marked(readme, compare_tables.short_table(record))
    return 0


def measure(workshop: Workshop, arguments: list[str]) -> Path:
    """Builds and runs the benchmark. Returns the file with all that it saw, and of which commit
    and when that was."""
    raw = target(workshop) / "raw.json"
    with workshop.locked():
        need_servers()
        commit = builds.commit_of(workshop.repository)
        measuring.progress("building the servers and the benchmark")
        for command in ([*BUILD, "--package=naive-tokio"], [*BENCH, "--no-run"]):
            processes.run(command, builds.BUILD_LIMIT_S, cwd=workshop.repository)
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.unlink(missing_ok=True)
        command = [*BENCH, "--", *arguments, f"--out={raw}"]
        # It says on its own how far it has come.
        processes.run(command, TIME_LIMIT_S, cwd=workshop.repository, stderr=None)
    findings = json.loads(raw.read_text())
    findings["commit"] = commit
    findings["date"] = datetime.now(UTC).date().isoformat()
    findings["versions"] = names(findings["versions"], workshop.repository / "Cargo.lock")
    raw.write_text(json.dumps(findings))
    return raw


def need_servers() -> None:
    """Installs the other servers where they are missing and that can be done. Without one of
    them the others are compared."""
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    for package in ("nats-server", "mosquitto"):
        if not shutil.which(package, path=path):
            try:
                debian.install([package])
            except CheckFailed as error:
                measuring.progress(f"{package} is left out: {error}")


def names(versions: dict[str, str], lock: Path) -> dict[str, str]:
    """What each subject is called, with its version: of what it says itself, and of `lock`."""
    packages = tomllib.loads(lock.read_text())["package"]
    tokio = next(package["version"] for package in packages if package["name"] == "tokio")
    own = versions.get("bullhorn-v1", versions.get("bullhorn-v2", "")).split()[-1:]
    titles = {
        "bullhorn-v1": " ".join(["bullhorn", *own, "stock peers"]),
        "bullhorn-v2": " ".join(["bullhorn", *own, "v2 peers"]),
        "nats": versions.get("nats", "").replace("nats-server: v", "NATS "),
        "mosquitto": versions.get("mosquitto", "").replace("mosquitto version", "Mosquitto"),
        "tokio": f"tokio {tokio}, send_to",
        "python": versions.get("python", "") + ", sendto",
        "sendmmsg": "bare kernel, sendmmsg",
        "sendmmsg-gso": "bare kernel, sendmmsg and GSO",
    }
    return {key: titles[key] for key in versions}


def target(workshop: Workshop) -> Path:
    """Where what is no result goes."""
    return workshop.directory.with_name("compare")


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a first look in about 2 minutes, written under target/; results/ stays as it is",
    )
    parser.add_argument(
        "--raw", type=measuring.existing, metavar="FILE", help="draw what was measured before instead"
    )
    parser.add_argument(
        "--out",
        type=measuring.output_directory,
        metavar="DIR",
        help="a folder to write to instead of results/",
    )
    return parser.parse_args(words)


BUILD = ["cargo", "build", "--release", "--locked"]
"""The servers are those that a user runs: built for release."""

BENCH = ["cargo", "bench", "--locked", "--bench=compare"]
"""The benchmark has the bare kernel built in, which is one of those that are compared."""

FULL = ["--rounds=3", "--window-ms=400", "--budget-s=450"]
"""Three rounds take seven minutes; where they take longer, the last one is left out."""

QUICK = ["--rounds=1", "--window-ms=100"]
"""To see that all of it works."""

TIME_LIMIT_S = 520.0
"""The budget, and what a round may take longer than those before it, as where a server hangs:
once all is built, it is to end within ten minutes."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
