"""The picture of what `scripts/scaling` measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import plots
from matplotlib.axes import Axes

Row = dict[str, Any]
"""A line of the file: a run."""


def read(path: Path) -> list[Row]:
    """The runs of a file, in its order."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def machine(rows: list[Row]) -> str:
    """The one that the runs were on."""
    of = rows[0]["summary"]["environment"]
    return f"{of['processors']} cores, {of['cpu_model']}, Linux {of['kernel'].partition('-')[0]}"


def draw(rows: list[Row], path: Path) -> None:
    """Writes it."""
    plots.style()
    loads = list(dict.fromkeys(row["load"] for row in rows))
    figure, axes = plt.subplots(
        2, len(loads), figsize=(10, 6.4), sharex=True, sharey="row", layout="constrained",
        squeeze=False,
    )
    figure.suptitle(f"By workers, each on a core of its own ({machine(rows)})", fontsize=11)
    for column, load in enumerate(loads):
        of_load = [row for row in rows if row["load"] == load]
        axes[0, column].set_title(TITLES.get(load, load))
        axes[1, column].set_xlabel("workers")
        _lines(axes[0, column], of_load, per_s)
        _lines(axes[1, column], of_load, per_cpu_s)
    for one in axes[0]:
        one.set_yscale("log")
        one.set_xscale("log", base=2)
        counts = sorted({row["workers"] for row in rows})
        one.set_xticks(counts, [str(count) for count in counts])
        one.minorticks_off()
    axes[0, 0].set_ylabel("deliveries/s, of those offered")
    axes[1, 0].set_ylabel("deliveries per CPU second of the server")
    axes[1, 0].set_ylim(bottom=0)
    for one in axes[:, 0]:
        one.yaxis.set_major_formatter(plots.tick)
    axes[0, 0].plot(
        [], [], color=plots.GREY, marker="o", markerfacecolor="white", linestyle="",
        label="loadgen not valid",
    )
    axes[0, 0].legend(frameon=False)
    plots.save(figure, path)


def per_s(row: Row) -> float:
    """Copies and answers that arrived, per second."""
    rates = row["summary"]["rates"]
    return float(rates["deliveries_per_s"] + rates["answers_per_s"])


def per_cpu_s(row: Row) -> float:
    """The same, per second of CPU time of the server."""
    return float(row["summary"]["server"]["deliveries_per_cpu_s"])


def is_valid(row: Row) -> bool:
    """Whether loadgen calls the run valid."""
    return bool(row["summary"]["verdict"]["is_valid"])


def _lines(axes: Axes, rows: list[Row], figure: Callable[[Row], float]) -> None:
    """A line through the valid runs, and the others beside it."""
    for protocol, colour, marker in (("v1", plots.BLUE, "o"), ("v2", plots.ORANGE, "s")):
        runs = [row for row in rows if row["protocol"] == protocol]
        for valid in (True, False):
            chosen = [row for row in runs if is_valid(row) is valid]
            axes.plot(
                [row["workers"] for row in chosen], [figure(row) for row in chosen],
                color=colour, marker=marker, label=protocol if valid else None,
                linestyle="-" if valid else "", markerfacecolor=colour if valid else "white",
            )


TITLES = {
    "large": "large rooms of 1000",
    "rooms": "1000 rooms of 10",
    "ping": "pings of 1000 clients",
}
"""Of the loads, as scripts/scaling names them."""
