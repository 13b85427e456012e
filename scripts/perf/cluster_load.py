"""The parts of scripts/cluster that put a load on all nodes: load, delay, cost, batching and slow."""

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

import accounts
import cluster_nodes
import measuring
import processes
import verdict
from cluster_nodes import Cluster, Metrics, Node, Tools, total, wait_until
from crowd import ALL_CORES
from processes import CheckFailed
from verdict import Verdict

Row = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What loadgen has found."""

    summary: Row
    seconds: list[Row]

    def counts(self) -> dict[str, int]:
        """What became of the load."""
        return dict(self.summary["counts"])

    def is_valid(self) -> bool:
        """Its times are the server's, and not its own."""
        return bool(self.summary["verdict"]["is_valid"])

    def note(self) -> str:
        """The reason why its times are not the server's."""
        if self.is_valid():
            return ""
        reason, *_ = self.summary["verdict"]["invalid"][0].partition(". ")
        return f" (not valid: {reason})"

    def ms(self, latency: str, percentile: str) -> float:
        """A percentile of a latency."""
        if latency not in self.summary["latencies"]:
            raise CheckFailed(f"loadgen has no {latency}")
        return float(self.summary["latencies"][latency][f"{percentile}_us"]) / 1e3

    def p99s_ms(self, latency: str, start: float, end: float) -> list[float]:
        """The 99th percentile of each whole second between two times of the clock."""
        began = self.summary["began_at_unix_s"]
        return [
            second["latencies"][latency]["p99_us"] / 1e3
            for second in self.seconds
            if began + second["start_s"] >= start and began + second["start_s"] + second["length_s"] <= end
            if latency in second["latencies"]
        ]


class Load:
    """A run of loadgen under way."""

    def __init__(self, process: subprocess.Popen[bytes], lines: IO[bytes], errors: IO[bytes], limit_s: float) -> None:
        self.process, self.lines, self.errors, self.limit_s = process, lines, errors, limit_s

    def wait_for_seconds(self, count: int) -> None:
        """Waits until it has recorded for this time."""

        def is_there() -> bool:
            if self.process.poll() is not None:
                raise CheckFailed(f"loadgen ended too early\n{self._end()}")
            # Without a move in the file, in which loadgen writes.
            size = os.fstat(self.lines.fileno()).st_size
            return os.pread(self.lines.fileno(), size, 0).count(b"\n") >= count

        wait_until(is_there, "loadgen puts its load on", self.limit_s)

    def result(self) -> Result:
        """Waits for its end."""
        try:
            code = self.process.wait(self.limit_s)
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"loadgen has not ended after {self.limit_s:.0f} s") from None
        self.lines.seek(0)
        rows = [json.loads(line) for line in self.lines]
        if code not in (0, INVALID) or not rows or rows[-1]["kind"] != "summary":
            raise CheckFailed(f"loadgen ended with exit code {code}\n{self._end()}")
        return Result(rows[-1], [row for row in rows if row["kind"] == "second"])

    def _end(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-processes.ERROR_CHARS :].strip()


@contextmanager
def loading(
    tools: Tools, targets: Sequence[str], seconds: int, *flags: str, cores: Sequence[int] = ()
) -> Iterator[Load]:
    """Runs loadgen with texts for this time until the block ends."""
    command = [
        tools.programs / "loadgen", *targets, "--scenario=chat", f"--duration={seconds}s", "--threads=1",
        "--force", "--json", *flags,
    ]
    with tempfile.TemporaryFile() as lines, tempfile.TemporaryFile() as errors:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": lines, "stderr": errors}
        with processes.child(command, cores, **pipes) as process:
            yield Load(process, lines, errors, seconds + LOADGEN_LIMIT_S)


def run(tools: Tools, cluster: Cluster, seconds: int, *flags: str) -> tuple[Result, Metrics]:
    """Runs loadgen to its end at all nodes. Returns its result, and what the nodes counted meanwhile."""
    before = cluster.metrics()
    with loading(tools, cluster.targets(), seconds, *flags) as load:
        result = load.result()
    cluster.check_runs()
    return result, change(before, cluster.metrics())


