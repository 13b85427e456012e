"""The counts of a source: unpacked, counted by `counts`, and kept beside its binaries."""

import hashlib
import json
from dataclasses import dataclass

import count_verdicts
import counts
from builds import KEY_CHARS, Source, Workshop, prune
from count_verdicts import CountJudgement, Counts


@dataclass(frozen=True)
class Counted:
    """The counts of a source, and what it says of those it no longer has."""

    counts: Counts
    """Empty: it has no benchmarks that count."""
    removed: set[str]


def compare(workshop: Workshop, base: Source, candidate: Source) -> list[CountJudgement]:
    """Counts both, and compares them."""
    before, after = count(workshop, base), count(workshop, candidate)
    return count_verdicts.judge_counts(before.counts, after.counts, after.removed)


def count(workshop: Workshop, source: Source) -> Counted:
    """Counts `source`, unless that has been done before."""
    if not workshop.has(source, counts.MAINS):
        # Not even its environment is asked for: that would install what counts.
        with workshop.unpacked(source) as tree:
            return Counted({}, count_verdicts.removed_names(tree))
    kept = workshop.directory / "counts" / f"{_key(workshop, source)}.json"
    if kept.exists():
        kept.touch()
        record = json.loads(kept.read_text())
        return Counted(record["counts"], set(record["removed"]))
    with workshop.unpacked(source) as tree:
        found = counts.collect(tree, workshop.cargo_target)
        counted = Counted(found, count_verdicts.removed_names(tree))
    kept.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"counts": counted.counts, "removed": sorted(counted.removed)})
    partial = kept.with_suffix(".growing")
    partial.write_text(text)
    partial.rename(kept)
    prune(kept.parent)
    return counted


def _key(workshop: Workshop, source: Source) -> str:
    parts = (workshop.key(source), counts.environment())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:KEY_CHARS]
