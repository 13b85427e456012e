"""neighbors: what others notice of bad neighbors: peers that cannot be reached, closed ports, peers
that never read, a slow link, narrow paths, and a stopped worker.

Prints a row per case: the share of texts that the good peers received, the 99th percentile of
their delay, and the CPU time of the server per delivery, each without the bad neighbors, with as
many good ones in their place where that makes sense, and with them. Settings alternate, and each
number is the median of the rounds, with its range. It runs in network namespaces of its own, so
it needs root, and `ip` and `tc` of iproute2. The server has core 0, the peers have core 1.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import ctypes
import itertools
import os
import select
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import crowd
import measuring
import processes
from processes import CheckFailed

LIVE = 50
"""Good peers, as in the tests of bad paths."""
SECONDS = 3.0
"""Time of one measurement."""
SEND_BUFFER = "208KiB"
"""The largest send buffer of an unprivileged process by default, `net.core.wmem_max`."""
SERVER = ("10.77.0.1", 9999)
CLIENTS = "10.77.0.9"
SLOW = "10.78.0.9"


@dataclass
class Case:
    """A kind of bad neighbors, and the load at which it is measured."""

    bad: int
    texts_per_s: int
    burst: int = 1
    readers: bool = False
    """Also measured with `bad` more good peers, as the time of a text grows with its room."""


CASES = {
    "1 unreachable": Case(1, 500),
    "2 unreachable": Case(2, 500),
    "10 unreachable": Case(10, 500),
    "50 unreachable": Case(50, 500),
    "1000 closed ports": Case(1000, 100, readers=True),
    "500 never read": Case(500, 100, readers=True),
    "50 on a slow link": Case(LIVE, 500, readers=True),
    "forged ICMP": Case(1, 2000, burst=20, readers=True),
    "a path of 576 bytes": Case(1, 2000, burst=20, readers=True),
}


@dataclass
class Result:
    share: float
    p99_ms: float
    cpu_ns: float


class Networks:
    """Two namespaces with two cables: of the server, and of its peers."""

    def __init__(self):
        self.names = [f"bullhorn-{os.getpid()}-{end}" for end in ("server", "peers")]

    def __enter__(self):
        for name in self.names:
            run("ip", "netns", "add", name)
        server, peers = self.names
        for number, host in ((0, "10.77.0"), (1, "10.78.0")):
            run(*f"ip -n {server} link add eth{number} type veth peer eth{number}".split(),
                "netns", peers)
            for name, own in ((server, 1), (peers, 9)):
                run(*f"ip -n {name} address add {host}.{own}/24 dev eth{number}".split())
                run(*f"ip -n {name} link set eth{number} up".split())
        for name in self.names:
            run(*f"ip -n {name} link set lo up".split())
        return self

    def __exit__(self, *_):
        for name in self.names:
            run("ip", "netns", "delete", name)

    @contextmanager
    def inside(self, end):
        """Makes sockets and programs of the block part of a namespace."""
        with open("/proc/self/ns/net") as before, open(f"/run/netns/{self.names[end]}") as new:
            enter(new)
            try:
                yield
            finally:
                enter(before)

    def ip(self, words):
        run("ip", "-n", self.names[0], *words.split())


def enter(namespace):
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000):  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


def run(*command):
    subprocess.run(command, check=True)


@contextmanager
def server_of(networks, binary, workers):
    command = [binary, "--workers", str(workers), "--bind", "0.0.0.0:9999", "--timeout", "60s",
               "--send-buffer", SEND_BUFFER, "--trust", "10.0.0.0/8"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with ExitStack() as stack:
        with networks.inside(0):
            child = processes.child(command, range(workers), **pipes)
            process = stack.enter_context(child)
        while b"listening" not in (line := process.stderr.readline()):
            if not line:
                raise CheckFailed("the server did not start")
        yield process


def peer(own, connect=True):
    """Returns the socket of a registered peer."""
    new = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    new.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    new.bind((own, 0))
    new.setblocking(False)
    if connect:
        new.connect(SERVER)
        new.send(b"@im@")
    else:
        new.sendto(b"@im@", SERVER)
    return new


def add_bad(networks, name, count, resources):
    """Registers bad neighbors."""
    if "unreachable" in name:
        networks.ip("route add local 10.77.0.128/25 dev lo")
        with networks.inside(0):
            for host in range(129, 129 + count):
                resources.append(peer(f"10.77.0.{host}", connect=False))
        time.sleep(0.2)
        networks.ip("route del local 10.77.0.128/25 dev lo")
        return
    with networks.inside(1):
        own = SLOW if "slow" in name else CLIENTS
        bad = [peer(own, connect="slow" not in name) for _ in range(count)]
    time.sleep(0.2)
    if "closed" in name:
        for one in bad:
            one.close()
    elif "slow" in name:
        run("tc", "-n", networks.names[0],
            *"qdisc add dev eth1 root tbf rate 1mbit burst 10kb limit 1000000".split())
    elif "ICMP" in name:
        forge(networks, bad[0])
    elif "576" in name:
        networks.ip(f"route add {CLIENTS} dev eth0 mtu 576")
    resources.extend(bad)


def forge(networks, victim):
    """Sends an ICMP message (RFC 1191) that says that the path to `victim` has an MTU of 552."""
    own = socket.inet_aton(CLIENTS)
    port = victim.getsockname()[1]
    udp = struct.pack("!HHHH", SERVER[1], port, 1000, 0)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1020, 1, 0x4000, 64, 17, 0,
                     socket.inet_aton(SERVER[0]), own)
    body = struct.pack("!BBHHH", 3, 4, 0, 0, 552) + ip + udp
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    with networks.inside(1):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with raw:
        raw.sendto(body[:2] + struct.pack("!H", checksum) + body[4:], (SERVER[0], 0))


def drain(sockets):
    """Reads `sockets` without end."""
    os.nice(10)
    poll = select.epoll()
    by_number = {one.fileno(): one for one in sockets}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            receive_all(by_number[number])


def receive_all(one):
    texts = []
    try:
        while True:
            texts.append(one.recv(2048))
    except OSError:
        return texts


def cpu_ns(process):
    """CPU time of a process, by the scheduler's own account (`sched-stats.rst`)."""
    total = 0
    for task in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total


