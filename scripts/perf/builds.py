"""Binaries of a commit or of the working tree, built in the same way, and kept.

Every tree is unpacked to the same place and built there, one after the other. So nothing that
depends on a path (the names of symbols and so their order, panic messages, debug information)
differs between two binaries, and equal sources give equal binaries. The binaries are kept by
what they were built from, in directories whose names are equally long: the length of a
program's path moves its stack.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import processes
from processes import CheckFailed


class UnknownCommit(Exception):
    """What was given for a commit is none."""


@dataclass(frozen=True)
class Source:
    """What to build: a tree of git's, which a commit has, and the working tree can be made."""

    label: str
    """For people: a commit's short hash, or "working tree"."""
    tree: str
    """The hash of the tree."""
    commit: str | None = None
    """`None`: the working tree."""
    patch: Path | None = None
    """Applied to it before it is built."""
    again: int = 0
    """Builds of the same source that are not to be the same one have different numbers."""


class Workshop:
    """Where trees are unpacked and built: `target/perf` of the repository."""

    def __init__(self, repository: Path, directory: Path) -> None:
        self.repository = repository
        self.directory = directory
        self.tree_path = directory / "tree"
        self.cargo_target = directory / "target"

    def commit(self, name: str) -> Source:
        """The commit that git knows by `name`."""
        try:
            commit = self._git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except CheckFailed:
            raise UnknownCommit(name) from None
        return Source(commit[:10], self._git("rev-parse", f"{commit}^{{tree}}"), commit)

    def working_tree(self) -> Source:
        """The working tree, with what is not committed, but without what git ignores. Its
        index stays as it is."""
        with tempfile.TemporaryDirectory() as scratch:
            index = Path(scratch) / "index"
            own = Path(self._git("rev-parse", "--path-format=absolute", "--git-path", "index"))
            if own.exists():
                # What has not changed then need not be read again.
                shutil.copy2(own, index)
            environment = os.environ | {"GIT_INDEX_FILE": str(index)}
            self._git("add", "--all", env=environment)
            return Source("working tree", self._git("write-tree", env=environment))

    def default_base(self) -> Source:
        """The merge base of HEAD with main or origin/main. Where HEAD is that itself, it is
        HEAD if something is not committed, and otherwise the commit before it."""
        head = self.commit("HEAD")
        for branch in ("main", "origin/main"):
            try:
                base = self.commit(self._git("merge-base", "HEAD", branch))
            except CheckFailed:
                continue
            if base.commit != head.commit:
                return base
        if self.working_tree().tree != head.tree:
            return head
        return self.commit("HEAD~1")

    def build(self, source: Source) -> Path:
        """Builds the server of `source`, unless that has been done before."""
        return self._binary(source, "server", "bullhorn")

    def loadgen(self, source: Source) -> Path:
        """The load generator of `source`, in the same way."""
        return self._binary(source, "loadgen", "loadgen")

    @contextmanager
    def unpacked(self, source: Source) -> Iterator[Path]:
        """`source` as files, at the one place for it, as long as the block lasts."""
        shutil.rmtree(self.tree_path, ignore_errors=True)
        self.tree_path.mkdir(parents=True)
        archive = self.directory / "tree.tar"
        try:
            # All files of a tree, unlike those of a commit, get the time of now: cargo goes by
            # that, and must not take them for those of the tree that was here before.
            self._git("archive", f"--output={archive}", source.tree)
            command = ["tar", "--extract", f"--file={archive}"]
            processes.run(command, GIT_LIMIT_S, cwd=self.tree_path)
            if source.patch:
                command = ["patch", "--strip=1", "--fuzz=0", f"--input={source.patch}"]
                processes.run(command, GIT_LIMIT_S, cwd=self.tree_path)
            yield self.tree_path
        finally:
            archive.unlink(missing_ok=True)
            shutil.rmtree(self.tree_path, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps out whoever else would build or measure here at the same time."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckFailed("another check is running in this directory") from None
            yield

    def key(self, source: Source, more: str = "") -> str:
        """What tells things built from `source` apart: their sources, the compiler, what cargo is
        told, and `more`."""
        compiler = processes.run(["rustc", "--version", "--verbose"], GIT_LIMIT_S)
        patch = source.patch.read_text() if source.patch else ""
        told = "\n".join(
            f"{name}={value}"
            for name, value in sorted(os.environ.items())
            if name in FLAGS or name.startswith(PROFILE)
        )
        again = str(source.again)
        parts = (source.tree, patch, again, compiler, told, str(self.tree_path), more)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:KEY_CHARS]

    def _binary(self, source: Source, name: str, package: str) -> Path:
        kept = self.directory / "bin" / self.key(source) / name
        if kept.exists():
            kept.parent.touch()
            return kept
        with self.unpacked(source) as tree:
            # One package alone: which others are built with it changes the features of what
            # they share, and the base may have others than the candidate.
            what = [f"--package={package}", f"--bin={name}"]
            command = ["cargo", "build", "--release", "--locked", *what]
            environment = os.environ | {"CARGO_TARGET_DIR": str(self.cargo_target)}
            processes.run(command, BUILD_LIMIT_S, cwd=tree, env=environment)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, (self.cargo_target / "release" / name).read_bytes(), mode=0o755)
        prune(kept.parent.parent)
        return kept

    def _git(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        return processes.run(["git", *arguments], GIT_LIMIT_S, cwd=self.repository, env=env).strip()


def workshop() -> Workshop:
    """Of the repository that this file is in; where cargo is told to build somewhere else,
    there."""
    repository = Path(__file__).resolve().parents[2]
    target = Path(os.environ.get("CARGO_TARGET_DIR", repository / "target")).absolute()
    return Workshop(repository, target / "perf")


def write_whole(file: Path, content: bytes, mode: int = 0o644) -> None:
    """Writes a file that is there as a whole or not at all."""
    partial = file.with_name(f"{file.name}.growing")
    partial.write_bytes(content)
    partial.chmod(mode)
    partial.replace(file)


def prune(directory: Path) -> None:
    """Deletes all in `directory` but what was made or used last."""
    newest_first = sorted(directory.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
    for one in newest_first[KEPT_BUILDS:]:
        if one.is_dir():
            shutil.rmtree(one)
        else:
            one.unlink()


def commit_of(checkout: Path) -> str:
    """The commit of a checkout, with `-dirty` behind it if something that git knows has
    changed."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return processes.run(command, GIT_LIMIT_S, cwd=checkout).strip()


FLAGS = ("CARGO_BUILD_RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS")
"""Variables by which cargo is told what to tell the compiler."""

PROFILE = "CARGO_PROFILE_RELEASE_"
"""What variables begin with that change the profile `release`."""

BUILD_LIMIT_S = 1800.0
"""From nothing it takes some minutes on two cores."""

GIT_LIMIT_S = 60.0
"""Seconds at the most, on a slow disk."""

KEPT_BUILDS = 12
"""A run has four at most, and those of the commits before it are often asked for again. A build
takes 21 MB."""

KEY_CHARS = 16
"""Of a hash: no two of some hundred builds have the same."""
