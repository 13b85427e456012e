"""The figures of `scripts/compare`: medians and ranges over the rounds, and tables of them."""

import numpy

from plots import thousands

# In the order of the tables; the benchmark has it, too.
SUBJECTS = [
    "bullhorn-v2",
    "bullhorn-v1",
    "nats",
    "tokio",
    "python",
    "mosquitto",
    "sendmmsg-gso",
    "sendmmsg",
]
WORKS = {
    "fan-out-1000": "One says a text of 48 bytes, 1000 hear it",
    "fan-out-100": "One says a text of 48 bytes, 100 hear it",
    "requests": "64 clients ask, the server answers",
    "heartbeats": "64 clients send what nobody answers, 16 in one go",
}
UNITS = {"requests": "round trips", "heartbeats": "heartbeats"}

# Which figures of a step are kept: at saturation, at half of it, and at each load.
SATURATED = ("arrived_a_second", "a_cpu_second", "arrived_share", "busy_share")
HALF = ("arrived_a_second", "a_cpu_second", "arrived_share", "p50_us", "p99_us")
LOAD = (
    "offered_a_second",
    "sent_share",
    "arrived_share",
    "a_cpu_second",
    "busy_share",
    "p50_us",
    "p99_us",
    "late_p99_us",
)

# Of a spread.
MEDIAN, LEAST, MOST = 0, 1, 2

BEGIN = "<!-- scripts/compare writes what follows -->"
END = "<!-- up to here -->"


def summarise(findings):
    """Median, least and greatest of each figure over the rounds."""
    results = {}
    for work in WORKS:
        results[work] = {}
        for subject in SUBJECTS:
            climbs = [
                climb
                for climb in findings["climbs"]
                if climb["work"] == work and climb["subject"] == subject
            ]
            if climbs:
                results[work][subject] = of_climbs(climbs)
    head = {key: findings[key] for key in ("machine", "rounds", "window_ms", "versions", "skipped")}
    return {**head, "results": results}


def of_climbs(climbs):
    best = [climb["best"] for climb in climbs]
    half = [climb["half"] for climb in climbs]
    # A climb ends where it is saturated, which is not the same load in each.
    rounds_a_load = {}
    for climb in climbs:
        for index, step in enumerate(climb["steps"]):
            rounds_a_load.setdefault(index, []).append(step)
    return {
        "saturated": spreads(best, SATURATED),
        "half": spreads(half, HALF),
        "loads": [spreads(steps, LOAD) for _, steps in sorted(rounds_a_load.items())],
        "joined_bytes": spread([climb["joined_bytes"] for climb in climbs]),
        "peak_bytes": spread([climb["peak_bytes"] for climb in climbs]),
    }


def spreads(steps, keys):
    return {key: spread([step[key] for step in steps if step[key] is not None]) for key in keys}


def spread(values):
    """[median, least, most]; None where nothing was measured: heartbeats have no latency."""
    if not values:
        return None
    return [rounded(figure) for figure in (numpy.median(values), min(values), max(values))]


def rounded(figure):
    """Four significant digits."""
    return float(f"{figure:.4g}")


def page(summary):
    """The whole page, with ranges."""
    lines = [
        "# bullhorn beside what one would take instead",
        "",
        f"`scripts/compare`: {summary['machine']}; median (least to greatest) of "
        f"{summary['rounds']} rounds, in which all take turns. Server on one core, load and "
        "receivers on the other, loopback interface. What is compared, how, and what the "
        "columns mean: [benches/README.md](../benches/README.md#beside-other-servers).",
        "",
        "![Deliveries a CPU-second, and latency over load](compare.svg)",
    ]
    for work, title in WORKS.items():
        if summary["results"][work]:
            lines += ["", f"## {title}", "", *table(work_rows(summary, work))]
    lines += ["", "## Memory of the server with 1000 peers, MiB", "", *table(memory_rows(summary))]
    if summary["skipped"]:
        lines += ["", "Not measured:", "", *(f"- {what}" for what in summary["skipped"])]
    return "\n".join(lines) + "\n"


