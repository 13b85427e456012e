"""The report and the record, the floors, and what the programs say at their end."""

import contextlib
import io
import json
import os
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

import check
import fakes
import floors
import measuring
import noise
import report
import selftest
from builds import UnknownCommit
from capacity import TooDisturbed
from count_verdicts import judge_counts
from loads import LoadName
from metrics import METRICS
from procedure import Outcome, compare
from processes import CheckFailed
from session import Discard, Side
from verdict import Verdict

FLOORS = {METRICS[0].key: 0.02}
OPTIONS = measuring.Options(pairs=12, duration_s=1.0, seed=1, half_rate_per_s=None)


def outcome(slower: float = fakes.SAME, noise: float = 0.005, seed: int = 1) -> Outcome:
    return compare(fakes.trials(slower, noise, seed), 12, FLOORS, seed)


def result(of: Outcome | None, **changes: object) -> report.Result:
    parts: dict[str, object] = {
        "base": "abc",
        "candidate": "working tree",
        "command": "scripts/perf-check abc --pairs=12",
        "floors": floors.Floors(FLOORS, "made up"),
        "duration_s": 1.0,
        "half_rate_per_s": 2000.0,
        "outcome": of,
        "counts": [],
        "notes": [],
    }
    return report.Result(**(parts | changes))  # type: ignore[arg-type]


class TextTest(unittest.TestCase):
    def test_a_row_has_everything_that_the_verdict_follows_from(self) -> None:
        one = outcome(1.2).judgements
        row = dict(zip(report.METRIC_HEADS, report.metric_row(one[0])))
        self.assertAlmostEqual(float(row["ratio"]), 1.2, delta=0.01)
        low, high = map(float, row["95 % interval"].split(".."))
        self.assertTrue(low <= float(row["ratio"]) <= high)
        self.assertEqual((row["bound"], row["floor"]), ("≤ 1.040", "2.0%"))
        self.assertEqual(row["verdict"], "REGRESSED")
        throughput = dict(zip(report.METRIC_HEADS, report.metric_row(one[-1])))
        self.assertAlmostEqual(float(throughput["ratio"]), 1 / 1.2, delta=0.01)
        self.assertEqual(throughput["bound"], "≥ 0.870")
        low, high = map(float, throughput["95 % interval"].split(".."))
        self.assertLess(low, high)
        loss = dict(zip(report.METRIC_HEADS, report.metric_row(one[3])))
        self.assertEqual(loss["bound"], "≤ +0.100 pt")

    def test_why_a_metric_is_open_is_said(self) -> None:
        of = outcome()
        first, *others = of.judgements
        of.judgements = [replace(first, verdict=Verdict.INCONCLUSIVE, reason="made up"), *others]
        self.assertIn(f"{first.metric.title}: made up", report.text(result(of)))

    def test_allowances_are_in_the_unit_of_the_limit(self) -> None:
        cpu, loss = METRICS[0], METRICS[3]
        self.assertEqual(report.allowance(loss, 0.001), "0.100 pt")
        self.assertEqual((report.allowance(cpu, 0.03), report.allowance(cpu, None)), ("3.0%", "-"))

    def test_the_report_ends_with_the_verdict_and_how_to_do_it_again(self) -> None:
        lines = report.text(result(outcome(1.2))).splitlines()
        self.assertTrue(lines[-2].startswith("REGRESSED: "), lines[-2])
        self.assertEqual(lines[-1], "again: scripts/perf-check abc --pairs=12")

    def test_what_was_discarded_is_counted(self) -> None:
        of = outcome()
        of.sessions[0].loads[LoadName.HALF].discarded = [
            Discard(Side.CANDIDATE, f"the hypervisor took {share} of a core")
            for share in ("5.1%", "12.3%")
        ]
        text = report.text(result(of))
        self.assertIn("12 pairs at half (2 discarded)", text)
        self.assertIn("  2 of those discarded at half, for the candidate's trial: the hyper", text)

    def test_counts_alone_decide_too(self) -> None:
        counts = judge_counts({"allocations": {"x": 0}}, {"allocations": {"x": 1}})
        one = result(outcome(), counts=counts)
        self.assertIs(one.verdict, Verdict.REGRESSED)
        self.assertIn("allocations: x", report.text(one))
        self.assertIs(result(None).verdict, Verdict.PASS)

    def test_trials_that_failed_leave_what_the_counts_say(self) -> None:
        for allocations, code, verdict, last in (
            (0, 4, None, "no verdict: only the counts are known"),
            (1, 3, "REGRESSED", "REGRESSED"),
            (None, 4, None, "no verdict: the trials failed"),
        ):
            found = {} if allocations is None else {"allocations": {"x": allocations}}
            counts = judge_counts({"allocations": {"x": 0}} if found else {}, found)
            one = result(None, counts=counts, failure=TooDisturbed("too busy"))
            self.assertEqual(one.exit_code, code)
            self.assertEqual(report.record(one)["verdict"], verdict)
            text = report.text(one)
            self.assertIn("say nothing: too busy", text)
            self.assertTrue(text.splitlines()[-2].startswith(last), text)
        self.assertEqual(result(None, failure=CheckFailed("x")).exit_code, 1)

    def test_invalid_metrics_have_a_row(self) -> None:
        run = fakes.trials(spoil=lambda number, load: "stolen")
        one = result(compare(run, 12, {}, 1))
        self.assertEqual(one.verdict.exit_code, 4)
        self.assertIn("stolen", report.text(one))

    def test_the_record_has_every_value(self) -> None:
        record = json.loads(json.dumps(report.record(result(outcome(1.2)))))
        self.assertEqual((record["verdict"], record["exit_code"]), ("REGRESSED", 3))
        pair = record["sessions"][1]["loads"]["half"]["pairs"][11]
        self.assertGreater(pair["candidate"]["values"]["p99_us"], 0)
        self.assertEqual(len(record["metrics"]), len(METRICS))


class FloorsTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.file = Path(directory.name) / "cache" / "perf-noise.json"
        patched = mock.patch.object(floors, "kept_at", lambda: self.file)
        patched.start()
        self.addCleanup(patched.stop)

    def test_what_perf_noise_keeps_is_read(self) -> None:
        outcomes = [outcome(seed=seed, noise=0.02) for seed in range(2)]
        noise.keep(self.file, outcomes, OPTIONS, {})
        for pairs in (12, 20):
            found = floors.load(None, pairs, duration_s=1.0)
            self.assertEqual(found.origin, str(self.file))
            self.assertEqual(found.values, noise.measured(outcomes))

    def test_the_floor_is_how_far_medians_lie_in_nine_of_ten_sessions(self) -> None:
        sessions = [outcome(seed=seed, noise=0.02).judgements for seed in range(5)]
        metric = METRICS[0]
        estimates = [one[0].estimate for one in sessions]
        reaches = sorted(abs(one.median) for one in estimates if one)
        found = floors.measured(sessions)[metric.key]
        self.assertAlmostEqual(found, metric.allowance(reaches[-1]))
        wild = outcome(seed=1, noise=0.5).judgements
        self.assertGreater(floors.measured([*sessions, wild])[metric.key], found)
        found = floors.measured([*sessions * 4, wild])[metric.key]
        self.assertAlmostEqual(found, metric.allowance(reaches[-1]))

    def test_a_median_to_either_side_is_as_far(self) -> None:
        for slower in (0.98, 1 / 0.98):
            found = floors.measured([outcome(slower, noise=0.001).judgements])
            self.assertAlmostEqual(found[METRICS[0].key], 1 / 0.98 - 1, places=2)

    def test_second_sessions_count_for_floors_too(self) -> None:
        near, far = outcome().judgements, outcome(1.02, noise=0.001).judgements
        found = noise.measured([Outcome(near, [], [near, far])])
        self.assertAlmostEqual(found[METRICS[0].key], 0.02, places=2)
        self.assertEqual(found, floors.measured([near, far]))

    def test_those_of_something_else_are_not_used(self) -> None:
        self.assertIn("has not been run", floors.load(None, 12, duration_s=1.0).origin)
        options = replace(OPTIONS, pairs=13)
        noise.keep(self.file, [outcome(noise=0.3)], options, {})
        other = self.file.with_name("other.json")
        record = json.loads(self.file.read_text())
        other.write_text(json.dumps(record | {"machine": {"something": "else"}}))
        older = self.file.with_name("older.json")
        older.write_text(json.dumps(record | {"schema": "bullhorn-perf-noise/0"}))
        for file, pairs, duration_s, reason in (
            (older, 13, 1.0, "another schema"),
            (other, 13, 1.0, "another machine"),
            (None, 13, 0.8, "another load"),
            (None, 12, 1.0, "of 13 pairs"),
        ):
            found = floors.load(file, pairs, duration_s)
            self.assertEqual(found.values, {})
            self.assertIn(reason, found.origin)
        unknown = compare(fakes.trials(noise=0.005), 12, {}, 1).judgements
        row = dict(zip(report.METRIC_HEADS, report.metric_row(unknown[0])))
        self.assertEqual((row["bound"], row["floor"]), ("≤ 1.040", "-"))


