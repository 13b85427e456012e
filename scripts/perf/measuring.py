"""What the programs here have in common: how they read arguments, and how they end."""

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import processes
from builds import UnknownCommit
from processes import CheckFailed


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help text is the doc string of a program."""
    return argparse.ArgumentParser(
        prog=name, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def existing(text: str) -> Path:
    """Parses the name of a file that is there."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def output_file(text: str) -> Path:
    """Parses the name of a file to be written, and makes its directory: what cannot be written
    is to be known before anything is measured."""
    path = Path(text).absolute()
    if path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
        raise argparse.ArgumentTypeError(f"{path} is no file that can be written to")
    output_directory(str(path.parent))
    return path


def output_directory(text: str) -> Path:
    """Parses the name of a directory to be written to, and makes it, for the same reason."""
    path = Path(text).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written to")
    return path


def whole(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers between bounds."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def span(values: Sequence[float], form: str = ".4g") -> str:
    """The median of the values, and their range."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:{form}} ({least:{form}}..{most:{form}})"


def progress(line: str) -> None:
    """Says what has been done, where it disturbs no result."""
    print(line, file=sys.stderr, flush=True)


def exit_code(main: Callable[[], int]) -> int:
    """Runs a program: what fails is said in a line, and children are ended in any case."""
    processes.stop_on_signals()
    try:
        return main()
    except UnknownCommit as error:
        print(f"no commit: {error}", file=sys.stderr)
        return WRONG_USE
    except (CheckFailed, OSError) as error:
        print(f"the check failed: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
"""Exit codes besides those of the verdicts."""
