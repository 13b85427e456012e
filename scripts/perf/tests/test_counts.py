"""Counts of base and candidate compared."""

import contextlib
import io
import tempfile
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import count_verdicts
import counting
import counts
from builds import Source, Workshop
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


class FakeWorkshop(Workshop):
    """Unpacks nothing, of trees that can be counted, or cannot."""

    can_count = True

    def has(self, source: Source, files: Sequence[str]) -> bool:
        return self.can_count

    def key(self, source: Source) -> str:
        return source.tree

    @contextmanager
    def unpacked(self, source: Source) -> Iterator[Path]:
        yield self.directory


class CountTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.shop = FakeWorkshop(Path(directory.name), Path(directory.name))
        self.environment = "valgrind-3"
        patched = mock.patch.object(counts, "environment", lambda: self.environment)
        patched.start()
        self.addCleanup(patched.stop)

    def count(self, collect: Callable[..., object]) -> counting.Counted:
        with mock.patch.object(counts, "collect", collect):
            return counting.count(self.shop, Source("x", "0123"))

    def test_a_source_is_counted_once(self) -> None:
        first = self.count(lambda tree, target: SAME)
        self.assertEqual(first.counts, SAME)
        self.assertEqual(self.count(mock.Mock(side_effect=AssertionError)), first)

    def test_it_is_counted_again_where_the_counts_may_differ(self) -> None:
        self.count(lambda tree, target: SAME)
        self.environment = "valgrind-4"
        other = changed("allocations", "x", 1)
        self.assertEqual(self.count(lambda tree, target: other).counts, other)

    def test_a_tree_without_such_benchmarks_has_no_counts(self) -> None:
        self.assertEqual(counts.collect(self.shop.directory, self.shop.directory), {})
        self.shop.can_count = False
        base, candidate = Source("base", "01"), Source("candidate", "02")
        # Its environment has to be installed first.
        with mock.patch.object(counts, "environment", side_effect=AssertionError):
            self.assertEqual(counting.compare(self.shop, base, candidate), [])


class ProgramTest(unittest.TestCase):
    def test_a_wrong_tree_is_wrong_use_and_it_says_what_is_right(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            with self.assertRaises(SystemExit) as ended:
                counts.parse(["--out=x", "--tree=/"])
        self.assertEqual(ended.exception.code, 2)
        self.assertIn("a checkout of bullhorn with benches/instructions", said.getvalue())
        self.assertTrue(counts.has_benchmarks(counts.parse(["--out=x"]).tree))
