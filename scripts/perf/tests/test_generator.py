"""Runs of the load generator, with a script in its place."""

import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import generator
import loads
from processes import CheckFailed

CORE = min(os.sched_getaffinity(0))

SUMMARY = {
    "began_at_unix_s": 5.0,
    "recorded_s": 2.0,
    "counts": {"delivered": 30, "answered": 4},
    "rates": {"sent_ratio": 1.0, "loss_ratio": 0.0},
    "latencies": {"delivery": {"p50_us": 1.5, "p99_us": 2.5}},
    "generator": {"run_queue_delay_s": 0.5},
    "verdict": {"invalid": []},
    "server": {"cpu_s": 0.7},
}

WRITE = (
    "import pathlib, sys\n"
    "out = next(word for word in sys.argv if word.startswith('--out='))\n"
    f"pathlib.Path(out[6:], 'summary.json').write_text({json.dumps(SUMMARY)!r})\n"
)


class RunTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.script = Path(directory.name) / "loadgen"
        self.looks = 0

    def look(self) -> None:
        self.looks += 1

    def run_script(self, code: str) -> generator.Run:
        self.script.write_text(f"#!/usr/bin/env python3\n{code}")
        self.script.chmod(0o755)
        load = loads.half(100, 0.1)
        return generator.run(self.script, load, "127.0.0.1:1", 1, CORE, 5, self.look)

    def test_there_are_figures_also_where_it_calls_them_invalid(self) -> None:
        for code in (generator.GOOD, generator.INVALID):
            self.assertEqual(self.run_script(f"{WRITE}sys.exit({code})").received, 34)
        self.assertGreaterEqual(self.looks, 2)

    def test_arguments_that_it_refuses_are_a_failure_of_the_check(self) -> None:
        with self.assertRaisesRegex(CheckFailed, "refuses its arguments: no such option"):
            self.run_script("import sys; print('no such option', file=sys.stderr); sys.exit(2)")

    def test_without_an_outcome_there_is_a_reason(self) -> None:
        for code, reason in (
            ("import sys; sys.exit('nobody answered')", "ended with 1: nobody answered"),
            ("", "ended with 0: no reason"),
            (f"{WRITE}sys.exit(1)", "ended with 1"),
        ):
            with self.assertRaisesRegex(generator.NoOutcome, reason):
                self.run_script(code)

    def test_one_that_hangs_is_ended(self) -> None:
        with mock.patch.object(generator, "OVERHEAD_LIMIT_S", 0.1):
            with self.assertRaisesRegex(generator.NoOutcome, "not done after"):
                self.run_script("import signal; signal.pause()")
