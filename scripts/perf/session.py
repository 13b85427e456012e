"""Pairs of trials in random order, taking turns, until there are as many as were asked for."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import stats
from loads import LoadName
from metrics import METRICS
from trial import Trial
from verdict import Pair, Unmeasured, Verdict


class Side(StrEnum):
    """Whose server a trial is of."""

    BASE = "base"
    CANDIDATE = "candidate"


RunTrial = Callable[[Side, LoadName, int], Trial]
"""Runs one trial of a side under a load, with a seed for the load's choices."""

Progress = Callable[[str], None]
"""Is told what has been done, in a line."""


@dataclass(frozen=True)
class Discard:
    """A pair that was discarded."""

    side: Side
    """Whose trial was spoiled."""
    reason: str


@dataclass
class LoadPairs:
    """The pairs of one load."""

    kept: list[tuple[Trial, Trial]] = field(default_factory=list)
    """Base and candidate."""
    discarded: list[Discard] = field(default_factory=list)
    is_invalid: bool = False
    """Whether there were too many of those."""

    def unmeasured(self) -> Unmeasured:
        """What it means that there were too many. Either side may go first, so what comes
        from outside spoils about as many of the base's trials as of the candidate's."""
        of_candidate = sum(one.side is Side.CANDIDATE for one in self.discarded)
        count = len(self.discarded)
        reason = (
            f"{count} of {count + len(self.kept)} pairs were spoiled, {of_candidate} by the "
            f"candidate's trial, the last one: {self.discarded[-1].reason}"
        )
        is_the_candidates = stats.sign_test(of_candidate, count) < ONE_SIDED_LEVEL
        return Unmeasured(Verdict.REGRESSED if is_the_candidates else Verdict.INVALID, reason)


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
        discarded, and another one run, until there are too many (`max_discarded`).

        Within a pair either side goes first, in half of the pairs each and in random order:
        what drifts, or what the second trial finds changed by the first, meets both. A pair in
        place of a discarded one has any order: what goes on for long would otherwise meet the
        same side each time."""
        wanted = {load: len(self.loads[load].kept) + pairs for load in loads}
        orders = {load: self._orders(pairs) for load in loads}
        while missing := [
            load
            for load in loads
            if len(self.loads[load].kept) < wanted[load] and not self.loads[load].is_invalid
        ]:
            self._random.shuffle(missing)
            for load in missing:
                if not self._run_pair(load, orders[load].pop(), wanted[load]):
                    orders[load].append(self._random.choice(WAYS))

    def pairs(self) -> dict[str, list[Pair]]:
        """The values of base and candidate, pair by pair, by the metric's key."""
        return {
            metric.key: [
                (base.values[metric.key], candidate.values[metric.key])
                for base, candidate in self.loads[metric.load].kept
            ]
            for metric in METRICS
        }

    def unmeasured(self) -> dict[str, Unmeasured]:
        """The metrics of which too many trials were spoiled, by their keys."""
        return {
            metric.key: self.loads[metric.load].unmeasured()
            for metric in METRICS
            if self.loads[metric.load].is_invalid
        }

    def _orders(self, pairs: int) -> list[tuple[Side, Side]]:
        first = self._random.randrange(2)
        orders = [WAYS[(first + index) % 2] for index in range(pairs)]
        self._random.shuffle(orders)
        return orders

    def _run_pair(self, load: LoadName, order: tuple[Side, Side], wanted: int) -> bool:
        """Whether it can be kept."""
        of_load = self.loads[load]
        # Both sides get the same load.
        seed = self._random.randrange(2**32)
        trials: dict[Side, Trial] = {}
        for side in order:
            trials[side] = self.run_trial(side, load, seed)
            if reason := trials[side].spoiled:
                of_load.discarded.append(Discard(side, reason))
                of_load.is_invalid = len(of_load.discarded) > max_discarded(wanted)
                self.progress(f"{load}: discarded for the {side}'s trial: {reason}")
                return False
        of_load.kept.append((trials[Side.BASE], trials[Side.CANDIDATE]))
        self.progress(f"{load}: pair {len(of_load.kept)} of {wanted}")
        return True


def max_discarded(pairs: int) -> int:
    """How many pairs of a load may be spoiled where `pairs` are wanted: where more are spoiled
    than kept, the machine is too busy for those that look good to be believed."""
    return max(MIN_DISCARDED, pairs)


WAYS = ((Side.BASE, Side.CANDIDATE), (Side.CANDIDATE, Side.BASE))
"""Which side goes first in a pair, and which second."""

MIN_DISCARDED = 4
"""One disturbance spoils some trials in a row, whatever the number that is wanted."""

ONE_SIDED_LEVEL = 0.01
"""Of the sign test on whose trials were spoiled. A second session has to say the same."""
