"""The noise floor of this machine: how far apart the same server looks from itself.

It is measured by sessions of a build against another build of the same sources (A/A), and kept
in a JSON file together with the machine and the load that it is of; on another machine, or for
another load, it says nothing, and is not used.
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
    """A floor for each metric, by key, and where they are from."""

    values: dict[str, float]
    origin: str


def default() -> Floors:
    """Of a machine of which nothing is known."""
    return Floors({metric.key: metric.default_floor for metric in METRICS}, "defaults")


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


def load(path: Path | None) -> Floors:
    """Those in the file at `path`, or where `scripts/perf-noise` keeps them; the defaults, if
    there are none of this machine and load. A file that was named must be there."""
    file = path or kept_at()
    if path is None and not file.exists():
        return Floors(default().values, "defaults: scripts/perf-noise has not been run here")
    record = json.loads(file.read_text())
    if difference := _difference(record):
        return Floors(default().values, f"defaults: {file} is of another {difference}")
    # A metric of which nothing was measured keeps its default.
    return Floors(default().values | record["floors"], str(file))


def record(floors: dict[str, float], details: dict[str, Any]) -> dict[str, Any]:
    """What a file of floors has in it."""
    return {
        "schema": SCHEMA,
        "machine": machine.identity_record(),
        "load": loads.shape(),
        "floors": floors,
    } | details


def kept_at() -> Path:
    """The file of this user's floors."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "bullhorn" / "perf-noise.json"


def _difference(record: dict[str, Any]) -> str | None:
    expected = {"schema": SCHEMA, "machine": machine.identity_record(), "load": loads.shape()}
    for key, value in expected.items():
        if record.get(key) != value:
            return {"schema": "version", "machine": "machine", "load": "load"}[key]
    return None


QUANTILE = 0.9
"""One session of twenty that a disturbance has widened does not blunt the check for good."""

SCHEMA = "bullhorn-perf-noise/1"
"""Of the file. The number rises when a key goes or changes its meaning."""
