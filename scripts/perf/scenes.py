"""Scenes: fixed work for a server, done in steps, so that timing decides nothing.

A step stops the server by SIGSTOP, queues datagrams into its socket, lets it go on, reads every
copy, and waits until the worker sleeps again. So each step of a scene finds the same, and the
server may batch what it finds in one way only. What a step costs is counted by strace
(`counts.py`) or taken from the scheduler (`pairs.py`).
"""

import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from processes import CheckFailed
from subject import Subject


@dataclass(frozen=True)
class Scene:
    """Who is there, and what a step is."""

    name: str
    version: int
    """Of the protocol."""
    peers: int
    """In all rooms."""
    datagrams: int
    """Queued in a step, by as many peers, at most `MAX_DATAGRAMS`."""
    is_ping: bool = False
    """Whether they are pings, with one reply each, and not texts, with a copy per member."""
    rooms: int = 1
    """Of equal size, with as many datagrams to each. Only version 1 joins more than one."""
    says: int = 1
    """Texts per datagram. More than one only in version 2."""

    @property
    def deliveries(self) -> int:
        """Copies and replies of a step."""
        texts = self.datagrams * self.says
        return texts if self.is_ping else texts * self.peers // self.rooms


@dataclass(frozen=True)
class Step:
    """What came of a step."""

    datagrams: int
    """That the peers received."""
    payload_bytes: int
    """In these."""
    took_s: float
    """Until the last of them was read."""


class Room:
    """The peers of a scene, registered at a running server."""

    def __init__(self, subject: Subject, scene: Scene) -> None:
        self.scene = scene
        self._pid = subject.pid
        self.worker = _task(subject.pid, WORKER)
        """The thread of the worker."""
        self._state = f"/proc/{subject.pid}/task/{self.worker}/stat"
        host, _, port = subject.address.rpartition(":")
        self._sockets: list[socket.socket] = []
        self._sent: list[tuple[socket.socket, bytes]] = []
        self._buffer = bytearray(2048)
        self._header_bytes = 0
        """At the start of a datagram of version 2."""
        try:
            for number in range(scene.peers):
                self._register((host, int(port)), number)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the peers' sockets."""
        for one in self._sockets:
            one.close()

    def step(self) -> Step:
        """Does one step."""
        os.kill(self._pid, signal.SIGSTOP)
        try:
            wait_for("the server to stop", self._has_stopped)
            for peer, datagram in self._sent:
                peer.send(datagram)
        finally:
            began_s = time.perf_counter()
            os.kill(self._pid, signal.SIGCONT)
        datagrams, payload_bytes = self._receive()
        took_s = time.perf_counter() - began_s
        wait_for("the worker to sleep", self._sleeps)
        return Step(datagrams, payload_bytes, took_s)

    def _receive(self) -> tuple[int, int]:
        """Reads all that is due, and returns how many datagrams and bytes that was."""
        scene = self.scene
        is_bundle = scene.version == 2 and not scene.is_ping
        if scene.is_ping:
            due = [(peer, 1) for peer, _ in self._sent]
        else:
            texts = scene.datagrams * scene.says // scene.rooms
            due = [(peer, texts) for peer in self._sockets]
        datagrams = payload_bytes = 0
        buffer = self._buffer
        for peer, left in due:
            while left > 0:
                size = peer.recv_into(buffer)
                datagrams += 1
                payload_bytes += size
                left -= (size - self._header_bytes) // MESSAGE_BYTES if is_bundle else 1
            if left < 0:
                raise CheckFailed(f"{scene.name}: more came than was due")
        return datagrams, payload_bytes

    def _register(self, server: tuple[str, int], number: int) -> None:
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(peer)
        # The kernel's own timeout, as Python's asks the kernel twice per datagram.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", LIMIT_S, 0))
        peer.connect(server)
        if len(str(peer.getsockname()[1])) != 5:
            # Version 1 writes the port into each text.
            raise CheckFailed("ports of other lengths than 5 digits: net.ipv4.ip_local_port_range")
        head = b""
        if self.scene.version == 2:
            head, self._header_bytes = open_session(peer)
        else:
            peer.send(b"/ping 1234")
            peer.recv(2048)
        if self.scene.rooms > 1:
            peer.send(b"/join r%d" % (number % self.scene.rooms))
            peer.recv(2048)
        if number < self.scene.datagrams:
            self._sent.append((peer, self._datagram(head)))

    def _datagram(self, head: bytes) -> bytes:
        """What a peer sends in each step; in version 2 it begins with `head`."""
        if self.scene.version == 1:
            return b"/ping 1234" if self.scene.is_ping else TEXT
        kind, body = (5, b"1234") if self.scene.is_ping else (4, TEXT)
        return head + self.scene.says * (struct.pack(">BH", kind, len(body)) + body)

    def _has_stopped(self) -> bool:
        # The kernel says so once all threads have, also one that strace holds for a moment.
        return os.waitid(os.P_PID, self._pid, os.WSTOPPED | os.WNOHANG) is not None

    def _sleeps(self) -> bool:
        with open(self._state, "rb") as file:
            # The state stands after the name, which stands in parentheses.
            return file.read().rpartition(b") ")[2][:1] == b"S"


