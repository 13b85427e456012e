"""Where results may go, and how two builds are compared on this machine, with nothing run."""

import argparse
import itertools
import os
import tempfile
import time
import unittest
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import capacity
import check
import compare
import counts
import history
import loads
import measuring
import noise
import procedure
import sweep
import trial
from builds import Build, Source
from loads import LoadName
from measuring import Bench, Options
from processes import CheckFailed
from session import Side
from trial import Cores

OPTIONS = Options(pairs=12, duration_s=1.0, seed=1, half_rate_per_s=None)
BUILDS = {side: Build(Source(side, "0123"), Path(side)) for side in Side}
CORES = Cores(server=0, load=1)
LOADGEN = Path("loadgen")


class OutputTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)
        self.file = self.path / "file"
        self.file.touch()

    def refused(self, parse: Callable[[str], Path], path: Path) -> str:
        with self.assertRaises(argparse.ArgumentTypeError) as refusal:
            parse(str(path))
        return str(refusal.exception)

    def test_what_is_missing_is_made(self) -> None:
        new = self.path / "a" / "b"
        self.assertEqual(measuring.output_file(str(new / "record.json")), new / "record.json")
        self.assertEqual(list(new.iterdir()), [])
        for there in (self.path / "c" / "d", self.path):
            self.assertEqual(measuring.output_directory(str(there)), there)
            self.assertTrue(there.is_dir())
        self.assertEqual(measuring.output_file(str(self.file)), self.file)

    def test_what_cannot_be_written_is_refused(self) -> None:
        file, directory = measuring.output_file, measuring.output_directory
        for parse, path, reason in (
            (file, self.path, "is a directory, and no file"),
            (file, self.file / "x", f"{self.file} is no directory"),
            (file, self.path / ("x" * 300), "name too long"),
            (directory, self.file, f"{self.file} is no directory"),
            (directory, self.file / "x" / "y", f"{self.file} is no directory"),
            (directory, self.path / ("x" * 300), "name too long"),
        ):
            self.assertIn(reason, self.refused(parse, path))
        # Whoever is root may write anywhere.
        with mock.patch.object(os, "access", return_value=False):
            for parse, path in (
                (file, self.file),
                (file, self.path / "new"),
                (directory, self.path / "new"),
            ):
                self.assertIn("cannot be written to", self.refused(parse, path))

    def test_every_program_refuses_it_at_its_start(self) -> None:
        for program, option, wrong in (
            (check, "--json", self.path),
            (check, "--out", self.file),
            (compare, "--out", self.file),
            (counts, "--out", self.path),
            (history, "--out", self.path),
            (noise, "--out", self.path),
            (sweep, "--out", self.file),
        ):
            with mock.patch.object(argparse.ArgumentParser, "error", side_effect=Refused) as said:
                with self.assertRaises(Refused):
                    program.parse([f"{option}={wrong}"])
            self.assertIn(f"argument {option}: {wrong} is ", said.call_args.args[0])


class Refused(Exception):
    """Ends a parser that has been patched."""


class BenchTest(unittest.TestCase):
    bench = Bench(BUILDS, LOADGEN, OPTIONS, CORES, half_rate_per_s=700)

    def test_each_side_has_its_own_server_under_the_load_of_that_name(self) -> None:
        asked = list(itertools.product(Side, LoadName))
        with mock.patch.object(trial, "run_trial") as run:
            for side, load in asked:
                self.bench.run_trial(side, load, 5)
        rates = {LoadName.HALF: 700, LoadName.SATURATION: loads.SATURATION_RATE_PER_S}
        for (side, load), call in zip(asked, run.call_args_list, strict=True):
            server, loadgen, name, offered, cores, seed = call.args
            self.assertEqual((server, loadgen, name), (Path(side), LOADGEN, load))
            self.assertEqual((offered.rate_per_s, cores, seed), (rates[load], CORES, 5))

    def test_there_is_time_until_the_budget_is_used_up(self) -> None:
        # The loop below moves the clock.
        now_s = 100.0
        with (
            mock.patch.object(procedure, "compare") as compared,
            mock.patch.object(time, "monotonic", lambda: now_s),
        ):
            replace(self.bench, options=replace(OPTIONS, budget_s=60.0)).compare({}, 1)
            has_time = compared.call_args.args[-1]
            for now_s, expected in ((100.0, True), (159.0, True), (161.0, False)):
                self.assertIs(has_time(), expected)
            self.bench.compare({}, 1)
            self.assertTrue(compared.call_args.args[-1]())

    def test_half_of_the_capacity_is_that_of_the_base(self) -> None:
        with (
            mock.patch.object(os, "sched_setaffinity") as pin,
            mock.patch.object(measuring, "half_rate", return_value=700) as found,
        ):
            base, candidate = BUILDS[Side.BASE], BUILDS[Side.CANDIDATE]
            bench = measuring.make_bench(base, candidate, LOADGEN, OPTIONS, CORES)
            self.assertEqual(bench, self.bench)
            self.assertEqual(found.call_args.args[0], base.server)
            pin.assert_called_once_with(0, {CORES.load})
            given = replace(OPTIONS, half_rate_per_s=5)
            bench = measuring.make_bench(base, candidate, LOADGEN, given, CORES)
            self.assertEqual(bench.half_rate_per_s, 5)
            self.assertEqual(found.call_count, 1)

    def test_half_is_half_of_what_is_carried(self) -> None:
        with mock.patch.object(capacity, "search", return_value=1000.0):
            self.assertEqual(measuring.half_rate(Path("server"), LOADGEN, CORES, 1), 500)


class CoresTest(unittest.TestCase):
    def test_server_and_load_have_a_core_each(self) -> None:
        with mock.patch.object(os, "sched_getaffinity", lambda pid: {5, 2, 9}):
            expected = Cores(server=2, load=9, allowed=frozenset({2, 5, 9}))
            self.assertEqual(measuring.choose_cores(), expected)
        with mock.patch.object(os, "sched_getaffinity", lambda pid: {3}):
            with self.assertRaises(CheckFailed):
                measuring.choose_cores()


class LoadsTest(unittest.TestCase):
    def test_what_the_generator_is_told(self) -> None:
        self.assertEqual(
            loads.half(500, 1.5).arguments(seed=7),
            [
                *("--scenario=chat", "--clients=1000", "--room-size=100", "--payload=48"),
                *("--rate=500", "--warmup=300ms", "--duration=1500ms", "--seed=7", "--no-gro"),
            ],
        )
        saturated = loads.saturation(1.0).arguments(seed=7)
        self.assertIn("--scenario=lobby", saturated)
        self.assertEqual(saturated[-2:], ["--no-gro", "--drain=0s"])
        self.assertFalse([word for word in saturated if word.startswith("--room-size")])
