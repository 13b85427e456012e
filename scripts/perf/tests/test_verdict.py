"""The decision rule."""

import math
import unittest

import stats
import verdict
from loads import LoadName
from metrics import METRICS, Compare, Metric
from verdict import Verdict

CPU = METRICS[0]
FLOORS = {metric.key: 0.0 for metric in METRICS}


def estimate(low: float, high: float, p_value: float = 0.001) -> stats.Estimate:
    return stats.Estimate((low + high) / 2, low, high, p_value, pairs=12)


def metric(compare: Compare, limit: float) -> Metric:
    return Metric("made up", "made up", LoadName.HALF, compare, limit, str)


class DecideTest(unittest.TestCase):
    def test_the_whole_interval_decides(self) -> None:
        for low, high, expected in (
            (0.04, 0.06, Verdict.REGRESSED),
            (0.02, 0.04, Verdict.INCONCLUSIVE),
            (-0.01, 0.02, Verdict.PASS),
            (-0.5, 0.03, Verdict.PASS),
            (0.03, 0.5, Verdict.INCONCLUSIVE),
        ):
            found, reason = verdict.decide(estimate(low, high), 0.001, bound=0.03)
            self.assertEqual(found, expected, (low, high))
            self.assertEqual(bool(reason), expected is Verdict.INCONCLUSIVE)

    def test_a_rank_test_that_sees_nothing_keeps_it_open(self) -> None:
        found, reason = verdict.decide(estimate(0.04, 0.06), 0.05, bound=0.03)
        self.assertEqual(found, Verdict.INCONCLUSIVE)
        self.assertIn("p = 0.05", reason)

    def test_the_larger_of_floor_and_limit_counts(self) -> None:
        pairs = {CPU.key: [(100.0, 106.0 + 0.1 * n) for n in range(12)]}
        for floor, expected in ((0.0, Verdict.REGRESSED), (0.2, Verdict.PASS)):
            found = verdict.judge_session(pairs, {CPU.key: floor}, {}, [CPU])
            self.assertEqual(found[0].verdict, expected)
            self.assertAlmostEqual(found[0].bound, math.log1p(max(floor, CPU.limit)))


class JudgeTest(unittest.TestCase):
    def test_the_rank_test_is_of_what_lies_beyond_the_bound(self) -> None:
        pairs = {CPU.key: [(100.0, 100 * (1 + CPU.limit) + n) for n in range(-5, 7)]}
        for floor, least, most in ((0.0, 0.2, 0.6), (0.2, 0.99, 1.0)):
            found = verdict.judge_session(pairs, {CPU.key: floor}, {}, [CPU])[0]
            assert found.corrected_p is not None
            self.assertTrue(least <= found.corrected_p <= most, found.corrected_p)

    def test_the_medians_are_each_sides_own(self) -> None:
        pairs = {CPU.key: [(100.0 + n, 110.0 + n) for n in range(12)]}
        found = verdict.judge_session(pairs, FLOORS, {}, [CPU])[0]
        self.assertEqual((found.base, found.candidate), (105.5, 115.5))

    def test_directions(self) -> None:
        lower = metric(Compare.LOWER_RATIO, 0.05)
        higher = metric(Compare.HIGHER_RATIO, 0.05)
        points = metric(Compare.LOWER_POINTS, 0.001)
        more = [(100.0, 110.0 + 0.1 * n) for n in range(12)]
        less = [(110.0 + 0.1 * n, 100.0) for n in range(12)]
        lossy = [(0.0, 0.002 + 0.0001 * n) for n in range(12)]
        for one, pairs, expected in (
            (lower, more, Verdict.REGRESSED),
            (lower, less, Verdict.PASS),
            (higher, less, Verdict.REGRESSED),
            (higher, more, Verdict.PASS),
            (points, lossy, Verdict.REGRESSED),
            (points, [(0.0, 0.0003 + 0.00001 * n) for n in range(12)], Verdict.PASS),
            (points, [(one, other) for other, one in lossy], Verdict.PASS),
        ):
            found = verdict.judge_session({one.key: pairs}, {one.key: 0.0}, {}, [one])
            self.assertEqual(found[0].verdict, expected, (one.compare, pairs[0]))

    def test_p_values_are_corrected_for_the_number_of_metrics(self) -> None:
        pairs = {one.key: [(100.0, 110.0 + 0.1 * n) for n in range(12)] for one in METRICS}
        alone = verdict.judge_session(pairs, FLOORS, {}, METRICS[:1])[0].corrected_p
        among = verdict.judge_session(pairs, FLOORS, {}, METRICS[:3])[0].corrected_p
        assert alone is not None and among is not None
        self.assertAlmostEqual(among, 3 * alone)

    def test_an_invalid_metric_needs_no_values(self) -> None:
        found = verdict.judge_session({}, FLOORS, {CPU.key: verdict.Unmeasured(Verdict.INVALID, "stolen")}, [CPU])[0]
        self.assertEqual((found.verdict, found.reason), (Verdict.INVALID, "stolen"))


class AgreeTest(unittest.TestCase):
    def test_a_regression_needs_both_sessions(self) -> None:
        def says(what: Verdict) -> verdict.Judgement:
            return verdict.Judgement(CPU, what, 0.0, 1.0, 1.0, estimate(0, 0), 0.01)

        for second, expected in (
            (Verdict.REGRESSED, Verdict.REGRESSED),
            (Verdict.PASS, Verdict.INCONCLUSIVE),
            (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
            (Verdict.INVALID, Verdict.INVALID),
        ):
            found = verdict.agree(says(Verdict.REGRESSED), says(second))
            self.assertEqual(found.verdict, expected)
        self.assertEqual(
            verdict.agree(says(Verdict.PASS), says(Verdict.REGRESSED)).verdict, Verdict.PASS
        )


class OverallTest(unittest.TestCase):
    def test_exit_codes_and_their_order(self) -> None:
        for verdicts, code in (
            ([], 0),
            ([Verdict.PASS, Verdict.PASS], 0),
            ([Verdict.PASS, Verdict.INCONCLUSIVE], 5),
            ([Verdict.INCONCLUSIVE, Verdict.INVALID], 4),
            ([Verdict.INVALID, Verdict.INCONCLUSIVE, Verdict.REGRESSED, Verdict.PASS], 3),
        ):
            self.assertEqual(verdict.overall(verdicts).exit_code, code)


class MetricTest(unittest.TestCase):
    def test_a_worsening_is_read_back_as_it_was_made(self) -> None:
        for one in METRICS:
            worsening = one.worsening(0.4, 0.5)
            expected = 0.1 if one.compare is Compare.LOWER_POINTS else 1.25
            self.assertAlmostEqual(one.change(worsening), expected)
            self.assertAlmostEqual(one.allowance(one.bound(0.07)), 0.07)

    def test_nothing_has_no_ratio(self) -> None:
        self.assertFalse(CPU.is_comparable(0.0))
        self.assertFalse(CPU.is_comparable(math.nan))
        self.assertTrue(metric(Compare.LOWER_POINTS, 0.1).is_comparable(0.0))
