"""The rows of history.csv, and the figures in them."""

import csv
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import fakes
import history
from builds import Source
from history import COLUMNS
from loads import LoadName
from metrics import METRICS
from processes import CheckFailed
from trial import Trial


class AppendTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.file = Path(directory.name) / "history.csv"

    def test_rows_follow_each_other_under_one_head(self) -> None:
        for number in (1, 2):
            history.append(self.file, dict.fromkeys(COLUMNS, number))
        with self.file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        self.assertEqual([row["commit"] for row in rows], ["1", "2"])

    def test_a_row_with_other_columns_is_refused(self) -> None:
        self.file.write_text("measured_at,commit,p50_us\n2026-01-01,abc,1\n")
        before = self.file.read_text()
        with self.assertRaisesRegex(CheckFailed, "half_texts_per_s"):
            history.append(self.file, dict.fromkeys(COLUMNS, 1))
        self.assertEqual(self.file.read_text(), before)

    def test_the_recorded_history_has_these_columns(self) -> None:
        history.check_columns(history.parse([]).out)


class MainTest(unittest.TestCase):
    def test_a_row_belongs_to_a_commit(self) -> None:
        shop = mock.MagicMock()
        shop.commit.return_value = Source("0123", "01", commit="0123")
        shop.working_tree.return_value = Source("working tree", "02")
        with (
            tempfile.TemporaryDirectory() as directory,
            fakes.program(shop, "perf-history", f"--out={directory}/history.csv"),
            # Should it go on, it is not to measure anything.
            mock.patch.object(os, "sched_setaffinity", side_effect=AssertionError),
            self.assertRaisesRegex(CheckFailed, "not committed"),
        ):
            history.main()


class MeasureTest(unittest.TestCase):
    def test_medians_of_what_was_not_spoiled(self) -> None:
        def run(name: LoadName, seed: int) -> Trial:
            values = {one.key: float(seed) for one in METRICS if one.load is name}
            is_spoiled = name is LoadName.HALF and seed < 2
            return Trial(name, values, "stolen" if is_spoiled else None)

        medians = history.measure(run, 3)
        for metric in METRICS:
            expected = 3.0 if metric.load is LoadName.HALF else 1.0
            self.assertEqual(medians[metric.key], expected)

    def test_the_commonest_reason_is_named_where_too_many_were_spoiled(self) -> None:
        def run(name: LoadName, seed: int) -> Trial:
            return Trial(name, spoiled=f"stolen: {seed}.5%" if seed else "late")

        with self.assertRaisesRegex(CheckFailed, "12 trials were spoiled, 5 by this: half: stolen: some %"):
            history.measure(run, 3)
