"""turns: what rooms and senders get while others send too much.

For each row, starts each of the servers in turn, and prints a line of figures for each. With one
worker, the server has the first core and the load the last one. With two workers, server and load
have all cores.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import ctypes
import itertools
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import machine
import measuring
import processes
from scenes import allow_sockets, open_session

Figures = dict[str, str]


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

    def listing(self) -> str:
        """What the console lists."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return self.read_until_prompt()

    def read_until_prompt(self) -> str:
        """The output of its console, up to the next prompt."""
        assert self.process.stdout is not None
        text = b""
        while not text.endswith(b">>>>: "):
            text += os.read(self.process.stdout.fileno(), 65536)
        return text.decode()

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
    binary: Path, workers: int, *flags: str, ip: str = "127.0.0.1"
) -> Iterator[Server]:
    """A server with this number of workers, and these flags."""
    cores = [min(ALL_CORES)] if workers == 1 else ALL_CORES
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((ip, 0))
        port = free.getsockname()[1]
    command = [binary, f"--bind={ip}:{port}", f"--workers={workers}", "--log=off"]
    command += ["--no-pin", "--timeout=120s", *flags]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    with processes.child(command, cores, **pipes) as process:  # type: ignore[arg-type]
        server = Server(process, (ip, port))
        server.read_until_prompt()
        yield server


class Latencies(threading.Thread):
    """Sends texts to rooms in turn, at a steady rate, and records the delay at each peer in the
    room."""

    def __init__(
        self,
        rooms: Sequence[Sequence[socket.socket]],
        rate: float,
        seconds: float,
        frame: Callable[[bytes], bytes] = bytes,
    ):
        super().__init__()
        self.rooms, self.rate, self.seconds, self.frame = rooms, rate, seconds, frame
        self.expected, self.late_s = 0, [list[float]() for _ in rooms]

    def run(self) -> None:
        for room in self.rooms:
            for peer in room:
                peer.setblocking(False)
        start, sent = time.time(), 0
        while (now := time.time()) < start + self.seconds + DRAIN_S:
            while sent < min(now - start, self.seconds) * self.rate:
                room = self.rooms[sent % len(self.rooms)]
                room[0].send(self.frame(b"Q %.6f" % (start + sent / self.rate)))
                sent, self.expected = sent + 1, self.expected + len(room)
            if now > start + self.seconds and sum(map(len, self.late_s)) >= self.expected:
                break
            for late_s, room in zip(self.late_s, self.rooms, strict=True):
                self._receive(room, late_s)
            time.sleep(0.0005)

    def _receive(self, peers: Sequence[socket.socket], late_s: list[float]) -> None:
        for peer in peers:
            while True:
                try:
                    datagram = peer.recv(2000)
                except BlockingIOError:
                    break
                now = time.time()
                late_s += (now - float(due) for due in re.findall(rb"Q (\d+\.\d{6})", datagram))

    def figures(self, name: str) -> Figures:
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


def flooded(binary: Path, flooders: int, seconds: float) -> Figures:
    """20,000 texts per second to a lobby of 1000, a quiet speaker in it, and 20 other rooms."""
    with running(binary, 1) as server:
        lobby = [server.text_peer(buffer=2048) for _ in range(1000)]
        rooms = [[server.text_peer(f"q{number}") for _ in range(2)] for number in range(20)]
        others = Latencies(rooms, 200, seconds)
        speaker = Latencies([[server.text_peer() for _ in range(2)]], 10, seconds)
        others.start()
        speaker.start()
        sent = iter(range(1 << 60))
        offer(lambda: lobby[next(sent) % flooders].send(TEXT), 1, 20_000, seconds)
        deliveries = server.count("deliveries")
        others.join()
        speaker.join()
        figures = others.figures("others") | speaker.figures("speaker")
        return figures | {"M deliveries/s": f"{deliveries / seconds / 1e6:.2f}"}


def published(
    binary: Path, receivers: int, rate: float, seconds: float, disturbance: str = ""
) -> tuple[Figures, float]:
    """A v2 publisher. `stops`: the server is stopped for 20 ms ten times per second. `quiet`: there
    are two more peers, one of whom sends 10 texts per second. Also returns the number of texts
    delivered per second."""
    with running(binary, 1) as server:
        peers = [server.frame_peer(2048) for _ in range(receivers)]
        pair = [server.frame_peer(64 << 20) for _ in range(2)] if disturbance == "quiet" else []
        quiet = Latencies(
            [[peer for peer, _ in pair]], 10, seconds, lambda text: pair[0][1] + say(text)
        )
        publisher, head = peers[0]
        datagram = head + say(TEXT) * 16
        ended = threading.Event()
        stopper = threading.Thread(target=_stop_often, args=(server.process.pid, ended))
        threads = {"stops": [stopper], "quiet": [quiet]}.get(disturbance, [])
        for thread in threads:
            thread.start()
        sent = offer(lambda: publisher.send(datagram), 16, rate, seconds)
        delivered = server.count("deliveries") / (receivers + len(pair))
        ended.set()
        for thread in threads:
            thread.join()
        figures = {"shed": f"{server.count('messages shed, backlog full')} of {sent}"}
        figures["M texts/s"] = f"{delivered / seconds / 1e6:.3f}"
        return figures | (quiet.figures("quiet") if pair else {}), delivered / seconds


