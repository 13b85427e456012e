"""turns: what rooms and senders get while others send too much.

For each row, starts each of the servers in turn, and prints a line of figures for each. With one
worker, the server has the first core and the load the last one. With two workers, server and load
have all cores.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import itertools
import os
import signal
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import machine
import measuring
from crowd import ALL_CORES, TEXT, Latencies, offer, p99_ms, running, say, stopped
from scenes import allow_sockets

Figures = dict[str, str]


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


def _stop_often(pid: int, ended: threading.Event) -> None:
    while not ended.wait(0.08):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.02)
        os.kill(pid, signal.SIGCONT)


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


SHARING = ("room of 40", "wake, two workers", "stuck")
"""Rows in which the server and the load have all cores."""

SO_TIMESTAMPNS = 35
"""Of <asm-generic/socket.h>."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
