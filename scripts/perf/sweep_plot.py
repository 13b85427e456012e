"""The picture of a sweep."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import plots
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import NullFormatter
from sweep_tables import of


def draw(record: dict[str, Any], path: Path) -> None:
    """Writes it."""
    plots.style()
    figure, (peers, busy, latency) = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    # A point of which every round was spoiled has no figures.
    points = [row for row in record["points"] if row["cpu_us"]]
    _peers(peers, points)
    _busy(busy, of(points, "load"), record)
    _latency(latency, of(points, "load"))
    plots.save(figure, path)


def _peers(axes: Axes, points: list[dict[str, Any]]) -> None:
    for series, label, colour in (
        ("room", "one room", plots.BLUE), ("rooms", "rooms of 10", plots.ORANGE)
    ):
        _spread(axes, of(points, series), "peers", "cpu_us", label, colour)
    model = of(points, "room")
    axes.plot(
        [row["peers"] for row in model], [row["model"]["cpu_us"] for row in model],
        color=plots.GREY, linestyle="--", label="the model",
    )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set(title="Cost by the number of peers", xlabel="peers", ylabel="µs of CPU a delivery")
    _decades(axes.xaxis)
    axes.legend(frameon=False)


def _busy(axes: Axes, rows: list[dict[str, Any]], record: dict[str, Any]) -> None:
    offered = [row["texts_per_s"] * row["peers"] for row in rows]
    sent = [row["deliveries_per_s"][0] for row in rows]
    model = [row["model"]["deliveries_per_s"] for row in rows]
    axes.plot(offered, model, color=plots.GREY, linestyle="--", label="the model")
    axes.plot(offered, sent, color=plots.BLUE, marker="o", label="measured")
    idle = record["idle_deliveries_per_s"]
    axes.axvline(idle, color=plots.RED, linewidth=1, linestyle=":")
    axes.annotate(
        "above this, batches grow", (idle, sent[0]), xytext=(5, 0), color=plots.RED,
        textcoords="offset points", rotation=90, ha="left", va="bottom", fontsize=8,
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(title="What one worker carries", xlabel="deliveries/s offered", ylabel="sent")
    _decades(axes.xaxis)
    _decades(axes.yaxis)
    axes.legend(frameon=False)


def _latency(axes: Axes, rows: list[dict[str, Any]]) -> None:
    heard = [row | {"offered": row["texts_per_s"] * row["peers"]} for row in rows if row["p50_us"]]
    model = [row["model"]["round_us"] / 1e3 for row in heard]
    for name, colour in (("p50", plots.GREEN), ("p99", plots.PURPLE)):
        in_ms = [row | {"ms": [one / 1e3 for one in row[f"{name}_us"]]} for row in heard]
        _spread(axes, in_ms, "offered", "ms", name, colour)
    axes.plot(
        [row["offered"] for row in heard], model, color=plots.GREY, linestyle="--",
        label="the model's round",
    )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set(
        title="Latency by load, a room of 1000", xlabel="deliveries/s offered", ylabel="ms"
    )
    _decades(axes.xaxis)
    axes.legend(frameon=False)


def _decades(axis: Axis) -> None:
    """Labels for powers of ten alone: those between them would overlap."""
    axis.set_major_formatter(plots.tick)
    axis.set_minor_formatter(NullFormatter())


def _spread(
    axes: Axes, rows: list[dict[str, Any]], x: str, y: str, label: str, colour: str
) -> None:
    at = [row[x] for row in rows]
    axes.plot(at, [row[y][0] for row in rows], color=colour, marker="o", label=label)
    least, most = [row[y][1] for row in rows], [row[y][2] for row in rows]
    axes.fill_between(at, least, most, color=colour, alpha=0.15, linewidth=0)
