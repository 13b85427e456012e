"""The statistics of paired measurements: pure functions, nothing is read or written here.

A *worsening* is how much worse the candidate is than the base in one pair of trials, on a scale
on which 0 is "the same" and more is worse: the logarithm of the ratio for what is compared by
ratio, the difference for shares. So every metric is judged in one way, whichever direction is
the better one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats


@dataclass(frozen=True)
class Estimate:
    """What the pairs of one metric say of its worsening."""

    median: float
    """Median worsening over the pairs."""
    low: float
    """Lower end of the interval that has the median with `CONFIDENCE`."""
    high: float
    """Its upper end."""
    p_value: float
    """How likely pairs at least as bad as these are if the candidate is worse by no more than
    the bound: one-sided Wilcoxon signed-rank test, not yet corrected for several metrics."""
    pairs: int
    """Pairs that it is of."""


def estimate(worsenings: Sequence[float], bound: float) -> Estimate:
    """The estimate from one worsening for each pair, and whether it is beyond `bound`.

    The interval is the percentile bootstrap of the median over pairs. Not BCa: its
    acceleration comes from medians with one pair left out, which have two or three distinct
    values, so the correction would be made of nothing.
    """
    values = np.asarray(worsenings, dtype=float)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("an estimate needs at least one pair, and finite worsenings")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(_resampled_medians(np.sort(values)), [tail, 1 - tail])
    return Estimate(
        median=float(np.median(values)),
        low=float(low),
        high=float(high),
        p_value=rank_test([worsening - bound for worsening in worsenings]),
        pairs=int(values.size),
    )


def _resampled_medians(ascending: np.ndarray) -> np.ndarray:
    # The median of values is found at the median of their ranks, which are small whole
    # numbers and sort fast.
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    size = ascending.size
    ranks = np.sort(generator.integers(size, size=(RESAMPLES, size), dtype=np.uint16), axis=1)
    lower, upper = ranks[:, (size - 1) // 2], ranks[:, size // 2]
    medians: np.ndarray = (ascending[lower] + ascending[upper]) / 2
    return medians


def rank_test(excesses: Sequence[float]) -> float:
    """The p-value of Wilcoxon's signed-rank test against "not above 0" (F. Wilcoxon, Biometrics
    Bulletin 1, 1945): one-sided, as only what is worse is a regression. Pairs at just 0 say
    nothing and are left out; where none is above it, the p-value is 1."""
    values = np.asarray(excesses, dtype=float)
    if not np.any(values > 0):
        return 1.0
    return float(scipy_stats.wilcoxon(values, alternative="greater").pvalue)


def sign_test(ours: int, all_of_them: int) -> float:
    """How likely it is that at least `ours` of so many fall to one of two sides by chance."""
    return float(scipy_stats.binomtest(ours, all_of_them, alternative="greater").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for being several, in the order given (S. Holm, Scandinavian
    Journal of Statistics 6, 1979): the smallest of m times m, the next times m - 1, and so on,
    none smaller than the one before it. The chance of any false alarm stays below the level."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    ascending = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(ascending):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = largest
    return corrected


CONFIDENCE = 0.95
"""Of the intervals; the usual level, and the one that the check promises."""

RESAMPLES = 10_000
"""Of the bootstrap: the ends of the interval then vary by far less than they are wide."""

BOOTSTRAP_SEED = 1
"""Fixed, so that the same values give the same interval."""
