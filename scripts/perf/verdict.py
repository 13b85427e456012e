"""What pairs mean: pure functions, nothing is read or written here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from pairs import METRICS, Pair


class Verdict(StrEnum):
    """Of one figure, or of all."""

    PASS = "pass"
    REGRESSED = "REGRESSED"
    INVALID = "INVALID"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """Of a program that ends with it."""
        return {"pass": 0, "REGRESSED": 3, "INVALID": 4, "INCONCLUSIVE": 5}[self.value]


@dataclass(frozen=True)
class Judgement:
    """One metric of one scene, and what it means."""

    name: str
    base: float
    """Medians over the pairs, in microseconds per delivery."""
    candidate: float
    ratio: float
    """Median of the ratios within pairs."""
    low: float
    """Ends of its interval."""
    high: float
    verdict: Verdict


def judge(pairs: Sequence[Pair], disturbed: str | None = None) -> list[Judgement]:
    """Judges each metric of each scene. Where something disturbed the machine, what is
    undecided is invalid: another run on a quiet machine may decide it."""
    judgements = []
    for scene in dict.fromkeys(pair.scene for pair in pairs):
        of_scene = [pair for pair in pairs if pair.scene == scene]
        for metric in METRICS:
            ratios = [pair.ratios[metric] for pair in of_scene]
            low, high = interval(ratios)
            ratio = float(np.median(ratios))
            verdict = decide(ratio, low, high, LIMITS[metric])
            if verdict is Verdict.INCONCLUSIVE and disturbed:
                verdict = Verdict.INVALID
            base, candidate = (
                float(np.median([side[metric] for side in sides]))
                for sides in zip(*((pair.base, pair.candidate) for pair in of_scene), strict=True)
            )
            name = f"{scene}: {metric}"
            judgements.append(Judgement(name, base, candidate, ratio, low, high, verdict))
    return judgements


def decide(ratio: float, low: float, high: float, limit: float) -> Verdict:
    """The verdict of a median of ratios and its interval.

    Of two sure things each has a sure answer: an interval below the limit passes, and a median
    beyond it has regressed if the interval leaves no doubt that there is a difference at all.
    The interval need not lie beyond the limit as a whole, as a difference at twice the limit
    would then be missed where the interval is as wide as that."""
    if high < limit:
        return Verdict.PASS
    if ratio > limit and low > 1:
        return Verdict.REGRESSED
    return Verdict.INCONCLUSIVE


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """The ends of the interval that has the median with 95 %: the percentile bootstrap over
    pairs. The same ratios give the same interval."""
    values = np.asarray(ratios, dtype=float)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("an interval needs at least one pair, and finite ratios")
    generator = np.random.default_rng(1)
    medians = np.median(generator.choice(values, (RESAMPLES, values.size)), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of all: whatever regressed goes first, then what was not measured, then what
    is open."""
    seen = set(verdicts)
    order = (Verdict.REGRESSED, Verdict.INVALID, Verdict.INCONCLUSIVE)
    return next((verdict for verdict in order if verdict in seen), Verdict.PASS)


LIMITS = {
    # Between nothing and 10 % more work: with 60 pairs the interval reaches about 1 % to either
    # side on two quiet cores of a virtual machine, and 3 % where compilers run beside it.
    "cpu": 1.05,
    # Waiting is nothing that a server does by a few percent, and other programs move it by a tenth.
    "time": 1.25,
}
"""Candidate by base: more is a regression."""

RESAMPLES = 10_000
"""Of the bootstrap: the ends of the interval then vary by far less than they are wide."""
