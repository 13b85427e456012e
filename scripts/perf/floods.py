"""floods: what true peers that send too much do to a server and to its other peers.

Prints a table per row: medians of the rounds, with their ranges. With --before, two servers take
turns in each round. All of it runs in a network namespace that this program makes, so it needs
root, and `ip` of iproute2. In there every address of 10.0.0.0/8 is local, and no peer is trusted.
The server has the first core, and all else the last one.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import itertools
import os
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import flooding
import machine
import measuring
import strangers
from crowd import ALL_CORES, TEXT, Latencies, Server, Tries, command, offer, p99_ms, running
from flooding import flood, forked
from scenes import HELLO, allow_sockets
from strangers import (
    FrameNewcomer,
    Newcomer,
    Program,
    TextNewcomer,
    frame_member,
    member,
    peer_socket,
    pending,
)

Figures = dict[str, float]


def one_source(binary: Path, kind: str, rate: float, seconds: float) -> Figures:
    """A source that floods, and 30 peers in rooms of 5, who say 100 texts per second, also for 3 s
    before. The same flood goes to the bare loop first."""
    bare_per_s, bare_ns = bare_loop(kind, rate)
    with started(binary, "--timeout=10s") as server:
        rooms = [[member(server, f"q{number}") for _ in range(5)] for number in range(6)]
        calm, live = (Latencies(rooms, 100, length_s) for length_s in (3, seconds))
        calm.run()
        flooder, datagram = flooder_of(server, kind)
        before, cpu_s = server.datagrams(), machine.process_cpu_s(server.process.pid)
        core = machine.core_times(min(ALL_CORES))
        with beating(list(itertools.chain(*rooms))), flood(flooder, datagram, rate, seconds):
            live.start()
            time.sleep(seconds)
            handled = server.datagrams() - before
            cpu_s = machine.process_cpu_s(server.process.pid) - cpu_s
            others_s = taken_s(core, machine.core_times(min(ALL_CORES))) - cpu_s
            listing = server.listing()
            live.join()
        drops = server.count("datagrams lost in the kernel, receive buffer full")
        return {
            "live peers that expired": expired(listing),
            "live texts, %": received(live),
            "their p99, ms": p99_ms(itertools.chain(*live.late_s)),
            "p99 before the flood, ms": p99_ms(itertools.chain(*calm.late_s)),
            "datagrams received, per s": handled / seconds,
            "by the bare loop, per s": bare_per_s,
            "dropped by the kernel, per s": drops / seconds,
            "CPU per datagram, ns": 1e9 * cpu_s / handled,
            "CPU of the bare loop, ns": bare_ns,
            "CPU of the server, %": 100 * cpu_s / seconds,
            # The times of a core and of a process are counted in different ways.
            "taken from its core by others, %": max(0.0, 100 * others_s / seconds),
        }


def bare_loop(kind: str, rate: float, seconds: float = 3) -> tuple[float, float]:
    """The number of datagrams of a flood that the bare loop receives in a second, and the CPU time
    for each in nanoseconds."""
    bare = flooding.BareLoop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, bare.running():
        sender.bind((strangers.PEERS, 0))
        sender.connect(bare.address)
        with flood(sender, DATAGRAMS[kind], rate, seconds + 1):
            time.sleep(0.5)
            (count, cpu_s), start = bare.counts(), time.monotonic()
            time.sleep(seconds)
            count_after, cpu_after_s = bare.counts()
            count = count_after - count
            return count / (time.monotonic() - start), 1e9 * (cpu_after_s - cpu_s) / max(count, 1)


def taken_s(before: machine.CoreTimes, after: machine.CoreTimes) -> float:
    """The time in which a core ran anything, or was lent to another virtual machine."""
    return after.busy_s - before.busy_s + after.steal_s - before.steal_s


def flooder_of(server: Server, kind: str) -> tuple[socket.socket, bytes]:
    """The source that floods, and its datagram."""
    datagram = DATAGRAMS[kind]
    if kind == "joins":
        peer, head = frame_member(server)
        return peer, head + datagram[len(head) :]
    return peer_socket(server) if kind == "HELLO" else member(server), datagram


@contextmanager
def beating(peers: Sequence[socket.socket]) -> Iterator[None]:
    """Each peer sends a heartbeat every 2 s while the block runs."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(2):
            for peer in peers:
                peer.send(b"@im@")

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def quiet(binary: Path, flooders: int, seconds: float) -> Figures:
    """A lobby of 1000 peers of one network or more, some of whom send 20,000 texts per second, and
    two quiet speakers of another network, in the lobby and in another room. Their texts are
    counted at three peers each."""
    with started(binary, env=os.environ | OPEN) as server:
        lobby = [
            member(server, ip=f"10.66.6.{number % 250 + 1}", buffer=2048)
            for number in range(max(1000, flooders))
        ]
        same, other = (
            Latencies([[member(server, room) for _ in range(3)]], 20, seconds)
            for room in ("", "quiet")
        )
        turns = itertools.cycle(lobby[:flooders])
        with forked(lambda: offer(lambda: next(turns).send(TEXT), 1, 20_000, seconds + 1)):
            time.sleep(0.5)
            same.start()
            other.start()
            same.join()
            other.join()
        figures = {}
        for name, speaker in (("in the same room", same), ("in another room", other)):
            late_s = list(itertools.chain(*speaker.late_s))
            figures[f"{name}, %"] = received(speaker)
            figures[f"{name}: p50, ms"] = 1000 * statistics.median(late_s or [float("nan")])
            figures[f"{name}: p99, ms"] = p99_ms(late_s)
        return figures


