"""What stands in for the world that programs find around them."""

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import builds
import machine
from machine import Cores


def git(repository: Path, *words: str) -> str:
    """Runs git as somebody, without the hooks of whoever runs the tests."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.hooksPath="]
    command = ["git", *who, *words]
    done = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@contextmanager
def program(shop: object, *words: str) -> Iterator[io.StringIO]:
    """What the `main` of a program finds: its arguments, with its name before them, the workshop
    `shop` and two cores. Has what it prints."""
    with (
        mock.patch.object(sys, "argv", list(words)),
        mock.patch.object(builds, "workshop", lambda: shop),
        mock.patch.object(machine, "choose_cores", lambda: Cores(server=0, load=1)),
        redirect_stdout(io.StringIO()) as said,
        redirect_stderr(io.StringIO()),
    ):
        yield said
