"""A network of its own for a program, in which every address of 10.0.0.0/8 is local, and true peers
of a server there. So datagrams have as many sources as they need. No peer is trusted."""

import ctypes
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator

from crowd import Server, command, resized, say
from processes import CheckFailed
from scenes import HELLO, open_session

SERVER, PEERS = "10.255.0.1", "10.254.0.1"


def enter_namespace() -> None:
    """Moves this process into a network of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise CheckFailed(f"unshare: {os.strerror(ctypes.get_errno())}")
    for words in (
        "link set lo up",
        f"address add {SERVER}/32 dev lo",
        "route add local 10.0.0.0/8 dev lo",
    ):
        subprocess.run(["ip", *words.split()], check=True)


def member(
    server: Server, room: str = "", ip: str = PEERS, buffer: int = 4 << 20
) -> socket.socket:
    """A v1 peer that has proven its address, in this room, or in the lobby. One address of some
    thousands finds no free slot in the server's tables, and is not asked for a proof. Then another
    port is tried."""
    for left in (2, 1, 0):
        peer = peer_socket(server, ip)
        peer.settimeout(2)
        peer.send(b"@im@")
        try:
            peer.send(peer.recv(2048).removeprefix(b"* say "))
            break
        except TimeoutError:
            peer.close()
            if not left:
                raise
    while b"* you are in lobby" not in peer.recv(2048):
        pass
    if room:
        peer.send(b"/join " + room.encode())
        peer.recv(2048)
    return resized(peer, buffer)


def frame_member(server: Server, ip: str = PEERS) -> tuple[socket.socket, bytes]:
    """A v2 peer in the lobby, and the beginning of each of its datagrams."""
    peer = peer_socket(server, ip)
    peer.settimeout(3)
    head, _ = open_session(peer)
    return peer, head


def peer_socket(server: Server, ip: str = PEERS) -> socket.socket:
    """A socket of a true peer."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((ip, 0))
    peer.connect(server.address)
    peer.setblocking(False)
    return peer


def wildcard_socket(port: int) -> socket.socket:
    """A socket with all addresses. It learns which of them a datagram was sent to."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("0.0.0.0", port))
    one.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    return resized(one, 64 << 20)


def send_as(one: socket.socket, ip: bytes, datagram: bytes, server: Server) -> None:
    """Sends a datagram from this address."""
    info = struct.pack("=I4sI", 0, ip, 0)
    one.sendmsg([datagram], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, server.address)


class Newcomer:
    """A client that asks to be registered until it is."""

    head = b""
    """The beginning of each of its datagrams, once it is registered."""

    def __init__(self, server: Server, now: float, ip: str = PEERS) -> None:
        self.socket = peer_socket(server, ip)
        self.since, self.next_beat, self.after_s = now, now, float("inf")

    def work(self, now: float) -> None:
        """Beats, and answers what has come."""
        try:
            while True:
                self.receive(self.socket.recv(2048), now)
        except BlockingIOError:
            pass
        if self.after_s == float("inf") and now >= self.next_beat:
            self.beat(now)

    def enter(self, now: float) -> None:
        """It is registered."""
        self.after_s = min(self.after_s, now - self.since)

    def leave(self) -> None:
        """It makes place for others."""
        self.socket.send(self.head + b"\x03\0\0" if self.head else b"quit")
        self.socket.close()

    def beat(self, now: float) -> None:
        raise NotImplementedError

    def receive(self, datagram: bytes, now: float) -> None:
        raise NotImplementedError


class TextNewcomer(Newcomer):
    """As the tutorial's client, with a user who types the line at once."""

    def beat(self, now: float) -> None:
        self.socket.send(b"@im@")
        self.next_beat = now + 5

    def receive(self, datagram: bytes, now: float) -> None:
        if datagram.startswith(b"* say "):
            self.socket.send(datagram[6:])
        elif datagram.startswith(b"* you are in "):
            self.enter(now)


class FrameNewcomer(Newcomer):
    """As any client of version 2, which repeats its HELLO soon."""

    def beat(self, now: float) -> None:
        self.socket.send(HELLO)
        self.next_beat = now + 0.3

    def receive(self, datagram: bytes, now: float) -> None:
        if datagram[10] == 0x82:
            self.socket.send(datagram[:2] + datagram[13:21] + b"\x02\0\0")
        elif datagram[10] == 0x87:
            self.enter(now)
            self.head = datagram[:10]


class Program:
    """A program that registers, takes a name, enters a room of ten, and speaks, in one of the
    versions. It repeats each second what is refused."""

    def __init__(self, server: Server, number: int, ip: str) -> None:
        kind = (TextNewcomer, FrameNewcomer)[number // 10 % 2]
        self.entry = kind(server, time.monotonic(), ip)
        resized(self.entry.socket, 4 << 20)
        self.wishes = [
            (f"/nick p{number:03}", f"you are p{number:03}".encode()),
            (f"/join r{number // 10:03}", f"you are in r{number // 10:03} ".encode()),
        ]
        self.next_try, self.refusals = 0.0, 0

    def work(self, now: float) -> bool:
        """Does the next step. Returns true when all is done."""
        if self.entry.after_s == float("inf"):
            self.entry.work(now)
            return False
        received = b"".join(pending(self.entry.socket))
        self.wishes = [wish for wish in self.wishes if wish[1] not in received]
        if now >= self.next_try and self.wishes:
            self.refusals += len(self.wishes) if self.next_try else 0
            self.next_try = now + 1
            for line, _ in self.wishes:
                self._send_line(line)
        return not self.wishes

    def _send_line(self, line: str) -> None:
        head = self.entry.head
        self.entry.socket.send(head + command(line) if head else line.encode())

    def send(self, text: bytes, /) -> int:
        head = self.entry.head
        return self.entry.socket.send(head + say(text) if head else text)

    def recv(self, size: int, /) -> bytes:
        return self.entry.socket.recv(size)

    def setblocking(self, flag: bool, /) -> None:
        self.entry.socket.setblocking(flag)


def pending(peer: socket.socket) -> Iterator[bytes]:
    """All that has come to a peer."""
    peer.setblocking(False)
    while True:
        try:
            yield peer.recv(2048)
        except BlockingIOError:
            return


IP_PKTINFO, CLONE_NEWNET = 8, 0x40000000
"""Of <linux/in.h> and <linux/sched.h>."""
