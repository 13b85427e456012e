"""The load of a soak, beside that of loadgen: malformed datagrams, floods by strangers, clients
that are killed and started again, a lossy relay, and an operator. All of it is seeded."""

import itertools
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import attacks
import flooding
import processes
import strangers
import trial
from crowd import TEXT, Server, offer, resized
from flooding import flood, forked
from scenes import HELLO
from strangers import frame_member, member


def mutated(chance: random.Random, datagrams: Sequence[bytes]) -> bytes:
    """One of the datagrams with some bits flipped, cut, or with other bytes in it; or random
    bytes."""
    datagram = bytearray(chance.choice(datagrams))
    for _ in range(chance.randint(1, 3)):
        kind = chance.randrange(5)
        if kind == 0:
            return chance.randbytes(chance.randint(0, MAX_DATAGRAM))
        if kind == 1:
            del datagram[chance.randint(0, len(datagram)) :]
        elif kind == 2:
            datagram += chance.randbytes(chance.randint(1, 100))
        elif datagram:
            datagram[chance.randrange(len(datagram))] ^= 1 << chance.randrange(8)
    return bytes(datagram[:MAX_DATAGRAM])


def overload(loadgen: Path, target: str) -> None:
    """Sends more than a server can handle for some seconds, so that its buffers, of which memory is
    taken when it is first used, are full once."""
    for version in ("v1", "v2"):
        command = [loadgen, target, f"--protocol={version}", *OVERLOAD]
        processes.run([*trial.VALID_OR_NOT, *command], OVERLOAD_LIMIT_S)


@contextmanager
def malformed(server: Server, rate: float, seconds: float, seed: int) -> Iterator[None]:
    """Sends malformed datagrams from many addresses, and every other one in a session."""
    chance = random.Random(seed)
    peer, head = frame_member(server, MALFORMED)
    resized(peer, 2048)
    many = resized(strangers.wildcard_socket(MALFORMED_PORT), 2048)
    turns = itertools.count()

    def send() -> None:
        if next(turns) % 2:
            body = mutated(chance, attacks.KINDS)
            # The server may forget the session, and never closes its port.
            peer.send(head + body.removeprefix(head[:2])[:MAX_DATAGRAM - len(head)])
        else:
            ip = bytes([10, 88, chance.randrange(16), chance.randint(1, 254)])
            strangers.send_as(many, ip, mutated(chance, attacks.KINDS), server)

    with peer, many, forked(lambda: offer(send, 1, rate, seconds)):
        yield


Flood = Callable[[Server, float], AbstractContextManager[None]]


def floods() -> dict[str, Flood]:
    """The floods that take turns, by name. Each takes the server and the seconds that it lasts."""
    return {
        "texts of one peer": lambda server, s: flood(member(server), TEXT, 20_000, s),
        "commands of one peer": lambda server, s: flood(member(server), b"/rooms", 20_000, s),
        "HELLOs of one source": lambda server, s: flood(
            strangers.peer_socket(server), HELLO, 20_000, s
        ),
        "forged sources, v1": lambda server, s: _forged(server, lambda number: b"@im@", s),
        "forged sources, v2": lambda server, s: _forged(
            server, lambda number: HELLO if number % 2 else FORGED_SESSION, s
        ),
    }


@contextmanager
def _forged(server: Server, datagrams: Callable[[int], bytes], seconds: float) -> Iterator[None]:
    forger, numbers = attacks.Forger(server, FORGED_PORT), itertools.count()

    def send() -> None:
        number = next(numbers)
        forger.send(number % FORGED_SOURCES, datagrams(number))

    with forger.socket, forked(lambda: offer(send, 1, FORGED_PER_S, seconds)):
        yield


def takers(server: Server) -> AbstractContextManager[None]:
    """One network that takes what peers, names and rooms it can, for a minute at most."""
    return flooding.takers(server, 2000, 1000)


