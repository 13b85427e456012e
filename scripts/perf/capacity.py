"""How many texts a second the base carries: both sides then get half of it."""

from collections.abc import Callable

import loads
from processes import CheckFailed
from session import Progress
from trial import Trial
from verdict import Verdict


class TooDisturbed(CheckFailed):
    """The machine is too busy for this."""

    exit_code = Verdict.INVALID.exit_code


RunRate = Callable[[float], Trial]
"""A short trial of the base at a rate, in texts a second, of the load `half`."""


def search(run_rate: RunRate, progress: Progress = lambda line: None) -> float:
    """The highest rate found to be carried, in texts a second: doubled until it is not, then
    closed in from both sides."""

    def is_carried(rate_per_s: float) -> bool:
        # A good try is good; a bad one may have met a disturbance.
        spoiled = ""
        for _ in range(TRIES):
            if is_good(one := run_rate(rate_per_s)):
                return True
            spoiled = one.spoiled or spoiled
        if spoiled and rate_per_s == loads.CAPACITY_FROM_PER_S:
            # Beyond its capacity a server disturbs its own trials; here it has not begun to.
            raise TooDisturbed(f"half of the capacity was not found: {spoiled}")
        return False

    good, bad = 0.0, loads.CAPACITY_TO_PER_S * 2.0
    rate = float(loads.CAPACITY_FROM_PER_S)
    while rate < bad:
        if is_carried(rate):
            good, rate = rate, rate * 2
        else:
            bad = rate
    if not good:
        raise CheckFailed(f"the base does not carry {loads.CAPACITY_FROM_PER_S} texts a second")
    for _ in range(loads.CAPACITY_STEPS):
        between = (good * bad) ** 0.5
        if is_carried(between):
            good = between
        else:
            bad = between
    progress(
        f"the base carries {good:,.0f} texts a second, {good * loads.ROOM_SIZE:,.0f} deliveries"
    )
    return good


def is_good(trial: Trial) -> bool:
    """Whether a rate was carried: nearly nothing was lost, and there was time to spare."""
    return (
        trial.spoiled is None
        and trial.values["loss_ratio"] <= loads.CAPACITY_MAX_LOSS_RATIO
        and trial.facts["server_busy_ratio"] <= loads.CAPACITY_MAX_BUSY_RATIO
    )


TRIES = 3
"""Of a rate, until it is called too high."""
