"""The noise floor of this machine: how far apart the same server looks from itself.

It is measured by sessions of a build against another build of the same sources (A/A), and kept
in a JSON file together with the machine, the load and the number of pairs that it is of; on
another machine, for another load or for fewer pairs it says nothing, and is not used. Where it is
not known, the limits of the metrics count alone.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loads
import machine
import numpy as np
from metrics import METRICS
from verdict import Judgement


@dataclass(frozen=True)
class Floors:
    """A floor for each metric that has been measured, by key, and where they are from."""

    values: dict[str, float]
    origin: str


def measured(sessions: Sequence[Sequence[Judgement]]) -> dict[str, float]:
    """The floors from A/A sessions, in the unit of each metric's limit: how far the median of
    a session lay from "the same", in either direction, in all but a tenth of the sessions
    (`QUANTILE`). Not how far its interval reached: a regression needs the whole interval
    beyond the bound, so the width of intervals would be counted twice."""
    floors = {}
    for metric in METRICS:
        reaches = [
            abs(judgement.estimate.median)
            for judgements in sessions
            for judgement in judgements
            if judgement.metric.key == metric.key and judgement.estimate is not None
        ]
        if reaches:
            # One that was measured: of fewer than ten sessions it is the farthest.
            reach = float(np.quantile(reaches, QUANTILE, method="higher"))
            floors[metric.key] = metric.allowance(reach)
    return floors


def load(path: Path | None, pairs: int, duration_s: float) -> Floors:
    """Those in the file at `path`, or where `scripts/perf-noise` keeps them, for sessions of
    `pairs` pairs and trials of `duration_s` seconds; none, if they are of others. A file that
    was named must be there."""
    file = path or kept_at()
    if path is None and not file.exists():
        return Floors({}, "not known: scripts/perf-noise has not been run here")
    record = json.loads(file.read_text())
    for name, expected in _identity(duration_s).items():
        if record.get(name) != expected:
            return Floors({}, f"not known: {file} is of another {name}")
    if record["pairs"] > pairs:
        return Floors({}, f"not known: {file} is of {record['pairs']} pairs a session")
    return Floors(record["floors"], str(file))


def record(
    floors: dict[str, float], pairs: int, duration_s: float, details: dict[str, Any]
) -> dict[str, Any]:
    """What a file of floors has in it."""
    return _identity(duration_s) | {"pairs": pairs, "floors": floors} | details


def kept_at() -> Path:
    """The file of this user's floors."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "bullhorn" / "perf-noise.json"


def _identity(duration_s: float) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "machine": machine.identity_record(),
        "load": loads.shape(duration_s),
    }


QUANTILE = 0.9
"""One session of twenty that a disturbance has widened does not blunt the check for good."""

SCHEMA = "bullhorn-perf-noise/1"
"""Of the file. The number rises when a key goes or changes its meaning."""
