"""soak: a server under a mixed load that goes on, and what it has and counts meanwhile.

Each minute has 50 s of load: loadgen in both versions with rooms and churn, malformed datagrams, a
network that takes what names and rooms it can, a flood by strangers (another one each minute),
clients that are killed and started again, some of them behind a relay that loses, repeats and
reorders datagrams, and commands on the console. For a moment the server is stopped (SIGSTOP). Then
the load pauses, and all that the server and loadgen counted must add up. The memory must not grow
by more than 1 MiB per hour after an overload and 10 minutes, and the descriptors and threads must
stay as they are.

It writes results/soak.jsonl, soak.md and soak.svg. All of it runs in a network namespace that
this program makes, so it needs root, and `ip` of iproute2. It needs the release build
(`cargo build --release --workspace`), and about half of two cores.

Exit codes: 0 passed, 1 it failed, 2 wrong use.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import accounts
import builds
import machine
import measuring
import pages
import processes
import soak_load
import soak_plot
import soak_tables
import strangers
import trial
from accounts import Accounts
from crowd import Server, running
from processes import CheckFailed
from scenes import allow_sockets
from soak_load import Clients

Row = dict[str, Any]


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    out: Path = arguments.out
    if arguments.read:
        record = read(arguments.read)
    else:
        record = [header()]
        with tempfile.TemporaryDirectory() as scratch:
            for row in minutes(arguments.minutes, copied(arguments.programs, Path(scratch))):
                record.append(row)
                # What is done stays if it is stopped.
                write(record, out)
                measuring.progress(soak_tables.line(row))
    write(record, out)
    (out / "soak.md").write_text(soak_tables.page(record))
    soak_plot.draw(record, out / "soak.svg")
    print(soak_tables.page(record))
    failures = soak_tables.failures(record)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return measuring.FAILED if failures else 0


def header() -> Row:
    """Of which commit, machine and day the rows are."""
    return {
        "commit": builds.commit_of(Path(__file__).resolve().parents[2]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine.identity(),
    }


def minutes(count: int, programs: Path) -> Iterator[Row]:
    """Runs a server for this number of minutes. Yields a row for each, and one for the end."""
    allow_sockets()
    strangers.enter_namespace()
    with ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context((state / "log").open("wb"))
        flags = (f"--bind={TRUSTED}", f"--state-dir={state}", "--log=info", "--timeout=10s")
        server = stack.enter_context(
            running(programs / "server", 2, *flags, ip=strangers.SERVER, stderr=log)
        )
        soak_load.overload(programs / "loadgen", TRUSTED)
        soak = Soak(server, programs, log)
        with load_of_clients(server, programs) as clients:
            for number in range(count):
                yield soak.minute(number, clients)
        yield soak.last_row()


@contextmanager
def load_of_clients(server: Server, programs: Path) -> Iterator[Clients]:
    """Clients, a third of them behind a relay."""
    with soak_load.relay(server, SEED) as relay:
        targets = [relay if number % 3 == 2 else server.address for number in range(CLIENTS)]
        with Clients(programs / "client", targets, SEED) as clients:
            yield clients


@dataclass(frozen=True)
class Sample:
    """What the process of a server has at a moment, and what its console lists."""

    rss_kib: int
    private_dirty_kib: int
    descriptors: int
    threads: int
    socket_bytes: int
    """In the buffers of its sockets."""
    log_bytes: int
    cpu_s: float
    accounts: Accounts


class Soak:
    """A server, and the minutes of its load."""

    def __init__(self, server: Server, programs: Path, log: IO[bytes]) -> None:
        self.server, self.programs, self.log = server, programs, log
        self.floods = list(soak_load.floods().items())
        self.before = self.sample()

    def minute(self, number: int, clients: Clients) -> Row:
        """Runs a minute, and returns its row."""
        start = time.monotonic()
        flood, begin_flood = self.floods[number % len(self.floods)]
        samples: list[Sample] = []
        with ExitStack() as stack:
            runs = {
                version: stack.enter_context(self._loadgen(version, number))
                for version in ("v1", "v2")
            }
            stack.enter_context(soak_load.malformed(self.server, 500, LOAD_S, SEED + number))
            takers = stack.enter_context(ExitStack())
            takers.enter_context(soak_load.takers(self.server))
            stack.enter_context(begin_flood(self.server, LOAD_S))
            for turn, line in enumerate(soak_load.OPERATOR):
                self._work(clients, start + turn * LOAD_S / len(soak_load.OPERATOR))
                self.server.listing(line)
                if turn == TAKERS_TURN:
                    takers.close()
                if turn == PAUSE_TURN:
                    soak_load.pause(self.server.process, PAUSE_S)
                if turn % 2:
                    samples.append(self.sample())
            self._work(clients, start + LOAD_S)
            counts = {version: loadgen_counts(*run) for version, run in runs.items()}
        after, missing = self._settled()
        samples.append(after)
        row = self._row(samples, counts) | {"minute": number + 1, "flood": flood}
        row["clients"], row["missing"] = clients.counts(), missing + row["missing"]
        self.before = after
        self._work(clients, start + 60)
        return row

    def last_row(self) -> Row:
        """What is left when nobody has been there for the timeout, and how the server ends."""
        deadline = time.monotonic() + LEFT_LIMIT_S
        while (sample := self.sample()).accounts.count("peers") and time.monotonic() < deadline:
            time.sleep(0.5)
        missing = sample.accounts.missing()
        for what in ("peers", "rooms"):
            if count := sample.accounts.count(what):
                missing.append(f"{count} {what} are left after all have gone")
        process = self.server.process
        assert process.stdin is not None
        process.stdin.write(b"quit\n")
        process.stdin.close()
        code = process.wait(LEFT_LIMIT_S)
        if code != 0:
            missing.append(f"the server ended with exit code {code}")
        return {"end": True, "rss_kib": [sample.rss_kib], "missing": missing}

    def sample(self) -> Sample:
        """The server at this moment."""
        pid = self.server.process.pid
        ports = {self.server.address[1], int(TRUSTED.rpartition(":")[2])}
        proc = Path(f"/proc/{pid}")
        self.log.flush()
        return Sample(
            machine.field_kib(proc / "status", "VmRSS"),
            machine.field_kib(proc / "smaps_rollup", "Private_Dirty"),
            fewest(proc / "fd"),
            len(os.listdir(proc / "task")),
            socket_bytes(Path("/proc/self/net/udp").read_text(), ports),
            os.fstat(self.log.fileno()).st_size,
            machine.process_cpu_s(pid),
            accounts.parse(self.server.listing()),
        )

    def _work(self, clients: Clients, until: float) -> None:
        """Lets the clients work, with a pause when the load does."""
        while (now := time.monotonic()) < until:
            clients.work(now)
            time.sleep(0.02)

    @contextmanager
    def _loadgen(self, version: str, number: int) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
        command: list[str | Path] = [
            self.programs / "loadgen", TRUSTED, "--mix=text=70,ping=20,heartbeat=10",
            f"--clients={LOADGEN_CLIENTS}", f"--room-size={ROOM_SIZE}", f"--rate={RATE_PER_S}",
            f"--churn={CHURN_PER_S}", "--payload=32..400", f"--protocol={version}",
            f"--duration={LOAD_S - 6}s", f"--seed={SEED + number}", "--threads=1",
            "--force", "--quiet", "--json",
        ]
        with tempfile.TemporaryFile() as lines:
            pipes = {"stdin": subprocess.DEVNULL, "stdout": lines, "stderr": subprocess.DEVNULL}
            with processes.child(command, **pipes) as process:
                yield process, lines

    def _settled(self) -> tuple[Sample, list[str]]:
        """The server when all sums are closed, or what does not close for some seconds."""
        deadline = time.monotonic() + SETTLE_LIMIT_S
        while True:
            sample = self.sample()
            missing = sample.accounts.missing()
            if not missing or time.monotonic() > deadline:
                return sample, missing
            time.sleep(0.1)

    def _row(self, samples: list[Sample], loadgen: dict[str, Row | None]) -> Row:
        before, after = self.before.accounts, samples[-1].accounts
        drops = {
            reason: count - before.drops().get(reason, 0)
            for reason, count in after.drops().items()
        }
        missing = []
        for version, counts in loadgen.items():
            if counts is None:
                missing.append(f"loadgen {version} has no result")
            else:
                found = accounts.missing_of_loadgen(counts, causes(drops))
                missing += (f"loadgen {version}: {what}" for what in found)
        return {
            "rss_kib": [one.rss_kib for one in samples],
            "private_dirty_kib": samples[-1].private_dirty_kib,
            "descriptors": [one.descriptors for one in samples],
            "threads": [one.threads for one in samples],
            "socket_bytes": max(one.socket_bytes for one in samples),
            "log_bytes": samples[-1].log_bytes,
            "cpu_s": round(samples[-1].cpu_s - self.before.cpu_s, 2),
            "peers": [one.accounts.count("peers") for one in samples],
            "datagrams": after.sums["datagrams"] - before.sums["datagrams"],
            "deliveries": after.part("deliveries", "sent") - before.part("deliveries", "sent"),
            "drops": {reason: count for reason, count in drops.items() if count},
            "loadgen": {
                version: {name: counts[name] for name in KEPT} if counts else None
                for version, counts in loadgen.items()
            },
            "missing": missing,
        }


def fewest(folder: Path) -> int:
    """The fewest entries of a few looks. A file that is open for a moment is no leak."""
    counts = []
    for _ in range(3):
        counts.append(len(os.listdir(folder)))
        time.sleep(0.02)
    return min(counts)


def causes(drops: dict[str, int]) -> int:
    """The most copies that loadgen may lose, by what a server dropped, shed or could not send."""
    return sum(
        count if reason.startswith("deliveries") else ROOM_SIZE * count
        for reason, count in drops.items()
        if reason.startswith(accounts.LOSSES)
    )


def loadgen_counts(process: subprocess.Popen[bytes], lines: IO[bytes]) -> Row | None:
    """The counts of a run of loadgen, when it has ended, or `None` if it has none."""
    try:
        process.wait(LOADGEN_LIMIT_S)
    except subprocess.TimeoutExpired:
        return None
    if process.returncode == trial.WRONG_USE:
        raise CheckFailed("loadgen refuses its arguments")
    lines.seek(0)
    for line in map(json.loads, lines):
        if line["kind"] == "summary":
            return dict(line["counts"])
    return None


def socket_bytes(text: str, ports: set[int]) -> int:
    """The bytes in the buffers of the sockets at these ports, from the text of /proc/net/udp."""
    total = 0
    for line in text.splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) in ports:
            total += sum(int(queue, 16) for queue in fields[4].split(":"))
    return total


def copied(folder: Path, scratch: Path) -> Path:
    """The programs in a folder of their own, so that what is built meanwhile changes nothing."""
    for name in ("server", "client", "loadgen"):
        if not (folder / name).is_file():
            raise CheckFailed(f"there is no {folder / name}: cargo build --release --workspace")
        shutil.copy2(folder / name, scratch / name)
    return scratch


def read(path: Path) -> list[Row]:
    """The rows of a record."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(record: list[Row], out: Path) -> None:
    """Writes the record, a line per row."""
    (out / "soak.jsonl").write_text("".join(json.dumps(row) + "\n" for row in record))


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = measuring.parser("soak", __doc__)
    parser.add_argument(
        "minutes", type=measuring.whole(1, 10_000), nargs="?", default=30, metavar="MINUTES",
        help="[default: %(default)s]",
    )
    root = Path(__file__).resolve().parents[2]
    parser.add_argument(
        "--programs", type=Path, default=root / "target/release", metavar="DIR",
        help="where server, client and loadgen are [default: %(default)s]",
    )
    parser.add_argument(
        "--read", type=measuring.existing, metavar="FILE",
        help="judge and draw this soak.jsonl, and run nothing",
    )
    parser.add_argument(
        "--out", type=measuring.output_directory, default=root / "results",
        help="[default: %(default)s]",
    )
    return parser.parse_args(words)


TRUSTED = "127.0.0.1:9999"
"""Where loadgen sends to. The port is free in a namespace of our own."""

SEED = 20

LOAD_S = 50
"""Of each minute."""

LOADGEN_CLIENTS, ROOM_SIZE, RATE_PER_S, CHURN_PER_S = 500, 10, 1500, 20
"""Of each version."""

CLIENTS = 6

TAKERS_TURN = 6
"""Of the operator, after which nobody takes names and rooms. So those that have them expire before the
load pauses, and are not in its memory."""

PAUSE_TURN, PAUSE_S = 7, 0.2
"""The server stands still after this turn of the operator. The receive buffers of a worker have space
for 10,000 short datagrams, and 26,000 come per second at most."""

KEPT = (
    "sent", "expected", "delivered", "lost", "repeated", "stray", "left", "joined", "own_drops",
)
"""The counts of loadgen that are in the record."""

LOADGEN_LIMIT_S = 15.0
"""It drains for 5 s at most, and then its clients leave."""

SETTLE_LIMIT_S = 3.0
"""What is under way is so for milliseconds."""

LEFT_LIMIT_S = 20.0
"""Longer than the timeout of the server and the interval of its reaper."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