def talk(speakers, live, texts_per_s, burst, seconds):
    """Sends texts that carry their time. Returns the delays in seconds by receiving socket, and
    the number of texts per speaker."""
    poll = select.epoll()
    by_number = {one.fileno(): one for one in live}
    delays = {number: [] for number in by_number}
    for number, one in by_number.items():
        receive_all(one)
        poll.register(number, select.EPOLLIN)
    sent, pause = 0, burst / texts_per_s
    start = time.monotonic()
    end = start + seconds
    while (now := time.monotonic()) < end + 1.0:
        due = start + sent / burst * pause
        if now >= due and due < end:
            for speaker in speakers:
                for _ in range(burst):
                    speaker.send(b"t %d end" % time.monotonic_ns())
            sent += burst
            continue
        for number, _ in poll.poll(max(0.0, min(due, end + 1.0) - now) if due < end else 0.1):
            for text in receive_all(by_number[number]):
                words = text.split()
                if len(words) == 4 and words[1] == b"t":
                    delays[number].append((time.monotonic_ns() - int(words[2])) / 1e9)
    return delays, sent


def p99_ms(delays):
    return crowd.p99_ms(itertools.chain.from_iterable(delays))


def measure(binary, name, case, kind):
    """One server, one measurement. `kind` says who is there with the live peers."""
    with ExitStack() as stack:
        networks = stack.enter_context(Networks())
        server = stack.enter_context(server_of(networks, binary, 1))
        with networks.inside(1):
            live = [peer(CLIENTS) for _ in range(LIVE)]
            others = [peer(CLIENTS) for _ in range(case.bad)] if kind == "readers" else []
        if others:
            stack.enter_context(processes.forked(lambda: drain(others)))
        if kind == "bad":
            add_bad(networks, name, case.bad, others)
        time.sleep(0.3)
        before = cpu_ns(server)
        delays, sent = talk(live[:1], live, case.texts_per_s, case.burst, SECONDS)
        received = sum(map(len, delays.values()))
        return Result(received / (sent * LIVE), p99_ms(delays.values()),
                      (cpu_ns(server) - before) / (sent * (LIVE + len(others))))


