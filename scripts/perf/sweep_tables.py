"""The tables of a sweep, as Markdown."""

from typing import Any

import pages
from pages import figure, median

Row = dict[str, Any]
"""A point of sweep.json."""


def page(record: dict[str, Any]) -> str:
    """`sweep.md`."""
    points, machine = record["points"], record["machine"]
    parts = [
        "# What a delivery costs",
        f"Written by `scripts/sweep` at {pages.origin(record)}: {machine['cpu_model']}, "
        f"{machine['processors']} cores, Linux {machine['kernel']}, loopback. Median "
        "(least..most) of the rounds; CPU time is that of the whole server, in µs for each "
        "delivery that it sent. results/README.md says what it means.",
        "`-`: the load generator, which hears on one core, read too late to say, or something "
        "spoiled every round. `off by`: how far what the model says lies from what was measured.",
        "![What a delivery costs](sweep.svg)",
        "## By the number of peers",
        "One worker, 100,000 deliveries a second, whatever the number of peers.",
        _by_peers(of(points, "room"), of(points, "rooms")),
        "## By load",
        _costs(record),
        _by_load(of(points, "load")),
    ]
    if checks := of(points, "check"):
        parts += [
            "## In other rooms",
            "One worker; deliveries a second. The costs of the model are those of the room of "
            "1000 above, none of these figures is in them.",
            _checks(checks),
        ]
    return "\n\n".join(parts) + "\n"


def of(points: list[Row], series: str) -> list[Row]:
    """The points of a series."""
    return [point for point in points if point["series"] == series]


def _costs(record: dict[str, Any]) -> str:
    costs = record["costs"]
    return (
        "One worker, one room of 1000. The model has two costs, which are fitted to the CPU times "
        f"of the first and the last row: {costs['packet_us']} µs for a packet, "
        f"{costs['text_us']} µs for each text in it. So {record['idle_deliveries_per_s']:,} "
        f"deliveries a second leave no time to spare, and {record['most_deliveries_per_s']:,} are "
        "the most."
    )


def _by_peers(room: list[Row], rooms: list[Row]) -> str:
    rows = [["peers", "model, µs", "one room, µs", "off by", "rooms of 10, µs", "off by"]]
    for one, many in zip(room, rooms, strict=True):
        rows.append(
            [
                f"{one['peers']:,}",
                _number(one["model"]["cpu_us"]),
                *(part for row in (one, many) for part in _measured(row, "cpu_us")),
            ]
        )
    return pages.table(rows)


def _by_load(loads: list[Row]) -> str:
    rows = [
        [
            "texts/s",
            "model: deliveries/s",
            "deliveries/s",
            "off by",
            "model: CPU, µs a delivery",
            "CPU, µs a delivery",
            "off by",
            "model: texts a packet",
            "model: a round, µs",
            "p50, µs",
            "p99, µs",
        ]
    ]
    for row in loads:
        model = row["model"]
        cells = [f"{row['texts_per_s']:g}"]
        for name in ("deliveries_per_s", "cpu_us"):
            measured, error = _measured(row, name)
            is_fitted = row in (loads[0], loads[-1])
            cells += [_number(model[name]), measured, "fitted" if is_fitted else error]
        cells += [f"{model['batch']:g}", _number(model["round_us"])]
        rows.append([*cells, *(figure(row[name], _number) for name in ("p50_us", "p99_us"))])
    return pages.table(rows)


def _checks(checks: list[Row]) -> str:
    rows = [["peers", "in rooms of", "offered", "model: sent", "sent", "off by"]]
    for row in checks:
        rows.append(
            [
                f"{row['peers']:,}",
                f"{row['room_size']:,}",
                _number(row["texts_per_s"] * row["room_size"]),
                _number(row["model"]["deliveries_per_s"]),
                *_measured(row, "deliveries_per_s"),
            ]
        )
    return pages.table(rows)


def _measured(row: Row, name: str) -> tuple[str, str]:
    """A figure, and how far the model is off."""
    return (
        figure(row[name], _number),
        median(row[name], lambda value: f"{row['model'][name] / value - 1:+.1%}"),
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"
