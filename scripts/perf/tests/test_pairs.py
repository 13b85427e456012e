"""Turns, and what a pair makes of them."""

import unittest
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pairs
import subject
from machine import Cores
from scenes import SCENES


def cost(value: float) -> pairs.Cost:
    return dict.fromkeys(pairs.METRICS, value)


class SummaryTest(unittest.TestCase):
    def test_drift_meets_both_sides(self) -> None:
        # Each step takes more than the one before it.
        rounds = [tuple(cost(10.0 * n + step) for step in range(4)) for n in range(1, 4)]
        pair = pairs.summary("scene", rounds)  # type: ignore[arg-type]
        self.assertEqual(pair.ratios["cpu"], 1.0)
        self.assertEqual((pair.base["cpu"], pair.candidate["cpu"]), (21.5, 21.5))

    def test_one_disturbed_round_of_three_moves_nothing(self) -> None:
        good = (cost(1.0), cost(1.1), cost(1.1), cost(1.0))
        bad = (cost(1.0), cost(90.0), cost(1.1), cost(1.0))
        self.assertAlmostEqual(pairs.summary("scene", [good, bad, good]).ratios["cpu"], 1.1)


class OrderTest(unittest.TestCase):
    def test_the_candidate_is_the_candidate_whoever_begins(self) -> None:
        took = {"base": 1.0, "candidate": 3.0}
        turns: list[str] = []

        @contextmanager
        def running(binary: Path, cores: object):  # type: ignore[no-untyped-def]
            yield SimpleNamespace(pid=str(binary))

        def turn(pid: str, room: object) -> pairs.Cost:
            turns.append(pid)
            return cost(took[pid])

        for is_swapped, expected in ((False, "base"), (True, "candidate")):
            turns.clear()
            with (
                mock.patch.object(subject, "running", running),
                mock.patch.object(pairs, "Room"),
                mock.patch.object(pairs, "_turn", turn),
            ):
                pair = pairs._pair(
                    Path("base"), Path("candidate"), SCENES[0], Cores(0, 1), is_swapped
                )
            self.assertEqual(pair.ratios["cpu"], 3.0)
            self.assertEqual(pair.candidate["cpu"], 3.0)
            self.assertEqual((turns[0], turns[3]), (expected, expected))
            self.assertNotIn(expected, turns[1:3])


class DisturbedTest(unittest.TestCase):
    def test_what_disturbs(self) -> None:
        self.assertIsNone(pairs.disturbed(0.1, 0.1))
        self.assertIn("others had 11%", pairs.disturbed(0.11, 0.0) or "")
        self.assertIn("hypervisor took 11%", pairs.disturbed(0.0, 0.11) or "")
