"""The picture of a soak."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import plots
from matplotlib.axes import Axes
from soak_tables import WARMUP_MINUTES, memory, minutes, slope, totals_of

Row = dict[str, Any]


def draw(record: list[Row], path: Path) -> None:
    """Writes it."""
    plots.style()
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), sharex=True, layout="constrained")
    rows = minutes(record)
    _memory(axes[0, 0], record)
    _descriptors(axes[0, 1], rows)
    _rates(axes[1, 0], rows)
    _drops(axes[1, 1], rows)
    for one in axes[1]:
        one.set_xlabel("minute")
    plots.save(figure, path)


def _memory(axes: Axes, record: list[Row]) -> None:
    rows = minutes(record)
    at = [
        row["minute"] - 1 + (number + 1) / len(row["rss_kib"])
        for row in rows
        for number in range(len(row["rss_kib"]))
    ]
    resident = [kib / 1024 for row in rows for kib in row["rss_kib"]]
    axes.plot(at, resident, color=plots.SKY, linewidth=1, label="resident, under load")
    ends = [row["minute"] for row in rows]
    for label, values, colour in (
        ("resident, in the pauses", [row["rss_kib"][-1] for row in rows], plots.BLUE),
        ("private and written", [row["private_dirty_kib"] for row in rows], plots.ORANGE),
    ):
        axes.plot(ends, [kib / 1024 for kib in values], color=colour, marker=".", label=label)
    if growth := slope(memory(record)):
        span = [WARMUP_MINUTES + 1, ends[-1]]
        axes.plot(
            span, [growth.start + growth.per_hour * minute / 60 for minute in span],
            color=plots.RED, linestyle="--", label=growth.text(),
        )
    axes.set_ylim(bottom=0)
    axes.set(title="Memory", ylabel="MiB")
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def _descriptors(axes: Axes, rows: list[Row]) -> None:
    ends = [row["minute"] for row in rows]
    for what, colour in (("descriptors", plots.BLUE), ("threads", plots.ORANGE)):
        axes.plot(ends, [max(row[what]) for row in rows], color=colour, marker=".", label=what)
    axes.set_ylim(bottom=0)
    axes.set(title="Descriptors and threads")
    axes.legend(frameon=False, fontsize=8)


def _rates(axes: Axes, rows: list[Row]) -> None:
    ends = [row["minute"] for row in rows]
    for what, colour in (("deliveries", plots.GREEN), ("datagrams", plots.BLUE)):
        label = "deliveries" if what == "deliveries" else "datagrams received"
        axes.plot(ends, [row[what] / 60 for row in rows], color=colour, marker=".", label=label)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(plots.tick)
    axes.set(title="Deliveries and datagrams", ylabel="per second")
    axes.legend(frameon=False, fontsize=8)


def _drops(axes: Axes, rows: list[Row]) -> None:
    ends = [row["minute"] for row in rows]
    colours = (
        plots.BLUE, plots.ORANGE, plots.GREEN, plots.RED, plots.PURPLE, plots.SKY, plots.GREY,
        plots.BLACK,
    )
    for reason, colour in zip(totals_of(rows), colours, strict=False):
        counts = [row["drops"].get(reason, 0) / 60 or float("nan") for row in rows]
        axes.plot(ends, counts, color=colour, marker=".", linestyle=":", label=reason)
    axes.set_yscale("log")
    # Space for the legend.
    axes.set_ylim(top=30 * axes.get_ylim()[1])
    axes.yaxis.set_major_formatter(plots.tick)
    axes.set(title="Drops by reason, the eight most frequent", ylabel="per second")
    axes.legend(frameon=False, fontsize=7, ncols=2)
