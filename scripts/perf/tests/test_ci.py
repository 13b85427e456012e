"""What CI makes of perf-check's exit code, with a script in its place."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import fakes

PERF_CI = Path(__file__).resolve().parents[2] / "perf-ci"


class CiTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)
        (self.path / "scripts").mkdir()
        (self.path / "results").mkdir()
        shutil.copy2(PERF_CI, self.path / "scripts" / "perf-ci")
        self.git("init", "--quiet")
        self.git("commit", "--quiet", "--allow-empty", "--message=1")
        self.measured(self.git("rev-parse", "HEAD"))

    def git(self, *words: str) -> str:
        return fakes.git(self.path, *words)

    def measured(self, commit: str) -> None:
        rows = f"measured_at,commit,machine\n2026-01-01,old,x\n2026-01-02,{commit},x\n"
        (self.path / "results" / "history.csv").write_text(rows)

    def run_ci(self, code: int, *words: str) -> subprocess.CompletedProcess[str]:
        check = self.path / "scripts" / "perf-check"
        check.write_text(f'#!/bin/sh\necho "asked: $*"\nexit {code}\n')
        check.chmod(0o755)
        command = [self.path / "scripts" / "perf-ci", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_only_what_regressed_or_failed_fails(self) -> None:
        for code, expected, said in (
            (0, 0, "asked"),
            (1, 1, "the check failed"),
            (2, 2, "the check failed"),
            (3, 3, "asked"),
            (4, 0, "undecided"),
            (5, 0, "undecided"),
            (130, 130, "the check failed"),
        ):
            done = self.run_ci(code)
            self.assertEqual(done.returncode, expected, code)
            self.assertIn(said, done.stdout)

    def test_it_compares_with_the_last_commit_that_was_measured(self) -> None:
        head = self.git("rev-parse", "HEAD")
        words = f"--out somewhere {head}\n"
        self.assertIn(f"asked: {words}", self.run_ci(0, "somewhere").stdout)

    def test_a_commit_that_is_not_before_this_one_is_no_base(self) -> None:
        for commit in ("0123456789", ""):
            self.measured(commit)
            said = self.run_ci(0).stdout
            self.assertIn("no commit before this one", said)
            self.assertIn("--out target/perf/report\n", said)

    def test_wrong_use(self) -> None:
        self.assertEqual(self.run_ci(0, "a", "b").returncode, 2)
