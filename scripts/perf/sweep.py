"""sweep: what a delivery costs, by the number of peers, of workers, and by load.

Starts the server of the working tree once for each measurement, offers it load, and writes
results/sweep.json, sweep.md and sweep.svg: medians and extremes of several rounds, in which all
measurements take turns. The costs of the model (scripts/perf/model.py) come from two of them, the
lowest load and the highest of a room of 1000; all others, in rooms of other sizes, too, are
compared with what it says. With --scaling it measures nothing, and draws results/scaling.svg from
what scripts/scaling printed.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import builds
import machine
import measuring
import pages
import scaling_plot
import subject
import sweep_plot
import sweep_tables
import trial
from machine import Cores
from model import MAX_BATCH, Costs, fit
from processes import CheckFailed


@dataclass(frozen=True)
class Point:
    """One measurement."""

    series: str
    """What it is a part of: `room` or `rooms`, by peers; `load`; `check`, of the model."""
    peers: int
    room_size: int
    """0: all are in one room, and one of them speaks."""
    rate_per_s: float
    """Texts a second."""

    @property
    def offered_per_s(self) -> float:
        """Deliveries a second."""
        return self.rate_per_s * (self.room_size or self.peers)

    def arguments(self, shortest_s: float) -> list[str]:
        """What loadgen is told; the receivers read datagrams one by one, as stock clients do."""
        duration_s = max(shortest_s, FEWEST_TEXTS / self.rate_per_s)
        return [
            *(["--scenario=chat", f"--room-size={self.room_size}"] if self.room_size else []),
            *([] if self.room_size else ["--scenario=lobby"]),
            f"--clients={self.peers}",
            f"--payload={PAYLOAD}",
            f"--rate={self.rate_per_s:.6g}",
            f"--warmup={WARMUP_S * 1000:.0f}ms",
            f"--duration={duration_s * 1000:.0f}ms",
            f"--seed={self.peers}",
            "--no-gro",
            f"--heartbeat={HEARTBEAT}",
            # What the server sends after the end of an overload is not counted.
            *(["--drain=0s"] if self.offered_per_s > MOST_PER_S else []),
        ]


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

    def add(self, summary: dict[str, Any]) -> None:
        """Takes up a run of loadgen. What the server sent it sent evenly, as the load is even."""
        recorded_s, server_cpu_s = summary["recorded_s"], summary["server"]["cpu_s"]
        sent_per_s = summary["sent"] / (WARMUP_S + recorded_s)
        self.cpu_us.append(server_cpu_s * 1e6 / (sent_per_s * recorded_s))
        self.busy_ratio.append(server_cpu_s / recorded_s)
        self.deliveries_per_s.append(sent_per_s)
        self.loss_ratio.append(summary["rates"]["loss_ratio"])
        if summary["verdict"]["invalid"]:
            self.invalid.append(summary["verdict"]["invalid"][0])
        else:
            self.p50_us.append(summary["latencies"]["delivery"]["p50_us"])
            self.p99_us.append(summary["latencies"]["delivery"]["p99_us"])


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    if arguments.scaling:
        scaling_plot.draw(scaling_plot.read(arguments.scaling), arguments.out / "scaling.svg")
        return 0
    cores = machine.choose_cores()
    workshop = builds.workshop()
    source = workshop.working_tree()
    seen: dict[Point, Seen] = {point: Seen() for point in points()}
    with workshop.locked():
        commit = builds.commit_of(workshop.repository)
        measuring.progress("building server and loadgen")
        server, loadgen = workshop.build(source), workshop.loadgen(source)
        os.sched_setaffinity(0, {cores.load})
        for number in range(arguments.rounds):
            for point in seen if number % 2 == 0 else reversed(seen):
                said = add_round(server, loadgen, point, arguments.seconds, cores, seen[point])
                measuring.progress(f"round {number + 1}: {said}")
    write(summary(seen, costs_of(seen), commit), arguments.out)
    return 0


def write(record: dict[str, Any], out: Path) -> None:
    """Writes the record, its page and its picture to the directory `out`."""
    (out / "sweep.json").write_text(pages.record_text(record))
    (out / "sweep.md").write_text(sweep_tables.page(record))
    sweep_plot.draw(record, out / "sweep.svg")
    print(sweep_tables.page(record))


def points() -> Iterator[Point]:
    """All measurements."""
    for peers in PEERS:
        yield Point("room", peers, 0, STEADY_PER_S / peers)
        yield Point("rooms", peers, TEN, STEADY_PER_S / TEN)
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
    said = f"{point.series}: {point.peers} peers, {point.rate_per_s:g} texts/s: "
    for _ in range(TRIES):
        try:
            with subject.running(server, {cores.server}, [f"--timeout={TIMEOUT}"]) as running:
                seen.add(trial.run(loadgen, point.arguments(duration_s), running, cores))
        except trial.Spoiled as error:
            seen.spoiled.append(str(error))
        else:
            return said + f"{seen.cpu_us[-1]:.2f} µs a delivery"
    return said + f"no value: {seen.spoiled[-1]}"


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
    }
    for name in FIGURES:
        row[name] = pages.spread(getattr(seen, name))
    row["invalid"] = sorted(set(seen.invalid))
    row["spoiled"] = seen.spoiled
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
    parser = measuring.parser("sweep", __doc__)
    parser.add_argument("--rounds", type=measuring.whole(1, 100), default=3)
    parser.add_argument(
        "--seconds", type=measuring.whole(1, 60), default=2, help="of a measurement"
    )
    parser.add_argument(
        "--scaling",
        type=measuring.existing,
        metavar="FILE",
        help="draw what scripts/scaling printed into this file, and measure nothing",
    )
    results = Path(__file__).resolve().parents[2] / "results"
    parser.add_argument(
        "--out", type=measuring.output_directory, default=results, help="[default: %(default)s]"
    )
    return parser.parse_args(words)


PEERS = (10, 100, 1000, 10_000, 100_000)
"""In tens, up to what one machine's generator has addresses and time for."""

TEN = 10
"""Members of a small room."""

ROOM = 1000
"""Members of the room of the project's other measurements."""

STEADY_PER_S = 100_000
"""Deliveries a second that a worker carries with time to spare: packets have one text then."""

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

MOST_PER_S = 1_000_000
"""Deliveries offered a second beyond which a worker may have a backlog at the end."""

PAYLOAD = "48"
"""The length of the project's other measurements."""

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

SCHEMA = "bullhorn-sweep/2"
"""Of sweep.json. The number rises when a key goes or changes its meaning."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
