"""The figures of `scripts/compare`: medians and ranges over the rounds, and tables of them."""

import math
from pathlib import Path
from typing import Any

import pages
from pages import figure, median, spread, thousands
from processes import CheckFailed

Record = dict[str, Any]
"""What is in compare.json."""


def summary(findings: Record) -> Record:
    """`compare.json`: of what the benchmark saw, the median, least and most of each figure over
    the rounds."""
    kept = ("commit", "date", "machine", "rounds", "window_ms", "versions", "skipped")
    results: dict[str, Record] = {}
    for work in WORKS:
        climbs = [climb for climb in findings["climbs"] if climb["work"] == work]
        results[work] = {
            subject: _of_climbs(of_subject)
            for subject in SUBJECTS
            if (of_subject := [climb for climb in climbs if climb["subject"] == subject])
        }
    return {"schema": SCHEMA} | {key: findings[key] for key in kept} | {"results": results}


def page(record: Record) -> str:
    """`compare.md`, with ranges."""
    parts = [
        "# bullhorn beside what one would take instead",
        f"Written by `scripts/compare` at {pages.origin(record)}: {record['machine']}; median "
        f"(least..most) of {record['rounds']} rounds, in which all take turns. Server on one "
        "core, load and receivers on the other, loopback interface. What is compared, how, and "
        "what the columns mean: [benches/README.md](../benches/README.md#beside-other-servers).",
        "![Deliveries a CPU-second, and latency over load](compare.svg)",
    ]
    for work, title in WORKS.items():
        if record["results"][work]:
            parts += [f"## {title}", pages.table(_work_rows(record, work))]
    parts += ["## Memory of the server with 1000 peers, MiB", pages.table(_memory_rows(record))]
    if record["skipped"]:
        parts += ["Not measured:", "\n".join(f"- {what}" for what in record["skipped"])]
    return "\n\n".join(parts) + "\n"


def short_table(record: Record) -> str:
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
    results = record["results"]
    for subject, fan_out in results[MAIN_WORK].items():
        half = fan_out["half"]
        others = (results[work].get(subject) for work in ("requests", "heartbeats"))
        rows.append(
            [
                record["versions"][subject],
                median(fan_out["saturated"]["arrived_per_cpu_s"], thousands),
                " / ".join(median(half[key], _milliseconds) for key in ("p50_us", "p99_us")),
                *(
                    median(other["saturated"]["arrived_per_cpu_s"], thousands) if other else ""
                    for other in others
                ),
                median(fan_out["joined_bytes"], _mebibytes),
            ]
        )
    return (
        "What one core does with bullhorn, and with what one would take instead, over the "
        f"loopback interface ({record['machine']}; median of {record['rounds']} rounds):\n\n"
        f"{pages.table(rows)}\n\n"
        "TCP repeats what is lost, and UDP does not. [results/compare.md](results/compare.md) has "
        "the ranges and what was lost, [benches/README.md](benches/README.md#beside-other-servers) "
        "what differs, and `scripts/compare` measures it again.\n"
    )


