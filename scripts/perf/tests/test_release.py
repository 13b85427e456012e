"""The checks of `scripts/release` before it makes anything."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "release"


class ReleaseTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.tree = Path(directory.name)
        (self.tree / "scripts").mkdir()
        shutil.copy(SCRIPT, self.tree / "scripts" / "release")
        # What follows the checks, which must not be reached.
        package = self.tree / "scripts" / "package"
        package.write_text("#!/bin/sh\necho reached\nexit 9\n")
        package.chmod(0o755)
        (self.tree / "Cargo.toml").write_text('[workspace.package]\nversion = "1.2.3"\n[package]\n')
        (self.tree / "CHANGELOG.md").write_text("## [1.2.3] - a day\n\n- A change.\n\n## [1.2.2]\n\n- b\n")
        (self.tree / ".gitignore").write_text("/target\n")
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
        subprocess.run(["git", *who, *arguments], cwd=self.tree, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "All")

    def expect(self, code: int, words: str, *arguments: str) -> None:
        done = subprocess.run(
            ["scripts/release", *arguments], cwd=self.tree, capture_output=True, text=True, check=False
        )
        output = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, output)
        self.assertIn(words, output)

    def test_wrong_arguments_are_refused(self) -> None:
        self.expect(2, "a version is needed")
        self.expect(2, "a version is needed", "--dry-run")
        self.expect(2, "a version is needed", "1.2")
        self.expect(2, "scripts/release [--dry-run] VERSION", "v1.2.3")
        self.expect(2, "two versions", "1.2.3", "1.2.4")

    def test_the_version_is_that_of_the_manifest(self) -> None:
        self.expect(1, "Cargo.toml has version 1.2.3, and not 1.2.4", "--dry-run", "1.2.4")

    def test_a_changelog_without_the_section_or_with_an_empty_one_is_refused(self) -> None:
        for text in ("## [Unreleased]\n\n- a\n", "## [1.2.3]\n\n## [1.2.2]\n\n- b\n"):
            (self.tree / "CHANGELOG.md").write_text(text)
            self.commit()
            self.expect(1, "CHANGELOG.md has no section [1.2.3]", "--dry-run", "1.2.3")

    def test_a_tree_with_changes_is_refused(self) -> None:
        (self.tree / "new").touch()
        self.expect(1, "the tree is not clean: ?? new", "--dry-run", "1.2.3")

    def test_a_version_with_a_tag_is_refused(self) -> None:
        self.git("tag", "v1.2.3")
        self.expect(1, "there is a tag v1.2.3", "1.2.3")

    def test_all_checks_pass_before_anything_is_made(self) -> None:
        compiler = shutil.which("rustc")
        self.assertIsNotNone(compiler)
        self.expect(9, "reached", "--dry-run", "1.2.3")


if __name__ == "__main__":
    unittest.main()
