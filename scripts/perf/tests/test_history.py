"""The rows of history.csv, and the figures in them."""

import csv
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import fakes
import history
import pairs
from builds import Source
from history import COLUMNS
from processes import CheckFailed
from scenes import SCENES


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
        with self.assertRaisesRegex(CheckFailed, "max_texts_per_s"):
            history.append(self.file, dict.fromkeys(COLUMNS, 1))
        self.assertEqual(self.file.read_text(), before)

    def test_the_recorded_history_has_these_columns(self) -> None:
        history.check_columns(history.parse([]).out)


class RowTest(unittest.TestCase):
    def test_a_row_belongs_to_a_commit(self) -> None:
        shop = mock.MagicMock()
        shop.commit.return_value = Source("0123", "01", commit="0123")
        shop.working_tree.return_value = Source("working tree", "02")
        with (
            tempfile.TemporaryDirectory() as directory,
            fakes.program(shop, "perf-history", f"--out={directory}/history.csv"),
            # Should it go on, it is not to measure anything.
            mock.patch.object(pairs, "run", side_effect=AssertionError),
            self.assertRaisesRegex(CheckFailed, "not committed"),
        ):
            history.main()

    def test_both_sides_are_the_same_server(self) -> None:
        made = [
            pairs.Pair(scene.name, {"cpu": 1.0 + number}, {"cpu": 3.0 + number}, {})
            for number, scene in enumerate(SCENES)
            for _ in range(3)
        ]
        costs = history.costs(pairs.Session(made, 1.0, None))
        expected = {f"{one.name}_cpu_us": f"{number + 2}" for number, one in enumerate(SCENES)}
        self.assertEqual(costs, expected)
