"""service: a server under a supervisor. It takes the time of a start, the time after a crash until
clients are back, and the datagrams lost while the configuration is read again.

A start ends when the server has answered a ping. A crash is SIGKILL, and the supervisor starts the
server again at once. A client is back when a text of its own has reached the others in its room under
its name. The configuration is read again every 100 ms under 20,000 datagrams per second, from a file
that differs each time, and has a mistake every second time.

Exit codes: 0 done, 1 it failed or a bound is not kept, 2 wrong use.
"""

import json
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import measuring
import processes
from crowd import ALL_CORES
from processes import CheckFailed


def start_ms(programs: Path, address: tuple[str, int], cold: bool = False) -> float:
    """The time from the start of the process to the answer to a ping. Cold, the kernel has to read
    the program from the disk."""
    if cold:
        _forget(programs / "server")
    began = time.monotonic()
    with processes.child(_server(programs, address), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        _wait_for_pong(address)
        return (time.monotonic() - began) * 1e3


def crash_ms(programs: Path, address: tuple[str, int], clients: int) -> list[float]:
    """The time from SIGKILL until each of the clients is back."""
    with ExitStack() as stack:
        supervisor = stack.enter_context(_Supervisor(_server(programs, address)))
        _wait_for_pong(address)
        names = [f"peer-{number}" for number in range(clients)]
        peers = [stack.enter_context(_client(programs, address, name)) for name in names]
        # The first one receives the texts of all.
        texts = _Texts(peers[0], stack.enter_context(_lobby(address)))
        texts.wait_until_all_are_here(names, peers, b"before")
        killed = time.monotonic()
        supervisor.kill()
        times = texts.wait_until_all_are_here(names, peers, b"after")
        return [(times[name] - killed) * 1e3 for name in names]


def lost_in_reloads(programs: Path, address: tuple[str, int], seconds: int) -> dict[str, int]:
    """The counts of loadgen, and the numbers of reloads and of those that were refused."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config, log, output = folder / "server.toml", folder / "log", folder / "output"
        config.write_text("max-rooms = 1000\n")
        errors = stack.enter_context(log.open("wb"))
        command = [*_server(programs, address), f"--config={config}"]
        server = stack.enter_context(
            processes.child(command, [min(ALL_CORES)], stdin=subprocess.DEVNULL, stderr=errors)
        )
        _wait_for_pong(address)
        load = [
            programs / "loadgen", f"{address[0]}:{address[1]}", "--clients=1000", f"--rate={RATE_PER_S}",
            f"--duration={seconds}s", "--room-size=5", "--protocol=v2", "--json", "--quiet",
        ]
        # Not a pipe, which nobody would read meanwhile.
        options = {"stdout": stack.enter_context(output.open("wb")), "stdin": subprocess.DEVNULL}
        loadgen = stack.enter_context(processes.child(load, [max(ALL_CORES)], **options))
        reloads = 0
        while loadgen.poll() is None:
            reloads += 1
            mistake = "max-pears = 1\n" if reloads % 2 == 0 else ""
            config.write_text(f"max-rooms = {1000 + reloads}\n{mistake}")
            server.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        summary = json.loads(output.read_text().splitlines()[-1])
        # It may call its times not valid on a busy machine. They are not used here.
        if summary["counts"]["sent"] != RATE_PER_S * seconds:
            raise CheckFailed(f"loadgen did not send what it should: {summary.get('verdict')}")
        lines = log.read_text().splitlines()
        count = lambda part: sum(part in line for line in lines)  # noqa: E731
        return {
            "reloads": count("configuration read again: changed max-rooms"),
            "refused, with line and reason": count("server.toml:2: max-pears: unknown key"),
        } | {name: summary["counts"][field] for name, field in COUNTS.items()}


class _Supervisor:
    """Starts a command again whenever it has ended."""

    def __init__(self, command: list[str | Path]) -> None:
        self.command, self.is_over = command, threading.Event()
        self.pid = 0
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "_Supervisor":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.kill()
        self.thread.join()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _run(self) -> None:
        options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        while not self.is_over.is_set():
            with processes.child(self.command, **options) as server:
                self.pid = server.pid
                server.wait()


class _Texts:
    """The texts that one client prints, none of which may reach the lobby."""

    def __init__(self, client: subprocess.Popen[bytes], lobby: socket.socket) -> None:
        assert client.stdout is not None
        self.output, self.rest, self.lobby = client.stdout.fileno(), b"", lobby

    def wait_until_all_are_here(
        self, names: list[str], peers: list[subprocess.Popen[bytes]], word: bytes
    ) -> dict[str, float]:
        """Makes each peer say `word` every 20 ms until all have been received under their names.
        Returns when each was."""
        times: dict[str, float] = {}
        end = time.monotonic() + LIMIT_S
        while len(times) < len(names):
            if time.monotonic() > end:
                raise CheckFailed(f"not back after {LIMIT_S:.0f} s: {set(names) - set(times)}")
            for peer in peers:
                assert peer.stdin is not None
                peer.stdin.write(word + b"\n")
                peer.stdin.flush()
            pause_end = time.monotonic() + 0.02
            while (left := pause_end - time.monotonic()) > 0:
                if select.select([self.output], [], [], left)[0]:
                    for event in self._read():
                        if event.get("text") == word.decode() and event["from"] in names:
                            times.setdefault(str(event["from"]), time.monotonic())
            self._check_lobby()
        return times

    def _check_lobby(self) -> None:
        with suppress(BlockingIOError, ConnectionRefusedError):
            self.lobby.send(b"@im@")
            while text := self.lobby.recv(2000):
                if text.endswith((b" before", b" after")):
                    raise CheckFailed(f"said in the lobby: {text!r}")

    def _read(self) -> list[dict[str, object]]:
        lines = (self.rest + os.read(self.output, 1 << 16)).split(b"\n")
        self.rest = lines.pop()
        return [json.loads(line) for line in lines]


def _client(programs: Path, address: tuple[str, int], name: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    command = [
        programs / "client", f"{address[0]}:{address[1]}", "--json", f"--nick={name}", "--room=den",
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return processes.child(command, **pipes)


@contextmanager
def _lobby(address: tuple[str, int]) -> Iterator[socket.socket]:
    """A peer in the lobby."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(address)
        peer.setblocking(False)
        yield peer


def _forget(program: Path) -> None:
    """Drops the program from the page cache. The libraries that other processes use stay there."""
    with program.open("rb") as file:
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _server(programs: Path, address: tuple[str, int]) -> list[str | Path]:
    return [programs / "server", f"--bind={address[0]}:{address[1]}"]


def _wait_for_pong(address: tuple[str, int]) -> None:
    end = time.monotonic() + LIMIT_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(address)
        peer.settimeout(0.001)
        while time.monotonic() < end:
            try:
                peer.send(b"/ping 1")
                if peer.recv(100) == b"* pong 1":
                    peer.send(b"quit")
                    return
            except (ConnectionRefusedError, TimeoutError):
                continue
    raise CheckFailed("the server does not answer")


def main() -> int:
    """The program; returns its exit code."""
    parser = measuring.parser("service", __doc__)
    parser.add_argument("programs", type=Path, help="the folder of server, client and loadgen")
    parser.add_argument(
        "--rounds", type=measuring.whole(1, 100), default=20, help="rounds, 1 to 100 (default 20)"
    )
    parser.add_argument(
        "--clients", type=measuring.whole(1, 100), default=20, help="1 to 100 (default 20)"
    )
    parser.add_argument(
        "--seconds", type=measuring.whole(1, 600), default=20, help="under reloads (default 20)"
    )
    arguments = parser.parse_args()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    starts = [
        (start_ms(arguments.programs, address), start_ms(arguments.programs, address, cold=True))
        for _ in range(arguments.rounds)
    ]
    missed = []
    for kind, times in zip(("warm", "cold"), zip(*starts, strict=True), strict=True):
        print(f"{kind} start to the first answer: {measuring.span(times, '.1f')} ms")
        if statistics.median(times) > MAX_START_MS:
            missed.append(f"a {kind} start takes more than {MAX_START_MS} ms")
    backs = []
    for _ in range(max(1, arguments.rounds // 4)):
        backs += crash_ms(arguments.programs, address, arguments.clients)
    print(
        f"SIGKILL to a text with name and room: {measuring.span(backs, '.0f')} ms,"
        f" {len(backs)} times"
    )
    if max(backs) > MAX_BACK_MS:
        missed.append(f"a client was back after more than {MAX_BACK_MS} ms")
    counts = lost_in_reloads(arguments.programs, address, arguments.seconds)
    for what, count in counts.items():
        print(f"{what}: {count:,}")
        # Only these are to be 0.
        if what.endswith("missing") != (count == 0):
            missed.append(f"{what}: {count:,}")
    if missed:
        raise CheckFailed("; ".join(missed))
    return 0


LIMIT_S = 20.0
RATE_PER_S = 20_000
# A person does not notice the first, and clients are to be back before people ask each other.
MAX_START_MS = 50
MAX_BACK_MS = 2_000
# The names of the counts of loadgen for people.
COUNTS = {
    "datagrams sent": "sent",
    "answers missing": "unanswered",
    "deliveries expected": "expected",
    "deliveries missing": "lost",
}

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
