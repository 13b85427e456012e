"""The programs that judge: what they compare, say and end with."""

import json
import tempfile
import unittest
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import check
import counts
import fakes
import machine
import pairs
import selftest
from builds import Source
from check import Result
from counts import CountJudgement
from verdict import Judgement, Verdict


def judgement(verdict: Verdict) -> Judgement:
    return Judgement("v1: cpu", 2.0, 2.2, 1.1, 1.09, 1.11, verdict)


def count(verdict: Verdict, candidate: float = 1.0, note: str = "") -> CountJudgement:
    return CountJudgement("instructions", "parse", 1.0, candidate, verdict, note)


class ResultTest(unittest.TestCase):
    def test_counts_and_pairs_decide_together(self) -> None:
        for of_counts, of_pairs, expected in (
            (Verdict.PASS, Verdict.PASS, Verdict.PASS),
            (Verdict.REGRESSED, Verdict.PASS, Verdict.REGRESSED),
            (Verdict.PASS, Verdict.INVALID, Verdict.INVALID),
        ):
            result = Result("a", "b", counts=[count(of_counts)], judgements=[judgement(of_pairs)])
            self.assertEqual(result.verdict, expected)

    def test_the_report_shows_what_changed_and_counts_the_rest(self) -> None:
        rows = [count(Verdict.PASS), count(Verdict.REGRESSED, 1.5), count(Verdict.PASS, note="new")]
        said = check.text(Result("a", "b", counts=rows, judgements=[judgement(Verdict.PASS)]))
        self.assertIn("counts that are the same: 1\n", said)
        self.assertIn("1.5000  REGRESSED", said)
        self.assertIn("pass (new)", said)
        self.assertIn("1.100   1.090..1.110   1.05  pass", said)
        self.assertIn("REGRESSED: something got worse", said)

    def test_the_record_is_json_with_every_pair(self) -> None:
        pair = pairs.Pair("v1", {"cpu": 1.0}, {"cpu": 1.1}, {"cpu": 1.1})
        result = Result("a", "b", session=pairs.Session([pair], 1.0, None))
        record = json.loads(json.dumps(check.record(result)))
        self.assertEqual(record["session"]["pairs"][0]["ratios"], {"cpu": 1.1})
        self.assertEqual(record["verdict"], "pass")


class RunPairsTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.addCleanup(mock.patch.stopall)
        self.server = Path(directory.name) / "server"
        self.server.write_bytes(b"the same")
        mock.patch.object(machine, "choose_cores").start()
        session = pairs.Session([], 1.0, None)
        self.run_ = mock.patch.object(pairs, "run", return_value=session).start()

    def run_pairs(self, candidate: Source) -> Result:
        shop = mock.MagicMock()
        shop.build.return_value = self.server
        result = Result("a", "b")
        check.run_pairs(result, shop, Source("a", "01"), candidate, 10)
        return result

    def test_equal_servers_of_two_commits_need_no_pairs(self) -> None:
        result = self.run_pairs(Source("b", "02"))
        self.assertIsNone(result.session)
        self.assertIn("equal, byte for byte", check.text(result))

    def test_a_build_of_the_same_source_is_compared_though_equal(self) -> None:
        self.assertIsNotNone(self.run_pairs(replace(Source("a", "01"), again=1)).session)


class MainTest(unittest.TestCase):
    def run_main(self, *words: str) -> mock.Mock:
        shop = mock.MagicMock()
        shop.default_base.return_value = Source("base", "01")
        shop.working_tree.return_value = Source("working tree", "02")
        with (
            fakes.program(shop, "perf-check", *words),
            mock.patch.object(counts, "compare") as self.of,
            mock.patch.object(check, "run_pairs") as run_pairs,
        ):
            self.of.return_value = [count(Verdict.REGRESSED)]
            self.code = check.main()
        return run_pairs

    def test_what_is_left_out(self) -> None:
        for words, compares, runs, code in (
            ([], True, True, 3),
            (["--counts-only"], True, False, 3),
            (["--pairs-only"], False, True, 0),
        ):
            run_pairs = self.run_main(*words)
            self.assertEqual((self.of.called, run_pairs.called), (compares, runs))
            self.assertEqual(self.code, code)

    def test_it_leaves_the_report_and_the_record(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            self.run_main(f"--out={directory}/new")
            names = {one.name for one in (Path(directory) / "new").iterdir()}
        self.assertEqual(names, {"report.txt", "perf-check.json"})

    def test_too_few_pairs_are_wrong_use(self) -> None:
        with self.assertRaises(SystemExit) as ended:
            self.run_main(f"--pairs={check.MIN_PAIRS - 1}")
        self.assertEqual(ended.exception.code, 2)


class SelftestTest(unittest.TestCase):
    def test_exit_codes(self) -> None:
        good, bad, open_ = Verdict.PASS, Verdict.REGRESSED, Verdict.INCONCLUSIVE
        cases: Sequence[tuple[list[Verdict], list[Verdict], int]] = (
            ([bad] * 5, [good] * 5, 0),
            ([], [good] * 9 + [open_], 0),
            ([], [good] * 8 + [open_] * 2, 5),
            ([], [good] * 9 + [Verdict.INVALID], 0),
            ([], [good] * 9 + [bad], 3),
            ([bad] * 4 + [open_], [good] * 5, 3),
            ([bad] * 4 + [good], [good] * 5, 3),
        )
        for slower, equal, expected in cases:
            self.assertEqual(selftest.exit_code({"slower": slower, "equal": equal}), expected)

    def test_the_record_keeps_what_it_has_of_the_other_candidate(self) -> None:
        session = pairs.Session([], 1.0, None)
        results = [Result("a", "b", judgements=[judgement(Verdict.PASS)], session=session)]
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "noise.json"
            file.write_text('{"schema": "of old", "floors": {}}')
            for name in ("slower", "equal"):
                selftest.write(file, {name: results})
            record = json.loads(file.read_text())
        self.assertEqual(set(record), {"schema", "slower", "equal"})
        self.assertEqual(record["equal"]["verdicts"], "1 pass")

    def test_noise_is_of_equal_builds_alone(self) -> None:
        both = ["slower", "equal"]
        for program, expected in (("perf-noise", ["equal"]), ("perf-selftest", both)):
            self.assertEqual(selftest.parse([program, "--out=/tmp/x"]).candidates, expected)