def newcomers(binary: Path, seconds: float) -> Figures:
    """150 newcomers of other networks, while one network has as many peers as it can."""
    with started(binary, "--max-peers=10000") as server:
        with flooding.takers(server, 12_000, 20_000):
            time.sleep(3)
            tries = Tries(150, seconds, LIMIT_S)
            after_s = {TextNewcomer: list[float](), FrameNewcomer: list[float]()}
            waiting: list[Newcomer] = []
            for number in tries.due():
                now = time.monotonic()
                if number is not None:
                    kind = (TextNewcomer, FrameNewcomer)[number % 2]
                    waiting.append(kind(server, now, f"10.70.{number}.1"))
                for newcomer in waiting:
                    newcomer.work(now)
                for newcomer in [one for one in waiting if one.after_s < LIMIT_S]:
                    after_s[type(newcomer)].append(newcomer.after_s)
                    newcomer.leave()
                    waiting.remove(newcomer)
            return {
                "v1 newcomers in, %": 100 * len(after_s[TextNewcomer]) / 75,
                "v2 newcomers in, %": 100 * len(after_s[FrameNewcomer]) / 75,
                "peers in all": float(server.count("peers")),
            }


def names_and_rooms(binary: Path, seconds: float) -> Figures:
    """150 peers of other networks that take a name, and 150 that create a room, while one network
    has as many as it can."""
    with started(binary, "--max-names=10000", "--max-rooms=10000") as server:
        peers = [
            member(server, ip=f"10.70.{number // 2}.{number % 2 + 1}") for number in range(300)
        ]
        with flooding.takers(server, 12_000, 20_000):
            time.sleep(4)
            tries = Tries(300, seconds, LIMIT_S)
            done = {"nick": 0, "join": 0}
            waiting: dict[socket.socket, tuple[str, bytes]] = {}
            for number in tries.due():
                if number is not None:
                    verb, said = (("nick", "you are"), ("join", "you are in"))[number % 2]
                    peers[number].send(f"/{verb} o{number:03}".encode())
                    waiting[peers[number]] = verb, f"{said} o{number:03}".encode()
                for peer, (verb, wish) in list(waiting.items()):
                    if wish in b"".join(pending(peer)):
                        done[verb] += 1
                        del waiting[peer]
            return {
                "names given, %": 100 * done["nick"] / 150,
                "rooms created, %": 100 * done["join"] / 150,
                "rooms in all": float(server.count("rooms")),
            }


