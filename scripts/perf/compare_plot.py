"""The picture of `scripts/compare`."""

import itertools

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

import plots
from compare_tables import MEDIAN

COLOURS = {
    "bullhorn-v2": plots.BLUE,
    "bullhorn-v1": plots.SKY,
    "nats": plots.GREEN,
    "mosquitto": plots.PURPLE,
    "tokio": plots.RED,
    "python": plots.ORANGE,
    "sendmmsg": plots.GREY,
    "sendmmsg-gso": plots.BLACK,
}
TITLES = {"fan-out-1000": "1000 receivers", "fan-out-100": "100 receivers"}
# Less is not carried: what arrived late there says nothing of those that did not arrive.
CARRIED = 0.99


def draw(summary, path):
    """Deliveries a CPU-second of each subject, and its latency over the load."""
    plots.style()
    works = [work for work in TITLES if summary["results"][work]]
    if not works:
        return
    figure, axes = plt.subplots(2, len(works), figsize=(6.4 * len(works), 8.6), squeeze=False,
                                layout="constrained")
    for column, work in enumerate(works):
        points(axes[0][column], summary, work)
        curves(axes[1][column], summary, work)
        if column > 0:
            axes[0][column].set_yticklabels([])
            axes[1][column].set_ylabel("")
    join(axes[0], "x")
    join(axes[1], "x")
    join(axes[1], "y")
    figure.suptitle(
        f"One says a text of 48 bytes, all hear it; one core for the server\n{summary['machine']}",
        fontsize=11,
    )
    figure.legend(*axes[1][0].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  frameon=False, fontsize=9)
    plots.save(figure, path)


def points(axis, summary, work):
    """Points and not bars: a logarithmic axis has no zero that a bar could begin at."""
    results = summary["results"][work]
    order = [subject for subject in COLOURS if subject in summary["versions"]][::-1]
    for position, subject in enumerate(order):
        if subject not in results:
            continue
        median, least, most = results[subject]["saturated"]["a_cpu_second"]
        axis.plot([least, most], [position] * 2, color=COLOURS[subject], linewidth=5, alpha=0.4,
                  solid_capstyle="round")
        axis.plot(median, position, "o", color=COLOURS[subject], markersize=9)
        axis.annotate(plots.thousands(median), (most, position), xytext=(10, 0),
                      textcoords="offset points", va="center", fontsize=9)
    axis.set_xscale("log")
    axis.margins(x=0.2)
    axis.xaxis.set_major_formatter(FuncFormatter(plots.tick))
    axis.set_yticks(range(len(order)), [summary["versions"][subject] for subject in order])
    axis.set_ylim(-0.6, len(order) - 0.4)
    axis.set_title(TITLES[work])
    axis.set_xlabel("deliveries for a second of the server's CPU time, saturated")


def curves(axis, summary, work):
    for subject, result in summary["results"][work].items():
        loads = list(itertools.takewhile(is_carried, result["loads"]))
        axis.plot(
            [load["offered_a_second"][MEDIAN] for load in loads],
            [load["p99_us"][MEDIAN] / 1000 for load in loads],
            color=COLOURS[subject],
            marker="o",
            markersize=4,
            linewidth=1.6,
            linestyle="--" if subject.startswith("sendmmsg") else "-",
            label=summary["versions"][subject],
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    for numbers in (axis.xaxis, axis.yaxis):
        numbers.set_major_formatter(FuncFormatter(plots.tick))
        numbers.set_minor_formatter(NullFormatter())
    axis.set_xlabel("deliveries offered a second, as long as 99 % arrive")
    axis.set_ylabel("99 of 100 arrived after, ms")


def is_carried(load):
    return load["p99_us"] is not None and load["arrived_share"][MEDIAN] >= CARRIED


def join(axes, which):
    """Gives axes that are to be compared the same limits."""
    limits = [getattr(axis, f"get_{which}lim")() for axis in axes]
    for axis in axes:
        getattr(axis, f"set_{which}lim")(min(low for low, _ in limits), max(high for _, high in limits))
