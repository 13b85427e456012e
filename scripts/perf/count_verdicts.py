"""Counts of base and candidate compared: they are exact, so a single value of each is enough.

Instructions and system calls may rise by 2 %, allocations in the steady state not at all. A
count that only the candidate has is reported as new. One that only the base has is a
regression, as otherwise whoever drops a benchmark drops the guard with it: unless the
candidate's `scripts/perf/removed-counts.txt` names it, which the change that removes it adds.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from verdict import Verdict


class Kind(StrEnum):
    """The keys of what `counts.collect` returns."""

    INSTRUCTIONS = "instructions"
    ALLOCATIONS = "allocations"
    SYSCALLS = "syscalls_per_delivery"


@dataclass(frozen=True)
class CountJudgement:
    """One count, and what it means."""

    kind: Kind
    name: str
    base: float | None
    """`None`: the base does not have it."""
    candidate: float | None
    verdict: Verdict
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Candidate by base, if there is one."""
        if not self.base or self.candidate is None:
            return None
        return self.candidate / self.base


Counts = Mapping[str, Mapping[str, float]]
"""By kind, then by name. Empty where a tree has no such benchmarks."""


def judge_counts(
    base: Counts, candidate: Counts, removed: Collection[str] = ()
) -> list[CountJudgement]:
    """Compares all counts, in the order of kinds and names. `removed` are the names of those
    that were removed on purpose."""
    judgements = []
    for kind in Kind:
        bases, candidates = base.get(kind, {}), candidate.get(kind, {})
        for name in sorted(bases.keys() | candidates.keys()):
            before, after = bases.get(name), candidates.get(name)
            verdict, note = _judge(kind, before, after, name in removed)
            judgements.append(CountJudgement(kind, name, before, after, verdict, note))
    return judgements


def removed_names(tree: Path) -> set[str]:
    """The counts that `tree` says were removed on purpose: a name a line, without what follows
    a `#`."""
    try:
        text = (tree / REMOVED_FILE).read_text()
    except FileNotFoundError:
        return set()
    names = (line.partition("#")[0].strip() for line in text.splitlines())
    return {name for name in names if name}


def _judge(
    kind: Kind, before: float | None, after: float | None, is_removed: bool
) -> tuple[Verdict, str]:
    if before is None:
        return Verdict.PASS, "new"
    if after is None:
        if is_removed:
            return Verdict.PASS, "removed on purpose"
        return Verdict.REGRESSED, f"vanished: if on purpose, name it in {REMOVED_FILE}"
    if after > before * MAX_RATIOS[kind]:
        return Verdict.REGRESSED, ""
    return Verdict.PASS, ""


MAX_RATIOS = {
    # The compiler's choices elsewhere in a program move it by less.
    Kind.INSTRUCTIONS: 1.02,
    # The steady state allocates nothing; what comes in stays.
    Kind.ALLOCATIONS: 1.0,
    # Batches are not the same in every run.
    Kind.SYSCALLS: 1.02,
}
"""Candidate by base: more is a regression."""

REMOVED_FILE = "scripts/perf/removed-counts.txt"
"""In the candidate's tree, so that it is read together with the change."""