def work_rows(summary, work):
    unit = UNITS.get(work, "deliveries")
    has_latency = work != "heartbeats"
    rows = [
        [
            "server",
            f"{unit} a CPU-second, saturated",
            f"{unit} a second, saturated",
            "server busy",
            "arrived of those offered",
        ]
        + (["at half of that: p50, ms", "p99, ms", "arrived"] if has_latency else [])
    ]
    for subject, result in summary["results"][work].items():
        saturated, half = result["saturated"], result["half"]
        row = [
            summary["versions"][subject],
            figure(saturated["a_cpu_second"], thousands),
            figure(saturated["arrived_a_second"], thousands),
            figure(saturated["busy_share"], percent),
            figure(saturated["arrived_share"], percent),
        ]
        if has_latency:
            row += [
                figure(half["p50_us"], milliseconds),
                figure(half["p99_us"], milliseconds),
                figure(half["arrived_share"], percent),
            ]
        rows.append(row)
    return rows


def memory_rows(summary):
    rows = [["server", "all there, nothing said yet", "the most at any load"]]
    for subject, result in summary["results"]["fan-out-1000"].items():
        row = [summary["versions"][subject]]
        row += [figure(result[key], mebibytes) for key in ("joined_bytes", "peak_bytes")]
        rows.append(row)
    return rows


def short_table(summary):
    """For the README: medians alone, and what they are."""
    rows = [
        [
            "one text, 1000 hear it",
            "deliveries a CPU-second",
            "p50 / p99 at half load, ms",
            "round trips a CPU-second",
            "heartbeats a CPU-second",
            "memory, MiB",
        ]
    ]
    results = summary["results"]
    for subject, fan_out in results["fan-out-1000"].items():
        half = fan_out["half"]
        both = " / ".join(median(half[key], milliseconds) for key in ("p50_us", "p99_us"))
        others = (results[work].get(subject) for work in ("requests", "heartbeats"))
        rows.append(
            [
                summary["versions"][subject],
                median(fan_out["saturated"]["a_cpu_second"], thousands),
                both,
                *(
                    median(other["saturated"]["a_cpu_second"], thousands) if other else ""
                    for other in others
                ),
                median(fan_out["joined_bytes"], mebibytes),
            ]
        )
    return (
        "What one core does with bullhorn, and with what one would take instead, over the "
        f"loopback interface ({summary['machine']}; median of {summary['rounds']} rounds):\n\n"
        + "\n".join(table(rows))
        + "\n\nTCP repeats what is lost, and UDP does not. [results/compare.md](results/compare.md) has the "
        "ranges and what was lost, [benches/README.md](benches/README.md#beside-other-servers) what "
        "differs, and `scripts/compare` measures it again.\n"
    )


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    def line(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    return [line(rows[0]), line(["-" * width for width in widths]), *map(line, rows[1:])]


def figure(values, form):
    """Median, and from where to where."""
    if values is None:
        return "-"
    texts = [form(value) for value in values]
    is_sharp = texts[LEAST] == texts[MOST]
    return texts[MEDIAN] if is_sharp else f"{texts[MEDIAN]} ({texts[LEAST]} to {texts[MOST]})"


def median(values, form):
    return "-" if values is None else form(values[MEDIAN])


def percent(share):
    """Not 100 % where something is missing."""
    value = 100 * share
    return f"{value:.1f} %" if 99 <= value < 99.95 else f"{value:.0f} %"


def milliseconds(value_us):
    value_ms = value_us / 1000
    return f"{value_ms:.2f}" if value_ms < 10 else f"{value_ms:.0f}"


def mebibytes(value_bytes):
    return f"{value_bytes / 2**20:.1f}"


def replace_marked(path, text):
    """Puts `text` between the markers in `path`, if it has them."""
    page_text = path.read_text(encoding="utf-8")
    before, begin, rest = page_text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
