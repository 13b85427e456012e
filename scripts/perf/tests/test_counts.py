"""What is counted, and counts of base and candidate compared."""

import contextlib
import io
import json
import tempfile
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import counts
import measuring
import processes
from builds import Source, Workshop
from counts import REMOVED_FILE, STEPS, STOP
from processes import CheckFailed
from verdict import Verdict, overall

SAME: counts.Counts = {
    "instructions": {"classify": 1000, "fan-out": 50_000},
    "allocations": {"fan-out": 0},
    "packets_per_delivery": {"fan-out": 0.5},
}


def changed(kind: str, name: str, value: float | None) -> counts.Counts:
    return SAME | {kind: SAME[kind] | {name: value}}


def verdict(*arguments: object) -> Verdict:
    return overall(one.verdict for one in counts.judge(*arguments))  # type: ignore[arg-type]


class JudgeTest(unittest.TestCase):
    def test_limits(self) -> None:
        for kind, name, value, expected in (
            ("instructions", "classify", 1020, Verdict.PASS),
            ("instructions", "classify", 1021, Verdict.REGRESSED),
            ("instructions", "classify", 1, Verdict.PASS),
            ("allocations", "fan-out", 1, Verdict.REGRESSED),
            ("packets_per_delivery", "fan-out", 0.51, Verdict.PASS),
            ("packets_per_delivery", "fan-out", 0.52, Verdict.REGRESSED),
        ):
            candidate = changed(kind, name, value)
            self.assertEqual(verdict(SAME, candidate), expected, (kind, value))

    def test_only_what_is_the_same_in_every_run_carries_the_gate(self) -> None:
        unsteady = changed("packets_per_delivery", "fan-out", None)
        self.assertEqual(verdict(unsteady, SAME), Verdict.PASS)
        self.assertEqual(verdict(unsteady, unsteady), Verdict.PASS)
        self.assertEqual(verdict(SAME, unsteady), Verdict.INCONCLUSIVE)

    def test_what_vanished_fails_unless_it_is_named(self) -> None:
        base = changed("instructions", "gone", 5)
        self.assertEqual(verdict(base, SAME), Verdict.REGRESSED)
        self.assertEqual(verdict(base, SAME, {"gone"}), Verdict.PASS)
        self.assertEqual(verdict(SAME, {}), Verdict.REGRESSED)
        (new,) = [one for one in counts.judge(SAME, base) if one.note]
        self.assertEqual((new.name, new.note, new.verdict), ("gone", "new", Verdict.PASS))

    def test_the_names_of_what_was_removed(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory)
            self.assertEqual(counts.removed_names(tree), set())
            file = tree / REMOVED_FILE
            file.parent.mkdir(parents=True)
            file.write_text("# of old\nfan-out to 10 # there are 100 now\n\n")
            self.assertEqual(counts.removed_names(tree), {"fan-out to 10"})


class StraceTest(unittest.TestCase):
    STEP = (
        f"--- {STOP} ---\n"
        "epoll_wait(6, 0x55, 17, -1) = -1 EINTR (Interrupted system call)\n"
        "epoll_wait(6, [...], 17, -1) = 1\n"
        "recvmmsg(5, [...], 64, MSG_DONTWAIT, NULL) = 32\n"
        "sendmmsg(5, [...], 100, MSG_DONTWAIT|MSG_NOSIGNAL) = 99\n"
        "sendmsg(5, {...}, 0) = 65\n"
        "sendmmsg(5, [...], 1, 0) = -1 EAGAIN (Resource temporarily unavailable)\n"
        "epoll_wait(6, 0x55, 17, 0) = 0\n"
    )

    def test_calls_and_packets_of_all_steps_but_the_first(self) -> None:
        log = "futex(0x1) = 0\n" + self.STEP * (1 + STEPS) + "epoll_wait(6, "
        self.assertEqual(counts.count_calls(log), (5 * STEPS, 100 * STEPS))

    def test_a_step_that_strace_did_not_see_is_a_failure(self) -> None:
        with self.assertRaisesRegex(CheckFailed, f"{STEPS} stops"):
            counts.count_calls(self.STEP * STEPS)

    def test_five_equal_runs_have_a_value(self) -> None:
        runs = [{"a": 1.0, "b": 2.0}] * 4
        self.assertEqual(counts.equal([*runs, {"a": 1.0, "b": 2.1}]), {"a": 1.0, "b": None})