def honest(binary: Path, seconds: float) -> Figures:
    """A hundred programs of one address start at once. Each is in a room of ten, and says 15 texts
    per second. They are counted as refused once for each second that they wait for a name or a
    room."""
    with started(binary) as server:
        programs = [Program(server, number, NAT) for number in range(100)]
        start = time.monotonic()
        waiting = programs
        while waiting and time.monotonic() < start + 15:
            waiting = [one for one in waiting if not one.work(time.monotonic())]
            time.sleep(0.001)
        took_s = time.monotonic() - start
        rooms = [programs[first : first + 10] for first in range(0, 100, 10)]
        talk = Latencies(rooms, 1500, seconds, speakers=10)
        talk.run()
        listing = server.listing()
        return {
            "programs without name or room": len(waiting),
            "s until all are ready": took_s,
            "names or rooms refused": sum(one.refusals for one in programs),
            "copies of texts lost": talk.expected - sum(map(len, talk.late_s)),
            "drops by limits": limit_drops(listing),
            "p99, ms": p99_ms(itertools.chain(*talk.late_s)),
        }


def presence(binary: Path, seconds: float) -> Figures:
    """20,000 peers of the lobby with presence notices, and one that joins and leaves another room 20
    times per second."""
    with started(binary, env=os.environ | OPEN) as server:
        _kept, count = flooding.subscribers(server, 20_000)
        joiner = member(server)
        time.sleep(1)
        bytes_before, packets_before = sent_by_interface()
        sent = [0, 0]

        def move() -> None:
            line = b"/leave" if sent[0] % 2 else b"/join x"
            sent[0], sent[1] = sent[0] + 1, sent[1] + len(line) + HEADERS
            joiner.send(line)

        offer(move, 1, 20, seconds)
        time.sleep(0.5)
        bytes_after, packets_after = sent_by_interface()
        packets = packets_after - packets_before - sent[0]
        return {
            "subscribers": count,
            "kB in": sent[1] / 1e3,
            "MB out": (bytes_after - bytes_before - sent[1] - packets * LINK_HEADER) / 1e6,
            "notices per s": packets / seconds,
        }


def logged(binary: Path, seconds: float) -> Figures:
    """A source of 50,000 texts of 1000 bytes per second, and a log file."""
    with tempfile.TemporaryFile() as log, started(binary, "--log=info", stderr=log) as server:
        with flood(member(server), b"x" * 1000, 50_000, seconds):
            time.sleep(seconds)
            bytes_written = os.fstat(log.fileno()).st_size
        return {"MB of log per s": bytes_written / seconds / 1e6}


def direct(binary: Path, seconds: float) -> Figures:
    """A source of 50,000 direct messages of 1000 bytes per second to one peer."""
    with started(binary) as server:
        bob = member(server, buffer=64 << 20)
        bob.send(b"/nick bob")
        with flood(member(server), b"/msg bob " + b"x" * 1000, 50_000, seconds):
            start, count = time.monotonic(), 0
            while time.monotonic() < start + seconds:
                count += sum(b"xxx" in datagram for datagram in pending(bob))
                time.sleep(0.001)
        return {"messages forwarded per s": count / seconds}


def started(binary: Path, *flags: str, **options: object):  # type: ignore[no-untyped-def]
    """A server with one worker, in the namespace."""
    return running(binary, 1, *flags, ip=strangers.SERVER, **options)


def received(texts: Latencies) -> float:
    """The share of texts that arrived, in percent."""
    return 100 * sum(map(len, texts.late_s)) / texts.expected


def expired(listing: str) -> int:
    """The number of peers that have expired, from the listing of the console."""
    found = re.search(r"(\d+) expired", listing)
    return int(found[1]) if found else 0


