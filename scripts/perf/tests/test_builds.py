"""Sources, as git has them, and child processes."""

import os
import select
import subprocess
import sys
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

import builds
import fakes
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
        return fakes.git(self.path, *words)

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

    def test_files_of_an_old_commit_are_new(self) -> None:
        (self.path / "file").write_text("3\n")
        with mock.patch.dict(os.environ, {"GIT_COMMITTER_DATE": "2001-09-09T00:00:00Z"}):
            self.git("commit", "--quiet", "--all", "--message=3")
        with self.shop.unpacked(self.shop.commit("HEAD")) as tree:
            self.assertGreater((tree / "file").stat().st_mtime, 1_600_000_000)

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
        self.assertNotIn(self.shop.key(head, "valgrind-3"), keys)

    def test_keys_tell_apart_what_cargo_is_told(self) -> None:
        head = self.shop.commit("HEAD")
        names = ("RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS")
        keys = {self.shop.key(head)}
        for name in (*names, "CARGO_PROFILE_RELEASE_LTO", "CARGO_PROFILE_RELEASE_DEBUG"):
            for value in ("1", "2"):
                with mock.patch.dict(os.environ, {name: value}):
                    keys.add(self.shop.key(head))
        self.assertEqual(len(keys), 11)
        with mock.patch.dict(os.environ, {"CARGO_TERM_COLOR": "never"}):
            self.assertIn(self.shop.key(head), keys)

    def test_what_is_used_again_is_not_old(self) -> None:
        head = self.shop.commit("HEAD")
        kept = self.shop.directory / "bin" / self.shop.key(head) / "server"
        kept.parent.mkdir(parents=True)
        kept.touch()
        os.utime(kept.parent, (1, 1))
        self.assertEqual(self.shop.build(head), kept)
        self.assertGreater(kept.parent.stat().st_mtime, 1)

    def test_a_checkout_that_has_changed_is_called_dirty(self) -> None:
        head = self.git("rev-parse", "HEAD")
        self.assertEqual(builds.commit_of(self.path), head)
        (self.path / "file").write_text("3\n")
        self.assertEqual(builds.commit_of(self.path), f"{head}-dirty")

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

    def test_a_child_ends_though_its_parent_is_killed(self) -> None:
        # The child has the pipe, too: its end is when that is ended.
        code = (
            "import signal, sys, processes\n"
            "sleeper = 'import signal; print(1, flush=True); signal.pause()'\n"
            "with processes.child([sys.executable, '-c', sleeper]):\n"
            "    signal.pause()"
        )
        environment = os.environ | {"PYTHONPATH": str(Path(processes.__file__).parent)}
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
            assert parent.stdout is not None
            parent.stdout.readline()
            parent.kill()
            self.assertTrue(select.select([parent.stdout], [], [], 10)[0], "it goes on")
            self.assertEqual(parent.stdout.read(), b"")

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
