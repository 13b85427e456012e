"""Runs of the load generator, with a script in its place."""

import itertools
import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import trial
from machine import Cores
from processes import CheckFailed
from trial import Spoiled

SUMMARY = {
    "recorded_s": 2.0,
    "rates": {"sent_ratio": 1.0},
    "generator": {"steal_s": 0.0},
}


class TrialTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.script = Path(directory.name) / "loadgen"
        self.server = mock.Mock(address="127.0.0.1:1", pid=1)
        self.server.counts.side_effect = itertools.count(100, 250)
        core = min(os.sched_getaffinity(0))
        self.cores = Cores(core, core)

    def write(self, name: str, content: object, code: int) -> None:
        self.script.write_text(
            "#!/usr/bin/env python3\nimport sys\n"
            "(out,) = [one[6:] for one in sys.argv if one.startswith('--out=')]\n"
            f"if {name!r}: open(out + '/' + {name!r}, 'w').write({json.dumps(content)!r})\n"
            "print('because', file=sys.stderr)\n"
            f"sys.exit({code})\n"
        )
        self.script.chmod(0o755)

    def run_(self) -> dict[str, object]:
        return trial.run(self.script, ["--rate=1"], self.server, self.cores)

    def find_max(self) -> float:
        return trial.find_max(self.script, ["--slo=x"], self.server, self.cores)

    def test_a_run_has_what_the_server_sent(self) -> None:
        # Whether loadgen calls it valid (4) or not is for the caller.
        for code in (0, 4):
            self.write("summary.json", SUMMARY, code)
            self.assertEqual(self.run_()["sent"], 250)

    def test_no_result_spoils_a_run_and_wrong_use_is_a_failure(self) -> None:
        self.write("", None, 1)
        with self.assertRaisesRegex(Spoiled, "because"):
            self.run_()
        self.write("", None, 2)
        with self.assertRaisesRegex(CheckFailed, "because"):
            self.run_()

    def test_what_spoils_a_run(self) -> None:
        self.assertIsNone(trial.spoiled(SUMMARY, 1))
        for change, sent, expected in (
            ({}, 0, "nothing was delivered"),
            ({"rates": {"sent_ratio": 0.9}}, 1, "sent 90.0%"),
            ({"generator": {"steal_s": 0.2}}, 1, "took 10.0% of a core"),
        ):
            self.assertIn(expected, trial.spoiled(SUMMARY | change, sent) or "")

    def test_the_capacity_is_what_find_max_found(self) -> None:
        found = {"rate_per_s": 500.0, "is_generators_limit": False, "sentence": "said"}
        self.write("find-max.json", {"found": found}, 0)
        self.assertEqual(self.find_max(), 500.0)
        for change in ({"rate_per_s": None}, {"is_generators_limit": True}):
            self.write("find-max.json", {"found": found | change}, 4)
            with self.assertRaisesRegex(CheckFailed, "said"):
                self.find_max()
        self.write("", None, 1)
        with self.assertRaisesRegex(CheckFailed, "because"):
            self.find_max()