def change(before: Metrics, after: Metrics) -> Metrics:
    """What was counted meanwhile."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def causes(counted: Metrics, room_size: int, node_size: int) -> int:
    """The most copies that may be missing by what the nodes counted: in rooms of `room_size`, of which
    `node_size` are at one node."""
    copies = sum(
        count
        for name, count in counted.items()
        if DELIVERIES_LOST.match(name)
    )
    # On its way in, a text is dropped by one node.
    way_in = counted.get(NO_SPACE, 0.0)
    way_out = total(counted, "bullhorn_cluster_texts_dropped_total") - way_in
    texts = total(counted, "bullhorn_messages_dropped_total") + total(counted, "bullhorn_kernel_drops_total")
    missing = total(counted, "bullhorn_cluster_texts_missing_total")
    # What is dropped on its way out is missing at the others, if anything follows it.
    between = max((room_size - node_size) * way_out, node_size * missing)
    return int(copies + room_size * texts + between + node_size * way_in)


def drops(counted: Metrics) -> str:
    """What the nodes dropped, missed or got again."""
    return ", ".join(
        f"{name.removeprefix('bullhorn_')} {count:,.0f}"
        for name, count in counted.items()
        if count and (name.partition("{")[0] in LOSSES or DELIVERIES_LOST.match(name))
    ) or "no drops"


def mistakes(
    result: Result, counted: Metrics, room_size: int, node_size: int, for_nobody: int = 0
) -> list[str]:
    """What does not add up in the counts of loadgen and the nodes, a sentence each. `for_nobody` is the number
    of copies that no node counts, as their members were taken for gone."""
    found = accounts.missing_of_loadgen(result.counts(), causes(counted, room_size, node_size) + for_nobody)
    if found and not any(name.startswith("bullhorn_cluster_") for name in counted):
        found.append("these servers do not count the texts between nodes")
    if stale := int(counted.get(STALE, 0.0)):
        found.append(f"{stale} texts came over the bus again, or after later ones")
    return found


def load(tools: Tools, arguments: argparse.Namespace) -> list[str]:
    """Texts to rooms that span all nodes. Returns what is missed."""
    missed = []
    flags = (f"--clients={arguments.peers}", f"--room-size={ROOM_SIZE}", "--protocol=v2")
    with cluster_nodes.running(tools) as cluster:
        rates = [TEXTS_PER_S * 2**step for step in range(arguments.steps + 1)]
        for rate in rates:
            result, counted = run(tools, cluster, arguments.seconds, f"--rate={rate}", *flags)
            counts = result.counts()
            line = (
                f"{arguments.peers:,} peers, {rate:,} texts/s: {counts['sent']:,} of {counts['due']:,} sent,"
                f" {counts['expected']:,} copies owed, {counts['delivered']:,} delivered, {counts['lost']:,}"
                f" lost (nodes: {drops(counted)}; own sockets of loadgen: {counts['own_drops']:,} drops),"
                f" {counts['repeated']} repeated; other node p50 {result.ms('delivery-other-node', 'p50'):.1f} ms,"
                f" p99 {result.ms('delivery-other-node', 'p99'):.1f} ms{result.note()}"
            )
            print(line, flush=True)
            found = mistakes(result, counted, ROOM_SIZE, NODE_SIZE)
            missed += [f"at {rate:,} texts/s: {what}" for what in found]
            if rate == TEXTS_PER_S and counts["lost"]:
                missed.append(f"{counts['lost']:,} copies lost at {rate:,} texts/s")
            if counts["lost"] or counts["sent"] < 0.99 * counts["due"]:
                print(f"the machine carries less than {rate:,} texts/s", flush=True)
                break
    return missed


def delay(tools: Tools, arguments: argparse.Namespace) -> list[str]:
    """The delay that another node adds to a text, when nothing else is under way."""
    with cluster_nodes.running(tools, 2) as cluster:
        flags = ("--clients=100", "--room-size=2", "--rate=50")
        result, counted = run(tools, cluster, 2 * arguments.seconds, *flags)
    missed = mistakes(result, counted, 2, 1)
    for percentile, bound_ms in MAX_ADDED_MS.items():
        other, same = (result.ms(f"delivery-{where}-node", percentile) for where in ("other", "same"))
        print(
            f"added by another node, {percentile}: {other - same:.2f} ms ({other:.2f} less {same:.2f})"
            f" of {result.counts()['delivered']:,} copies{result.note()}",
            flush=True,
        )
        if other - same > bound_ms:
            missed.append(f"another node adds {other - same:.2f} ms at {percentile}, and may add {bound_ms} ms")
    return missed


def cost(tools: Tools, arguments: argparse.Namespace) -> list[str]:
    """The CPU time of a node per delivery to its own rooms, with a cluster by without."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(arguments.rounds):
        # The first of a round is another one each time.
        for is_on in ((True, False), (False, True))[number % 2]:
            times[is_on].append(_cpu_us(tools, is_on, arguments.seconds))
        measuring.progress(f"cost, round {number + 1}: {times[True][-1]:.3f} on, {times[False][-1]:.3f} µs off")
    ratios = [on / off for on, off in zip(times[True], times[False], strict=True)]
    low, high = verdict.interval(ratios)
    for is_on, name in ((False, "off"), (True, "on")):
        print(f"cluster {name}: {measuring.span(times[is_on], '.3f')} µs of CPU time per delivery")
    print(f"ratio {measuring.span(ratios, '.3f')}, interval {low:.3f} to {high:.3f}", flush=True)
    middle = statistics.median(ratios)
    if verdict.decide(middle, low, high, MAX_COST_RATIO) is Verdict.REGRESSED:
        return [f"a node in a cluster costs {middle:.3f} times as much"]
    return []


