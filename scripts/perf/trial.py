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
    own = [f"--server-pid={server.pid}", *arguments]
    summary, said = _result(binary, [server.address, *own], cores, "summary.json", RUN_LIMIT_S)
    # A server that has died is no spoiled run.
    sent = server.counts() - before
    if summary is None:
        raise Spoiled(f"loadgen had no result: {said}")
    if reason := spoiled(summary, sent):
        raise Spoiled(reason)
    return summary | {"sent": sent}


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


def find_max(binary: Path, arguments: Sequence[str], server: Subject, cores: Cores) -> float:
    """The capacity, in datagrams per second, that `loadgen find-max` finds with `arguments`."""
    command = ["find-max", server.address, *arguments]
    result, said = _result(binary, command, cores, "find-max.json", FIND_MAX_LIMIT_S)
    if result is None:
        raise CheckFailed(f"loadgen find-max had no result: {said}")
    found = result["found"]
    if found["rate_per_s"] is None or found["is_generators_limit"]:
        raise CheckFailed(f"the capacity was not found: {found['sentence']}")
    return float(found["rate_per_s"])


def _result(
    binary: Path, arguments: Sequence[str], cores: Cores, name: str, limit_s: float
) -> tuple[dict[str, Any] | None, str]:
    """The file `name` that `loadgen` writes, if it does, and what it said."""
    with tempfile.TemporaryDirectory(prefix="perf-trial-") as directory:
        # Whether it was capable is seen from what it did (--force).
        own = [f"--cores={cores.load}", "--force", "--quiet", f"--out={directory}"]
        with tempfile.TemporaryFile() as errors:
            pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
            with processes.child([binary, *arguments, *own], {cores.load}, **pipes) as process:
                try:
                    process.wait(limit_s)
                except subprocess.TimeoutExpired:
                    return None, f"it was not done after {limit_s:.0f} s"
            errors.seek(0)
            said = errors.read(ERROR_BYTES).decode(errors="replace").strip()
        if process.returncode == WRONG_USE:
            raise CheckFailed(f"loadgen refuses its arguments: {said}")
        file = Path(directory) / name
        return json.loads(file.read_text()) if file.exists() else None, said


WRONG_USE = 2
"""Exit code of loadgen, see docs/LOADGEN.md."""

RUN_LIMIT_S = 60.0
"""A run takes some seconds, and what is still under way is awaited for 5 s at most."""

FIND_MAX_LIMIT_S = 600.0
"""A search has some twenty tries of a second or two."""

ERROR_BYTES = 4000
"""Enough for a sentence or two."""

MIN_SENT_RATIO = 0.95
"""The highest loads are far beyond what the server carries, so a little less is as good."""

MAX_STEAL_RATIO = 0.05
"""On a shared machine 2 % are common where cores sleep and wake; CPU time does not count them."""
