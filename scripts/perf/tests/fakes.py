"""Trials made up by a seeded generator: what is tested is what follows from them."""

import random
from collections.abc import Callable

from loads import LoadName
from metrics import METRICS, Compare
from session import RunTrial, Side
from trial import Trial

SAME = 1.0


def trials(
    slower: float = SAME,
    noise: float = 0.05,
    seed: int = 1,
    spoil: Callable[[int, LoadName], str | None] = lambda number, load: None,
) -> RunTrial:
    """A runner whose candidate takes `slower` times as much for everything, with log-normal
    `noise` on each value, and of whose trials, numbered from 0, `spoil` spoils some."""
    generator = random.Random(seed)
    count = 0

    def run(side: Side, load: LoadName, load_seed: int) -> Trial:
        nonlocal count
        reason = spoil(count, load)
        count += 1
        values = {}
        for metric in METRICS:
            if metric.load is load:
                factor = slower if side is Side.CANDIDATE else SAME
                if metric.compare is Compare.HIGHER_RATIO:
                    factor = 1 / factor
                value = 100 * factor * generator.lognormvariate(0, noise)
                is_share = metric.compare is Compare.LOWER_POINTS
                values[metric.key] = 0.0 if is_share else value
        return Trial(load, values, reason)

    return run
