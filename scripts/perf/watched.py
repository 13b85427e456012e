"""watched: what a server at saturation pays for those who watch it.

Rounds alternate between a server without an admin server, one with it that nobody watches, and one
whose metrics are read ten times per second while ten dashboards are open. Prints the worker's CPU time
per delivery of each, and the median of the ratios to the first one. The server has the first core. The
load and the watchers have the last one.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import measuring
from crowd import ALL_CORES, TEXT, Server, offer, running, say

MODES = ("without", "unwatched", "watched")

RECEIVERS = 100
"""The worker is saturated, and the load is a small part of a core."""

TEXTS_PER_S = 200_000
"""More than it can send to them."""

DASHBOARDS = 10
SCRAPES_PER_S = 10


def cpu_ns(binary: Path, mode: str, seconds: float) -> float:
    """The CPU time of the worker per delivery."""
    with ExitStack() as stack:
        flags = []
        if mode != "without":
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                admin = free.getsockname()
            flags = [f"--admin={admin[0]}:{admin[1]}"]
        server = stack.enter_context(running(binary, 1, *flags))
        if mode == "watched":
            stack.enter_context(_watched(admin))
        peers = [server.frame_peer(2048) for _ in range(RECEIVERS)]
        publisher, head = peers[0]
        datagram = head + say(TEXT) * 16
        # Up to full batches first.
        offer(lambda: publisher.send(datagram), 16, TEXTS_PER_S, 0.5)
        before = _counts(server)
        offer(lambda: publisher.send(datagram), 16, TEXTS_PER_S, seconds)
        after = _counts(server)
        return 1e9 * (after[0] - before[0]) / (after[1] - before[1])


def _counts(server: Server) -> tuple[float, int]:
    """The CPU time of the worker until now, and the deliveries."""
    return sum(server.workers().values()), server.count("deliveries")


@contextmanager
def _watched(admin: tuple[str, int]) -> Iterator[None]:
    """Watches the server until the block ends."""
    ended = threading.Event()
    readers = [threading.Thread(target=_follow, args=(admin, ended)) for _ in range(DASHBOARDS)]
    readers.append(threading.Thread(target=_scrape, args=(admin, ended)))
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        ended.set()
        for reader in readers:
            reader.join()


def _follow(admin: tuple[str, int], ended: threading.Event) -> None:
    """Receives what a dashboard receives."""
    with socket.create_connection(admin) as events:
        events.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        events.settimeout(0.5)
        while not ended.is_set():
            try:
                events.recv(1 << 16)
            except TimeoutError:
                continue


def _scrape(admin: tuple[str, int], ended: threading.Event) -> None:
    while not ended.wait(1 / SCRAPES_PER_S):
        with socket.create_connection(admin) as page:
            page.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            while page.recv(1 << 16):
                pass


def main() -> int:
    parser = measuring.parser("watched", __doc__)
    parser.add_argument("server", type=measuring.existing, help="the program server")
    parser.add_argument(
        "--rounds", type=measuring.whole(1, 100), default=10, help="rounds, 1 to 100 (default 10)"
    )
    parser.add_argument(
        "--seconds", type=measuring.whole(1, 60), default=3, help="of one measurement (default 3)"
    )
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(ALL_CORES)})
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(arguments.rounds):
        # The first of a round is another one each time.
        for mode in MODES[number % 3 :] + MODES[: number % 3]:
            times[mode].append(cpu_ns(arguments.server, mode, arguments.seconds))
        measuring.progress(", ".join(f"{mode} {times[mode][-1]:.1f} ns" for mode in MODES))
    for mode in MODES:
        ratios = [b / a for a, b in zip(times["without"], times[mode], strict=True)]
        print(
            f"{mode:<10} {measuring.span(times[mode], '.1f')} ns per delivery,"
            f" ratio {measuring.span(ratios, '.3f')}"
        )
    noise = [b / a for a, b in zip(times["without"], times["without"][1:], strict=False)]
    print(f"noise: {measuring.span(noise, '.3f')} from one round to the next without")
    return 0


if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
