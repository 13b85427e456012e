"""What a soak found: its verdict, and its page as Markdown."""

import statistics
from dataclasses import dataclass
from typing import Any

import pages

Row = dict[str, Any]


@dataclass(frozen=True)
class Slope:
    """Of a line through points, by least squares."""

    per_hour: float
    half_width: float
    """Of the interval that has the true slope with 95 %."""
    start: float
    """Where the line begins, at time 0."""

    def text(self) -> str:
        """The slope with its interval."""
        return f"{self.per_hour:+.2f} ± {self.half_width:.2f} MiB/h"


def slope(points: list[tuple[float, float]]) -> Slope | None:
    """The slope of values by time in minutes, `None` for fewer points than tell its error."""
    count = len(points)
    if count < FEWEST_POINTS:
        return None
    times, values = zip(*points, strict=True)
    line = statistics.linear_regression(times, values)
    squares = sum((y - line.intercept - line.slope * x) ** 2 for x, y in points)
    middle = statistics.fmean(times)
    spread = sum((x - middle) ** 2 for x in times)
    error = (squares / (count - 2) / spread) ** 0.5
    half_width = student_t(count - 2) * error
    return Slope(60 * line.slope, 60 * half_width, line.intercept)


def student_t(degrees: int) -> float:
    """The 97.5 % quantile of Student's distribution, by the first terms of its expansion. From 5
    degrees of freedom on, it is off by less than 1 %."""
    z = statistics.NormalDist().inv_cdf(0.975)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / degrees + second / degrees**2


def minutes(record: list[Row]) -> list[Row]:
    """The rows of the minutes."""
    return [row for row in record if "minute" in row]


def memory(record: list[Row], of: str = "rss_kib") -> list[tuple[float, float]]:
    """The memory in MiB at the end of each minute after the warm-up, when the load has paused."""
    return [
        (row["minute"], (row[of][-1] if isinstance(row[of], list) else row[of]) / 1024)
        for row in minutes(record)
        if row["minute"] > WARMUP_MINUTES
    ]


def failures(record: list[Row]) -> list[str]:
    """What does not hold, a sentence each."""
    found = [
        f"{'minute ' + str(row['minute']) if 'minute' in row else 'the end'}: {what}"
        for row in record
        for what in row.get("missing", [])
    ]
    if not any("end" in row for row in record):
        found.append("it did not come to its end")
    growth = slope(memory(record))
    if growth and growth.per_hour > MAX_SLOPE:
        found.append(f"the memory grows by {growth.text()}")
    for what in ("descriptors", "threads"):
        seen = extremes(record, what)
        if len(seen) == 2:
            found.append(f"{what} are {seen[0]} to {seen[1]}")
    return found


def extremes(record: list[Row], what: str) -> list[int]:
    """The least and the most of a figure after the warm-up, or one if it never changed."""
    seen = {value for row in minutes(record) if row["minute"] > 1 for value in row[what]}
    return sorted({min(seen), max(seen)}) if seen else []


def line(row: Row) -> str:
    """A minute in a line."""
    missing = "; ".join(row["missing"]) or "adds up"
    if "minute" not in row:
        return f"end: {missing}"
    return (
        f"minute {row['minute']} ({row['flood']}): {row['rss_kib'][-1]} KiB, "
        f"{row['descriptors'][-1]} descriptors, {row['deliveries']} deliveries, {missing}"
    )


def page(record: list[Row]) -> str:
    """`soak.md`."""
    head, rows = record[0], minutes(record)
    told = failures(record)
    parts = [
        "# A soak",
        f"Written by `scripts/soak {len(rows)}` at {pages.origin(head)}: "
        f"{head['machine']['cpu_model']}, {head['machine']['processors']} cores, Linux "
        f"{head['machine']['kernel']}. One server with two workers, while the machine had other "
        "work, too: the rates are those of the load, and measure nothing.",
        "![Memory, descriptors, deliveries and drops by the minute](soak.svg)",
        pages.table(_aims(record)),
        *(["It failed:\n\n" + "\n".join(f"- {one}" for one in told)] if told else []),
        "Each minute has 50 s of load, and then a pause, in which all sums must close: the "
        "datagrams received and what became of each, the deliveries planned and theirs, and the "
        "copies that loadgen expected. No copy may come twice, and for each one that is lost "
        "the server must have counted a cause. When all have gone, no peer and no room may be "
        "left. The memory is that of the pauses, from minute "
        f"{WARMUP_MINUTES + 1} on.",
        "## By the minute",
        pages.table(_by_minute(rows)),
        "## What was dropped",
        "By the server, in the whole run.",
        pages.table(_drops(rows)),
    ]
    return "\n\n".join(parts) + "\n"


