"""What stands in for the world: trials made up by a seeded generator, of which is tested what
follows from them, and what programs find around them."""

import io
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import builds
import measuring
from loads import LoadName
from metrics import METRICS, Compare
from session import RunTrial, Side
from trial import Cores, Trial

SAME = 1.0


def trials(
    slower: float = SAME,
    noise: float = 0.05,
    seed: int = 1,
    spoil: Callable[[int, LoadName], str | None] = lambda number, load: None,
) -> RunTrial:
    """A runner whose candidate takes `slower` times as much for everything, with log-normal
    `noise` on each value, and of whose trials, numbered from 0, `spoil` spoils some."""
    generator = random.Random(seed)
    count = 0

    def run(side: Side, load: LoadName, load_seed: int) -> Trial:
        nonlocal count
        reason = spoil(count, load)
        count += 1
        values = {}
        for metric in METRICS:
            if metric.load is load:
                factor = slower if side is Side.CANDIDATE else SAME
                if metric.compare is Compare.HIGHER_RATIO:
                    factor = 1 / factor
                value = 100 * factor * generator.lognormvariate(0, noise)
                is_share = metric.compare is Compare.LOWER_POINTS
                values[metric.key] = 0.0 if is_share else value
        return Trial(load, values, reason)

    return run


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
        mock.patch.object(measuring, "choose_cores", lambda: Cores(server=0, load=1)),
        redirect_stdout(io.StringIO()) as said,
        redirect_stderr(io.StringIO()),
    ):
        yield said
