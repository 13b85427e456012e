"""The sources of floods: one that sends as fast as it can, and the many of a network. And the bare
loop, which does nothing but receive."""

import ctypes
import itertools
import mmap
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import processes
import strangers
from crowd import ALL_CORES, Server, command, offer, resized
from scenes import HELLO


def flood(
    peer: socket.socket, datagram: bytes, rate: float, seconds: float
) -> AbstractContextManager[None]:
    """Sends a datagram again and again, in a process of its own. What comes is never read."""
    resized(peer, 2048)
    # The kernel cuts what is sent into datagrams, so that one process suffices.
    peer.setsockopt(socket.SOL_UDP, UDP_SEGMENT, len(datagram))
    count = segments(len(datagram), rate)
    many = datagram * count

    def send() -> None:
        # The server may have ended.
        with suppress(ConnectionRefusedError):
            peer.send(many)

    return forked(lambda: offer(send, count, rate, seconds))


def segments(size: int, rate: float) -> int:
    """The number of datagrams of a size that one call sends: at most what the kernel takes, and
    a thousand calls per second or more."""
    return max(1, min(MAX_SEGMENTS, MAX_SEND_BYTES // size, int(rate / 1000)))


def forked(work: Callable[[], object]) -> AbstractContextManager[None]:
    """Calls `work` in a process of its own, so that it disturbs the threads that measure less."""

    def nicely() -> None:
        os.nice(10)
        work()

    return processes.forked(nicely)


class BareLoop:
    """A socket from which a process on the server's core receives, and does nothing else."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((strangers.SERVER, 0))
        # As the server's.
        resized(self.socket, 4 << 20)
        self.address: tuple[str, int] = self.socket.getsockname()
        self._counts = mmap.mmap(-1, COUNTS.size)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Receives while the block runs."""
        with self.socket, processes.forked(self._receive):
            yield

    def counts(self) -> tuple[int, float]:
        """The number of datagrams received, and the CPU time in seconds."""
        received, cpu_s = COUNTS.unpack(self._counts[:])
        return received, cpu_s

    def _receive(self) -> None:
        os.sched_setaffinity(0, {min(ALL_CORES)})
        headers, _kept = message_headers()
        total = 0
        while (received := receive_batch(self.socket, headers)) > 0:
            total += received
            self._counts[:] = COUNTS.pack(total, time.process_time())


def message_headers() -> tuple[ctypes.Array[ctypes.c_char], list[object]]:
    """The `mmsghdr`s of a batch with a buffer and a name each, as the bare loops of the benchmarks
    have them, and what they point to. The kernel changes nothing that has to be set again."""
    kept: list[object] = []
    headers = ctypes.create_string_buffer(MMSGHDR.size * BATCH)
    for number in range(BATCH):
        buffer, name = ctypes.create_string_buffer(2048), ctypes.create_string_buffer(16)
        vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(buffer), 2048), 16)
        values = (ctypes.addressof(name), 16, ctypes.addressof(vector), 1, 0, 0, 0, 0)
        MMSGHDR.pack_into(headers, MMSGHDR.size * number, *values)
        kept += [buffer, name, vector]
    return headers, kept


def receive_batch(one: socket.socket, headers: ctypes.Array[ctypes.c_char]) -> int:
    """Waits for a datagram, receives up to a batch, and returns their number."""
    return RECVMMSG(one.fileno(), headers, BATCH, MSG_WAITFORONE, None)


class Sources:
    """Many peers of one network of 24 bits. Each has an address and a port of its own."""

    def __init__(self, server: Server, count: int, network: tuple[int, int, int]) -> None:
        self.server, self.count, self.network = server, count, network
        ports = -(-count // ADDRESSES)
        self.sockets = [strangers.wildcard_socket(FIRST_PORT + port) for port in range(ports)]
        for one in self.sockets:
            one.setblocking(False)

    def address(self, number: int) -> tuple[int, bytes]:
        """The index of the socket of a source, and its address."""
        port, last = divmod(number, ADDRESSES)
        return port, bytes([*self.network, last + 1])

    def send(self, number: int, datagram: bytes) -> None:
        """Sends a datagram of this source."""
        port, ip = self.address(number)
        strangers.send_as(self.sockets[port], ip, datagram, self.server)

    def received(self) -> Iterator[tuple[int, bytes]]:
        """What has come, and the source that it was sent to."""
        for port, one in enumerate(self.sockets):
            while True:
                try:
                    datagram, control, _, _ = one.recvmsg(2048, 64)
                except BlockingIOError:
                    break
                yield port * ADDRESSES + control[0][2][11] - 1, datagram


def subscribers(server: Server, count: int) -> tuple[Sources, int]:
    """V1 peers in the lobby, with `/presence on`, and their number. A few of the addresses may find
    no free slot in the server's tables, and are not asked for a proof."""
    sources = Sources(server, count, FLOODERS)
    for first in range(0, count, 100):
        left = set(range(first, min(first + 100, count)))
        for number in left:
            sources.send(number, b"@im@")
        deadline = time.monotonic() + 0.3
        while left and time.monotonic() < deadline:
            for number, datagram in sources.received():
                if datagram.startswith(b"* say "):
                    sources.send(number, datagram[6:])
                elif datagram.startswith(b"* you are in "):
                    sources.send(number, b"/presence on")
                elif datagram.startswith(b"* presence is on"):
                    left.discard(number)
        count -= len(left)
    return sources, count


@contextmanager
def takers(server: Server, count: int, rate: float) -> Iterator[None]:
    """V2 sources of one network that register, take a name each, and create a room each. They try
    for as long as the block runs."""
    sources = Sources(server, count, FLOODERS)
    heads: dict[int, bytes] = {}
    numbers = itertools.cycle(range(count))

    def take() -> None:
        number = next(numbers)
        head = heads.get(number)
        wishes = [command(f"/{verb} f{number:05}") for verb in ("nick", "join")]
        sources.send(number, head + b"".join(wishes) if head else HELLO)
        if number % 50 == 0:
            answer()

    def answer() -> None:
        for number, datagram in sources.received():
            if datagram[10] == WELCOME:
                heads[number] = datagram[:2] + datagram[13:21]

    with ExitStack() as stack:
        for one in sources.sockets:
            stack.enter_context(one)
        stack.enter_context(forked(lambda: offer(take, 1, rate, 60)))
        yield


def interface_counts(text: str, name: str = "lo") -> tuple[int, int]:
    """The bytes and packets that have left through an interface, from the text of
    /proc/net/dev."""
    for line in text.splitlines():
        found, colon, values = line.partition(":")
        if colon and found.strip() == name:
            fields = values.split()
            return int(fields[8]), int(fields[9])
    raise ValueError(f"no interface {name}")


UDP_SEGMENT = 103
"""Of <linux/udp.h>."""

RECVMMSG = ctypes.CDLL(None, use_errno=True).recvmmsg

MSG_WAITFORONE = 0x10000
"""Of <linux/socket.h>."""

MMSGHDR = struct.Struct("=QI4xQQQQi4xI4x")
"""Of recvmmsg(2): name and its length, vectors and their number, control data and its length,
flags; and the length of what was received."""

COUNTS = struct.Struct("=Qd")

BATCH = 64

MAX_SEGMENTS, MAX_SEND_BYTES = 64, 65_000
"""What the kernel takes in one call."""

WELCOME = 0x82
"""The kind of the reply to a HELLO."""

FLOODERS = (10, 66, 6)
"""The network of those that send too much."""

ADDRESSES = 254
"""Of a network of 24 bits."""

FIRST_PORT = 5000