def replace_marked(file: Path, text: str) -> None:
    """Puts `text` between the markers in `file`, which must be there."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CheckFailed(f"{file} has no lines {BEGIN} and {END}: the table has no place in it")
    file.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _of_climbs(climbs: list[Record]) -> Record:
    # A climb ends where it is saturated, which is not the same load in each.
    rounds_of_loads: dict[int, list[Record]] = {}
    for climb in climbs:
        for index, step in enumerate(climb["steps"]):
            rounds_of_loads.setdefault(index, []).append(step)
    return {
        "saturated": _spreads([climb["best"] for climb in climbs], SATURATED),
        "half": _spreads([climb["half"] for climb in climbs], HALF),
        "loads": [_spreads(steps, LOAD) for _, steps in sorted(rounds_of_loads.items())],
        "joined_bytes": spread([climb["joined_bytes"] for climb in climbs]),
        "peak_bytes": spread([climb["peak_bytes"] for climb in climbs]),
    }


def _spreads(steps: list[Record], keys: tuple[str, ...]) -> Record:
    # Heartbeats have no latency.
    return {key: spread([step[key] for step in steps if step[key] is not None]) for key in keys}


def _work_rows(record: Record, work: str) -> list[list[str]]:
    unit = UNITS.get(work, "deliveries")
    has_latency = work != "heartbeats"
    head = [
        "server",
        f"{unit} a CPU-second, saturated",
        f"{unit} a second, saturated",
        "server busy",
        "arrived of those offered",
    ]
    if has_latency:
        head += ["at half of that: p50, ms", "p99, ms", "arrived"]
    rows = [head]
    for subject, result in record["results"][work].items():
        saturated, half = result["saturated"], result["half"]
        row = [
            record["versions"][subject],
            figure(saturated["arrived_per_cpu_s"], thousands),
            figure(saturated["arrived_per_s"], thousands),
            figure(saturated["busy_ratio"], _percent),
            figure(saturated["arrived_ratio"], _percent),
        ]
        if has_latency:
            row += [
                figure(half["p50_us"], _milliseconds),
                figure(half["p99_us"], _milliseconds),
                figure(half["arrived_ratio"], _percent),
            ]
        rows.append(row)
    return rows


def _memory_rows(record: Record) -> list[list[str]]:
    rows = [["server", "all there, nothing said yet", "the most at any load"]]
    for subject, result in record["results"][MAIN_WORK].items():
        figures = (figure(result[key], _mebibytes) for key in ("joined_bytes", "peak_bytes"))
        rows.append([record["versions"][subject], *figures])
    return rows


def _percent(ratio: float) -> str:
    # Not 100 % where something is missing.
    value = 100 * ratio
    return f"{math.floor(10 * value) / 10:.1f} %" if 99 <= value < 100 else f"{value:.0f} %"


def _milliseconds(value_us: float) -> str:
    value_ms = value_us / 1000
    return f"{value_ms:.2f}" if value_ms < 10 else f"{value_ms:.0f}"


def _mebibytes(value_bytes: float) -> str:
    return f"{value_bytes / 2**20:.1f}"


SCHEMA = "bullhorn-compare/1"
"""Of compare.json. The number rises when a key goes or changes its meaning."""

SUBJECTS = (
    "bullhorn-v2",
    "bullhorn-v1",
    "nats",
    "tokio",
    "python",
    "mosquitto",
    "sendmmsg-gso",
    "sendmmsg",
)
"""As the benchmark calls them, in the order of the tables."""

MAIN_WORK = "fan-out-1000"
"""What the server is for."""

WORKS = {
    MAIN_WORK: "One says a text of 48 bytes, 1000 hear it",
    "fan-out-100": "One says a text of 48 bytes, 100 hear it",
    "requests": "64 clients ask, the server answers",
    "heartbeats": "64 clients send what nobody answers, 16 in one go",
}
"""As the benchmark calls them, and what they are."""

UNITS = {"requests": "round trips", "heartbeats": "heartbeats"}
"""What is counted where it is not deliveries."""

SATURATED = ("arrived_per_s", "arrived_per_cpu_s", "arrived_ratio", "busy_ratio")
"""The figures that are kept of the load at which the most arrived. No latency: it is that of a
queue, and as long as that."""

HALF = ("arrived_per_s", "arrived_per_cpu_s", "arrived_ratio", "p50_us", "p99_us")
"""And at half of it."""

LOAD = (
    "offered_per_s",
    "sent_ratio",
    "arrived_ratio",
    "arrived_per_cpu_s",
    "busy_ratio",
    "p50_us",
    "p99_us",
    "late_p99_us",
)
"""And at each load, with how late the load itself was."""

BEGIN, END = "<!-- scripts/compare writes what follows -->", "<!-- up to here -->"
"""The markers in README.md."""
