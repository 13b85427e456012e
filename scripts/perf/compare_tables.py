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
    """`compare.json`: the median, least and most of each figure over the rounds."""
    kept = ("commit", "date", "machine", "rounds", "window_ms", "versions", "skipped")
    kept += ("receiver", "capacities")
    results: dict[str, Record] = {}
    for work, clients in CLIENTS.items():
        runs = [run for run in findings["runs"] if run["clients"] == clients]
        results[work] = {
            subject: _of_runs(of_subject)
            for subject in SUBJECTS
            if (of_subject := [run for run in runs if run["subject"] == subject])
        }
    return {"schema": SCHEMA} | {key: findings[key] for key in kept} | {"results": results}


def page(record: Record) -> str:
    """`compare.md`, with ranges."""
    parts = [
        "# bullhorn beside its alternatives",
        f"Written by `scripts/compare` at {pages.origin(record)}: {record['machine']}; median "
        f"(least..most) of {record['rounds']} rounds, in which all take turns. Server on one "
        "core, load and receivers on the other, loopback interface. What is compared, how, and "
        "what the columns mean: [benches/README.md](../benches/README.md#beside-other-servers).",
        "![Deliveries per CPU-second, and latency over load](compare.svg)",
    ]
    for work, clients in CLIENTS.items():
        if record["results"][work]:
            parts += [
                f"## One client sends texts of 48 bytes, {clients} receive them",
                pages.table(_work_rows(record, work)),
                "p50 / p99 in ms, all at the same offered deliveries per second. A dash: less "
                "than 99 % arrived.",
                pages.table(_latency_rows(record, work)),
            ]
    parts += ["## Memory of the server with 1000 peers, MiB", pages.table(_memory_rows(record))]
    parts += [
        "## A receiver of its own",
        "`benches/receiver/receiver.c`: all peers in one room, one of them sends as fast as the "
        "room follows.",
        pages.table(_receiver_rows(record)),
        "## Capacity within limits",
        "`loadgen find-max`, one room of 1000, p99 below 50 ms and loss below 0.1 %:",
        "\n".join(f"- {protocol}: {answer}" for protocol, answer in record["capacities"].items()),
    ]
    if record["skipped"]:
        parts += ["Not measured:", "\n".join(f"- {what}" for what in record["skipped"])]
    return "\n\n".join(parts) + "\n"


def short_table(record: Record) -> str:
    """For the README: medians alone."""
    load = thousands(README_LOAD)
    head = ["one text to 1000 receivers", "deliveries per CPU-second"]
    rows = [[*head, f"p50 / p99 at {load} deliveries/s, ms", "memory, MiB"]]
    for subject, result in record["results"][MAIN_WORK].items():
        rows.append(
            [
                record["versions"][subject],
                median(result["saturated"]["arrived_per_cpu_s"], thousands),
                _latency(result, README_LOAD),
                median(result["joined_bytes"], _mebibytes),
            ]
        )
    receivers = " and ".join(
        f"{thousands(line['received_per_s'])} messages per second with {line['peers']} peers "
        f"({100 * lost(line):.1f} % lost)"
        for line in record["receiver"]
    )
    return (
        "One core with bullhorn and with its alternatives, over the loopback interface "
        f"({record['machine']}; median of {record['rounds']} rounds):\n\n"
        f"{pages.table(rows)}\n\n"
        f"An independent client in C with `UDP_GRO` receives {receivers}, with one core for the "
        "server and one for all receivers. TCP repeats what is lost, and UDP does not. "
        "[results/compare.md](results/compare.md) has the ranges and what was lost, "
        "[benches/README.md](benches/README.md#beside-other-servers) the differences, and "
        "`scripts/compare` measures it again.\n"
    )