def stop(binary, rounds):
    """Stops one of two workers, and prints the delay in the rooms of the other one."""
    print("\n| worker 1 | others | received, % | p99 before, ms | p99, ms | afterwards |\n"
          + "| --- " * 6 + "|")
    with Networks() as networks, server_of(networks, binary, 2) as server:
        rooms = []
        with networks.inside(1):
            for room in range(12):
                rooms.append([peer(CLIENTS) for _ in range(10)])
                for one in rooms[-1]:
                    one.send(b"/join room%d" % room)
        live = [one for room in rooms for one in room]
        speakers = [room[0] for room in rooms]
        time.sleep(0.5)
        for seconds in (3, 16):
            rows = []
            for _ in range(rounds if seconds == 3 else 1):
                quiet, _ = talk(speakers, live, 50, 1, 3)
                task = next(task for task in os.listdir(f"/proc/{server.pid}/task")
                            if open(f"/proc/{server.pid}/task/{task}/comm").read() == "worker-1\n")
                with crowd.stopped(int(task)):
                    stopped, sent = talk(speakers, live, 50, 1, seconds - 1)
                moving = [room for room in rooms if stopped[room[0].fileno()]]
                numbers = [one.fileno() for room in moving for one in room]
                share = sum(len(stopped[one]) for one in numbers) / (sent * len(numbers))
                rows.append((len(moving), share, p99_ms(quiet[one] for one in numbers),
                             p99_ms(stopped[one] for one in numbers)))
                time.sleep(0.5)
            back, sent = talk(speakers, live, 50, 1, 1)
            there = sum(len(back[one.fileno()]) > 0.9 * sent for one in live)
            print(f"| stopped for {seconds} s | {rows[0][0]} of 12 rooms go on "
                  f"| {span([100 * row[1] for row in rows], 2)} | {span([r[2] for r in rows])} "
                  f"| {span([r[3] for r in rows])} | {there} of {len(live)} peers receive |")


def span(values, digits=1):
    return measuring.span(values, f".{digits}f")


def main():
    """Prints the rows."""
    parser = measuring.parser("neighbors", __doc__)
    parser.add_argument("--bin", default="target/release", metavar="DIR", help="of the server")
    parser.add_argument("--rounds", type=measuring.whole(1, 99), default=3)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all by default")
    options = parser.parse_args()
    names = options.cases or [*CASES, "stopped worker"]
    if unknown := [name for name in names if name not in CASES and name != "stopped worker"]:
        parser.error(f"unknown case {unknown[0]!r}; known: {', '.join(CASES)}, stopped worker")
    binary = os.path.join(options.bin, "server")
    os.sched_setaffinity(0, {1})
    if names != ["stopped worker"]:
        print("| beside | received, % | p99 without, ms | p99 with good peers, ms | p99, ms "
              "| CPU per delivery, without; with good peers; with, ns |\n" + "| --- " * 6 + "|")
    for name in names:
        if name == "stopped worker":
            stop(binary, options.rounds)
            continue
        case = CASES[name]
        kinds = ["none", "readers", "bad"] if case.readers else ["none", "bad"]
        results = {kind: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind in kinds:
                results[kind].append(measure(binary, name, case, kind))
        columns = [span([r.p99_ms for r in results[kind]]) if kind in results else "–"
                   for kind in ("none", "readers", "bad")]
        share = span([100 * r.share for r in results["bad"]], 2)
        cpu = "; ".join(span([r.cpu_ns for r in results[kind]], 0) for kind in kinds)
        print(f"| {name} | {share} | {' | '.join(columns)} | {cpu} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
