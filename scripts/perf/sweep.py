"""sweep: what a delivery costs, by the number of peers, of workers, and by load.

Starts the server of the working tree once for each measurement, offers it load, and writes
results/sweep.json, sweep.md and sweep.svg: medians and extremes of several rounds, in which all
measurements take turns. The costs of the model (scripts/perf/model.py) come from two of them, the
lowest load and the highest of a room of 1000; all others, in rooms of other sizes, too, are
compared with what it says.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import builds
import generator
import machine
import measuring
import pages
import subject
import sweep_plot
import sweep_tables
import trial
from loads import Load
from model import MAX_BATCH, Costs, fit
from processes import CheckFailed
from trial import Cores


@dataclass(frozen=True)
class Point:
    """One measurement."""

    series: str
    """What it is a part of: `room` or `rooms`, by peers; `workers`; `load`; `check`, of the
    model."""
    peers: int
    room_size: int
    """0: all are in one room, and one of them speaks."""
    rate_per_s: float
    """Texts a second."""
    workers: int = 1

    @property
    def offered_per_s(self) -> float:
        """Deliveries a second."""
        return self.rate_per_s * (self.room_size or self.peers)

    def load(self, duration_s: float) -> Load:
        """What loadgen is told."""
        scenario = "chat" if self.room_size else "lobby"
        more = ("--no-gro", f"--heartbeat={HEARTBEAT}")
        return Load(
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
    """What came of a point, round by round; a round that was spoiled has no value."""

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
    spoiled: list[str] = field(default_factory=list)
    """Why rounds have no value."""

    def add(self, run: generator.Run, span: trial.Span) -> None:
        """Takes up a round."""
        self.cpu_us.append(span.server_cpu_s * 1e6 / span.deliveries)
        self.busy_ratio.append(span.server_busy_ratio)
        self.deliveries_per_s.append(span.deliveries / span.length_s)
        self.loss_ratio.append(run.loss_ratio)
        if run.invalid:
            self.invalid.append(run.invalid[0])
        else:
            self.p50_us.append(run.p50_us)
            self.p99_us.append(run.p99_us)


class Spoiled(Exception):
    """A round that says nothing of the server, and why."""


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    cores = measuring.choose_cores()
    workshop = builds.workshop()
    source = workshop.working_tree()
    seen: dict[Point, Seen] = {point: Seen() for point in points()}
    with workshop.locked():
        commit = builds.commit_of(workshop.repository)
        measuring.progress("building server and loadgen")
        server, loadgen = workshop.build(source).server, workshop.loadgen(source)
        os.sched_setaffinity(0, {cores.load})
        for number in range(arguments.rounds):
            for point in seen if number % 2 == 0 else reversed(seen):
                said = add_round(server, loadgen, point, arguments.seconds, cores, seen[point])
                measuring.progress(f"round {number + 1}: {said}")
    record = summary(seen, costs_of(seen), commit)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "sweep.json").write_text(pages.record_text(record))
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
    for peers, room_size in CHECKED:
        for offered_per_s in CHECKED_PER_S:
            yield Point("check", peers, room_size, offered_per_s / (room_size or peers))


def add_round(
    server: Path, loadgen: Path, point: Point, duration_s: float, cores: Cores, seen: Seen
) -> str:
    """One round of a point, made again where something spoils it. Returns what came of it, in
    a line."""
    said = f"{point.series}: {point.peers} peers, {point.rate_per_s:g} texts/s, "
    said += f"{point.workers} workers: "
    for _ in range(TRIES):
        try:
            seen.add(*measure(server, loadgen, point, duration_s, cores))
        except Spoiled as error:
            seen.spoiled.append(str(error))
        else:
            return said + f"{seen.cpu_us[-1]:.2f} µs a delivery"
    return said + f"no value: {seen.spoiled[-1]}"


def measure(
    server: Path, loadgen: Path, point: Point, duration_s: float, cores: Cores
) -> tuple[generator.Run, trial.Span]:
    """Runs a point once. Raises `Spoiled`."""
    own = {cores.server} if point.workers == 1 else cores.allowed
    load = point.load(max(duration_s, FEWEST_TEXTS / point.rate_per_s))
    samples: list[trial.Sample] = []
    with subject.running(server, own, point.workers, [f"--timeout={TIMEOUT}"]) as running:
        try:
            run = generator.run(
                loadgen,
                load,
                running.address,
                running.pid,
                cores.load,
                point.peers,
                lambda: samples.append(trial.sample(running, cores)),
            )
        except generator.NoOutcome as error:
            # A server that has died is no spoiled round.
            running.counts()
            raise Spoiled(str(error)) from None
    span = trial.span(samples, run)
    if span is None:
        raise Spoiled("the sweep itself had no processor to look at the server")
    if reason := spoiled(run, span, point.workers):
        raise Spoiled(reason)
    return run, span


def spoiled(run: generator.Run, span: trial.Span, workers: int) -> str | None:
    """Why what was seen says nothing of the server, if it does not."""
    if span.deliveries == 0:
        return "nothing was delivered"
    if run.sent_ratio < trial.MIN_SENT_RATIO:
        return f"the generator sent {run.sent_ratio:.1%} of what was due"
    if workers > 1:
        # They have no core of their own: others on it, and waiting for it, belong to what is
        # measured.
        span = replace(span, foreign_s=0.0, server_run_queue_s=0.0)
    return trial.machine_spoiled(span)


def costs_of(seen: dict[Point, Seen]) -> Costs:
    """Of the lowest load, at which each packet has one text, and of the highest, at which each
    has as many as fit."""
    loads = [of_point for point, of_point in seen.items() if point.series == "load"]
    alone, full = loads[0].cpu_us, loads[-1].cpu_us
    if not alone or not full:
        reasons = loads[0].spoiled + loads[-1].spoiled
        raise CheckFailed(f"the lowest or the highest load has no value: {', '.join(reasons)}")
    return fit([(1.0, statistics.median(alone)), (MAX_BATCH, statistics.median(full))])


def summary(seen: dict[Point, Seen], costs: Costs, commit: str) -> dict[str, Any]:
    """What is kept."""
    return {
        "schema": SCHEMA,
        "commit": commit,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine.identity_record(),
        "costs": {"packet_us": round(costs.packet_us, 3), "text_us": round(costs.text_us, 3)},
        "idle_deliveries_per_s": round(costs.idle_deliveries_per_s),
        "most_deliveries_per_s": round(costs.most_deliveries_per_s),
        "points": [_row(point, of_point, costs) for point, of_point in seen.items()],
    }


def _row(point: Point, seen: Seen, costs: Costs) -> dict[str, Any]:
    row: dict[str, Any] = {
        "series": point.series,
        "peers": point.peers,
        "room_size": point.room_size or point.peers,
        "texts_per_s": round(point.rate_per_s, 3),
        "workers": point.workers,
    }
    for name in FIGURES:
        row[name] = pages.spread(getattr(seen, name))
    row["invalid"] = sorted(set(seen.invalid))
    row["spoiled"] = seen.spoiled
    if point.workers == 1:
        # The model is of one worker.
        offered_per_s = point.offered_per_s
        batch = costs.batch(offered_per_s)
        row["model"] = {
            "batch": round(batch, 2),
            "cpu_us": round(costs.delivery_us(batch), 3),
            "deliveries_per_s": round(costs.deliveries_per_s(offered_per_s)),
            "busy_ratio": round(costs.busy_ratio(offered_per_s), 3),
            "round_us": round(costs.round_us(offered_per_s, point.peers)),
        }
    return row


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=measuring.whole(1, 100), default=3)
    parser.add_argument("--seconds", type=measuring.seconds, default=2.0, help="of a measurement")
    results = Path(__file__).resolve().parents[2] / "results"
    parser.add_argument("--out", type=measuring.output_directory, default=results, help="[default: %(default)s]")
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
"""As many as most machines have cores, and more than this one may have."""

RATES_PER_S = (25, 50, 100, 200, 300, 400, 500, 600, 800, 1000, 4000)
"""Texts a second to the room: from a fraction of what a worker carries one by one, to several
times what it carries at all."""

CHECKED = ((100, 0), (10, 0), (1000, 100))
"""Peers and room size of the loads that the model is checked by: in one room, which is smaller
than that which its costs are from, and in several."""

CHECKED_PER_S = (400_000, 800_000, 1_200_000)
"""Deliveries offered a second: that a worker carries in growing batches, that it just carries,
and more than that. The last one is 120,000 texts a second to a room of 10, about as many as the
generator can send beside hearing."""

PAYLOAD = "48"
"""As in perf-check."""

WARMUP_S = 0.5
"""Until buffers and caches are as they stay."""

TRIES = 3
"""What spoils a round, such as another machine's turn, mostly passes within seconds."""

FEWEST_TEXTS = 4
"""Of one text the first look at the server may see no delivery, and the last one all."""

TIMEOUT, HEARTBEAT = "60s", "30s"
"""Heartbeats of 100,000 peers every 4 s would be a load of their own."""

FIGURES = ("cpu_us", "busy_ratio", "deliveries_per_s", "p50_us", "p99_us", "loss_ratio")
"""Of a point, as they are called in sweep.json and in `Seen`."""

SCHEMA = "bullhorn-sweep/1"
"""Of sweep.json. The number rises when a key goes or changes its meaning."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
