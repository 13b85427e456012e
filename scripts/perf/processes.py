"""Child processes that do not outlive this one, and never run for longer than they may."""

import ctypes
import os
import signal
import subprocess
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class CheckFailed(Exception):
    """The check itself could not be done."""

    exit_code = 1
    """Of a program that ends by it."""


@contextmanager
def child(
    command: Sequence[str | Path], cores: Collection[int] = (), **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts `command`, on `cores` alone if any are given, in a process group of its own, and
    ends the whole group when the block is left, however it is left. `options` are those of
    `subprocess.Popen`."""
    process = subprocess.Popen(
        [str(part) for part in command],
        process_group=0,
        preexec_fn=_in_the_child(cores),
        **options,
    )
    try:
        yield process
    finally:
        end(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[None]:
    """Calls `work` in a copy of this process, which is killed when the block is left."""
    copy = os.fork()
    if copy == 0:
        try:
            work()
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(copy, signal.SIGKILL)
        os.waitpid(copy, 0)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends `process` and its group: asked first, and killed if it does not heed. What is left
    of the group when `process` has ended, by itself or not, is killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        # The group keeps its id as long as anybody is in it, and the kernel gives an id away
        # again only after all others.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_LIMIT_S)


def run(command: Sequence[str | Path], limit_s: float, **options: Any) -> str:
    """Runs `command` to its end and returns what it printed. That it fails, or takes longer
    than `limit_s`, is a `CheckFailed` with the end of its error output."""
    pipes: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    try:
        with child(command, **(pipes | options)) as process:
            output, errors = process.communicate(timeout=limit_s)
    except FileNotFoundError as error:
        raise CheckFailed(f"{command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"{_line(command)}: not done after {limit_s:.0f} s") from error
    if process.returncode != 0:
        last = (errors or b"").decode(errors="replace").strip()[-ERROR_CHARS:]
        raise CheckFailed(f"{_line(command)}: exit code {process.returncode}\n{last}")
    return (output or b"").decode(errors="replace")


def stop_on_signals() -> None:
    """Lets SIGTERM and SIGHUP end the program as Ctrl-C does: through its `finally`s."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)


def _in_the_child(cores: Collection[int]) -> Callable[[], None]:
    # Loaded here, as little may be done between fork and exec.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def prepare() -> None:
        # So that it ends also if this process is killed.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # strace, no parent of it, may then trace it also where Yama asks for that. It stays so
        # when another program is executed, and is an error without Yama.
        prctl(PR_SET_PTRACER, ctypes.c_ulong(-1))
        if cores:
            os.sched_setaffinity(0, cores)

    return prepare


def _line(command: Sequence[str | Path]) -> str:
    return " ".join(str(part) for part in command)


PR_SET_PDEATHSIG, PR_SET_PTRACER = 1, 0x59616D61
"""From <linux/prctl.h>."""

END_LIMIT_S = 2.0
"""The server promises to stop within a second of SIGTERM, and loadgen drains for a moment."""

ERROR_CHARS = 2000
"""Enough for what a compiler says at last."""
