"""What pairs mean."""

import random
import unittest
from unittest import mock

import pairs
import verdict
from pairs import Pair
from verdict import Verdict, decide, interval, judge, overall


def made(ratio: float, count: int = 60, noise: float = 0.02, seed: int = 1) -> list[Pair]:
    """Pairs whose candidate takes `ratio` times as much, with log-normal noise."""
    generator = random.Random(seed)
    return [
        Pair(
            "scene",
            dict.fromkeys(pairs.METRICS, 2.0),
            dict.fromkeys(pairs.METRICS, 2.0 * ratio),
            {name: ratio * generator.lognormvariate(0, noise) for name in pairs.METRICS},
        )
        for _ in range(count)
    ]


class DecideTest(unittest.TestCase):
    def test_the_rules(self) -> None:
        for ratio, low, high, expected in (
            (1.00, 0.99, 1.049, Verdict.PASS),
            (0.50, 0.40, 0.60, Verdict.PASS),
            # The interval reaches the limit.
            (1.04, 1.03, 1.05, Verdict.INCONCLUSIVE),
            (1.05, 1.01, 1.09, Verdict.INCONCLUSIVE),
            # Beyond it, but perhaps no difference at all.
            (1.10, 1.00, 1.20, Verdict.INCONCLUSIVE),
            (1.06, 1.01, 1.11, Verdict.REGRESSED),
            (1.10, 1.08, 1.12, Verdict.REGRESSED),
        ):
            self.assertEqual(decide(ratio, low, high, 1.05), expected, (ratio, low, high))


class JudgeTest(unittest.TestCase):
    def of_cpu(self, *arguments: object) -> verdict.Judgement:
        judgements = judge(*arguments)  # type: ignore[arg-type]
        (cpu,) = [one for one in judgements if one.name == "scene: cpu"]
        return cpu

    def test_equal_builds_pass_and_a_tenth_more_work_is_flagged(self) -> None:
        for seed in range(10):
            self.assertEqual(self.of_cpu(made(1.0, seed=seed)).verdict, Verdict.PASS)
            self.assertEqual(self.of_cpu(made(1.1, seed=seed)).verdict, Verdict.REGRESSED)

    def test_waiting_has_a_limit_of_its_own(self) -> None:
        for ratio, expected in ((1.1, Verdict.PASS), (1.4, Verdict.REGRESSED)):
            (time,) = [one for one in judge(made(ratio)) if one.name == "scene: time"]
            self.assertEqual(time.verdict, expected)

    def test_only_what_is_undecided_becomes_invalid_on_a_busy_machine(self) -> None:
        noisy = made(1.0, noise=0.4)
        self.assertEqual(self.of_cpu(noisy).verdict, Verdict.INCONCLUSIVE)
        self.assertEqual(self.of_cpu(noisy, "a compiler").verdict, Verdict.INVALID)
        for ratio, expected in ((1.0, Verdict.PASS), (1.1, Verdict.REGRESSED)):
            self.assertEqual(self.of_cpu(made(ratio), "a compiler").verdict, expected)

    def test_scenes_are_judged_one_by_one(self) -> None:
        other = [Pair("other", one.base, one.candidate, one.ratios) for one in made(1.1)]
        found = {one.name: one.verdict for one in judge(made(1.0) + other)}
        self.assertEqual(found["scene: cpu"], Verdict.PASS)
        self.assertEqual(found["other: cpu"], Verdict.REGRESSED)

    def test_the_figures(self) -> None:
        cpu = self.of_cpu(made(1.1, noise=0.0))
        self.assertEqual((cpu.base, round(cpu.candidate, 6)), (2.0, 2.2))
        self.assertAlmostEqual(cpu.ratio, 1.1)


class IntervalTest(unittest.TestCase):
    def test_it_has_the_median_and_is_narrower_for_more_pairs(self) -> None:
        widths = []
        for count in (10, 160):
            ratios = [one.ratios["cpu"] for one in made(1.0, count)]
            low, high = interval(ratios)
            self.assertLess(low, 1.0)
            self.assertGreater(high, 1.0)
            widths.append(high - low)
        self.assertLess(widths[1], widths[0] / 2)

    def test_the_same_ratios_give_the_same_interval(self) -> None:
        ratios = [one.ratios["cpu"] for one in made(1.0)]
        self.assertEqual(interval(ratios), interval(ratios))

    def test_it_misses_the_truth_in_about_one_of_twenty(self) -> None:
        misses = 0
        with mock.patch.object(verdict, "RESAMPLES", 500):
            for seed in range(200):
                low, high = interval([one.ratios["cpu"] for one in made(1.0, seed=seed)])
                misses += not low <= 1.0 <= high
        self.assertLess(misses, 200 * 0.12)

    def test_what_is_no_number_is_refused(self) -> None:
        for ratios in ([], [1.0, float("nan")]):
            with self.assertRaises(ValueError):
                interval(ratios)


class OverallTest(unittest.TestCase):
    def test_the_worst_goes_first(self) -> None:
        order = [Verdict.REGRESSED, Verdict.INVALID, Verdict.INCONCLUSIVE, Verdict.PASS]
        for index, expected in enumerate(order):
            self.assertEqual(overall(reversed(order[index:])), expected)
        self.assertEqual([one.exit_code for one in order], [3, 4, 5, 0])
        self.assertEqual(overall([]), Verdict.PASS)
