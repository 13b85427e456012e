"""The picture of what scripts/scaling measured, and its trimming of summaries."""

import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import plots
import scaling_plot

ROOT = Path(__file__).resolve().parents[3]


class PlotTest(unittest.TestCase):
    def setUp(self) -> None:
        self.rows = scaling_plot.read(ROOT / "results" / "scaling.jsonl")

    def test_valid_runs_are_joined_and_others_are_hollow(self) -> None:
        axes = mock.Mock()
        rows = [row for row in self.rows if row["load"] == "large"]
        scaling_plot._lines(axes, rows, scaling_plot.per_s)
        calls = axes.plot.mock_calls
        drawn = [(call.args[0], call.kwargs.get("markerfacecolor")) for call in calls]
        self.assertEqual(
            drawn,
            [
                ([1, 2, 4, 8], plots.BLUE),
                ([12], "white"),
                ([1, 2, 4], plots.ORANGE),
                ([8, 12], "white"),
            ],
        )
        self.assertEqual(calls[0].args[1][0], 150_000)

    def test_pings_count_answers(self) -> None:
        (ping, *_) = [row for row in self.rows if row["load"] == "ping"]
        self.assertEqual(scaling_plot.per_s(ping), 80_000)

    def test_the_picture_names_the_machine_and_is_the_same_each_time(self) -> None:
        self.assertIn("16 cores, Intel(R) Xeon(R)", scaling_plot.machine(self.rows))
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "scaling.svg"
            scaling_plot.draw(self.rows, path)
            recorded = (ROOT / "results" / "scaling.svg").read_text()
            self.assertEqual(path.read_text(), recorded)


class TrimTest(unittest.TestCase):
    def test_what_is_drawn_is_kept(self) -> None:
        script = (ROOT / "scripts" / "scaling").read_text()
        (command,) = re.findall(r"^trim\(\) \{\n(.*?)\n\}", script, re.MULTILINE | re.DOTALL)
        summary = {
            "command": "loadgen", "config": {"cores": [1]}, "counts": {"sent": 1},
            "environment": {"processors": 16}, "generator": {"cpu_s": 1.0},
            "latencies": {"delivery": {"p50_us": 1.0}}, "rates": {"answers_per_s": 0.0},
            "server": {"cpu_s": 1.0}, "verdict": {"is_valid": True},
        }
        line = json.dumps(summary, separators=(",", ":"))
        done = subprocess.run(
            ["bash", "-c", command], input=line, capture_output=True, text=True, check=True
        )
        kept = {"environment", "rates", "server", "verdict"}
        self.assertEqual(json.loads(done.stdout), {name: summary[name] for name in kept})
