"""sweep: what a delivery costs, by the number of peers, of workers, and by load.

Starts the server of the working tree once for each measurement, offers it load, and writes
results/sweep.json, sweep.md and sweep.svg: medians and extremes of several rounds, in which all
measurements take turns. The costs of the model (scripts/perf/model.py) come from two of them, the
lowest load and the highest; all others are compared with what it says.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import builds
import generator
import machine
import measuring
import subject
import sweep_plot
import sweep_tables
from loads import Load, LoadName
from model import MAX_BATCH, Costs, fit
from trial import Cores


@dataclass(frozen=True)
class Point:
    """One measurement."""

    series: str
    """What it is a part of: `room` or `rooms`, by peers; `workers`; `load`."""
    peers: int
    room_size: int
    """0: all are in one room, and one of them speaks."""
    rate_per_s: float
    """Texts a second."""
    workers: int = 1

    def load(self, duration_s: float) -> Load:
        """What loadgen is told."""
        scenario = "chat" if self.room_size else "lobby"
        more = ("--no-gro", f"--heartbeat={HEARTBEAT}")
        return Load(
            # No trial of perf-check, so its name says nothing.
            LoadName.HALF,
            scenario,
            self.peers,
            self.room_size,
            PAYLOAD,
            self.rate_per_s,
            WARMUP_S,
            duration_s,
            more,
        )


@dataclass
class Seen:
    """What came of a point, round by round; a round that the machine spoiled has none."""

    cpu_us: list[float] = field(default_factory=list)
    """CPU time of the server for a delivery that it sent, in microseconds."""
    busy_ratio: list[float] = field(default_factory=list)
    deliveries_per_s: list[float] = field(default_factory=list)
    """That the server sent."""
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    loss_ratio: list[float] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    """Why loadgen calls its latencies not the server's."""


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    cores = measuring.choose_cores()
    workshop = builds.workshop()
    source = workshop.working_tree()
    seen: dict[Point, Seen] = {point: Seen() for point in points()}
    with workshop.locked():
        measuring.progress("building server and loadgen")
        server, loadgen = workshop.build(source).server, workshop.loadgen(source)
        os.sched_setaffinity(0, {cores.load})
        for number in range(arguments.rounds):
            for point in seen if number % 2 == 0 else reversed(seen):
                measure(server, loadgen, point, arguments.seconds, cores, seen[point])
                measuring.progress(f"round {number + 1}: {describe(point, seen[point])}")
    costs = costs_of(seen)
    record = summary(seen, costs)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "sweep.json").write_text(json.dumps(record, indent=1) + "\n")
    (arguments.out / "sweep.md").write_text(sweep_tables.page(record))
    sweep_plot.draw(record, arguments.out / "sweep.svg")
    print(sweep_tables.page(record))
    return 0


def points() -> Iterator[Point]:
    """All measurements."""
    for peers in PEERS:
        yield Point("room", peers, 0, STEADY_PER_S / peers)
        yield Point("rooms", peers, TEN, STEADY_PER_S / TEN)
    for workers in WORKERS:
        yield Point("workers", ROOM, 0, STEADY_PER_S / ROOM, workers)
    for rate_per_s in RATES_PER_S:
        yield Point("load", ROOM, 0, rate_per_s)


def measure(
    server: Path, loadgen: Path, point: Point, duration_s: float, cores: Cores, seen: Seen
) -> None:
    """One round of a point."""
    core = cores.server if point.workers == 1 else None
    samples: list[tuple[float, int, float]] = []
    with subject.running(server, core, point.workers, [f"--timeout={TIMEOUT}"]) as running:

        def sample() -> None:
            deliveries = running.counts().deliveries
            cpu_s = machine.process_times(running.pid).cpu_s
            samples.append((time.time(), deliveries, cpu_s))

        load = point.load(max(duration_s, FEWEST_TEXTS / point.rate_per_s))
        run = generator.run(
            loadgen, load, running.address, running.pid, cores.load, point.peers, sample
        )
    end_s = run.began_at_unix_s + run.recorded_s
    inside = [one for one in samples if run.began_at_unix_s <= one[0] <= end_s]
    (from_s, first, first_cpu_s), (to_s, last, last_cpu_s) = inside[0], inside[-1]
    if last == first:
        return
    seen.cpu_us.append((last_cpu_s - first_cpu_s) * 1e6 / (last - first))
    seen.busy_ratio.append((last_cpu_s - first_cpu_s) / (to_s - from_s))
    seen.deliveries_per_s.append((last - first) / (to_s - from_s))
    seen.loss_ratio.append(run.loss_ratio)
    if run.invalid:
        seen.invalid.append(run.invalid[0])
    else:
        seen.p50_us.append(run.p50_us)
        seen.p99_us.append(run.p99_us)


