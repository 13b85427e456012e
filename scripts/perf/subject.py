"""The server under test: started on cores of its own, asked for its counts, and ended."""

import os
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import processes
from console import answer
from processes import CheckFailed


@dataclass(frozen=True)
class Subject:
    """A running server."""

    process: subprocess.Popen[bytes]
    address: str
    """It listens there: an IPv4 address and a port."""
    log: IO[bytes]

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def counts(self) -> int:
        """The deliveries that the kernel took since its start, of its console, which any line but
        `quit` makes print its counts."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self.failure("it has ended") from None
        text = self._read_answer()
        if (deliveries := parse_deliveries(text)) is None:
            raise self.failure(f"its console does not tell its deliveries, but: {text}")
        return deliveries

    def failure(self, what: str) -> CheckFailed:
        """An error with what the server itself said."""
        said = os.pread(self.log.fileno(), LOG_BYTES, 0).decode(errors="replace").strip()
        command = " ".join(map(str, self.process.args))  # type: ignore[arg-type]
        return CheckFailed(f"the server under test ({command}): {what}\n{said}")

    def _read_answer(self) -> str:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        deadline = time.monotonic() + ANSWER_LIMIT_S
        text = b""
        while not answer(text):
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([descriptor], [], [], left_s)[0]:
                raise self.failure(f"its console is silent for {ANSWER_LIMIT_S:.0f} s")
            part = os.read(descriptor, 65536)
            if not part:
                raise self.failure("it has ended")
            text += part
        return answer(text).decode(errors="replace")


@contextmanager
def running(
    binary: Path, cores: Collection[int], more: Sequence[str] = ()
) -> Iterator[Subject]:
    """Starts the server `binary` with one worker on `cores`, with `more` arguments, and ends it
    with the block."""
    command: list[str | Path] = [binary, *ARGUMENTS, *more]
    with tempfile.TemporaryFile() as log:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        # Without the variables that would tell it something else.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("BULLHORN_")
        }
        with processes.child(command, cores, env=environment, bufsize=0, **pipes) as process:
            yield Subject(process, _address(process, log), log)


def parse_deliveries(text: str) -> int | None:
    """From the listing of the console, if that is one. Where nothing was to be delivered yet,
    it does not say what became of it."""
    found = re.search(r"^deliveries: (?:\d+ = (\d+) sent|0$)", text, re.MULTILINE)
    return int(found[1] or 0) if found else None


def _address(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        text = os.pread(log.fileno(), LOG_BYTES, 0).decode(errors="replace")
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)\n", text):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(START_POLL_S)
    raise Subject(process, "", log).failure("it does not listen")


ARGUMENTS = (
    "--bind=127.0.0.1:0",
    "--workers=1",
    # Says where it listens, and is quiet of what it is sent.
    "--log=info,bullhorn::text=off,bullhorn::peer=off,bullhorn::greet=off",
)
"""Understood by every release, as any of them may be the base."""

ANSWER_LIMIT_S = 5.0
"""The console is a thread beside the worker on the same core, which answers in milliseconds."""

START_LIMIT_S = 10.0
"""It takes milliseconds."""

START_POLL_S = 0.005
"""Soon after it listens, and no load."""

LOG_BYTES = 20_000
"""The beginning has the address, and what went wrong at the start."""