def _cpu_us(tools: Tools, is_on: bool, seconds: int) -> float:
    with ExitStack() as stack:
        bus = None
        if is_on:
            bus = cluster_nodes.Bus(tools)
            stack.enter_context(bus)
            stack.enter_context(Node(tools, "other", bus, [max(ALL_CORES)]))
        node = Node(tools, "own", bus, [min(ALL_CORES)])
        stack.enter_context(node)
        flags = (
            "--clients=1000", "--room-size=10", f"--rate={COST_TEXTS_PER_S}", f"--server-pid={node.process.pid}",
        )
        with loading(tools, [node.target()], seconds, *flags, cores=[max(ALL_CORES)]) as load_:
            result = load_.result()
        if not (of_server := result.summary["server"]):
            raise CheckFailed("loadgen has no CPU time of the server")
        return float(1e6 * of_server["cpu_s"] / result.counts()["delivered"])


def batching(tools: Tools, arguments: argparse.Namespace) -> list[str]:
    """The texts per message of the bus at two loads."""
    return _batching_at_saturation(tools, arguments.seconds) + _batching_at_ease(tools, arguments.seconds)


def _batching_at_saturation(tools: Tools, seconds: int) -> list[str]:
    """All nodes share a core, which they fill. The bus and loadgen have another one."""
    what, near, far = "at saturation", [min(ALL_CORES)], [max(ALL_CORES)]
    flags = ("--clients=120", "--room-size=60", "--protocol=v2", f"--rate={SATURATION_TEXTS_PER_S}")
    with cluster_nodes.running(tools, cores=near, bus_cores=far) as cluster:
        texts, batches, busy = _batches(tools, cluster, what, seconds, *flags, cores=far)
    if busy < MIN_BUSY:
        return [f"the nodes were busy for {busy:.0%} of the time {what}, so this says nothing"]
    if texts < MIN_TEXTS_PER_MESSAGE * batches:
        return [f"{texts / batches:.1f} texts per message {what}, and at least 10 are wanted"]
    return []


def _batching_at_ease(tools: Tools, seconds: int) -> list[str]:
    """No text waits for another one."""
    what, flags = "at 5,000 texts/s in 20 rooms", ("--clients=60", "--room-size=3", "--rate=5000")
    with cluster_nodes.running(tools) as cluster:
        texts, batches, _ = _batches(tools, cluster, what, seconds, *flags)
    return [f"{batches:,} messages for {texts:,} texts {what}"] if batches > texts else []