def costs_of(seen: dict[Point, Seen]) -> Costs:
    """Of the lowest load, at which each packet has one text, and of the highest, at which each
    has as many as fit."""
    loads = [point for point in seen if point.series == "load"]
    alone = statistics.median(seen[loads[0]].cpu_us)
    full = statistics.median(seen[loads[-1]].cpu_us)
    return fit([(1.0, alone), (MAX_BATCH, full)])


def summary(seen: dict[Point, Seen], costs: Costs) -> dict[str, object]:
    """What is kept."""
    rows = []
    for point, of_point in seen.items():
        row: dict[str, object] = {
            "series": point.series,
            "peers": point.peers,
            "room_size": point.room_size or point.peers,
            "texts_per_s": round(point.rate_per_s, 3),
            "workers": point.workers,
        }
        for name in FIGURES:
            row[name] = spread(getattr(of_point, name))
        row["invalid"] = sorted(set(of_point.invalid))
        if point.series == "load":
            row["model"] = {
                "batch": round(costs.batch(point.rate_per_s, point.peers), 2),
                "busy_ratio": round(costs.busy_ratio(point.rate_per_s, point.peers), 3),
                "round_us": round(costs.round_us(point.rate_per_s, point.peers)),
            }
        rows.append(row)
    return {
        "schema": SCHEMA,
        "machine": machine.identity_record(),
        "costs": {"packet_us": round(costs.packet_us, 3), "text_us": round(costs.text_us, 3)},
        "idle_deliveries_per_s": round(costs.idle_deliveries_per_s),
        "most_deliveries_per_s": round(costs.most_deliveries_per_s),
        "points": rows,
    }


def spread(values: list[float]) -> list[float] | None:
    """Median, least and most, with four significant digits."""
    if not values:
        return None
    figures = (statistics.median(values), min(values), max(values))
    return [float(f"{value:.4g}") for value in figures]


def describe(point: Point, seen: Seen) -> str:
    """A line of progress."""
    cost = f"{seen.cpu_us[-1]:.2f} µs" if seen.cpu_us else "nothing sent"
    shape = f"{point.peers} peers, {point.rate_per_s:g} texts/s, {point.workers} workers"
    return f"{point.series}: {shape}: {cost} a delivery"


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=measuring.whole(1, 100), default=3)
    parser.add_argument("--seconds", type=measuring.seconds, default=2.0, help="of a measurement")
    results = Path(__file__).resolve().parents[2] / "results"
    parser.add_argument("--out", type=Path, default=results, help="[default: %(default)s]")
    return parser.parse_args(words)


PEERS = (10, 100, 1000, 10_000, 100_000)
"""In tens, up to what one machine's generator has addresses and time for."""

TEN = 10
"""Members of a small room."""

ROOM = 1000
"""Members of the room of the project's other measurements."""

STEADY_PER_S = 100_000
"""Deliveries a second that a worker carries with time to spare: packets have one text then."""

WORKERS = (1, 2, 4, 8)

RATES_PER_S = (25, 50, 100, 200, 300, 400, 500, 600, 800, 1000, 4000)
"""Texts a second to the room: from a fraction of what a worker carries one by one, to several
times what it carries at all."""

PAYLOAD = "48"
"""As in perf-check."""

WARMUP_S = 0.5
"""Until buffers and caches are as they stay."""

FEWEST_TEXTS = 4
"""Of one text the first look at the server may see no delivery, and the last one all."""

TIMEOUT, HEARTBEAT = "60s", "30s"
"""Heartbeats of 100,000 peers every 4 s would be a load of their own."""

FIGURES = ("cpu_us", "busy_ratio", "deliveries_per_s", "p50_us", "p99_us", "loss_ratio")

SCHEMA = "bullhorn-sweep/1"
"""Of sweep.json. The number rises when a key goes or changes its meaning."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
