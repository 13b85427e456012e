"""The server under test, with a script in its place."""

import os
import tempfile
import textwrap
import unittest
from pathlib import Path
from unittest import mock

import machine
import subject
from processes import CheckFailed

CORES = {min(os.sched_getaffinity(0))}

GOOD = """
    import os, sys
    assert "--workers=1" in sys.argv and "BULLHORN_WORKERS" not in os.environ
    print("INFO bullhorn: listening on 127.0.0.1:4321", file=sys.stderr, flush=True)
    sent = 0
    print(">>>>: ", end="", flush=True)
    for line in sys.stdin:
        sent += 10
        print(f"deliveries: {sent} = {sent} sent\\n>>>>: ", end="", flush=True)
        if sent == 30:
            sys.exit("it broke")
"""


class SubjectTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.script = Path(directory.name) / "server"

    def write(self, code: str) -> Path:
        self.script.write_text("#!/usr/bin/env python3\n" + textwrap.dedent(code))
        self.script.chmod(0o755)
        return self.script

    @mock.patch.dict(os.environ, {"BULLHORN_WORKERS": "2"})
    def test_it_is_asked_for_its_counts_and_ends_with_the_block(self) -> None:
        with subject.running(self.write(GOOD), CORES) as running:
            self.assertEqual(running.address, "127.0.0.1:4321")
            self.assertEqual(running.counts(), 10)
            self.assertEqual(running.counts(), 20)
            self.assertGreater(machine.process_times(running.pid).cpu_s, 0)
        self.assertIsNotNone(running.process.returncode)

    def test_one_that_dies_is_a_failure_with_its_last_words(self) -> None:
        with subject.running(self.write(GOOD), CORES) as running:
            for _ in range(3):
                running.counts()
            with self.assertRaisesRegex(CheckFailed, "it has ended"):
                running.counts()
            running.process.wait(30)
            self.assertIn("it broke", str(running.failure("again")))

    def test_one_that_does_not_start_is_a_failure_with_its_last_words(self) -> None:
        binary = self.write("import sys; sys.exit('no such option')")
        with self.assertRaisesRegex(CheckFailed, "does not listen\nno such option"):
            with subject.running(binary, CORES):
                self.fail("it runs")
