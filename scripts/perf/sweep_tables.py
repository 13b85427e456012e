"""The tables of a sweep, as Markdown."""

from typing import Any


def page(record: dict[str, Any]) -> str:
    """`sweep.md`."""
    points = record["points"]
    machine = record["machine"]
    costs = record["costs"]
    parts = [
        "# What a delivery costs",
        f"Written by `scripts/sweep`: {machine['cpu_model']}, {machine['processors']} cores, "
        f"Linux {machine['kernel']}, loopback. Median (least..most) of the rounds; CPU time is "
        "that of the whole server, in µs for each delivery that it sent. results/README.md says "
        "what it means.",
        "![What a delivery costs](sweep.svg)",
        "## By the number of peers\n\n100,000 deliveries a second, whatever the number.",
        _table(
            ("peers", "one room, µs", "rooms of 10, µs"),
            [
                (f"{room['peers']:,}", figure(room["cpu_us"]), figure(rooms["cpu_us"]))
                for room, rooms in zip(of(points, "room"), of(points, "rooms"), strict=True)
            ],
        ),
        "## By the number of workers\n\nOne room of 1000, 100 texts a second; the workers share "
        f"{machine['processors']} cores with each other and with the load.",
        _table(
            ("workers", "CPU, µs a delivery", "p50, µs", "p99, µs"),
            [
                (row["workers"], figure(row["cpu_us"]), figure(row["p50_us"]), figure(row["p99_us"]))
                for row in of(points, "workers")
            ],
        ),
        "## By load\n\nOne worker, one room of 1000. The model has two costs, from the first and "
        f"the last row: {costs['packet_us']} µs for a packet, {costs['text_us']} µs for each text "
        f"in it. So {record['idle_deliveries_per_s']:,} deliveries a second leave no time to "
        f"spare, and {record['most_deliveries_per_s']:,} are the most.",
        _table(
            (
                "texts/s", "sent, deliveries/s", "CPU, µs a delivery", "busy", "model: busy",
                "model: texts a packet", "p50, µs", "p99, µs", "model: a round, µs",
            ),
            [_load_row(row) for row in of(points, "load")],
        ),
        "`-`: the load generator, which hears on one core, read too late to say, or the machine "
        "spoiled every round.",
    ]
    return "\n\n".join(parts) + "\n"


def _load_row(row: dict[str, Any]) -> tuple[str, ...]:
    model = row["model"]
    return (
        f"{row['texts_per_s']:g}",
        _median(row["deliveries_per_s"], ",.0f"),
        figure(row["cpu_us"]),
        _median(row["busy_ratio"], ".0%"),
        f"{model['busy_ratio']:.0%}",
        f"{model['batch']:g}",
        figure(row["p50_us"]),
        figure(row["p99_us"]),
        f"{model['round_us']:,}",
    )


def of(points: list[dict[str, Any]], series: str) -> list[dict[str, Any]]:
    """The points of a series."""
    return [point for point in points if point["series"] == series]


def figure(spread: list[float] | None) -> str:
    """A median with its extremes."""
    if spread is None:
        return "-"
    middle, least, most = (f"{value:.2f}" if value < 10 else f"{value:,.0f}" for value in spread)
    return f"{middle} ({least}..{most})"


def _median(spread: list[float] | None, form: str) -> str:
    return f"{spread[0]:{form}}" if spread else "-"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