def _aims(record: list[Row]) -> list[list[str]]:
    rows, growth = minutes(record), slope(memory(record))
    dirty = slope(memory(record, "private_dirty_kib"))
    closed = sum(not row["missing"] for row in rows)
    last = next((row for row in record if "end" in row), None)
    clients = rows[-1]["clients"] if rows else {"starts": 0, "up": 0, "messages": 0}
    expected, lost, repeated, stray = (
        sum(of[name] for row in rows for of in row["loadgen"].values() if of)
        for name in ("expected", "lost", "repeated", "stray")
    )
    end = "not reached" if last is None else "; ".join(last["missing"]) or "none"
    return [
        ["", "found", "aim"],
        ["minutes whose accounts close", f"{closed} of {len(rows)}", "all"],
        ["resident memory", growth.text() if growth else "too short", f"≤ {MAX_SLOPE:g} MiB/h"],
        ["of that written and its own", dirty.text() if dirty else "too short", ""],
        ["descriptors", _constant(record, "descriptors"), "constant"],
        ["threads", _constant(record, "threads"), "constant"],
        ["peers, rooms and errors left at the end", end, "none"],
        ["datagrams received", f"{sum(row['datagrams'] for row in rows):,}", ""],
        ["deliveries", f"{sum(row['deliveries'] for row in rows):,}", ""],
        [
            "copies that loadgen expected",
            f"{expected:,}; {lost:,} lost, {repeated:,} repeated; {stray:,} datagrams stray",
            "",
        ],
        [
            "starts of the program `client`",
            f"{clients['starts']:,}; {clients['up']:,} times up, {clients['messages']:,} messages",
            "",
        ],
        ["most bytes in the buffers of its sockets",
         f"{max((row['socket_bytes'] for row in rows), default=0):,}", ""],
        ["log, MB", f"{rows[-1]['log_bytes'] / 1e6:.1f}" if rows else "-", ""],
        ["CPU of the server, % of a core", f"{_cpu_percent(rows):.0f}", ""],
    ]


def _cpu_percent(rows: list[Row]) -> float:
    return 100 * sum(row["cpu_s"] for row in rows) / max(1, 60 * len(rows))


def _constant(record: list[Row], what: str) -> str:
    return " to ".join(map(str, extremes(record, what))) or "-"


def _by_minute(rows: list[Row]) -> list[list[str]]:
    table = [["minute", "flood", "MiB", "descriptors", "peers, at most", "datagrams",
              "deliveries", "copies lost", "accounts"]]
    for row in rows:
        lost = sum(of["lost"] for of in row["loadgen"].values() if of)
        table.append([
            str(row["minute"]), row["flood"], f"{row['rss_kib'][-1] / 1024:.2f}",
            str(row["descriptors"][-1]), f"{max(row['peers']):,}", f"{row['datagrams']:,}",
            f"{row['deliveries']:,}", f"{lost:,}", "open" if row["missing"] else "closed",
        ])
    return table


def _drops(rows: list[Row]) -> list[list[str]]:
    totals = totals_of(rows)
    return [["reason", "count"], *([reason, f"{count:,}"] for reason, count in totals.items())]


def totals_of(rows: list[Row]) -> dict[str, int]:
    """The drops of all minutes by reason, the most first."""
    totals: dict[str, int] = {}
    for row in rows:
        for reason, count in row["drops"].items():
            totals[reason] = totals.get(reason, 0) + count
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


WARMUP_MINUTES = 10
"""Until each flood has come twice, and tables and buffers have their sizes."""

MAX_SLOPE = 1.0
"""MiB per hour."""

FEWEST_POINTS = 7
"""With fewer, `student_t` would be off."""