def room_of_40(binary: Path, seconds: float) -> Figures:
    """A flooder in a room of 40, with two workers."""
    with running(binary, 2) as server:
        room = [server.text_peer(buffer=2048) for _ in range(40)]
        flooder, head = server.frame_peer(2048)
        datagram = head + say(TEXT) * 16
        before = server.workers()
        offer(lambda: flooder.send(datagram), 16, 400_000, seconds)
        busy = [(cpu - before[task]) / seconds for task, cpu in server.workers().items()]
        deliveries = server.count("deliveries") / seconds / 1e6
        del room
        text = ", ".join(f"{share:.2f}" for share in busy)
        return {"M deliveries/s": f"{deliveries:.2f}", "busy": text}


def spread(binary: Path, workers: int, hashings: int) -> Figures:
    """The time until the last of 1000 stock peers has a text, as the kernel stamps it."""
    medians = []
    for _ in range(hashings):
        with running(binary, workers) as server:
            peers = [server.text_peer(buffer=1 << 16) for _ in range(1000)]
            for peer in peers:
                peer.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            medians.append(statistics.median(_last_ms(peers, peers[i]) for i in range(9)))
    return {"last ms": measuring.span(medians, ".2f")}


def stuck(binary: Path, seconds: float) -> Figures:
    """12 small rooms while one of two workers is stopped. Rooms with a delay of more than 1 s stand
    still, because that worker receives from their sender. They are only counted."""
    with running(binary, 2) as server:
        rooms = [[server.text_peer(f"r{number}") for _ in range(2)] for number in range(12)]
        quiet = Latencies(rooms, 240, seconds)
        quiet.start()
        with stopped(max(server.workers())):
            time.sleep(min(3.0, seconds))
        quiet.join()
        moving = [late_s for late_s in quiet.late_s if max(late_s, default=9) < 1]
        return {
            "rooms that go on": f"{len(moving)} of 12",
            "their p99 ms": f"{p99_ms(itertools.chain(*moving)):.1f}",
        }


def say(text: bytes) -> bytes:
    """A frame of version 2 with a text."""
    return b"\x04" + len(text).to_bytes(2, "big") + text


def saturated(binary: Path, receivers: int) -> float:
    """The highest number of texts per second that the server delivers for a publisher. The rate
    grows by half until that brings no more, as far higher rates bring less."""
    best, rate = 0.0, 2e6 / receivers
    while (delivered := published(binary, receivers, rate, 2)[1]) > 1.02 * best:
        best, rate = delivered, rate * 1.5
    return best


def _last_ms(peers: Sequence[socket.socket], sender: socket.socket) -> float:
    start = time.clock_gettime_ns(time.CLOCK_REALTIME)
    sender.send(b"hello")
    time.sleep(0.02)
    last = 0
    for peer in peers:
        (_, _, data), *_ = peer.recvmsg(100, 100)[1]
        stamp = int.from_bytes(data[:8], "little") * 10**9 + int.from_bytes(data[8:16], "little")
        last = max(last, stamp)
    return (last - start) / 1e6


def resized(peer: socket.socket, buffer: int) -> socket.socket:
    """Sets the size of a receive buffer, beyond the limit of the system if that is allowed."""
    try:
        peer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
    except PermissionError:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    return peer


def _stop_often(pid: int, ended: threading.Event) -> None:
    while not ended.wait(0.08):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.02)
        os.kill(pid, signal.SIGCONT)


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


def main() -> int:
    """Runs the rows."""
    parser = measuring.parser("turns", __doc__)
    parser.add_argument("servers", nargs="+", type=measuring.existing, metavar="SERVER")
    parser.add_argument("--seconds", type=float, default=10, help="of load per row")
    parser.add_argument("--only", default="", help="rows whose names begin with this")
    arguments = parser.parse_args()
    allow_sockets()
    machine.choose_cores()
    seconds: float = arguments.seconds
    rates: dict[int, float] = {}

    def publish(binary: Path, receivers: int, share: float, disturbance: str = "") -> Figures:
        # The same for each server, so that their rows compare.
        if receivers not in rates:
            rates[receivers] = saturated(arguments.servers[0], receivers)
        rate = rates[receivers] * share
        figures, delivered = published(binary, receivers, rate, seconds, disturbance)
        return figures | {"of the saturated rate": f"{delivered / rates[receivers]:.3f}"}

    rows: dict[str, Callable[[Path], Figures]] = {}
    for flooders in (1, 10, 100):
        rows[f"flood by {flooders}"] = lambda server, n=flooders: flooded(server, n, seconds)
    for receivers in (10, 100):
        loads = ((0.25, ""), (0.5, ""), (0.8, ""), (2, ""), (0.4, "stops"), (2, "quiet"))
        for share, more in loads:
            name = f"publisher to {receivers} at {share} {more}".strip()
            rows[name] = lambda server, n=receivers, s=share, m=more: publish(server, n, s, m)
    rows["room of 40"] = lambda server: room_of_40(server, seconds)
    rows["wake, one worker"] = lambda server: spread(server, 1, 3)
    rows["wake, two workers"] = lambda server: spread(server, 2, 20)
    rows["stuck"] = lambda server: stuck(server, seconds)
    for name, row in rows.items():
        if name.startswith(arguments.only):
            os.sched_setaffinity(0, ALL_CORES if name in SHARING else {max(ALL_CORES)})
            for server in arguments.servers:
                figures = row(server).items()
                print(f"{name} | {server.name} |", ", ".join(f"{k} {v}" for k, v in figures))
                sys.stdout.flush()
    return 0


TEXT = b"x" * 48

MAX_BURST = 1000
"""Texts between two looks at the clock."""

DRAIN_S = 4.0
"""Longer than any backlog."""

ALL_CORES = os.sched_getaffinity(0)

SHARING = ("room of 40", "wake, two workers", "stuck")
"""Rows in which the server and the load have all cores."""

SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000
"""Of <asm-generic/socket.h>, <linux/ptrace.h> and <linux/wait.h>."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
