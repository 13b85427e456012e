"""Counts of base and candidate compared."""

import tempfile
import unittest
from pathlib import Path

import count_verdicts
from count_verdicts import REMOVED_FILE, judge_counts, removed_names
from verdict import Verdict, overall

SAME = {
    "instructions": {"classify": 1000, "fan-out": 50_000},
    "allocations": {"fan-out": 0},
    "syscalls_per_delivery": {"fan-out": 0.02},
}


def changed(kind: str, name: str, value: float) -> dict[str, dict[str, float]]:
    return SAME | {kind: SAME[kind] | {name: value}}


def verdict(*arguments: object) -> Verdict:
    return overall(one.verdict for one in judge_counts(*arguments))  # type: ignore[arg-type]


class JudgeCountsTest(unittest.TestCase):
    def test_limits(self) -> None:
        for kind, name, value, expected in (
            ("instructions", "classify", 1020, Verdict.PASS),
            ("instructions", "classify", 1021, Verdict.REGRESSED),
            ("instructions", "classify", 1, Verdict.PASS),
            ("allocations", "fan-out", 1, Verdict.REGRESSED),
            ("syscalls_per_delivery", "fan-out", 0.0204, Verdict.PASS),
            ("syscalls_per_delivery", "fan-out", 0.0205, Verdict.REGRESSED),
        ):
            candidate = changed(kind, name, value)
            self.assertEqual(verdict(SAME, candidate), expected, (kind, value))

    def test_one_allocation_among_many_is_one_too_many(self) -> None:
        base, candidate = changed("allocations", "x", 1000), changed("allocations", "x", 1001)
        self.assertEqual(verdict(base, candidate), Verdict.REGRESSED)
        self.assertEqual(verdict(candidate, base), Verdict.PASS)

    def test_what_is_new_is_said(self) -> None:
        rows = judge_counts(SAME, changed("instructions", "new one", 5))
        notes = {one.name: (one.verdict, one.note, one.ratio) for one in rows}
        self.assertEqual(notes["new one"], (Verdict.PASS, "new", None))
        self.assertEqual(notes["classify"], (Verdict.PASS, "", 1.0))

    def test_what_vanished_fails_unless_it_is_named(self) -> None:
        base = changed("instructions", "gone", 5)
        self.assertEqual(verdict(base, SAME), Verdict.REGRESSED)
        self.assertEqual(verdict(base, SAME, {"gone"}), Verdict.PASS)
        self.assertEqual(verdict(SAME, {}), Verdict.REGRESSED)
        self.assertEqual(verdict({}, SAME), Verdict.PASS)
        self.assertEqual(judge_counts({}, {}), [])

    def test_the_names_of_what_was_removed(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory)
            self.assertEqual(removed_names(tree), set())
            file = tree / REMOVED_FILE
            file.parent.mkdir(parents=True)
            file.write_text("# of old\nfan-out to 10 # there are 100 now\n\n")
            self.assertEqual(removed_names(tree), {"fan-out to 10"})

    def test_every_kind_has_a_limit(self) -> None:
        self.assertEqual(set(count_verdicts.MAX_RATIOS), set(count_verdicts.Kind))
