"""A run of the load generator, and what it says of itself and of the server."""

import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import processes
from loads import Load
from processes import CheckFailed


@dataclass(frozen=True)
class Run:
    """What a run of `loadgen` came to: parts of its summary.json, see docs/LOADGEN.md."""

    began_at_unix_s: float
    """When the recording began."""
    recorded_s: float
    """And for how long it went on."""
    sent_ratio: float
    """Of what was due, the share that was sent."""
    received: int
    """Deliveries and answers that came."""
    loss_ratio: float
    p50_us: float
    """Of deliveries, from when they were due; NaN if none came."""
    p99_us: float
    run_queue_ratio: float
    """Share of the recording that the generator's threads waited for a processor."""
    invalid: tuple[str, ...]
    """Why the generator itself says that these are no figures of the server."""
    server_cpu_s: float
    """CPU time of the server in the recording."""


class NoOutcome(Exception):
    """A run that ended without an outcome, as nobody answered in time, for example."""


def run(
    binary: Path,
    load: Load,
    address: str,
    server_pid: int,
    core: int,
    seed: int,
    meanwhile: Callable[[], None],
) -> Run:
    """Offers `load` to the server at `address` from `core`, and calls `meanwhile` some times a
    second while it goes on."""
    limit_s = load.warmup_s + load.duration_s + OVERHEAD_LIMIT_S
    with tempfile.TemporaryDirectory(prefix="perf-trial-") as directory:
        command: list[str | Path] = [
            binary,
            address,
            *load.arguments(seed),
            f"--cores={core}",
            # Whether it was capable is seen from what it did.
            "--force",
            "--quiet",
            f"--server-pid={server_pid}",
            f"--out={directory}",
        ]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        with tempfile.TemporaryFile() as errors:
            with processes.child(command, {core}, stderr=errors, **pipes) as process:
                _wait(process, limit_s, meanwhile)
            errors.seek(0)
            said = errors.read(ERROR_BYTES).decode(errors="replace").strip()
        if process.returncode == WRONG_USE:
            raise CheckFailed(f"loadgen refuses its arguments: {said}")
        file = Path(directory) / "summary.json"
        if process.returncode not in (GOOD, INVALID) or not file.exists():
            raise NoOutcome(f"loadgen ended with {process.returncode}: {said or 'no reason'}")
        return parse(json.loads(file.read_text()))


def parse(summary: dict[str, Any]) -> Run:
    """From the object in summary.json."""
    if summary["server"] is None:
        raise NoOutcome("the server's process was not there to the end")
    counts, rates, generator = (summary[part] for part in ("counts", "rates", "generator"))
    latency = summary["latencies"].get("delivery", {})
    recorded_s = summary["recorded_s"]
    return Run(
        began_at_unix_s=summary["began_at_unix_s"],
        recorded_s=recorded_s,
        sent_ratio=rates["sent_ratio"] or 0.0,
        received=counts["delivered"] + counts["answered"],
        loss_ratio=rates["loss_ratio"] if rates["loss_ratio"] is not None else math.nan,
        p50_us=latency.get("p50_us", math.nan),
        p99_us=latency.get("p99_us", math.nan),
        run_queue_ratio=generator["run_queue_delay_s"] / recorded_s if recorded_s else math.inf,
        invalid=tuple(summary["verdict"]["invalid"]),
        server_cpu_s=summary["server"]["cpu_s"],
    )


def _wait(process: subprocess.Popen[bytes], limit_s: float, meanwhile: Callable[[], None]) -> None:
    deadline = time.monotonic() + limit_s
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise NoOutcome(f"loadgen was not done after {limit_s:.0f} s")
        meanwhile()
        time.sleep(INTERVAL_S)


GOOD, WRONG_USE, INVALID = 0, 2, 4
"""Exit codes of loadgen, see docs/LOADGEN.md."""

OVERHEAD_LIMIT_S = 15.0
"""Clients come and go within 2 s, what is still under way is awaited for 5 s at most."""

INTERVAL_S = 0.2
"""Between two looks at the server. Each takes about a millisecond of the generator's core: more
often, and one datagram of a hundred would be late by that."""

ERROR_BYTES = 4000
"""Enough for a sentence or two."""
