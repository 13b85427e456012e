"""Tests of the pages of `scripts/compare`."""

import tempfile
import unittest
from pathlib import Path
from typing import Any

import compare
import compare_tables
import pages
from compare_tables import BEGIN, END
from processes import CheckFailed


def run(subject: str, clients: int, per_cpu_s: float) -> dict[str, Any]:
    step = {
        "offered_per_s": 50e3,
        "arrived_per_s": 50e3,
        "arrived_per_cpu_s": per_cpu_s,
        "arrived_ratio": 1.0,
        "busy_ratio": 0.5,
        "p50_us": 100,
        "p99_us": 200,
    }
    # More arrives, and from a queue: a latency that says nothing.
    late = step | {"offered_per_s": 200e3, "arrived_per_s": 90e3}
    return {
        "subject": subject,
        "clients": clients,
        "steps": [step, late],
        "joined_bytes": 2**20,
        "peak_bytes": 2**21,
    }


FINDINGS = {
    "commit": "0123456789abcdef",
    "date": "2026-01-02",
    "machine": "a machine",
    "rounds": 3,
    "window_ms": 400,
    "versions": {"nats": "NATS 2"},
    "skipped": ["mosquitto: not installed"],
    "runs": [run("nats", 1000, per_cpu_s) for per_cpu_s in (3e6, 1e6, 1.25e6)],
    "receiver": [
        {
            "peers": 1000,
            "received": 995,
            "lost": 5,
            "repeated": 0,
            "received_per_s": 6e7,
            "received_per_server_cpu_s": 7e7,
        }
    ],
    "capacities": {"v1": "The highest good rate is 400/s."},
}


class TablesTest(unittest.TestCase):
    record = compare_tables.summary(FINDINGS)

    def test_median_least_and_most_over_the_rounds(self) -> None:
        of_nats = self.record["results"]["fan-out-1000"]["nats"]
        self.assertEqual(of_nats["saturated"]["arrived_per_cpu_s"], [1.25e6, 1e6, 3e6])
        self.assertEqual(of_nats["saturated"]["arrived_per_s"], [90e3] * 3)
        self.assertEqual([load["p99_us"] for load in of_nats["loads"]], [[200, 200, 200]] * 2)
        self.assertEqual(self.record["results"]["fan-out-100"], {})

    def test_the_page_and_the_table_for_the_readme(self) -> None:
        page = compare_tables.page(self.record)
        self.assertIn("commit 0123456789, 2026-01-02", page)
        self.assertIn("1.25M (1.00M..3.00M)", page)
        self.assertIn("- mosquitto: not installed", page)
        self.assertIn("- v1: The highest good rate is 400/s.", page)
        self.assertNotIn("100 receive them", page)
        # Only the load that is carried has a latency.
        rows = page.replace(" ", "")
        self.assertIn("|NATS2|0.10/0.20|-|", rows)
        self.assertIn("|1000|60.0M|70.0M|0.50%|0|", rows)
        short = compare_tables.short_table(self.record)
        self.assertIn("|NATS2|1.25M|0.10/0.20|1.0|", short.replace(" ", ""))
        self.assertIn("60.0M messages per second with 1000 peers (0.5 % lost)", short)

    def test_not_all_arrived_where_something_is_missing(self) -> None:
        for ratio, text in (
            (0.5, "50 %"),
            (0.994, "99.4 %"),
            (0.9994, "99.9 %"),
            (0.9997, "99.9 %"),
            (1.0, "100 %"),
        ):
            self.assertEqual(compare_tables._percent(ratio), text)

    def test_what_subjects_are_called(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            lock = Path(directory) / "Cargo.lock"
            lock.write_text('[[package]]\nname = "tokio"\nversion = "1.2.3"\n')
            said = {"bullhorn-v2": "server 0.1.0", "tokio": "tokio", "nats": "nats-server: v2.15"}
            said["nats-debian"] = "nats-server: v2.9"
            names = compare.names(said, lock)
        expected = ["bullhorn 0.1.0 v2 peers", "tokio 1.2.3, send_to", "NATS 2.15"]
        self.assertEqual(list(names.values()), [*expected, "NATS 2.9 (Debian)"])


class MarkersTest(unittest.TestCase):
    def test_what_is_between_the_markers_is_replaced(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "README.md"
            file.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
            compare_tables.replace_marked(file, "new")
            self.assertEqual(file.read_text(), f"before\n{BEGIN}\nnew\n{END}\nafter\n")
            for text in ("", f"{BEGIN}\nold\n", f"{END}\n{BEGIN}\n"):
                file.write_text(text)
                with self.assertRaisesRegex(CheckFailed, "README.md has no lines"):
                    compare_tables.replace_marked(file, "new")
                self.assertEqual(file.read_text(), text)


class PagesTest(unittest.TestCase):
    def test_spreads_and_figures(self) -> None:
        self.assertIsNone(pages.spread([]))
        self.assertEqual(pages.spread([1.0, 2.0, 123_456.0, 3.0]), [2.5, 1.0, 123_500.0])
        self.assertEqual(pages.figure([2.5, 1.0, 9.0], str), "2.5 (1.0..9.0)")
        # They differ, but by less than what is shown.
        self.assertEqual(pages.figure([2.5, 2.49, 2.51], lambda value: f"{value:.1f}"), "2.5")
        self.assertEqual((pages.figure(None, str), pages.median(None, str)), ("-", "-"))

    def test_figures_with_three_digits(self) -> None:
        for value, text in ((812, "812"), (999.6, "1.00k"), (4200, "4.20k"), (99_960, "100k")):
            self.assertEqual(pages.thousands(value), text)
        self.assertEqual(pages.thousands(1.31e6), "1.31M")

    def test_tables_and_records_are_for_people(self) -> None:
        self.assertEqual(pages.table([["a", "bb"], ["ccc", "d"]]).splitlines()[1], "| --- | -- |")
        text = pages.record_text({"a": [1.5, 2e-06, -3], "b": [1, 2]})
        self.assertIn('"a": [1.5, 2e-06, -3],\n', text)
