"""The decision rule: from the pairs of one or two sessions to a verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

import stats
from metrics import METRICS, Metric


class Verdict(StrEnum):
    """What is said of a metric, and of all together."""

    PASS = "pass"
    REGRESSED = "REGRESSED"
    INVALID = "INVALID"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """The code with which the program ends; 1 and 2 are failures of the check itself and
        wrong use."""
        return {Verdict.PASS: 0, Verdict.REGRESSED: 3, Verdict.INVALID: 4, Verdict.INCONCLUSIVE: 5}[
            self
        ]


@dataclass(frozen=True)
class Judgement:
    """What one session, or two together, say of one metric."""

    metric: Metric
    verdict: Verdict
    floor: float | None
    """The noise floor that counted, in the unit of the metric's limit; `None`: it is not known."""
    base: float | None
    """Median over the base's trials; `None` if there were too few."""
    candidate: float | None
    estimate: stats.Estimate | None
    corrected_p: float | None
    reason: str = ""
    """Why, where the verdict alone does not say it."""

    @property
    def bound(self) -> float:
        """The worsening beyond which it is a regression."""
        return _bound(self.metric, self.floor)


@dataclass(frozen=True)
class Unmeasured:
    """Why there were too few pairs of a metric, and what that means."""

    verdict: Verdict
    """INVALID; or REGRESSED, where it is the candidate that spoils its trials."""
    reason: str


Pair = tuple[float, float]
"""The values of base and candidate in one pair of trials."""


def judge_session(
    pairs: Mapping[str, Sequence[Pair]],
    floors: Mapping[str, float],
    unmeasured: Mapping[str, Unmeasured],
    metrics: Sequence[Metric] = METRICS,
) -> list[Judgement]:
    """Judges one session. `pairs`, `floors` (where they are known) and `unmeasured` are by the
    metric's key.

    The rule, for each metric, over the worsening of the candidate in each pair:

    - REGRESSED: the whole bootstrap 95 % interval of the median lies beyond the bound,
      1 + max(noise floor, limit), and the Wilcoxon signed-rank test says that the worsening is
      beyond it with p < 0.05 after Holm's correction for all metrics of the session. Final only
      if a second session, of its own, says the same (`agree`).
    - PASS: the whole interval lies below that bound.
    - INCONCLUSIVE: the interval crosses the bound, or the test does not support it. Never
      called a pass; the session is extended once with as many pairs again before it is said.
    - INVALID: too many trials were spoiled by the machine or the generator. Where they are the
      candidate's, by far more than chance would have it, the machine is not to blame: REGRESSED.
    """
    valid = [metric for metric in metrics if metric.key not in unmeasured]
    estimates = {
        metric.key: stats.estimate(
            [metric.worsening(*pair) for pair in pairs[metric.key]],
            _bound(metric, floors.get(metric.key)),
        )
        for metric in valid
    }
    corrected = stats.holm([estimates[metric.key].p_value for metric in valid])
    p_values = {metric.key: p_value for metric, p_value in zip(valid, corrected, strict=True)}
    judgements = []
    for metric in metrics:
        floor = floors.get(metric.key)
        if why := unmeasured.get(metric.key):
            judgement = Judgement(metric, why.verdict, floor, None, None, None, None, why.reason)
        else:
            estimate, p_value = estimates[metric.key], p_values[metric.key]
            verdict, reason = decide(estimate, p_value, _bound(metric, floor))
            bases, candidates = zip(*pairs[metric.key], strict=True)
            judgement = Judgement(
                metric, verdict, floor, median(bases), median(candidates), estimate, p_value, reason
            )
        judgements.append(judgement)
    return judgements


def decide(estimate: stats.Estimate, corrected_p: float, bound: float) -> tuple[Verdict, str]:
    """The verdict of one metric in one session, and why."""
    if estimate.high <= bound:
        return Verdict.PASS, ""
    if estimate.low <= bound:
        return Verdict.INCONCLUSIVE, "the interval crosses the bound"
    if corrected_p >= LEVEL:
        return Verdict.INCONCLUSIVE, f"beyond the bound, but p = {corrected_p:.2f}"
    return Verdict.REGRESSED, ""


def agree(first: Judgement, second: Judgement) -> Judgement:
    """The verdict of two sessions on a metric: a regression needs both. Where the first saw
    one and the second did not, it is inconclusive, as one of them is wrong."""
    if first.verdict is not Verdict.REGRESSED:
        return first
    if second.verdict is Verdict.REGRESSED:
        return first
    reason = f"regressed in the first session, {second.verdict} in the second"
    verdict = Verdict.INVALID if second.verdict is Verdict.INVALID else Verdict.INCONCLUSIVE
    return replace(first, verdict=verdict, reason=reason)


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of all: whatever regressed goes first, then what was not measured, then
    what is open."""
    seen = set(verdicts)
    for verdict in (Verdict.REGRESSED, Verdict.INVALID, Verdict.INCONCLUSIVE):
        if verdict in seen:
            return verdict
    return Verdict.PASS


def _bound(metric: Metric, floor: float | None) -> float:
    return metric.bound(max(floor or 0.0, metric.limit))


LEVEL = 0.05
"""Of the corrected rank test."""
