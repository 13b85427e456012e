"""attacks: what forged datagrams do to a server, to its peers, and to strangers.

Prints a row per attack and mode: medians of the rounds, with their ranges. `always` is a server
with --proof always --trust none, and `auto` one without such flags. All of it runs in a network
namespace that this program makes, so it needs root, and `ip` of iproute2. In there every address of
10.0.0.0/8 is local, so that datagrams have as many sources as they need. The server has the first
core, and all else the last one.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import itertools
import os
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import machine
import measuring
import processes
import strangers
from crowd import ALL_CORES, Latencies, Server, offer, p99_ms, running, say
from scenes import HELLO, allow_sockets
from strangers import FrameNewcomer, Newcomer, TextNewcomer, frame_member, member

Figures = dict[str, float]


class Forger:
    """Sends in the names of addresses of its network with one port, and receives what is sent to
    them. There are 65,536 times 240 of them."""

    def __init__(self, server: Server, port: int = 5000) -> None:
        self.server = server
        self.socket = strangers.wildcard_socket(port)

    def send(self, victim: int, datagram: bytes) -> None:
        """Sends a datagram in the name of the victim with this number."""
        strangers.send_as(self.socket, address(victim), datagram, self.server)

    def bytes_by_victim(self) -> dict[bytes, int]:
        """What each victim was sent until now, with headers."""
        found: dict[bytes, int] = {}
        self.socket.settimeout(0.5)
        while True:
            try:
                datagram, control, _, _ = self.socket.recvmsg(2048, 64)
            except TimeoutError:
                return found
            victim = control[0][2][8:12]
            found[victim] = found.get(victim, 0) + len(datagram) + HEADERS


def address(victim: int) -> bytes:
    """The address of a victim, which is spread over all networks of 24 bits."""
    low, high = divmod(victim, 1 << 16)
    return struct.pack("!BHB", 10, high, low + 1)


@contextmanager
def flood(
    server: Server, datagrams: Callable[[int], bytes], count: int, sources: int, seconds: float
) -> Iterator[None]:
    """Forges `count` datagrams, at a steady rate, in a process of its own."""
    forger = Forger(server)
    numbers = iter(range(count))

    def send() -> None:
        number = next(numbers)
        forger.send(number % sources, datagrams(number))

    def send_all() -> None:
        with suppress(StopIteration):
            offer(send, 1, count / seconds, 2 * seconds)

    with forger.socket, processes.forked(send_all):
        yield


def newcomers(
    server: Server,
    kind: type[Newcomer],
    datagrams: Callable[[int], bytes],
    sources: int,
    seconds: float,
) -> Figures:
    """A million forged datagrams while newcomers come, and members of rooms talk. The last newcomer
    comes 15 s before the end."""
    rooms = [[member(server, f"q{number}") for _ in range(5)] for number in range(4)]
    live = Latencies(rooms, 100, seconds)
    before = resident_kib(server)
    started = next_one = time.monotonic()
    all_of_them: list[Newcomer] = []
    waiting: list[Newcomer] = []
    with flood(server, datagrams, FORGED, sources, seconds):
        live.start()
        while (now := time.monotonic()) < started + seconds:
            if next_one <= now < started + seconds - 15:
                waiting.append(kind(server, now))
                all_of_them.append(waiting[-1])
                next_one += 0.05
            for newcomer in waiting:
                newcomer.work(now)
            for newcomer in [one for one in waiting if one.after_s < float("inf")]:
                newcomer.leave()
                waiting.remove(newcomer)
            time.sleep(0.002)
        live.join()
    after = sorted(newcomer.after_s for newcomer in all_of_them)
    figures = {
        # Half a second for an answer.
        f"in after {limit_s} s, %": 100 * sum(one <= limit_s + 0.5 for one in after) / len(after)
        for limit_s in (0, 5, 10, 15)
    }
    figures["in at the end, %"] = 100 * sum(one < float("inf") for one in after) / len(after)
    figures["live texts, %"] = 100 * sum(map(len, live.late_s)) / live.expected
    figures["their p99, ms"] = p99_ms(itertools.chain(*live.late_s))
    figures["memory, MiB more"] = (peak_kib(server) - before) / 1024
    figures["M datagrams handled"] = server.datagrams() / 1e6
    return figures


def reflection(server: Server) -> Figures:
    """One forged datagram of each kind in the name of each of 100 victims, then 100,000 texts of
    1000 bytes, and 20 datagrams of 679 empty ones, by members."""
    forger, speaker = Forger(server), member(server)
    sent = {}
    for victim in range(100):
        datagram = KINDS[victim % len(KINDS)]
        forger.send(victim, datagram)
        sent[address(victim)] = len(datagram) + HEADERS
    for _ in range(1000):
        for _ in range(100):
            speaker.send(b"x" * 1000)
        for _ in range(100):
            speaker.recv(2048)
    frame_speaker, head = frame_member(server)
    for _ in range(20):
        frame_speaker.send(head + say(b"") * 679)
    received = forger.bytes_by_victim()
    forger.socket.close()
    worst = max(received.get(victim, 0) / size for victim, size in sent.items())
    return {
        "victims answered": len(received),
        "bytes to a victim by its own, at most": worst,
        "M texts": server.count("deliveries") / 1e6,
    }


def members(server: Server) -> Figures:
    """100,000 forged registrations, and the time of a text to ten members of the lobby."""
    lobby = [member(server) for _ in range(10)]

    def p50_ms() -> float:
        quiet = Latencies([lobby], 100, 3)
        quiet.run()
        return 1000 * statistics.median(itertools.chain(*quiet.late_s))

    before = p50_ms()
    forger = Forger(server)
    for number in range(100_000):
        forger.send(number, b"@im@")
        if number % 100 == 99:
            time.sleep(0.003)
    after = p50_ms()
    forger.socket.close()
    figures = {"p50 before, ms": before, "p50, ms": after, "peers": float(server.count("peers"))}
    return figures | {"M datagrams handled": server.datagrams() / 1e6}


def resident_kib(server: Server) -> int:
    """Memory of the server. Its peak begins anew."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    return _status(server, "VmRSS")