def wait_for(what: str, is_done: Callable[[], bool]) -> None:
    """Looks until `is_done`."""
    deadline = time.monotonic() + LIMIT_S
    while not is_done():
        if time.monotonic() > deadline:
            raise CheckFailed(f"waited {LIMIT_S} s in vain for {what}")


def open_session(peer: socket.socket) -> tuple[bytes, int]:
    """Registers a peer of version 2. Returns the start of each of its datagrams, and the length of
    the start of those that it receives. A commit before 0.2.0 sends no session in these."""
    peer.send(HELLO)
    welcome = peer.recv(2048)
    if welcome[2] == WELCOME:
        return MARK + welcome[5:13], len(MARK)
    if welcome[:HEADER_BYTES] != MARK + NONCE:
        raise CheckFailed("a WELCOME without the nonce of the HELLO")
    head = MARK + welcome[13:21]
    # The first datagram of a session registers it. The reply is the room.
    peer.send(head + b"\x02\x00\x00")
    if peer.recv(2048)[:HEADER_BYTES] != head:
        raise CheckFailed("a datagram without the session of its receiver")
    return head, HEADER_BYTES


def allow_sockets() -> None:
    """Lets this process have as many files as it may: each peer is a socket."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _task(pid: int, name: str) -> int:
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise CheckFailed(f"the server has no thread {name}")


TEXT = b"the quick brown fox jumps over the lazy dog, yes"
"""48 bytes, the length of the project's other measurements."""

MARK = b"\xff\x02"
NONCE = b"\x00measure"
"""Its first byte is flags to a commit before 0.2.0."""

HELLO = (MARK + bytes(8) + b"\x01\x00\x08" + NONCE).ljust(256, b"\x00")
"""Asks for a session of version 2 (docs/PROTOCOL.md). A commit before 0.2.0 understands it, too."""

WELCOME = 0x82
"""The kind of the reply."""

HEADER_BYTES = 10
"""At the start of a datagram of version 2: mark, version and session."""

MESSAGE_BYTES = 3 + 4 + 1 + 4 + 7 + len(TEXT)
"""Kind and length, room, stream, sequence number, IPv4 address, payload."""

MAX_DATAGRAMS = 60
"""A worker takes 64 at once (`RECEIVE_BATCH`) and then looks at the time, to begin to send if
that took long: what decides that is no part of a scene."""

WORKER = "worker-0"
"""Its thread's name."""

LIMIT_S = 5
"""Each thing that is waited for takes milliseconds."""

SCENES = (
    # A packet per peer, with one text: a server that has time to spare.
    Scene("v1_one_to_500", 1, 500, 1),
    # A packet per peer, cut by the kernel: a server that is always busy.
    Scene("v1_32_to_100", 1, 100, 32),
    # The same, in bundles.
    Scene("v2_60_to_200", 2, 200, MAX_DATAGRAMS),
    # A packet of 32 bundles per peer: a server that is always busy.
    Scene("v2_544_to_200", 2, 200, 32, says=17),
    # The way in, and one reply each.
    Scene("v2_60_pings", 2, 200, MAX_DATAGRAMS, is_ping=True),
)

COUNTED_SCENES = (
    *SCENES,
    # A packet per peer, from as many rooms as there are texts. Pairs do without it.
    Scene("v1_60_rooms_of_5", 1, 300, MAX_DATAGRAMS, rooms=60),
)
"""The scenes whose system calls, packets and bytes are counted."""
