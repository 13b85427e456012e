"""Sources, as git has them, and child processes."""

import os
import subprocess
import sys
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import builds
import processes
import selftest
from builds import UnknownCommit, Workshop
from processes import CheckFailed


class SourcesTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "repository"
        self.path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        for number in (1, 2):
            (self.path / "file").write_text(f"{number}\n")
            self.git("add", "file")
            self.git("commit", "--quiet", f"--message={number}")
        self.shop = Workshop(self.path, Path(directory.name) / "perf")

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.hooksPath="]
        command = ["git", *who, *words]
        done = subprocess.run(command, cwd=self.path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def test_a_clean_working_tree_is_the_tree_of_its_commit(self) -> None:
        self.assertEqual(self.shop.working_tree().tree, self.shop.commit("HEAD").tree)

    def test_the_working_tree_has_what_is_not_committed_and_the_index_stays(self) -> None:
        (self.path / ".gitignore").write_text("ignored\n")
        (self.path / "ignored").write_text("")
        (self.path / "file").write_text("3\n")
        before = self.git("status", "--porcelain")
        with self.shop.unpacked(self.shop.working_tree()) as tree:
            self.assertEqual((tree / "file").read_text(), "3\n")
            self.assertEqual({one.name for one in tree.iterdir()}, {".gitignore", "file"})
        self.assertEqual(self.git("status", "--porcelain"), before)
        self.assertFalse(self.shop.tree_path.exists())

    def test_every_source_is_unpacked_to_the_same_place_with_new_times(self) -> None:
        old = 1_000_000_000
        os.utime(self.path / "file", (old, old))
        places = set()
        for name in ("HEAD~1", "HEAD"):
            with self.shop.unpacked(self.shop.commit(name)) as tree:
                places.add(tree)
                self.assertGreater((tree / "file").stat().st_mtime, old + 1)
        self.assertEqual(len(places), 1)

    def test_a_patch_is_applied_or_it_fails(self) -> None:
        patch = self.path.parent / "patch"
        patch.write_text("--- a/file\n+++ b/file\n@@ -1 +1 @@\n-2\n+patched\n")
        with self.shop.unpacked(replace(self.shop.commit("HEAD"), patch=patch)) as tree:
            self.assertEqual((tree / "file").read_text(), "patched\n")
        with self.assertRaises(CheckFailed):
            with self.shop.unpacked(replace(self.shop.commit("HEAD~1"), patch=patch)):
                pass

    def test_the_default_base(self) -> None:
        head, before = self.shop.commit("HEAD"), self.shop.commit("HEAD~1")
        self.assertEqual(self.shop.default_base(), before)
        (self.path / "file").write_text("3\n")
        self.assertEqual(self.shop.default_base(), head)
        self.git("switch", "--quiet", "--create=branch")
        self.git("commit", "--quiet", "--all", "--message=3")
        self.assertEqual(self.shop.default_base(), head)

    def test_keys_tell_sources_apart_and_are_equally_long(self) -> None:
        head = self.shop.commit("HEAD")
        patch = self.path / "file"
        sources = [head, self.shop.commit("HEAD~1"), replace(head, again=1)]
        keys = {self.shop.key(one) for one in [*sources, replace(head, patch=patch)]}
        self.assertEqual(len(keys), 4)
        self.assertEqual({len(key) for key in keys}, {builds.KEY_CHARS})
        self.assertEqual(self.shop.key(head), self.shop.key(replace(head, label="other")))

    def test_no_commit(self) -> None:
        for name in ("nonsense", "HEAD~9", "--help"):
            with self.assertRaises(UnknownCommit):
                self.shop.commit(name)

    def test_two_checks_at_once_are_refused(self) -> None:
        with self.shop.locked(), self.assertRaises(CheckFailed):
            with self.shop.locked():
                pass


class PruneTest(unittest.TestCase):
    def test_what_was_used_last_is_kept(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory)
            for number in range(builds.KEPT_BUILDS + 2):
                build = path / f"{number}"
                build.mkdir()
                (build / "server").touch()
                os.utime(build, (number, number))
            (path / "0").touch()
            builds.prune(path)
            left = {one.name for one in path.iterdir()}
        self.assertEqual(len(left), builds.KEPT_BUILDS)
        self.assertIn("0", left)
        self.assertFalse({"1", "2"} & left)


class PatchTest(unittest.TestCase):
    def test_the_slower_server_can_be_made_of_this_tree(self) -> None:
        repository = Path(__file__).resolve().parents[3]
        command = ["git", "apply", "--check", str(selftest.SLOWER_PATCH)]
        subprocess.run(command, cwd=repository, check=True)


class ProcessesTest(unittest.TestCase):
    def test_a_child_ends_with_its_block_though_it_does_not_heed(self) -> None:
        code = (
            "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('ready', flush=True); signal.pause()"
        )
        self.addCleanup(setattr, processes, "END_LIMIT_S", processes.END_LIMIT_S)
        processes.END_LIMIT_S = 0.05
        with self.assertRaises(KeyboardInterrupt):
            with processes.child([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                raise KeyboardInterrupt
        self.assertEqual(process.returncode, -9)

    def test_what_a_child_leaves_behind_ends_with_it(self) -> None:
        # The grandchild, unlike its parent, has the pipe: its end is when that is ended.
        code = (
            "import subprocess, sys\n"
            "sleeper = 'import signal; print(1, flush=True); signal.pause()'\n"
            "subprocess.Popen([sys.executable, '-c', sleeper])"
        )
        with processes.child([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.wait(30)
            processes.end(process)
            self.assertEqual(process.stdout.read(), b"")

    def test_a_child_is_on_its_core(self) -> None:
        core = min(os.sched_getaffinity(0))
        code = "import os; print(os.sched_getaffinity(0))"
        command = [sys.executable, "-c", code]
        with processes.child(command, {core}, stdout=subprocess.PIPE) as process:
            output, _ = process.communicate(timeout=30)
        self.assertEqual(output.decode().strip(), str({core}))

    def test_what_fails_says_why(self) -> None:
        command = [sys.executable, "-c", "import sys; sys.exit('because')"]
        with self.assertRaisesRegex(CheckFailed, "exit code 1\nbecause"):
            processes.run(command, limit_s=30)
        with self.assertRaisesRegex(CheckFailed, "no-such-program"):
            processes.run(["no-such-program"], limit_s=30)

    def test_what_takes_too_long_is_ended(self) -> None:
        command = [sys.executable, "-c", "import signal; signal.pause()"]
        with self.assertRaisesRegex(CheckFailed, "not done after"):
            processes.run(command, limit_s=0.05)
