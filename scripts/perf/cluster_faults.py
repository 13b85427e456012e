"""The parts of scripts/cluster in which something fails: kill, bus, partition and soak."""

import argparse
import ctypes
import itertools
import os
import select
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import cluster_load
import cluster_nodes
import cluster_peers
import measuring
import processes
import soak_tables
from cluster_nodes import Bus, Cluster, Node, Program, Tools
from cluster_peers import Peer, Room, all_pairs
from processes import CheckFailed


def kill(tools: Tools, arguments: argparse.Namespace) -> list[str]:
    """Kills one node after the other, with peers that talk and listen at all of them, and starts it
    again. Returns what is missed."""
    gone_s, whole_s, missing, missed = [], [], 0, []
    with cluster_nodes.running(tools) as cluster, cluster_peers.room("den", cluster.nodes, 3) as room:
        for number in range(arguments.kills):
            victim = cluster.nodes[number % len(cluster.nodes)]
            others = [node for node in cluster.nodes if node is not victim]
            room.check_texts(0.3)
            since, left = room.said(), room.at(*others)
            victim.kill()
            are_gone = lambda: room.sees(left, left)  # noqa: B023, E731
            gone_s.append(room.wait(are_gone, f"the members of {victim.id} are gone", left))
            room.forget()
            room.talk(left, 0.2)
            if not room.sees(left, left):
                raise CheckFailed(f"there are ghosts of {victim.id}: {room.views()}")
            missing += room.missing(since, all_pairs(left))
            victim.start()
            started = time.monotonic()
            room.enter(room.at(victim))
            room.wait_until_whole()
            whole_s.append(time.monotonic() - started)
            room.check_texts(0.3)
            cluster.check_runs()
            measuring.progress(f"kill {number + 1}: gone after {gone_s[-1]:.2f} s, whole after {whole_s[-1]:.2f} s")
        repeated = room.repeated()
    print(
        f"{len(gone_s)} nodes killed: members gone everywhere after {measuring.span(gone_s, '.2f')} s, whole"
        f" {measuring.span(whole_s, '.2f')} s after the start; {missing} copies missing among the others,"
        f" {repeated} repeated",
        flush=True,
    )
    if max(gone_s) > MAX_GONE_S:
        missed.append(f"members of a killed node were there for {max(gone_s):.2f} s")
    if missing or repeated:
        missed.append(f"{missing} copies missing among other nodes, {repeated} repeated")
    if arguments.failover:
        missed += _failover(tools, arguments.kills)
    return missed


def _failover(tools: Tools, kills: int) -> list[str]:
    """Kills the node of clients that know all nodes. Each must say something under its name in its room."""
    back_s = []
    with cluster_nodes.running(tools) as cluster, cluster_peers.room("den", cluster.nodes[1:], 1) as room:
        first = cluster.nodes[0]
        for number in range(kills):
            with ExitStack() as stack:
                names = [f"client-{number}-{client}" for client in range(FAILOVER_CLIENTS)]
                clients = [stack.enter_context(_client(tools, cluster.targets(), name)) for name in names]
                _hear_all(room, names, clients)
                killed = time.monotonic()
                first.kill()
                back_s += [heard - killed for heard in _hear_all(room, names, clients)]
            first.start()
            room.wait_until_whole()
    print(f"clients back elsewhere with name and room after {measuring.span(back_s, '.2f')} s, {len(back_s)} times")
    if max(back_s) > MAX_BACK_S:
        return [f"a client was back elsewhere after {max(back_s):.2f} s"]
    return []


