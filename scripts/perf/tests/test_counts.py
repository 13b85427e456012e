"""Counts of base and candidate compared."""

import contextlib
import io
import json
import tempfile
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import count_verdicts
import counting
import counts
import measuring
import processes
from builds import Source, Workshop
from count_verdicts import REMOVED_FILE, judge_counts, removed_names
from processes import CheckFailed
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

    def test_what_was_removed_is_kept_with_the_counts(self) -> None:
        file = self.shop.directory / REMOVED_FILE
        file.parent.mkdir(parents=True)
        file.write_text("gone\n")
        first = self.count(lambda tree, target: SAME)
        self.assertEqual(first.removed, {"gone"})
        self.assertEqual(self.count(mock.Mock(side_effect=AssertionError)), first)
        # They may all have gone.
        self.shop.can_count = False
        self.assertEqual(self.count(mock.Mock(side_effect=AssertionError)).removed, {"gone"})

    def test_the_candidate_says_what_was_removed(self) -> None:
        before = changed("instructions", "gone", 5)
        base, candidate = Source("base", "base"), Source("candidate", "candidate")
        for says, expected in ((candidate, Verdict.PASS), (base, Verdict.REGRESSED)):
            counted = {
                "base": counting.Counted(before, {"gone"} if says is base else set()),
                "candidate": counting.Counted(SAME, {"gone"} if says is candidate else set()),
            }
            with mock.patch.object(counting, "count", lambda shop, source: counted[source.tree]):
                rows = counting.compare(self.shop, base, candidate)
            self.assertEqual(overall(row.verdict for row in rows), expected)


class EnvironmentTest(unittest.TestCase):
    def test_another_valgrind_is_another_environment(self) -> None:
        versions = ["valgrind-3.19\n", "valgrind-3.20\n"]
        with (
            mock.patch.object(counts, "_need_valgrind"),
            mock.patch.object(processes, "run", side_effect=versions),
        ):
            self.assertNotEqual(counts.environment(), counts.environment())


class CollectTest(unittest.TestCase):
    def setUp(self) -> None:
        self.addCleanup(mock.patch.stopall)
        for name in ("_need_valgrind", "_need_runner", "_locked_version"):
            mock.patch.object(counts, name).start()
        mock.patch.object(counts, "has_benchmarks", lambda tree: True).start()
        mock.patch.object(measuring, "progress").start()

    def collect(
        self, printed: dict[str, str], features: Sequence[str] = ("counts",)
    ) -> dict[str, dict[str, float]]:
        def run(command: list[str], *rest: object, **options: object) -> str:
            self.features.append(command[command.index("--features") + 1])
            return printed[command[command.index("--bench") + 1]]

        self.features: list[str] = []
        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory)
            lines = [f"{feature} = []" for feature in features]
            (tree / "Cargo.toml").write_text("\n".join(["[features]", *lines]))
            with mock.patch.object(processes, "run", run):
                return counts.collect(tree, Path("target"))

    def test_what_the_benchmarks_print(self) -> None:
        def profile(tool: str, metric: str, value: int) -> dict[str, object]:
            metrics = {metric: {"values": {"new": value}}}
            return {"tool": tool, "data": {"total": {"metrics": metrics}}}

        profiles = [profile("Callgrind", "Ir", 700), profile("DHAT", "TotalBlocks", 3)]
        row = {"function_name": "parse", "id": "short", "profiles": profiles}
        scenes = {"fan-out": {"allocations": 0, "syscalls": 30, "deliveries": 1000}}
        printed = {
            "instructions": f"of no interest\n{json.dumps(row)}\n",
            "steady": json.dumps(scenes),
        }
        for features in (["counts"], ["bare", "counts"]):
            self.assertEqual(
                self.collect(printed, features),
                {
                    "instructions": {"parse/short": 700},
                    "allocations": {"parse/short": 3, "fan-out": 0},
                    "syscalls_per_delivery": {"fan-out": 0.03},
                },
            )
            self.assertEqual(self.features, [",".join(features)] * 2)

    def test_a_benchmark_that_counts_nothing_is_a_failure(self) -> None:
        with self.assertRaisesRegex(CheckFailed, "instructions counted nothing"):
            self.collect({"instructions": "of no interest\n", "steady": "{}"})


class ProgramTest(unittest.TestCase):
    def test_a_tree_needs_all_of_the_benchmarks(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory)
            for bench, expected in zip(counts.BENCHES, (False, True), strict=True):
                main = tree / "benches" / bench / "main.rs"
                main.parent.mkdir(parents=True)
                main.touch()
                self.assertIs(counts.has_benchmarks(tree), expected)

    def test_a_wrong_tree_is_wrong_use_and_it_says_what_is_right(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            with self.assertRaises(SystemExit) as ended:
                counts.parse(["--out=x", "--tree=/"])
        self.assertEqual(ended.exception.code, 2)
        self.assertIn("a checkout of bullhorn with benches/instructions", said.getvalue())
        self.assertTrue(counts.has_benchmarks(counts.parse(["--out=x"]).tree))