def limit_drops(listing: str) -> int:
    """The number of datagrams dropped by a limit, from the listing of the console."""
    return sum(int(count) for count in re.findall(r"limit[^:\n]*: (\d+)", listing))


def sent_by_interface() -> tuple[int, int]:
    """The bytes and packets that have been sent in the namespace until now."""
    return flooding.interface_counts(Path("/proc/self/net/dev").read_text())


def table(row: str, names: Sequence[str], rounds: Sequence[Sequence[Figures]]) -> str:
    """The rounds of each server, side by side."""
    lines = [f"| {row} | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    for figure in rounds[0][0]:
        spans = (span([one[figure] for one in server]) for server in rounds)
        lines.append(f"| {figure} | {' | '.join(spans)} |")
    return "\n".join(lines) + "\n"


def span(values: Sequence[float]) -> str:
    """The values of the rounds. Large ones have no digits after the point."""
    form = ",.0f" if max(values) >= 1000 else ".4g"
    return measuring.span(values, form) if len(values) > 1 else f"{values[0]:{form}}"


ROWS: dict[str, Callable[[Path], Figures]] = {
    "one source, joins, 20,000 per s": lambda server: one_source(server, "joins", 20_000, 20),
    "one source, /rooms, 200,000 per s": lambda server: one_source(server, "rooms", 200_000, 20),
    "one source, /rooms, 500,000 per s": lambda server: one_source(server, "rooms", 500_000, 20),
    "one source, HELLO, 500,000 per s": lambda server: one_source(server, "HELLO", 500_000, 20),
    **{
        f"a quiet speaker beside {count}": lambda server, n=count: quiet(server, n, 8)
        for count in (1, 10, 100, 1000, 2000)
    },
    "newcomers": lambda server: newcomers(server, 15),
    "names and rooms": lambda server: names_and_rooms(server, 15),
    "a hundred programs": lambda server: honest(server, 10),
    "presence": lambda server: presence(server, 4),
    "log": lambda server: logged(server, 4),
    "direct messages": lambda server: direct(server, 4),
}


def main() -> int:
    """Runs the rows."""
    parser = measuring.parser("floods", __doc__)
    parser.add_argument("server", type=measuring.existing, metavar="SERVER")
    parser.add_argument("--before", type=measuring.existing, metavar="SERVER")
    parser.add_argument("--rounds", type=measuring.whole(1, 99), default=3)
    parser.add_argument("--only", default="", help="rows whose names begin with this")
    arguments = parser.parse_args()
    allow_sockets()
    machine.choose_cores()
    strangers.enter_namespace()
    os.sched_setaffinity(0, {max(ALL_CORES)})
    servers = {"now": arguments.server}
    if arguments.before:
        servers = {"before": arguments.before} | servers
    for name, row in ROWS.items():
        if name.startswith(arguments.only):
            rounds = [
                [row(server) for server in servers.values()] for _ in range(arguments.rounds)
            ]
            by_server = list(zip(*rounds, strict=True))
            print(table(name, list(servers), by_server), flush=True)
    return 0


NAT = "10.77.7.7"
"""The address of the honest programs."""

DATAGRAMS = {
    "joins": bytes(10) + (command("/join a") + command("/join b")) * 100,
    "rooms": b"/rooms",
    "HELLO": HELLO,
}
"""What a source floods with. The first one is a datagram full of commands, without its session. The
last one asks for a session, and is answered."""

OPEN = {
    "BULLHORN_CHALLENGE_RATE": "1GiB",
    "BULLHORN_CHALLENGES_PER_NETWORK": "off",
    "BULLHORN_REGISTRATIONS_PER_NETWORK": "off",
}
"""The environment of a server that registers thousands of peers of a network at once. A server that
does not have a limit does not read its variable."""

LIMIT_S = 5.0
"""Time until a try has failed."""

HEADERS, LINK_HEADER = 28, 14
"""Of IPv4 and UDP, and of the loopback interface."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
