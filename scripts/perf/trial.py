"""A run of the load generator against a server."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import processes
from machine import Cores
from processes import CheckFailed
from subject import Subject


class Spoiled(Exception):
    """A run that says nothing of the server, and why."""


def run(binary: Path, arguments: Sequence[str], server: Subject, cores: Cores) -> dict[str, Any]:
    """Runs `loadgen` with `arguments`. Returns its summary (docs/LOADGEN.md), with `sent`, the
    deliveries that the server made in the whole run. Raises `Spoiled`."""
    before = server.counts()
    command = [binary, server.address, f"--server-pid={server.pid}", f"--cores={cores.load}"]
    # Whether it was capable is seen from what it did (--force).
    command += [*arguments, "--force", "--quiet", "--json"]
    with tempfile.TemporaryFile() as lines, tempfile.TemporaryFile() as errors:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": lines, "stderr": errors}
        with processes.child(command, {cores.load}, **pipes) as process:
            try:
                process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                raise Spoiled(f"loadgen was not done after {LIMIT_S:.0f} s") from None
        lines.seek(0)
        errors.seek(0)
        summaries = [line for line in map(json.loads, lines) if line["kind"] == "summary"]
        said = errors.read(ERROR_BYTES).decode(errors="replace").strip()
    if process.returncode == WRONG_USE:
        raise CheckFailed(f"loadgen refuses its arguments: {said}")
    # A server that has died is no spoiled run.
    sent = server.counts() - before
    if not summaries:
        raise Spoiled(f"loadgen had no result: {said}")
    if reason := spoiled(summaries[0], sent):
        raise Spoiled(reason)
    return summaries[0] | {"sent": sent}


def spoiled(summary: dict[str, Any], sent: int) -> str | None:
    """Why a run says nothing of the server, if it does not."""
    if sent == 0:
        return "nothing was delivered"
    if summary["rates"]["sent_ratio"] < MIN_SENT_RATIO:
        return f"the generator sent {summary['rates']['sent_ratio']:.1%} of what was due"
    stolen = summary["generator"]["steal_s"] / summary["recorded_s"]
    if stolen > MAX_STEAL_RATIO:
        return f"the hypervisor took {stolen:.1%} of a core"
    return None


WRONG_USE = 2
"""Exit code of loadgen, see docs/LOADGEN.md."""

VALID_OR_NOT = ("sh", "-c", '"$@" || test $? = 4', "sh")
"""The start of a command that runs loadgen, for which an invalid run is no failure."""

LIMIT_S = 60.0
"""A run takes some seconds, and what is still under way is awaited for 5 s at most."""

ERROR_BYTES = 4000
"""Enough for a sentence or two."""

MIN_SENT_RATIO = 0.95
"""The highest loads are far beyond what the server carries, so a little less is as good."""

MAX_STEAL_RATIO = 0.05
"""On a shared machine 2 % are common where cores sleep and wake; CPU time does not count them."""
