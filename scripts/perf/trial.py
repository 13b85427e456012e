"""One trial: a server of its own under one load, and one value for each metric of that load."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import generator
import machine
import subject
from loads import Load, LoadName
from machine import CoreTimes, ProcessTimes
from metrics import METRICS


@dataclass(frozen=True)
class Cores:
    """Who runs where. Everything else that the check itself does is on the load's core, too."""

    server: int
    load: int
    allowed: frozenset[int] = frozenset()
    """All that may be used: servers with several workers have them, the load's included."""


@dataclass(frozen=True)
class Trial:
    """What came of it."""

    load: LoadName
    values: dict[str, float] = field(default_factory=dict)
    """By the metric's key; also of a spoiled trial, as far as there are any."""
    spoiled: str | None = None
    """Why the values are not the server's alone."""
    facts: dict[str, float] = field(default_factory=dict)
    """What else was seen, for the record."""


@dataclass(frozen=True)
class Sample:
    """What was so at one moment of a trial."""

    at_unix_s: float
    server: ProcessTimes
    deliveries: int
    """That the server has sent."""
    server_core: CoreTimes
    load_core: CoreTimes


@dataclass(frozen=True)
class Span:
    """What happened between two samples."""

    length_s: float
    server_cpu_s: float
    server_run_queue_s: float
    deliveries: int
    foreign_s: float
    """For how long the server's core was busy with something else."""
    steal_s: float
    """For how long the hypervisor took one of the cores, the worse of them."""

    @property
    def server_busy_ratio(self) -> float:
        """Share of the time in which the server ran."""
        return self.server_cpu_s / self.length_s


def run_trial(
    server: Path, loadgen: Path, name: LoadName, load: Load, cores: Cores, seed: int
) -> Trial:
    """Runs the trial of the `server` binary under `load`, which is the one of that name."""
    samples: list[Sample] = []
    with subject.running(server, {cores.server}) as running:
        try:
            run = generator.run(
                loadgen,
                load,
                running.address,
                running.pid,
                cores.load,
                seed,
                lambda: samples.append(sample(running, cores)),
            )
        except generator.NoOutcome as error:
            # A server that has died is no spoiled trial.
            running.counts()
            return Trial(name, spoiled=str(error))
    return evaluate(name, run, span(samples, run))


def sample(running: subject.Subject, cores: Cores) -> Sample:
    """What is so now."""
    return Sample(
        # The counts first, as the worker goes on while the rest is read: 10 ms are the
        # resolution of that.
        deliveries=running.counts().deliveries,
        at_unix_s=time.time(),
        server=machine.process_times(running.pid),
        server_core=machine.core_times(cores.server),
        load_core=machine.core_times(cores.load),
    )


def span(samples: Sequence[Sample], run: generator.Run) -> Span | None:
    """From the first sample in the recording to the last one, if there are two."""
    end_unix_s = run.began_at_unix_s + run.recorded_s
    inside = [one for one in samples if run.began_at_unix_s <= one.at_unix_s <= end_unix_s]
    if len(inside) < 2 or inside[-1].at_unix_s - inside[0].at_unix_s < run.recorded_s / 2:
        return None
    first, last = inside[0], inside[-1]
    cpu_s = last.server.cpu_s - first.server.cpu_s
    busy_s = last.server_core.busy_s - first.server_core.busy_s
    return Span(
        length_s=last.at_unix_s - first.at_unix_s,
        server_cpu_s=cpu_s,
        server_run_queue_s=last.server.run_queue_s - first.server.run_queue_s,
        deliveries=last.deliveries - first.deliveries,
        foreign_s=max(0.0, busy_s - cpu_s),
        steal_s=max(
            last.server_core.steal_s - first.server_core.steal_s,
            last.load_core.steal_s - first.load_core.steal_s,
        ),
    )


def evaluate(load: LoadName, run: generator.Run, seen: Span | None) -> Trial:
    """The trial from what the generator and the kernel say."""
    if seen is None:
        return Trial(load, spoiled="the check itself had no processor to look at the server")
    values = _half_values(run) if load is LoadName.HALF else _saturation_values(seen)
    facts = {
        "server_busy_ratio": seen.server_busy_ratio,
        "server_run_queue_ratio": seen.server_run_queue_s / seen.length_s,
        "foreign_ratio": seen.foreign_s / seen.length_s,
        "steal_ratio": seen.steal_s / seen.length_s,
        "sent_ratio": run.sent_ratio,
        "generator_run_queue_ratio": run.run_queue_ratio,
        "recorded_s": run.recorded_s,
    }
    spoiled = _spoiled(load, run, seen)
    if spoiled is None:
        metrics = [metric for metric in METRICS if metric.load is load]
        missing = [one.title for one in metrics if not one.is_comparable(values[one.key])]
        if missing:
            spoiled = f"no value: {', '.join(missing)}"
    return Trial(load, values, spoiled, facts)


def machine_spoiled(seen: Span) -> str | None:
    """What on this machine disturbed the server, if more than it may."""
    if seen.steal_s > MAX_STEAL_RATIO * seen.length_s:
        return f"the hypervisor took {seen.steal_s / seen.length_s:.1%} of a core"
    if seen.foreign_s > MAX_FOREIGN_RATIO * seen.length_s:
        return f"others had {seen.foreign_s / seen.length_s:.1%} of the server's core"
    if seen.server_run_queue_s > MAX_RUN_QUEUE_RATIO * seen.length_s:
        waited = seen.server_run_queue_s / seen.length_s
        return f"the server waited for its core {waited:.1%} of the time"
    return None


def alike(reason: str) -> str:
    """A reason for spoiling without its figures, to be counted: each trial has another share of
    the time, for the same reason."""
    return re.sub(r"[\d.]+%", "some %", reason)


def _half_values(run: generator.Run) -> dict[str, float]:
    return {
        "cpu_us_per_delivery": run.server_cpu_s * 1e6 / run.received if run.received else math.nan,
        "p50_us": run.p50_us,
        "p99_us": run.p99_us,
        "loss_ratio": run.loss_ratio,
    }


def _saturation_values(seen: Span) -> dict[str, float]:
    # What the server sent, not what came: the generator cannot read all of it.
    return {"throughput_per_s": seen.deliveries / seen.length_s}


def _spoiled(load: LoadName, run: generator.Run, seen: Span) -> str | None:
    # Of the machine first, as what the generator says may follow from that.
    if reason := machine_spoiled(seen):
        return reason
    if load is LoadName.HALF and run.invalid:
        # The generator goes on to say what to do about it.
        return run.invalid[0].partition(":")[0]
    if load is LoadName.SATURATION:
        if run.sent_ratio < MIN_SENT_RATIO:
            return f"the generator sent {run.sent_ratio:.1%} of what was due"
        if seen.server_busy_ratio < MIN_SATURATED_RATIO:
            return f"no saturation: the server was busy {seen.server_busy_ratio:.1%} of the time"
    return None


MAX_STEAL_RATIO = 0.05
"""On a shared machine 2 % are common where cores sleep and wake, and move no figure by more
than its limit; CPU time does not count them."""

MAX_FOREIGN_RATIO = 0.10
"""/proc/stat counts by ticks, which meet a server that sleeps and wakes more or less often
than it runs; a compiler or a browser takes a third or more."""

MAX_RUN_QUEUE_RATIO = 0.05
"""Its console and its worker wait for each other for some thousandths."""

MIN_SENT_RATIO = 0.95
"""The load is far beyond what the server carries, so a little less is as good."""

MIN_SATURATED_RATIO = 0.90
"""A worker that is always busy, but for the edges of the samples."""