def _batches(
    tools: Tools, cluster: Cluster, what: str, seconds: int, *flags: str, cores: Sequence[int] = ()
) -> tuple[int, int, float]:
    """The texts for other nodes under a load, the messages that they took, and the cores that the nodes
    used."""
    idle_per_s = _idle_messages_per_s(cluster)
    with loading(tools, cluster.targets(), seconds, *flags, cores=cores) as load_:
        load_.wait_for_seconds(1)
        start, cpu_s = time.monotonic(), cluster.cpu_s()
        before, messages = cluster.metrics(), cluster.bus.messages()
        time.sleep(seconds - 2.5)
        counted, messages = change(before, cluster.metrics()), cluster.bus.messages() - messages
        elapsed_s = time.monotonic() - start
        busy = (cluster.cpu_s() - cpu_s) / elapsed_s
        result = load_.result()
    texts, batches, source = batches_of(counted, messages, round(idle_per_s * elapsed_s))
    added_ms = result.ms("delivery-other-node", "p50") - result.ms("delivery-same-node", "p50")
    print(
        f"{what}: {texts:,} texts for other nodes in {batches:,} messages ({source}), {texts / batches:.2f} texts"
        f" each; the nodes used {busy:.2f} cores; another node adds {added_ms:.2f} ms at p50{result.note()}",
        flush=True,
    )
    return texts, batches, busy


def _idle_messages_per_s(cluster: Cluster) -> float:
    """The messages per second that nodes publish without texts."""
    time.sleep(2)
    before = cluster.bus.messages()
    time.sleep(5)
    return (cluster.bus.messages() - before) / 5


def batches_of(counted: Metrics, messages: int, idle: int) -> tuple[int, int, str]:
    """The texts for other nodes, the messages of the bus that they took, and who says so: the nodes, or
    else the bus, less the messages that nodes publish without texts."""
    batches = int(total(counted, "bullhorn_cluster_batches_published_total"))
    if batches:
        return int(total(counted, "bullhorn_cluster_texts_published_total")), batches, "as nodes count"
    if messages <= idle:
        raise CheckFailed("no texts came over the bus")
    return int(total(counted, "bullhorn_messages_total")), messages - idle, "as the bus counts"


def slow(tools: Tools, arguments: argparse.Namespace) -> list[str]:
    """A bus that is stopped for 3 s under load, several times."""
    with cluster_nodes.running(tools) as cluster:
        flags = ("--clients=300", "--room-size=3", f"--rate={SLOW_TEXTS_PER_S}", "--payload=1000", "--protocol=v2")
        seconds = round(STOPS * (STOP_S + BETWEEN_S) + 2 * BETWEEN_S)
        before, growth, stops = cluster.metrics(), 0, []
        with loading(tools, cluster.targets(), seconds, *flags) as load_:
            load_.wait_for_seconds(round(BETWEEN_S))
            for _ in range(STOPS):
                start = time.time()
                growth = max(growth, _stop(cluster))
                stops.append((start, time.time()))
                time.sleep(BETWEEN_S)
            result = load_.result()
        cluster.check_runs()
        counted = change(before, cluster.metrics())
    counts, lost = result.counts(), causes(counted, 3, 1)
    ends = [0.0, *(end for _, end in stops)]
    own, between = "delivery-same-node", zip(ends, (start for start, _ in stops), strict=False)
    usual = [ms for start, end in between for ms in result.p99s_ms(own, start, end)]
    stopped = [ms for start, end in stops for ms in result.p99s_ms(own, start, end)]
    print(
        f"bus stopped {STOPS} times for {STOP_S:.0f} s at {SLOW_TEXTS_PER_S:,} texts/s: p99 of each second at the"
        f" own node {measuring.span(usual, '.1f')} ms before and between, {measuring.span(stopped, '.1f')} ms"
        f" meanwhile{result.note()}"
    )
    print(
        f"{counts['expected']:,} copies owed, {counts['lost']:,} lost, for which the nodes counted causes for up"
        f" to {lost:,}; {counts['repeated']} repeated; counted: {drops(counted)}; {counts['own_drops']} own drops"
        f" of loadgen; memory grew by {growth:,} KiB",
        flush=True,
    )
    alone_s = [length for node in cluster.nodes for length in alone(node.log.read_text())]
    for_nobody = round(sum(alone_s) * SLOW_TEXTS_PER_S / len(cluster.nodes))
    print(
        f"nodes took another for dead {len(alone_s)} times, for {measuring.span(alone_s, '.2f') if alone_s else 0} s,"
        f" in which up to {for_nobody:,} texts of theirs were not for its members",
        flush=True,
    )
    # Of the connections that nodes gave up, the bus reads the rest beside the new ones, and too late.
    missed = mistakes(result, {**counted, STALE: 0.0}, 3, 1, for_nobody)
    if growth > MAX_GROWTH_KIB:
        missed.append(f"memory grew by {growth:,} KiB while the bus was stopped")
    if statistics.median(stopped) > max(MAX_SLOWER * statistics.median(usual), max(usual)):
        missed.append("deliveries at the own node were slower while the bus was stopped")
    return missed


