"""What is compared, and by how much it may get worse."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from loads import LoadName


class Compare(StrEnum):
    """How two values of a metric are compared."""

    LOWER_RATIO = "lower is better, by ratio"
    HIGHER_RATIO = "higher is better, by ratio"
    LOWER_POINTS = "lower is better, by difference"
    """For shares, which may be 0: a ratio of nothing says nothing."""


@dataclass(frozen=True)
class Metric:
    """One figure of a trial."""

    key: str
    """Its name in records."""
    title: str
    """Its name for people, with the unit in which `format` prints it."""
    load: LoadName
    compare: Compare
    limit: float
    """By how much it may get worse: a share of the base (0.03 is 3 %), or for what is compared
    by difference an absolute share (0.001 is a tenth of a percentage point)."""
    format: Callable[[float], str]

    def worsening(self, base: float, candidate: float) -> float:
        """How much worse the candidate is: 0 is the same, more is worse."""
        match self.compare:
            case Compare.LOWER_POINTS:
                return candidate - base
            case Compare.LOWER_RATIO:
                return math.log(candidate / base)
            case Compare.HIGHER_RATIO:
                return math.log(base / candidate)

    def bound(self, allowance: float) -> float:
        """The worsening of a candidate that is worse by just `allowance`, in the unit of
        `limit`."""
        return allowance if self.compare is Compare.LOWER_POINTS else math.log1p(allowance)

    def allowance(self, worsening: float) -> float:
        """The inverse of `bound`."""
        return worsening if self.compare is Compare.LOWER_POINTS else math.expm1(worsening)

    def change(self, worsening: float) -> float:
        """The worsening as people read it: candidate / base, or candidate - base."""
        match self.compare:
            case Compare.LOWER_POINTS:
                return worsening
            case Compare.LOWER_RATIO:
                return math.exp(worsening)
            case Compare.HIGHER_RATIO:
                return math.exp(-worsening)

    def is_comparable(self, value: float) -> bool:
        """Whether a trial's value can be compared: of nothing there is no ratio."""
        return math.isfinite(value) and (self.compare is Compare.LOWER_POINTS or value > 0)


def _micros(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


METRICS = (
    Metric(
        key="cpu_us_per_delivery",
        title="server CPU, µs a delivery",
        load=LoadName.HALF,
        compare=Compare.LOWER_RATIO,
        # It counts neither waiting nor sleeping, so it is the steadiest figure that there is.
        limit=0.04,
        format=lambda value: f"{value:.3f}",
    ),
    Metric(
        key="p50_us",
        title="delivery p50, µs",
        load=LoadName.HALF,
        compare=Compare.LOWER_RATIO,
        # How long a batch takes, and a little of the scheduler's waking up.
        limit=0.10,
        format=_micros,
    ),
    Metric(
        key="p99_us",
        title="delivery p99, µs",
        load=LoadName.HALF,
        compare=Compare.LOWER_RATIO,
        # Made by few events of a trial, which come from outside as often as from the server.
        limit=0.50,
        format=_micros,
    ),
    Metric(
        key="loss_ratio",
        title="loss",
        load=LoadName.HALF,
        compare=Compare.LOWER_POINTS,
        # At half of the capacity nothing is lost; a thousandth is what one hiccup costs.
        limit=0.001,
        format=lambda value: f"{value:.3%}",
    ),
    Metric(
        key="throughput_per_s",
        title="saturated, deliveries/s",
        load=LoadName.SATURATION,
        compare=Compare.HIGHER_RATIO,
        # How batches fall under overload varies from run to run by more than CPU time does.
        limit=0.15,
        format=lambda value: f"{value:,.0f}",
    ),
)
"""The first one decides first: it is the cost that everything else follows from. The limits are
what 24 pairs of two equal servers can tell on a 2-core virtual machine: about as far as their
intervals reached in eight sessions (CPU time 4 %, p50 7 %, p99 41 %, throughput 18 %), so that the
same mostly passes. results/README.md, "How far the same lies from itself", has the sessions that
were run with them."""
