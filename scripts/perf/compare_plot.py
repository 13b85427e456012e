"""The picture of `scripts/compare`."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import plots
from compare_tables import Record, is_carried
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter
from pages import thousands


def draw(record: Record, path: Path) -> None:
    """Writes it: deliveries per CPU-second of each server above, and its latency over the load
    below, in a column for each number of receivers."""
    plots.style()
    works = [work for work in TITLES if record["results"][work]]
    if not works:
        return
    size = (6.4 * len(works), 8.6)
    figure, axes = plt.subplots(2, len(works), figsize=size, squeeze=False, layout="constrained")
    for column, work in enumerate(works):
        _costs(axes[0][column], record, work)
        _latencies(axes[1][column], record, work)
        if column > 0:
            axes[0][column].set_yticklabels([])
            axes[1][column].set_ylabel("")
    _join(axes[0], "x")
    _join(axes[1], "x")
    _join(axes[1], "y")
    figure.suptitle(
        f"Texts of 48 bytes from one client to all; one core for the server\n{record['machine']}",
        fontsize=11,
    )
    lines = axes[1][0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    plots.save(figure, path)


def _costs(axes: Axes, record: Record, work: str) -> None:
    # Points and not bars: a logarithmic axis has no zero that a bar could begin at.
    results = record["results"][work]
    order = [subject for subject in COLOURS if subject in record["versions"]][::-1]
    for position, subject in enumerate(order):
        if subject not in results:
            continue
        colour = COLOURS[subject]
        median, least, most = results[subject]["saturated"]["arrived_per_cpu_s"]
        axes.plot(
            [least, most],
            [position] * 2,
            color=colour,
            linewidth=5,
            alpha=0.4,
            solid_capstyle="round",
        )
        axes.plot(median, position, "o", color=colour, markersize=9)
        axes.annotate(
            thousands(median),
            (most, position),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.xaxis.set_major_formatter(FuncFormatter(plots.tick))
    axes.set_yticks(range(len(order)), [record["versions"][subject] for subject in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_title(TITLES[work])
    axes.set_xlabel("deliveries per CPU-second of the server, saturated")


def _latencies(axes: Axes, record: Record, work: str) -> None:
    for subject, result in record["results"][work].items():
        loads = list(itertools.takewhile(is_carried, result["loads"]))
        axes.plot(
            [load["offered_per_s"] for load in loads],
            [load["p99_us"][0] / 1000 for load in loads],
            color=COLOURS[subject],
            marker="o",
            markersize=4,
            linewidth=1.6,
            linestyle="--" if subject == "nats-debian" else "-",
            label=record["versions"][subject],
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(plots.tick))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("deliveries offered per second, as long as 99 % arrive")
    axes.set_ylabel("99 of 100 arrived after, ms")


def _join(row: Sequence[Axes], which: str) -> None:
    """Gives axes that are to be compared the same limits."""
    limits = [getattr(axes, f"get_{which}lim")() for axes in row]
    least, most = min(low for low, _ in limits), max(high for _, high in limits)
    for axes in row:
        getattr(axes, f"set_{which}lim")(least, most)


COLOURS = {
    "bullhorn-v2": plots.BLUE,
    "bullhorn-v1": plots.SKY,
    "nats": plots.GREEN,
    "nats-debian": plots.GREY,
    "mosquitto": plots.PURPLE,
    "tokio": plots.RED,
    "python": plots.ORANGE,
}
"""By server, in the order of the picture."""

TITLES = {"fan-out-1000": "1000 receivers", "fan-out-100": "100 receivers"}
"""The columns."""
