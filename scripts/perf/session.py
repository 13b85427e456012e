"""Pairs of trials in random order, taking turns, until there are as many as were asked for."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from loads import LoadName
from metrics import METRICS
from trial import Trial
from verdict import Pair


class Side(StrEnum):
    """Whose server a trial is of."""

    BASE = "base"
    CANDIDATE = "candidate"


RunTrial = Callable[[Side, LoadName, int], Trial]
"""Runs one trial of a side under a load, with a seed for the load's choices."""

Progress = Callable[[str], None]
"""Is told what has been done, in a line."""


@dataclass
class LoadPairs:
    """The pairs of one load."""

    kept: list[tuple[Trial, Trial]] = field(default_factory=list)
    """Base and candidate."""
    spoiled: list[str] = field(default_factory=list)
    """Why pairs were discarded, a reason for each."""
    is_invalid: bool = False
    """Whether there were too many of those."""


class Session:
    """Pairs of trials under every load."""

    def __init__(
        self, run_trial: RunTrial, seed: int, progress: Progress = lambda line: None
    ) -> None:
        self.run_trial = run_trial
        self.seed = seed
        self.progress = progress
        self.loads = {name: LoadPairs() for name in LoadName}
        self._random = random.Random(seed)

    def run(self, pairs: int, loads: Sequence[LoadName] = tuple(LoadName)) -> None:
        """Runs `pairs` more of each of `loads`. A pair of which a trial is spoiled is
        discarded and run again, until there are too many (`max_discarded`).

        Within a pair either side goes first, in half of the pairs each and in random order:
        what drifts, or what the second trial finds changed by the first, meets both."""
        wanted = {load: len(self.loads[load].kept) + pairs for load in loads}
        orders = {load: self._orders(pairs) for load in loads}
        while missing := [
            load
            for load in loads
            if len(self.loads[load].kept) < wanted[load] and not self.loads[load].is_invalid
        ]:
            self._random.shuffle(missing)
            for load in missing:
                # A pair that is run again has the order of the one that was spoiled.
                left = wanted[load] - len(self.loads[load].kept)
                self._run_pair(load, orders[load][left - 1], wanted[load])

    def pairs(self) -> dict[str, list[Pair]]:
        """The values of base and candidate, pair by pair, by the metric's key."""
        return {
            metric.key: [
                (base.values[metric.key], candidate.values[metric.key])
                for base, candidate in self.loads[metric.load].kept
            ]
            for metric in METRICS
        }

    def invalid(self) -> dict[str, str]:
        """The metrics of which too many trials were spoiled, with the commonest reason."""
        reasons = {}
        for metric in METRICS:
            of_load = self.loads[metric.load]
            if of_load.is_invalid:
                reasons[metric.key] = (
                    f"{len(of_load.spoiled)} of {len(of_load.spoiled) + len(of_load.kept)} "
                    f"pairs were spoiled, the last one: {of_load.spoiled[-1]}"
                )
        return reasons

    def _orders(self, pairs: int) -> list[tuple[Side, Side]]:
        ways = ((Side.BASE, Side.CANDIDATE), (Side.CANDIDATE, Side.BASE))
        first = self._random.randrange(2)
        orders = [ways[(first + index) % 2] for index in range(pairs)]
        self._random.shuffle(orders)
        return orders

    def _run_pair(self, load: LoadName, order: tuple[Side, Side], wanted: int) -> None:
        of_load = self.loads[load]
        # Both sides get the same load.
        seed = self._random.randrange(2**32)
        trials: dict[Side, Trial] = {}
        for side in order:
            trials[side] = self.run_trial(side, load, seed)
            if reason := trials[side].spoiled:
                of_load.spoiled.append(reason)
                of_load.is_invalid = len(of_load.spoiled) > max_discarded(wanted)
                self.progress(f"{load}: discarded: {reason}")
                return
        of_load.kept.append((trials[Side.BASE], trials[Side.CANDIDATE]))
        self.progress(f"{load}: pair {len(of_load.kept)} of {wanted}")


def max_discarded(pairs: int) -> int:
    """How many pairs of a load may be spoiled where `pairs` are wanted: where more are spoiled
    than kept, the machine is too busy for those that look good to be believed."""
    return max(MIN_DISCARDED, pairs)


MIN_DISCARDED = 4
"""One disturbance spoils some trials in a row, whatever the number that is wanted."""