class FakeWorkshop(Workshop):
    """Unpacks nothing."""

    def key(self, source: Source, more: str = "") -> str:
        return f"{source.tree} {more}"

    @contextmanager
    def unpacked(self, source: Source) -> Iterator[Path]:
        yield self.directory / source.tree


class CompareTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.addCleanup(mock.patch.stopall)
        self.shop = FakeWorkshop(Path(directory.name), Path(directory.name))
        self.environment = "valgrind-3"
        mock.patch.object(counts, "environment", lambda: self.environment).start()
        mock.patch.object(counts, "_need_tools").start()
        self.found = {"base": changed("instructions", "gone", 5), "candidate": SAME}
        self.collect = mock.patch.object(
            counts, "collect", side_effect=lambda tree, target: self.found[tree.name]
        ).start()

    def compare(self) -> Verdict:
        sources = Source("x", "base"), Source("y", "candidate")
        return overall(one.verdict for one in counts.compare(self.shop, *sources))

    def test_the_candidate_says_what_was_removed(self) -> None:
        for says, expected in (("base", Verdict.REGRESSED), ("candidate", Verdict.PASS)):
            file = self.shop.directory / says / REMOVED_FILE
            file.parent.mkdir(parents=True)
            file.write_text("gone\n")
            self.assertEqual(self.compare(), expected)

    def test_a_source_is_counted_once_per_environment(self) -> None:
        for environment, calls in (("valgrind-3", 2), ("valgrind-3", 2), ("valgrind-4", 4)):
            self.environment = environment
            self.compare()
            self.assertEqual(self.collect.call_count, calls)


class CollectTest(unittest.TestCase):
    def setUp(self) -> None:
        self.addCleanup(mock.patch.stopall)
        mock.patch.object(counts, "_need_tools").start()
        mock.patch.object(measuring, "progress").start()

    def collect(self, printed: dict[str, str], runs: list[dict[str, float]]) -> counts.Counts:
        def run(command: list[str], *rest: object, **options: object) -> str:
            is_bench = "--bench" in command
            return printed[command[command.index("--bench") + 1]] if is_bench else ""

        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory)
            (tree / "Cargo.toml").write_text("[features]\ncounts = []\n")
            for main in counts.MAINS:
                (tree / main).parent.mkdir(parents=True)
                (tree / main).touch()
            with (
                mock.patch.object(processes, "run", run),
                mock.patch.object(counts, "count_scene", side_effect=runs * len(counts.SCENES)),
            ):
                return counts.collect(tree, Path("target"))

    def test_what_the_benchmarks_and_the_scenes_say(self) -> None:
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
        run = {"packets_per_delivery": 1.0, "bytes_per_delivery": 64.0}
        found = self.collect(printed, [run] * 4 + [run | {"bytes_per_delivery": 65.0}])
        self.assertEqual(found["instructions"], {"parse/short": 700})
        self.assertEqual(found["allocations"], {"parse/short": 3, "fan-out": 0})
        self.assertEqual(found["syscalls_per_delivery"], {"fan-out": 0.03})
        name = f"stepped/{counts.SCENES[0].name}"
        self.assertEqual(found["packets_per_delivery"][name], 1.0)
        self.assertIsNone(found["bytes_per_delivery"][name])

    def test_a_benchmark_that_counts_nothing_is_a_failure(self) -> None:
        with self.assertRaisesRegex(CheckFailed, "instructions counted nothing"):
            self.collect({"instructions": "of no interest\n", "steady": "{}"}, [])


class ProgramTest(unittest.TestCase):
    def test_a_wrong_tree_is_wrong_use_and_it_says_what_is_right(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            with self.assertRaises(SystemExit) as ended:
                counts.parse(["--out=x", "--tree=/"])
        self.assertEqual(ended.exception.code, 2)
        self.assertIn("a checkout of bullhorn with benches/instructions", said.getvalue())
        self.assertTrue((counts.parse(["--out=/tmp/x"]).tree / counts.MAINS[0]).exists())