@contextmanager
def _client(tools: Tools, targets: Sequence[str], name: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [tools.programs / "client", *targets, "--json", f"--nick={name}", "--room=den"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with processes.child(command, **pipes) as client:
        yield client


def _hear_all(room: Room, names: Sequence[str], clients: Sequence[subprocess.Popen[bytes]]) -> list[float]:
    """Lets the clients say texts until a peer has heard each of them say one that was said since now.
    Returns when."""
    listener, times = room.peers[0], dict[str, float]()
    word = f"now {time.monotonic():.6f}"
    end = time.monotonic() + cluster_nodes.LIMIT_S
    while len(times) < len(names):
        if time.monotonic() > end:
            raise CheckFailed(f"not back within {cluster_nodes.LIMIT_S:.0f} s: {set(names) - set(times)}")
        for client in clients:
            assert client.stdin is not None
            client.stdin.write(word.encode() + b"\n")
            client.stdin.flush()
        turn_end = time.monotonic() + 0.1
        while (left := turn_end - time.monotonic()) > 0:
            if select.select([listener.socket], [], [], left)[0]:
                name, _, text = listener.socket.recv(4096).decode().partition(" ")
                if text == word and name in names:
                    times.setdefault(name, time.monotonic())
    return list(times.values())


def bus(tools: Tools, arguments: argparse.Namespace) -> list[str]:
    """Kills the bus for 10 s, while rooms of each node have a load, members come and go, and two nodes
    give the same name."""
    missed = []
    with (
        cluster_nodes.running(tools) as cluster,
        cluster_peers.room("den", cluster.nodes, 2) as room,
        cluster_load.loading(
            tools, cluster.targets(), 3 * AWAY_S, f"--rate={LOCAL_TEXTS_PER_S}", "--clients=90",
            "--room-size=10", "--local-rooms",
        ) as load,
    ):
        load.wait_for_seconds(AWAY_S - 2)
        room.check_texts(1)
        since, killed = room.said(), time.time()
        cluster.bus.kill()
        rivals = _rivals(room, cluster.nodes[0], cluster.nodes[1], killed)
        leaver = room.at(cluster.nodes[2])[0]
        room.remove(leaver)
        comer = room.add(cluster.nodes[2])
        room.enter([comer])
        room.talk(room.peers, killed + AWAY_S - time.time())
        # The new one does not owe or miss what was said before it came.
        near = [pair for pair in all_pairs(room.peers) if pair[0].node is pair[1].node and comer not in pair]
        missing = room.missing(since, near)
        back = time.time()
        cluster.bus.start()
        settled_s = _settle(room, rivals)
        room.check_texts(1)
        result = load.result()
        cluster.check_runs()
        told = _told(rivals)
    counts = result.counts()
    usual = result.p99s_ms("delivery", 0, killed)
    away = result.p99s_ms("delivery", killed, back)
    print(
        f"bus away for {back - killed:.1f} s: p99 of each second in local rooms {measuring.span(usual, '.1f')} ms"
        f" before, {measuring.span(away, '.1f')} ms meanwhile{result.note()}; {counts['lost']} of"
        f" {counts['expected']:,} copies lost, {missing} of those in the own node's part of a room;"
        f" members and names settled {settled_s:.2f} s after the start of the bus, {told}",
        flush=True,
    )
    if counts["lost"] or counts["repeated"] or missing:
        missed.append(f"{counts['lost'] + missing} local copies missing, {counts['repeated']} repeated")
    if settled_s > MAX_SETTLED_S:
        missed.append(f"members and names had settled after {settled_s:.2f} s")
    if statistics.median(away) > max(cluster_load.MAX_SLOWER * statistics.median(usual), max(usual)):
        missed.append("deliveries in local rooms were slower without the bus")
    return missed


def _rivals(room: Room, one: Node, other: Node, since: float) -> list[Peer]:
    """Lets a peer of each node claim `ada` as soon as neither sees the other."""
    rivals = [room.at(node)[0] for node in (one, other)]
    apart = lambda: all(other.name not in peer.who for peer, other in (rivals, rivals[::-1]))  # noqa: E731
    room.wait(apart, "the nodes are apart", room.peers)
    measuring.progress(f"apart after {time.time() - since:.2f} s")
    for rival in rivals:
        rival.notices.clear()
        rival.send("/nick ada")
    have_it = lambda: all(rival.was_told("* you are ada") for rival in rivals)  # noqa: E731
    room.wait(have_it, "both have the name", room.peers)
    for rival in rivals:
        rival.name = "ada"
    return rivals


def _settle(room: Room, rivals: Sequence[Peer]) -> float:
    """Waits until all nodes show all members, and one peer that has the name that two claimed. The other
    one has its address again."""

    def is_settled() -> bool:
        return any(
            all(peer.who == settled_names(room, winner, loser) for peer in room.peers)
            for winner, loser in (rivals, rivals[::-1])
        )

    settled_s = room.wait(is_settled, "members and names have settled", room.peers)
    for rival, other in (rivals, rivals[::-1]):
        if room.peers[0].who == settled_names(room, rival, other):
            other.name = other.address()
    return settled_s


def settled_names(room: Room, winner: Peer, loser: Peer) -> Counter[str]:
    """The names of a room in which `winner` has the name that `loser` had, too."""
    return Counter(loser.address() if peer is loser else peer.name for peer in room.peers)


def _told(rivals: Sequence[Peer]) -> str:
    """What the peers that claimed a name were told. Fails if it was not exactly one that lost it."""
    losers = [peer for peer in rivals if peer.was_told("* ada belongs to a peer of another server")]
    if len(losers) != 1 or losers[0].name == "ada":
        raise CheckFailed(f"of two peers with a name, {len(losers)} were told that it is the other's")
    return f"one of two kept its name, and the one at {losers[0].node.id} was told"


class Cable:
    """A network namespace, and a cable to it."""

    def __init__(self) -> None:
        self.name = f"bullhorn-{os.getpid()}"
        self.ends = (f"bh{os.getpid()}", "eth0")

    def __enter__(self) -> "Cable":
        _ip("netns", "add", self.name)
        try:
            here, there = self.ends
            _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
            _ip("address", "add", f"{HERE}/30", "dev", here)
            _ip("link", "set", here, "up")
            _ip("-n", self.name, "address", "add", f"{THERE}/30", "dev", there)
            for link in ("lo", there):
                _ip("-n", self.name, "link", "set", link, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The cable goes with it.
        _ip("netns", "delete", self.name)

    def set(self, state: str) -> None:
        """Takes the other end of the cable `down`, or `up` again."""
        _ip("-n", self.name, "link", "set", self.ends[1], state)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Makes sockets and programs of the block part of the namespace."""
        with open("/proc/self/ns/net") as before, open(f"/run/netns/{self.name}") as new:
            _enter(new.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())


def _ip(*words: str) -> None:
    processes.run(["ip", *words], cluster_nodes.LIMIT_S)


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def partition(tools: Tools, arguments: argparse.Namespace) -> list[str]:
    """Cuts one node off from the bus and the others for 6 s. Peers of both sides claim the same name."""
    if os.geteuid() != 0:
        print("partition: skipped, as it needs root")
        return []
    with ExitStack() as stack:
        cable = stack.enter_context(Cable())
        bus_ = Bus(tools, HERE)
        nodes = [Node(tools, f"n{number + 1}", bus_) for number in range(3)]
        nodes[2].inside = cable.inside
        for program in (bus_, *nodes):
            stack.enter_context(program)
        cluster = Cluster(bus_, nodes)
        room = stack.enter_context(cluster_peers.room("den", nodes, 2))
        room.check_texts(1)
        cut = time.time()
        cable.set("down")
        rivals = _rivals(room, nodes[0], nodes[2], cut)
        room.talk(room.peers, cut + CUT_S - time.time())
        cut_s = time.time() - cut
        cable.set("up")
        settled_s = _settle(room, rivals)
        room.check_texts(1)
        cluster.check_runs()
        told, repeated = _told(rivals), room.repeated()
    print(
        f"one node cut off for {cut_s:.1f} s: members and names settled {settled_s:.2f} s later,"
        f" {told}, {repeated} copies repeated",
        flush=True,
    )
    return [f"{repeated} copies repeated after a partition"] if repeated else []


def soak(tools: Tools, arguments: argparse.Namespace) -> list[str]:
    """Load with churn, and a fault after each time of it: a node that is killed, or a bus that is. What
    loadgen and the nodes counted must add up between the faults."""
    missed, lost, owed, faults = [], 0, 0, 0
    memory: dict[str, list[tuple[float, float]]] = {}
    with cluster_nodes.running(tools) as cluster, cluster_peers.room("den", cluster.nodes, 2) as room:
        start = time.monotonic()
        for number in itertools.count():
            flags = (
                "--clients=600", f"--room-size={cluster_load.ROOM_SIZE}", "--rate=500", "--churn=20",
                "--protocol=v2", f"--seed={number}",
            )
            result, counted = cluster_load.run(tools, cluster, arguments.seconds, *flags)
            found = cluster_load.mistakes(result, counted, cluster_load.ROOM_SIZE, cluster_load.ROOM_SIZE)
            missed += [f"load {number + 1}: {what}" for what in found]
            lost, owed = lost + result.counts()["lost"], owed + result.counts()["expected"]
            minutes = (time.monotonic() - start) / 60
            # The last one is killed again and again, so its memory says nothing.
            for node in cluster.nodes[:-1]:
                memory.setdefault(node.id, []).append((minutes, node.rss_kib() / 1024))
            measuring.progress(
                f"soak, {minutes:.1f} minutes: {result.counts()['lost']} lost"
                f" ({cluster_load.drops(counted)}; {result.counts()['own_drops']} own drops); {found or 'adds up'}"
            )
            if minutes >= arguments.minutes:
                break
            _fault(cluster, room, number)
            faults += 1
    print(
        f"soak of {minutes:.1f} minutes with {faults} faults: {owed:,} copies owed between them, {lost:,} lost,"
        f" {'all' if not missed else 'not all'} of which add up"
    )
    for name, points in memory.items():
        # Before, the memory grows to what the load takes.
        slope = soak_tables.slope([point for point in points if point[0] > soak_tables.WARMUP_MINUTES])
        sizes = [mib for _, mib in points]
        growth = slope.text() if slope else "too short for a slope"
        print(f"memory of {name}: {sizes[0]:.1f} to {sizes[-1]:.1f} MiB, {growth}")
        if slope and slope.per_hour - slope.half_width > soak_tables.MAX_SLOPE:
            missed.append(f"the memory of {name} grows by {slope.text()}")
    return missed


def _fault(cluster: Cluster, room: Room, number: int) -> None:
    """Kills the last node, or the bus for some seconds. Waits until the cluster is whole."""
    victim: Program = (cluster.nodes[-1], cluster.bus)[number % 2]
    victim.kill()
    room.talk(room.peers, FAULT_S)
    victim.start()
    if isinstance(victim, Node):
        room.enter(room.at(victim))
    room.wait_until_whole()
    room.check_texts(0.3)
    cluster.check_runs()


MAX_GONE_S, MAX_BACK_S, MAX_SETTLED_S = 4.0, 5.0, 6.0
"""Until members of a killed node are gone, its clients are back elsewhere, and all is right after a
bus has come back. A node is dead after 3.5 s of silence, and its heartbeats come each second."""

FAILOVER_CLIENTS = 5

AWAY_S, CUT_S, FAULT_S = 10, 6, 5
"""Without a bus; without a cable; and with a fault of a soak, longer than a silent node lives."""

LOCAL_TEXTS_PER_S = 600
"""Of all nodes, to rooms of 10."""

HERE, THERE = "10.79.0.1", "10.79.0.2"
"""The ends of the cable, in a private network."""

CLONE_NEWNET = 0x40000000
"""From <linux/sched.h>."""