def replace_marked(file: Path, text: str) -> None:
    """Puts `text` between the markers in `file`, which must be there."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CheckFailed(f"{file} has no lines {BEGIN} and {END}: the table has no place in it")
    file.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def lost(line: Record) -> float:
    """The share of messages that a receiver in C did not receive."""
    return float(line["lost"] / max(line["lost"] + line["received"], 1))


def _of_runs(runs: list[Record]) -> Record:
    # A run ends after the server is saturated, which is not the same load in each.
    rounds_of_loads: dict[float, list[Record]] = {}
    for run in runs:
        for step in run["steps"]:
            rounds_of_loads.setdefault(step["offered_per_s"], []).append(step)
    best = [max(run["steps"], key=lambda step: step["arrived_per_s"]) for run in runs]
    return {
        "saturated": _spreads(best, SATURATED),
        "loads": [
            {"offered_per_s": load} | _spreads(steps, LOAD)
            for load, steps in sorted(rounds_of_loads.items())
        ],
        "joined_bytes": spread([run["joined_bytes"] for run in runs]),
        "peak_bytes": spread([run["peak_bytes"] for run in runs]),
    }


def _spreads(steps: list[Record], keys: tuple[str, ...]) -> Record:
    return {key: spread([step[key] for step in steps if step[key] is not None]) for key in keys}


def _work_rows(record: Record, work: str) -> list[list[str]]:
    rows = [
        [
            "server",
            "deliveries per CPU-second, saturated",
            "deliveries per second, saturated",
            "server busy",
            "arrived",
        ]
    ]
    for subject, result in record["results"][work].items():
        saturated = result["saturated"]
        rows.append(
            [
                record["versions"][subject],
                figure(saturated["arrived_per_cpu_s"], thousands),
                figure(saturated["arrived_per_s"], thousands),
                figure(saturated["busy_ratio"], _percent),
                figure(saturated["arrived_ratio"], _percent),
            ]
        )
    return rows


def _latency_rows(record: Record, work: str) -> list[list[str]]:
    rows = [["server", *map(thousands, SAME_LOADS)]]
    for subject, result in record["results"][work].items():
        latencies = [_latency(result, load) for load in SAME_LOADS]
        rows.append([record["versions"][subject], *latencies])
    return rows


def _latency(result: Record, load: float) -> str:
    for one in result["loads"]:
        if one["offered_per_s"] == load and is_carried(one):
            return " / ".join(median(one[key], _milliseconds) for key in ("p50_us", "p99_us"))
    return "-"


def is_carried(load: Record) -> bool:
    """Whether enough arrived for the latency to say something, and within the time."""
    carried = load["arrived_per_s"][0] >= CARRIED_RATE_RATIO * load["offered_per_s"]
    return carried and load["arrived_ratio"][0] >= CARRIED_RATIO


def _receiver_rows(record: Record) -> list[list[str]]:
    rows = [["peers", "received per second", "per CPU-second of the server", "lost", "repeated"]]
    for line in record["receiver"]:
        per_s = (line["received_per_s"], line["received_per_server_cpu_s"])
        share = f"{100 * lost(line):.2f} %"
        rows.append([str(line["peers"]), *map(thousands, per_s), share, str(line["repeated"])])
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


SCHEMA = "bullhorn-compare/2"
"""The format of compare.json. The number rises when a key goes or changes its meaning."""

SUBJECTS = (
    "bullhorn-v2",
    "bullhorn-v1",
    "nats",
    "nats-debian",
    "tokio",
    "python",
    "mosquitto",
)
"""The keys of the benchmark, in the order of the tables."""

MAIN_WORK = "fan-out-1000"

CLIENTS = {MAIN_WORK: 1000, "fan-out-100": 100}
"""Receivers of each text."""

SATURATED = ("arrived_per_s", "arrived_per_cpu_s", "arrived_ratio", "busy_ratio")
"""Figures of the load at which the most arrived per second. No latency: it is that of a queue."""

LOAD = ("arrived_per_s", "arrived_ratio", "arrived_per_cpu_s", "busy_ratio", "p50_us", "p99_us")
"""Figures of each load."""

SAME_LOADS = (50e3, 200e3, 400e3, 800e3, 1.6e6, 3.2e6, 6.4e6)
"""Loads whose latencies are in the tables, of those that the benchmark offers."""

README_LOAD = 50e3
"""The load that all servers carry."""

CARRIED_RATIO = 0.99
"""If less arrives, the latencies say nothing of the rest."""

CARRIED_RATE_RATIO = 0.9
"""If less arrives per second, it arrived from a queue."""

BEGIN, END = "<!-- scripts/compare writes what follows -->", "<!-- up to here -->"
"""The markers in README.md."""