def peak_kib(server: Server) -> int:
    """The greatest memory of the server since then."""
    return _status(server, "VmHWM")


def _status(server: Server, name: str) -> int:
    return machine.field_kib(Path(f"/proc/{server.process.pid}/status"), name)


def _text_flood(_: int) -> bytes:
    return b"@im@"


def _frame_flood(number: int) -> bytes:
    if number % 2:
        return HELLO
    return b"\xff\x02" + os.urandom(8) + b"\x02\0\0"


def main() -> int:
    """Runs the rows."""
    parser = measuring.parser("attacks", __doc__)
    parser.add_argument("server", type=measuring.existing, metavar="SERVER")
    parser.add_argument("--rounds", type=measuring.whole(1, 99), default=3)
    parser.add_argument("--seconds", type=float, default=60, help="for a million datagrams")
    parser.add_argument("--only", default="", help="rows whose names begin with this")
    arguments = parser.parse_args()
    allow_sockets()
    machine.choose_cores()
    strangers.enter_namespace()
    os.sched_setaffinity(0, {max(ALL_CORES)})
    seconds: float = arguments.seconds
    text, frame = TextNewcomer, FrameNewcomer
    rows: dict[str, Callable[[Server], Figures]] = {
        "reflection": reflection,
        "forged members": members,
        "newcomers, v1": lambda server: newcomers(server, text, _text_flood, FORGED, seconds),
        "newcomers, v2": lambda server: newcomers(server, frame, _frame_flood, FORGED, seconds),
        "newcomers, v1, sources that repeat": lambda server: newcomers(
            server, text, _text_flood, FORGED // 20, seconds
        ),
    }
    for name, row in rows.items():
        for mode, flags in MODES.items():
            if not f"{name}, {mode}".startswith(arguments.only):
                continue
            rounds = []
            for _ in range(arguments.rounds):
                options = {"ip": strangers.SERVER, "env": os.environ | UNLIMITED}
                with running(arguments.server, 1, *flags, **options) as server:
                    rounds.append(row(server))
            figures = (f"{key} {measuring.span([one[key] for one in rounds])}" for key in rounds[0])
            print(f"{name}, {mode} | {' | '.join(figures)}", flush=True)
    return 0


MODES = {"always": ["--proof=always", "--trust=none"], "auto": []}

UNLIMITED = {f"BULLHORN_{what}_PER_PEER": "off" for what in ("TEXTS", "BYTES", "WORK")}
"""The environment of a server whose members may speak as much as they like. `floods` measures these
limits."""

FORGED = 1_000_000

KINDS = [
    b"@im@",
    b"",
    b"hi\n",
    b"/who",
    b"/rooms",
    b"/help",
    b"/presence on",
    b"/in 00000000",
    HELLO,
    b"\xff\x02" + bytes(7) + b"\x07\x02\0\0",
    b"\xff\x02" + bytes(7) + b"\x07" + say(b"") * 679,
    b"\xff\x02" + bytes(8) + b"\x77\0\0" + bytes(30),
]
"""The datagrams that are forged, of both versions."""

HEADERS = 28
"""Of IPv4 and UDP."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