def alone(log: str) -> list[float]:
    """For how long a node took others for dead that came back, in seconds, by its log."""
    lengths, dead = [], dict[str, datetime]()
    event_of = re.compile(r"^(\S+Z) .* cluster: node (\S+) (does not answer|is here)$", re.MULTILINE)
    for time_, name, event in event_of.findall(log):
        at = datetime.fromisoformat(time_)
        if event != "is here":
            dead[name] = at
        elif since := dead.pop(name, None):
            lengths.append((at - since).total_seconds())
    return lengths


def _stop(cluster: Cluster) -> int:
    """Stops the bus for a while. Returns by how many KiB the memory of a node grew at most."""
    before = [node.rss_kib() for node in cluster.nodes]
    growth, end = 0, time.monotonic() + STOP_S
    with cluster.bus.stopped():
        while time.monotonic() < end:
            sizes = zip((node.rss_kib() for node in cluster.nodes), before, strict=True)
            growth = max(growth, *(size - first for size, first in sizes))
            time.sleep(0.1)
    return growth


DELIVERIES_LOST = re.compile(r'bullhorn_deliveries_total\{outcome="(?!sent")')
"""All but those that were sent."""

STALE = "bullhorn_cluster_texts_stale_total"

LOSSES = (
    "bullhorn_kernel_drops_total", "bullhorn_messages_dropped_total", "bullhorn_cluster_texts_dropped_total",
    "bullhorn_cluster_texts_missing_total", STALE,
)

NO_SPACE = 'bullhorn_cluster_texts_dropped_total{reason="no space"}'

TEXTS_PER_S, ROOM_SIZE, NODE_SIZE = 1_000, 30, 10
"""Of the load, in rooms with as many members at each of three nodes."""

MAX_ADDED_MS = {"p50": 1.0, "p99": 5.0}
"""By another node. A text takes two more hops on the machine, and a turn of a worker and of a thread."""

COST_TEXTS_PER_S = 4_000
"""Half of what a worker carries on a slow core."""

MAX_COST_RATIO = 1.03
"""The noise of medians of a few rounds."""

SATURATION_TEXTS_PER_S = 60_000
"""More than three workers on a core can deliver to 60 members each."""

MIN_BUSY = 0.8
"""Of a core. The kernel takes a part of it for interrupts, which count for no process."""

MIN_TEXTS_PER_MESSAGE = 10

SLOW_TEXTS_PER_S = 6_000
"""Of 1,000 bytes, to one member at each node: more than the buffers of the kernel take."""

STOPS, STOP_S, BETWEEN_S = 5, 3.0, 4.0
"""A second is too short for a steady percentile, so there are some of both kinds."""

MAX_GROWTH_KIB = 24 << 10
"""Of a node. 8 MiB of texts may wait, and as much may be under way in the connection and its buffers."""

MAX_SLOWER = 2.0
"""The noise of the 99th percentile of a second."""

INVALID = 4
"""The exit code of loadgen if its times are not those of the server. Its counts are right."""

LOADGEN_LIMIT_S = 60.0
"""Beyond its time. It registers its clients, waits for the nodes, and drains."""