def pause(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Stops a process for this time. What waits for it fills its batches when it goes on."""
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGCONT)


class Faults:
    """Loses, repeats and reorders datagrams of one direction."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.held = chance, b""

    def pass_on(self, datagram: bytes) -> list[bytes]:
        """What is sent when a datagram has come."""
        fault = self.chance.random()
        if fault < LOST:
            return []
        if fault < LOST + REORDERED and not self.held:
            self.held = datagram
            return []
        sent = [datagram] * (2 if fault > 1 - REPEATED else 1)
        if self.held:
            sent.append(self.held)
            self.held = b""
        return sent


@contextmanager
def relay(server: Server, seed: int) -> Iterator[tuple[str, int]]:
    """A relay to the server with faults in both directions. Yields its address."""
    front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    front.bind((strangers.PEERS, 0))
    with front, processes.forked(lambda: _relay(front, server.address, random.Random(seed))):
        yield front.getsockname()


@dataclass
class _Way:
    """Of a client to the server and back."""

    back: socket.socket
    there: Faults
    and_back: Faults


def _relay(front: socket.socket, server: tuple[str, int], chance: random.Random) -> None:
    ways: dict[tuple[str, int], _Way] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(front, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    datagram, client = front.recvfrom(2048)
                    if client not in ways:
                        back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        back.bind((RELAY, 0))
                        back.connect(server)
                        selector.register(back, selectors.EVENT_READ, client)
                        ways[client] = _Way(back, Faults(chance), Faults(chance))
                        if len(ways) > MAX_WAYS:
                            oldest = ways.pop(next(iter(ways))).back
                            selector.unregister(oldest)
                            oldest.close()
                    way = ways[client]
                    for one in way.there.pass_on(datagram):
                        way.back.send(one)
                elif way := ways.get(key.data):
                    for one in way.and_back.pass_on(way.back.recv(2048)):
                        front.sendto(one, key.data)


class Clients:
    """Programs `client` that talk, change their names and rooms, and are killed and started
    again."""

    def __init__(self, program: Path, targets: Sequence[tuple[str, int]], seed: int) -> None:
        self.chance = random.Random(seed)
        self.programs = [
            _Program(program, number, target, "v1" if number % 2 else "v2")
            for number, target in enumerate(targets)
        ]
        self.next_line_at = self.next_restart_at = 0.0

    def __enter__(self) -> "Clients":
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.programs:
            one.end()

    def work(self, now: float) -> None:
        """Does what is due."""
        for one in self.programs:
            one.read()
        if now >= self.next_line_at:
            self.next_line_at = now + 1 / LINES_PER_S
            self.chance.choice(self.programs).enter(self.chance.choice(LINES), self.chance)
        if now >= self.next_restart_at:
            self.next_restart_at = now + RESTART_S
            one = self.chance.choice(self.programs)
            if self.chance.randrange(3):
                one.end()
            else:
                one.leave()
            one.start()

    def counts(self) -> dict[str, int]:
        """Starts of clients, registrations, and messages that they received."""
        return {
            "starts": sum(one.starts for one in self.programs),
            "up": sum(one.events.get("up", 0) for one in self.programs),
            "messages": sum(one.events.get("message", 0) for one in self.programs),
        }


class _Program:
    def __init__(self, program: Path, number: int, target: tuple[str, int], version: str) -> None:
        host, port = target
        self.command = [
            program, f"{host}:{port}", "--json", f"--protocol={version}", f"--nick=s{number}",
            f"--room=soak{number % 2}",
        ]
        self.starts, self.events = 0, dict[str, int]()
        self._stack, self._unread = ExitStack(), b""
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        pipes["stderr"] = subprocess.DEVNULL
        self._process = self._stack.enter_context(processes.child(self.command, **pipes))
        os.set_blocking(self._stdout(), False)
        self.starts += 1

    def enter(self, line: str, chance: random.Random) -> None:
        """Types a line."""
        assert self._process and self._process.stdin
        with suppress(BrokenPipeError):
            line = line.format(chance.randrange(4))
            self._process.stdin.write(line.encode() + b"\n")

    def read(self) -> None:
        """Counts the events that have come."""
        with suppress(BlockingIOError):
            while some := os.read(self._stdout(), 65536):
                *lines, self._unread = (self._unread + some).split(b"\n")
                for line in lines:
                    event = json.loads(line)["event"]
                    self.events[event] = self.events.get(event, 0) + 1

    def leave(self) -> None:
        """Ends it as a user does."""
        self.enter("/quit", random.Random())
        assert self._process
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(processes.END_LIMIT_S)
        self.end()

    def end(self) -> None:
        """Kills it, and forgets what it has not been read of it."""
        if self._process:
            self._process.kill()
        self._stack.close()
        self._process, self._unread = None, b""

    def _stdout(self) -> int:
        assert self._process and self._process.stdout
        return self._process.stdout.fileno()


FLOODERS = "10.66.6.0/24"
"""The network of `flooding.takers`."""

OPERATOR = (
    "peers s", "mute s0 5s", "kick s1", f"ban {FLOODERS}", "bans", "unmute s0",
    f"unban {FLOODERS}", "limits", "ban 10.88.0.0/24 5s", "kick nobody",
)
"""What the operator enters in each minute, in turn."""

LINES = (
    "hello {}", "hello {}", "/nick s{}", "/nick t{}", "/join soak{}", "/leave", "/presence on",
    "/presence off", "/who", "/rooms", "/msg s{} hi", "/me waves", "/ping",
)
"""What the users of the clients enter."""

FORGED_SESSION = b"\xff\x02" + bytes(7) + b"\x07\x02\0\0"

MALFORMED, MALFORMED_PORT, RELAY = "10.88.255.1", 4999, "10.89.0.1"

FORGED_PORT, FORGED_SOURCES, FORGED_PER_S = 4998, 50_000, 3000

MAX_DATAGRAM = 1400

LOST = REORDERED = REPEATED = 0.05
"""Shares of the datagrams of a relay."""

MAX_WAYS = 16
"""Of a relay, of which clients that were killed have some."""

LINES_PER_S, RESTART_S = 5, 3.0

OVERLOAD = (
    "--scenario=lobby", "--clients=300", "--rate=5000", "--payload=32..900", "--duration=3s",
    "--drain=2s", "--threads=1", "--force", "--quiet",
)

OVERLOAD_LIMIT_S = 60.0
