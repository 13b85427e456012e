"""The statistics, against worked examples."""

import unittest

import numpy as np
import stats


class HolmTest(unittest.TestCase):
    def test_a_worked_example(self) -> None:
        # 0.005 * 4, 0.01 * 3, 0.03 * 2; 0.04 * 1 is less than the one before it.
        corrected = stats.holm([0.01, 0.04, 0.03, 0.005])
        np.testing.assert_allclose(corrected, [0.03, 0.06, 0.06, 0.02])

    def test_none_is_above_one(self) -> None:
        self.assertEqual(stats.holm([0.9, 0.6]), [1.0, 1.0])
        self.assertEqual(stats.holm([]), [])


class RankTest(unittest.TestCase):
    def test_all_of_twelve_worse_is_one_of_4096(self) -> None:
        self.assertAlmostEqual(stats.rank_test([0.1 + 0.01 * n for n in range(12)]), 1 / 4096)

    def test_better_is_no_evidence_of_worse(self) -> None:
        self.assertGreater(stats.rank_test([0.001, *(-0.1 - 0.01 * n for n in range(11))]), 0.99)

    def test_equal_pairs_say_nothing(self) -> None:
        self.assertEqual(stats.rank_test([0.0] * 12), 1.0)


class EstimateTest(unittest.TestCase):
    def test_the_same_values_give_the_same_interval(self) -> None:
        values = np.random.default_rng(3).normal(0.1, 0.05, 12).tolist()
        self.assertEqual(stats.estimate(values, 0.0), stats.estimate(values, 0.0))

    def test_the_interval_has_the_median_of_the_population_in_19_of_20_cases(self) -> None:
        generator = np.random.default_rng(7)
        samples = [stats.estimate(generator.normal(0.1, 0.05, 12).tolist(), 0.0) for _ in range(150)]
        hits = sum(one.low <= 0.1 <= one.high for one in samples)
        # The bootstrap of a median is known to be a little too wide or narrow for few pairs.
        self.assertGreaterEqual(hits / len(samples), 0.90)
        widths = [one.high - one.low for one in samples]
        self.assertLess(float(np.median(widths)), 0.1, "wider than the sample")

    def test_the_interval_is_that_of_the_bootstrapped_median(self) -> None:
        # Of 12 drawn from these, more than 6 are ones in 1.4 % of cases, and 6 in another 4.0 %:
        # what 2.5 % lie above is halfway.
        few = stats.estimate([0.0] * 9 + [1.0] * 3, bound=2.0)
        self.assertEqual((few.low, few.median, few.high), (0.0, 0.0, 0.5))
        many = stats.estimate([0.0] * 3 + [1.0] * 9, bound=2.0)
        self.assertEqual((many.low, many.median, many.high), (0.5, 1.0, 1.0))
        # Of 16, more than 8 are ones in 3.3 %: above 2.5 %, but not above 5 %.
        self.assertEqual(stats.estimate([0.0] * 11 + [1.0] * 5, bound=2.0).high, 1.0)

    def test_one_outlier_does_not_move_it(self) -> None:
        values = [0.01 * n + 0.001 for n in range(-6, 7)]
        spread = stats.estimate([*values[:-1], 5.0], 0.0)
        self.assertEqual(spread.median, stats.estimate(values, 0.0).median)
        self.assertLess(spread.high, 0.07)

    def test_nothing_and_nonsense_are_refused(self) -> None:
        for values in ([], [float("nan")], [float("inf")]):
            with self.assertRaises(ValueError):
                stats.estimate(values, 0.0)
