"""Pairs: two builds of the server do the same steps in turn, and each pair is one ratio.

Both servers run on one core, their peers on another. They take turns step by step (A B B A), so
what drifts in this machine, or comes for longer than some milliseconds, meets both alike. What
a process has by chance from its start (addresses, the seeds of its tables) does not change in
it, so each pair has servers of its own.
"""

import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import machine
import subject
from machine import Cores
from scenes import SCENES, Room, Scene, allow_sockets

Cost = dict[str, float]
"""Of a delivery in a step, in microseconds, by the names of `METRICS`."""

Round = tuple[Cost, Cost, Cost, Cost]
"""The steps of one A B B A: base, candidate, candidate, base."""


@dataclass(frozen=True)
class Pair:
    """What two servers took for the same steps."""

    scene: str
    base: Cost
    """Medians over the rounds."""
    candidate: Cost
    ratios: Cost
    """Candidate by base, within the rounds."""


@dataclass(frozen=True)
class Session:
    """All pairs of a comparison."""

    pairs: list[Pair]
    took_s: float
    disturbed: str | None
    """Whether something else had more of the cores than it may, and what."""


Progress = Callable[[str], None]
"""Is told what has been done, in a line."""


def run(
    base: Path, candidate: Path, count: int, cores: Cores, progress: Progress = lambda line: None
) -> Session:
    """Runs `count` pairs of each scene with the two servers, the scenes in turns."""
    allow_sockets()
    pairs: list[Pair] = []
    with _on(cores.load):
        began_s, children_s, before = time.monotonic(), _children_s(), _core_times(cores)
        for number in range(count):
            # Either is started first in half of the pairs, and begins in these.
            pairs += [_pair(base, candidate, scene, cores, number % 2 == 1) for scene in SCENES]
            if number % 10 == 9:
                progress(f"{number + 1} of {count} pairs")
        took_s, after = time.monotonic() - began_s, _core_times(cores)
        busy_s = after[0].busy_s - before[0].busy_s
        foreign_s = busy_s - (_children_s() - children_s)
        both = zip(before, after, strict=True)
        stolen_s = max(late.steal_s - early.steal_s for early, late in both)
    return Session(pairs, took_s, disturbed(foreign_s / took_s, stolen_s / took_s))


def summary(scene: str, rounds: Sequence[Round]) -> Pair:
    """The pair of these rounds."""
    base, candidate, ratios = {}, {}, {}
    for metric in METRICS:
        sums = [
            (first[metric] + last[metric], second[metric] + third[metric])
            for first, second, third, last in rounds
        ]
        base[metric] = statistics.median(one for one, _ in sums) / 2
        candidate[metric] = statistics.median(two for _, two in sums) / 2
        ratios[metric] = statistics.median(two / one for one, two in sums)
    return Pair(scene, base, candidate, ratios)


def disturbed(foreign_ratio: float, stolen_ratio: float) -> str | None:
    """What had more of the cores than it may, as shares of the time."""
    if foreign_ratio > MAX_FOREIGN_RATIO:
        return f"others had {foreign_ratio:.0%} of the server's core"
    if stolen_ratio > MAX_STOLEN_RATIO:
        return f"the hypervisor took {stolen_ratio:.0%} of a core"
    return None


def _pair(base: Path, candidate: Path, scene: Scene, cores: Cores, is_swapped: bool) -> Pair:
    with ExitStack() as stack:
        sides = []
        for binary in (candidate, base) if is_swapped else (base, candidate):
            running = stack.enter_context(subject.running(binary, {cores.server}))
            room = Room(running, scene)
            stack.callback(room.close)
            sides.append((running.pid, room))
        for _ in range(WARM_UP_STEPS):
            for _, room in sides:
                room.step()
        one, two = sides
        rounds = [[_turn(*side) for side in (one, two, two, one)] for _ in range(ROUNDS)]
    if is_swapped:
        rounds = [[second, first, last, third] for first, second, third, last in rounds]
    return summary(scene.name, [(a, b, c, d) for a, b, c, d in rounds])


def _turn(pid: int, room: Room) -> Cost:
    before_s = machine.process_times(pid).cpu_s
    step = room.step()
    cpu_s = machine.process_times(pid).cpu_s - before_s
    deliveries = room.scene.deliveries
    return {"cpu": cpu_s * 1e6 / deliveries, "time": step.took_s * 1e6 / deliveries}


def _core_times(cores: Cores) -> list[machine.CoreTimes]:
    return [machine.core_times(core) for core in (cores.server, cores.load)]


def _children_s() -> float:
    """CPU time of the servers that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _on(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


METRICS = ("cpu", "time")
"""CPU time of the whole server, which counts no waiting; and time until the last copy is read,
which sees a server that waits before it sends."""

ROUNDS = 12
"""Of a pair: some hundred milliseconds, as long as it takes to start two servers."""

WARM_UP_STEPS = 2
"""Until buffers are as large as they stay."""

MAX_FOREIGN_RATIO = 0.1
"""The ticks of /proc/stat meet a server that sleeps and wakes more or less often than it runs; a
compiler or a browser takes a third or more."""

MAX_STOLEN_RATIO = 0.1
"""2 % are common on a shared machine, and meet both sides."""
