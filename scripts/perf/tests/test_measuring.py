"""Where results may go, and how two builds are compared on this machine, with nothing run."""

import argparse
import os
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import check
import compare
import counts
import history
import measuring
import noise
import sweep


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
