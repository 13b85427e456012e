"""What is installed where it is missing, with nothing installed."""

import os
import shutil
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import debian
import measuring
import processes
from processes import CheckFailed


class InstallTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.policy = Path(directory.name) / "policy-rc.d"
        self.run_ = mock.patch.object(processes, "run").start()
        mock.patch.object(debian, "POLICY", self.policy).start()
        mock.patch.object(measuring, "progress").start()
        self.addCleanup(mock.patch.stopall)

    def install(self, user: int, apt_get: str | None) -> None:
        with (
            mock.patch.object(os, "geteuid", lambda: user),
            mock.patch.object(shutil, "which", lambda name: apt_get),
        ):
            debian.install(["valgrind", "libc6-dbg"])

    def test_where_it_may_not_be_done_it_says_what_to_do(self) -> None:
        for user, apt_get in ((1000, "/usr/bin/apt-get"), (0, None)):
            with self.assertRaisesRegex(CheckFailed, "apt-get install valgrind libc6-dbg"):
                self.install(user, apt_get)
        self.run_.assert_not_called()

    def test_no_service_begins_meanwhile(self) -> None:
        seen = []
        self.run_.side_effect = lambda *rest, **options: seen.append(self.policy.exists())
        self.install(0, "/usr/bin/apt-get")
        self.assertEqual(seen, [True, True])
        self.assertFalse(self.policy.exists())

    def test_a_policy_that_is_there_stays(self) -> None:
        self.policy.write_text("of somebody else")
        self.install(0, "/usr/bin/apt-get")
        self.assertEqual(self.policy.read_text(), "of somebody else")
