"""A server, the peers that a program keeps at it, what they send, and how late they receive."""

import ctypes
import itertools
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import processes
from console import answer
from processes import CheckFailed
from scenes import open_session

class Server:
    """A running server, and the clients that this program keeps at it."""

    def __init__(self, process: subprocess.Popen[bytes], address: tuple[str, int]) -> None:
        self.process, self.address = process, address

    def text_peer(self, room: str = "", buffer: int = 4 << 20) -> socket.socket:
        """A v1 peer in this room, or in the lobby."""
        peer = self._socket(1 << 16)
        peer.send(b"/join " + room.encode() if room else b"/ping 1")
        peer.recv(2000)
        return resized(peer, buffer)

    def frame_peer(self, buffer: int) -> tuple[socket.socket, bytes]:
        """A v2 peer in the lobby, and the beginning of each of its datagrams."""
        peer = self._socket(1 << 16)
        head, _ = open_session(peer)
        return resized(peer, buffer), head

    def count(self, what: str) -> int:
        """A count of the console, 0 where it is not listed."""
        found = re.search(rf"{what}: (?:\d+ = )?(\d+)", self.listing())
        return int(found[1]) if found else 0

    def datagrams(self) -> int:
        """The datagrams that it has received."""
        if not (found := re.search(r"datagrams: (\d+)", self.listing())):
            raise CheckFailed("the console lists no datagrams")
        return int(found[1])

    def listing(self, line: str = "") -> str:
        """What the console lists, or its answer to another line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self.read_answer()

    def read_answer(self) -> str:
        """The next answer of its console."""
        assert self.process.stdout is not None
        text = b""
        while not answer(text):
            text += os.read(self.process.stdout.fileno(), 65536)
        return answer(text).decode()

    def workers(self) -> dict[int, float]:
        """The CPU time of each worker until now, by the id of its thread."""
        times = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text().startswith("worker"):
                fields = (task / "stat").read_text().rpartition(")")[2].split()
                times[int(task.name)] = (int(fields[11]) + int(fields[12])) / 100
        return times

    def _socket(self, buffer: int) -> socket.socket:
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.connect(self.address)
        peer.settimeout(3)
        return resized(peer, buffer)


@contextmanager
def running(
    binary: Path, workers: int, *flags: str, ip: str = "127.0.0.1", **options: Any
) -> Iterator[Server]:
    """A server with this number of workers, and these flags. `options` are those of
    `subprocess.Popen`."""
    cores = [min(ALL_CORES)] if workers == 1 else ALL_CORES
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((ip, 0))
        port = free.getsockname()[1]
    command = [binary, f"--bind={ip}:{port}", f"--workers={workers}", "--no-pin"]
    given = [flag.partition("=")[0] for flag in flags]
    command += [flag for flag in DEFAULTS if flag.partition("=")[0] not in given]
    options |= {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    with processes.child([*command, *flags], cores, **options) as process:
        server = Server(process, (ip, port))
        # Its console begins when its sockets are open.
        server.listing()
        yield server


class Peer(Protocol):
    """A peer that sends texts. So is a socket of version 1."""

    def send(self, text: bytes, /) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def setblocking(self, flag: bool, /) -> None: ...


class Latencies(threading.Thread):
    """Sends texts to rooms in turn, at a steady rate, and records the delay at each peer in the
    room. In each room this number of speakers take turns."""

    def __init__(
        self,
        rooms: Sequence[Sequence[Peer]],
        rate: float,
        seconds: float,
        frame: Callable[[bytes], bytes] = bytes,
        speakers: int = 1,
    ):
        super().__init__()
        self.rooms, self.rate, self.seconds, self.frame = rooms, rate, seconds, frame
        self.speakers = speakers
        self.expected, self.late_s = 0, [list[float]() for _ in rooms]

    def run(self) -> None:
        for room in self.rooms:
            for peer in room:
                peer.setblocking(False)
        start, sent = time.time(), 0
        while (now := time.time()) < start + self.seconds + DRAIN_S:
            while sent < min(now - start, self.seconds) * self.rate:
                room = self.rooms[sent % len(self.rooms)]
                speaker = room[sent // len(self.rooms) % self.speakers]
                speaker.send(self.frame(b"Q %.6f" % (start + sent / self.rate)))
                sent, self.expected = sent + 1, self.expected + len(room)
            if now > start + self.seconds and sum(map(len, self.late_s)) >= self.expected:
                break
            for late_s, room in zip(self.late_s, self.rooms, strict=True):
                self._receive(room, late_s)
            time.sleep(0.0005)

    def _receive(self, peers: Sequence[Peer], late_s: list[float]) -> None:
        for peer in peers:
            while True:
                try:
                    datagram = peer.recv(2000)
                except BlockingIOError:
                    break
                now = time.time()
                late_s += (now - float(due) for due in re.findall(rb"Q (\d+\.\d{6})", datagram))

    def figures(self, name: str) -> dict[str, str]:
        """The share that arrived, and the 99th percentile of its delay."""
        late_s = list(itertools.chain(*self.late_s))
        got = 100 * len(late_s) / self.expected
        return {f"{name} %": f"{got:.2f}", f"{name} p99 ms": f"{p99_ms(late_s):.1f}"}


def p99_ms(late_s: Iterable[float]) -> float:
    """The 99th percentile of delays in seconds."""
    late_s = sorted(late_s) or [float("nan")]
    return 1000 * late_s[len(late_s) * 99 // 100]


def offer(send: Callable[[], object], each: int, rate: float, seconds: float) -> int:
    """Sends `rate` texts per second with `send`, which sends `each`. Returns their number."""
    start, sent = time.time(), 0
    while (now := time.time()) < start + seconds:
        due = (now - start) * rate
        for _ in range(MAX_BURST):
            if sent >= due:
                time.sleep(0.0002)
                break
            send()
            sent += each
    return sent


class Tries:
    """The numbers of tries, at a steady rate for some seconds, and `None` between them. It goes on
    for the time that the last one may take."""

    def __init__(self, count: int, seconds: float, limit_s: float) -> None:
        self.count, self.seconds, self.limit_s = count, seconds, limit_s

    def due(self) -> Iterator[int | None]:
        """Yields each when it is due."""
        start = time.monotonic()
        numbers = iter(range(self.count))
        next_at = start
        while (now := time.monotonic()) < start + self.seconds + self.limit_s:
            number = None
            if now >= next_at:
                number = next(numbers, None)
                next_at += self.seconds / self.count
            yield number
            time.sleep(0.001)


def say(text: bytes) -> bytes:
    """A frame of version 2 with a text."""
    return b"\x04" + len(text).to_bytes(2, "big") + text


def command(line: str) -> bytes:
    """A frame of version 2 with a command."""
    return b"\x06" + len(line).to_bytes(2, "big") + line.encode()


def resized(peer: socket.socket, buffer: int) -> socket.socket:
    """Sets the size of a receive buffer, beyond the limit of the system if that is allowed."""
    try:
        peer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
    except PermissionError:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    return peer


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """Stops one thread of another process."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if ptrace(request, thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        ptrace(PTRACE_DETACH, thread, None, None)


TEXT = b"x" * 48

DEFAULTS = ("--log=off", "--timeout=120s")
"""Flags of a server that is not told otherwise."""

MAX_BURST = 1000
"""Texts between two looks at the clock."""

DRAIN_S = 4.0
"""Longer than any backlog."""

ALL_CORES = os.sched_getaffinity(0)

SO_RCVBUFFORCE = 33
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000
"""Of <asm-generic/socket.h>, <linux/ptrace.h> and <linux/wait.h>."""