class KeptTest(unittest.TestCase):
    def test_floors_are_kept_in_the_cache_of_the_user(self) -> None:
        with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": "/somewhere"}):
            self.assertEqual(floors.kept_at(), Path("/somewhere/bullhorn/perf-noise.json"))


class ProgramsTest(unittest.TestCase):
    def test_false_alarms(self) -> None:
        outcomes = [outcome(), outcome(1.2)]
        self.assertEqual(noise.false_alarms([mock.Mock(verdict=one) for one in Verdict]), 1)
        self.assertEqual([noise.allowed_alarms(n) for n in (1, 20, 21, 40)], [1, 1, 2, 2])
        self.assertIn("2 sessions", noise.text(outcomes))

    def test_the_self_test_wants_the_slower_flagged_and_the_same_not(self) -> None:
        for wanted, found, code in (
            (Verdict.REGRESSED, Verdict.REGRESSED, 0),
            (Verdict.REGRESSED, Verdict.PASS, 3),
            (Verdict.REGRESSED, Verdict.INCONCLUSIVE, 3),
            (Verdict.PASS, Verdict.PASS, 0),
            (Verdict.PASS, Verdict.INCONCLUSIVE, 0),
            (Verdict.PASS, Verdict.REGRESSED, 3),
            (Verdict.PASS, Verdict.INVALID, 4),
        ):
            self.assertEqual(selftest.code(wanted, found), code, (wanted, found))
        for codes, code in (([0, 0], 0), ([0, 4], 4), ([4, 0], 4), ([4, 3], 3)):
            self.assertEqual(selftest.of_both(codes), code)

    def test_exit_codes_of_what_fails(self) -> None:
        for error, code in (
            (UnknownCommit("x"), 2),
            (CheckFailed("x"), 1),
            (TooDisturbed("x"), 4),
            (OSError("x"), 1),
            (KeyboardInterrupt(), 130),
        ):
            with contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual(measuring.exit_code(mock.Mock(side_effect=error)), code)
        self.assertEqual(measuring.exit_code(lambda: 5), 5)

    def test_wrong_arguments_are_wrong_use(self) -> None:
        for word, right in (
            ("--pairs=11", "a whole number from 12 to 1000"),
            ("--pairs=x", "a whole number from 12 to 1000"),
            ("--seconds=0.7", "from 0.8 to 60"),
            ("--seconds=x", "from 0.8 to 60"),
            ("--nonsense", "unrecognized"),
            ("--floors=/nowhere", "No such file"),
            (f"--floors={__file__}", "no record of scripts/perf-noise"),
            (f"--out={__file__}/x", "no directory"),
        ):
            said = io.StringIO()
            with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as end:
                check.parse([word])
            self.assertEqual(end.exception.code, 2)
            self.assertIn(right, said.getvalue())

    def test_the_command_to_repeat_is_understood(self) -> None:
        options = measuring.options(check.parse(["--quick", "--seed=9", "--budget-min=8"]))
        self.assertEqual((options.pairs, options.seed), (measuring.MIN_PAIRS, 9))
        again = check.parse(measuring.repeat_options(options, 1234.0))
        self.assertEqual(again.half_rate, 1234)
        self.assertEqual(measuring.options(again).pairs, options.pairs)
        self.assertEqual(measuring.options(again).budget_s, 480)
