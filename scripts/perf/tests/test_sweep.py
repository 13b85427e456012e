"""What a sweep makes of what it has seen."""

import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

import generator
import subject
import sweep
import sweep_tables
import trial
from generator import Run
from processes import CheckFailed
from sweep import Point, Seen, Spoiled
from trial import Cores, Span

RUN = Run(
    began_at_unix_s=100.0,
    recorded_s=1.0,
    sent_ratio=1.0,
    received=50_000,
    loss_ratio=0.0,
    p50_us=200.0,
    p99_us=900.0,
    run_queue_ratio=0.0,
    invalid=(),
    server_cpu_s=0.4,
)

SPAN = Span(
    length_s=2.0,
    server_cpu_s=1.0,
    server_run_queue_s=0.0,
    deliveries=200_000,
    foreign_s=0.0,
    steal_s=0.0,
)

POINT = Point("load", 1000, 0, 100.0)


def seen_of(cpu_us: float) -> Seen:
    seen = Seen()
    seen.add(RUN, replace(SPAN, server_cpu_s=cpu_us * SPAN.deliveries / 1e6))
    return seen


class MeasureTest(unittest.TestCase):
    def test_one_worker_has_a_core_and_several_have_all(self) -> None:
        cores = Cores(3, 7, frozenset({3, 5, 7}))
        for workers, own in ((1, {3}), (2, {3, 5, 7})):
            with (
                mock.patch.object(subject, "running") as running,
                mock.patch.object(generator, "run", return_value=RUN),
                mock.patch.object(trial, "span", return_value=SPAN),
            ):
                point = Point("workers", 1000, 0, 100.0, workers)
                sweep.measure(Path("server"), Path("loadgen"), point, 2.0, cores)
            self.assertEqual(running.call_args.args[1:3], (own, workers))

    def test_low_rates_have_the_time_for_some_texts(self) -> None:
        for rate_per_s, duration_s in ((1.0, sweep.FEWEST_TEXTS), (1000.0, 2.0)):
            with (
                mock.patch.object(subject, "running"),
                mock.patch.object(generator, "run", return_value=RUN) as run,
                mock.patch.object(trial, "span", return_value=SPAN),
            ):
                point = Point("room", 1000, 0, rate_per_s)
                sweep.measure(Path("server"), Path("loadgen"), point, 2.0, Cores(3, 7))
            self.assertEqual(run.call_args.args[1].duration_s, duration_s)


class RoundTest(unittest.TestCase):
    def test_the_figures_of_a_round(self) -> None:
        seen = Seen()
        seen.add(RUN, SPAN)
        self.assertEqual((seen.cpu_us, seen.busy_ratio), ([5.0], [0.5]))
        self.assertEqual((seen.deliveries_per_s, seen.p99_us), ([100_000], [900.0]))
        seen.add(replace(RUN, invalid=("it fell behind",)), SPAN)
        # Its latencies are not the server's; what the server counted is.
        self.assertEqual((len(seen.cpu_us), len(seen.p99_us)), (2, 1))
        self.assertEqual(seen.invalid, ["it fell behind"])

    def test_what_spoils_a_round(self) -> None:
        self.assertIsNone(sweep.spoiled(RUN, SPAN, workers=1))
        self.assertIn("nothing", sweep.spoiled(RUN, replace(SPAN, deliveries=0), 1) or "")
        for workers in (1, 2):
            stolen = replace(SPAN, steal_s=1.0)
            self.assertIn("hypervisor", sweep.spoiled(RUN, stolen, workers) or "")
        late = replace(RUN, sent_ratio=0.9)
        self.assertIn("sent 90.0%", sweep.spoiled(late, SPAN, 1) or "")
        # Several workers share the cores with the load.
        for of_the_core in ({"foreign_s": 1.0}, {"server_run_queue_s": 1.0}):
            self.assertIsNotNone(sweep.spoiled(RUN, replace(SPAN, **of_the_core), 1))
            self.assertIsNone(sweep.spoiled(RUN, replace(SPAN, **of_the_core), 2))

    def test_a_spoiled_round_is_made_again(self) -> None:
        for outcomes, values in (
            ([Spoiled("stolen"), (RUN, SPAN)], 1),
            ([Spoiled("stolen")] * sweep.TRIES, 0),
        ):
            seen = Seen()
            with mock.patch.object(sweep, "measure", side_effect=outcomes):
                said = sweep.add_round(Path(), Path(), POINT, 1.0, Cores(0, 1), seen)
            self.assertEqual(len(seen.cpu_us), values)
            self.assertEqual(seen.spoiled[0], "stolen")
            self.assertIn("5.00 µs" if values else "no value: stolen", said)


class SummaryTest(unittest.TestCase):
    def setUp(self) -> None:
        self.seen = {point: Seen() for point in sweep.points()}
        for point, seen in self.seen.items():
            if point.series == "load":
                seen.add(RUN, SPAN)
        self.lowest, *_, self.highest = (
            point for point in self.seen if point.series == "load"
        )
        self.seen[self.lowest] = seen_of(6.0)
        self.seen[self.highest] = seen_of(1.0)

    def test_the_costs_come_from_the_lowest_load_and_the_highest(self) -> None:
        costs = sweep.costs_of(self.seen)
        self.assertAlmostEqual(costs.delivery_us(1), 6.0)
        self.assertAlmostEqual(1e6 / costs.most_deliveries_per_s, 1.0)

    def test_without_these_there_are_no_costs(self) -> None:
        for point in (self.lowest, self.highest):
            spoiled = self.seen | {point: Seen(spoiled=["stolen"])}
            with self.assertRaisesRegex(CheckFailed, "stolen"):
                sweep.costs_of(spoiled)

    def test_the_page_sets_the_model_beside_what_was_measured(self) -> None:
        for point in self.seen:
            if point.series == "check":
                # 250,000 deliveries a second.
                self.seen[point].add(RUN, replace(SPAN, deliveries=500_000))
        record = sweep.summary(self.seen, sweep.costs_of(self.seen), "0123456789ab-dirty")
        page = sweep_tables.page(record)
        self.assertIn("commit 0123456789-dirty, 20", page)
        rows = {row.replace(" ", "") for row in page.splitlines()}
        # Nothing was measured of these.
        self.assertIn("|10|6.00|-|-|-|-|", rows)
        self.assertIn("|100|100|400,000|400,000|250,000|+60.0%|", rows)
        self.assertIn("|1,000|100|1,200,000|1,000,000|250,000|+300.0%|", rows)
        of_load = [row.split("|") for row in rows if "|fitted|" in row]
        self.assertEqual({row[1] for row in of_load}, {"25", "4000"})
