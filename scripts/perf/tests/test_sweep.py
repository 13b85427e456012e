"""What a sweep makes of what it has seen."""

import unittest
from pathlib import Path
from unittest import mock

import subject
import sweep
import sweep_tables
import trial
from machine import Cores
from processes import CheckFailed
from sweep import WARMUP_S, Point, Seen
from trial import Spoiled

RUN = {
    "recorded_s": 2.0,
    # 100,000 per second, also before the recording.
    "sent": int(100_000 * (2.0 + WARMUP_S)),
    "rates": {"loss_ratio": 0.0},
    "latencies": {"delivery": {"p50_us": 200.0, "p99_us": 900.0}},
    "server": {"cpu_s": 1.0},
    "verdict": {"invalid": []},
}

POINT = Point("load", 1000, 0, 100.0)


def seen_of(cpu_us: float) -> Seen:
    seen = Seen()
    seen.add(RUN | {"server": {"cpu_s": cpu_us * 200_000 / 1e6}})
    return seen


class PointTest(unittest.TestCase):
    def test_low_rates_have_the_time_for_some_texts(self) -> None:
        for rate_per_s, duration in ((1.0, "4000ms"), (1000.0, "2000ms")):
            arguments = Point("room", 1000, 0, rate_per_s).arguments(2)
            self.assertIn(f"--duration={duration}", arguments)

    def test_only_what_an_overload_leaves_is_not_awaited(self) -> None:
        for rate_per_s, is_overload in ((1000.0, False), (4000.0, True)):
            arguments = Point("load", 1000, 0, rate_per_s).arguments(2)
            self.assertIs("--drain=0s" in arguments, is_overload)

    def test_rooms(self) -> None:
        self.assertIn("--room-size=10", Point("rooms", 1000, 10, 1.0).arguments(2))
        self.assertIn("--scenario=lobby", POINT.arguments(2))
        self.assertEqual(POINT.offered_per_s, 100_000)


class RoundTest(unittest.TestCase):
    def test_the_figures_of_a_round(self) -> None:
        seen = Seen()
        seen.add(RUN)
        self.assertEqual((seen.cpu_us, seen.busy_ratio), ([5.0], [0.5]))
        self.assertEqual((seen.deliveries_per_s, seen.p99_us), ([100_000], [900.0]))
        seen.add(RUN | {"verdict": {"invalid": ["it fell behind"]}})
        # Its latencies are not the server's; what the server counted is.
        self.assertEqual((len(seen.cpu_us), len(seen.p99_us)), (2, 1))
        self.assertEqual(seen.invalid, ["it fell behind"])

    def test_a_spoiled_round_is_made_again(self) -> None:
        for outcomes, values in (
            ([Spoiled("stolen"), RUN], 1),
            ([Spoiled("stolen")] * sweep.TRIES, 0),
        ):
            seen = Seen()
            with (
                mock.patch.object(subject, "running"),
                mock.patch.object(trial, "run", side_effect=outcomes),
            ):
                said = sweep.add_round(Path(), Path(), POINT, 1.0, Cores(0, 1), seen)
            self.assertEqual(len(seen.cpu_us), values)
            self.assertEqual(seen.spoiled[0], "stolen")
            self.assertIn("5.00 µs" if values else "no value: stolen", said)


class SummaryTest(unittest.TestCase):
    def setUp(self) -> None:
        self.seen = {point: Seen() for point in sweep.points()}
        for point, seen in self.seen.items():
            if point.series == "load":
                seen.add(RUN)
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
                self.seen[point].add(RUN | {"sent": 625_000})
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
