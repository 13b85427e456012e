"""What the records and pages of results are made of: spreads over rounds, figures, tables."""

import json
import re
import statistics
from collections.abc import Callable, Sequence
from typing import Any

Spread = list[float]
"""Median, least and most of the rounds."""

Form = Callable[[float], str]
"""How a figure of one kind is written."""


def spread(values: Sequence[float]) -> Spread | None:
    """Of what was seen in the rounds, with four significant digits; `None` where that is
    nothing."""
    if not values:
        return None
    figures = (statistics.median(values), min(values), max(values))
    return [float(f"{value:.4g}") for value in figures]


def record_text(record: dict[str, Any]) -> str:
    """JSON for people, too: a spread is one line."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    number = r"\s+([-+.\de]+)"
    joined = re.sub(rf"\[{number},{number},{number}\s+\]", r"[\1, \2, \3]", text)
    return joined + "\n"


def origin(record: dict[str, Any]) -> str:
    """Of which commit and when the figures of a record are."""
    commit, *mark = record["commit"].split("-")
    return f"commit {'-'.join([commit[:SHORT_COMMIT_CHARS], *mark])}, {record['date']} UTC"


def figure(values: Spread | None, form: Form) -> str:
    """A median with its extremes, or alone where they look the same."""
    if values is None:
        return "-"
    middle, least, most = map(form, values)
    return middle if least == most else f"{middle} ({least}..{most})"


def median(values: Spread | None, form: Form) -> str:
    """A median alone."""
    return "-" if values is None else form(values[0])


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, of which the first row is the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )


def thousands(value: float) -> str:
    """A figure with three significant digits: 812, 4.20k, 1.31M."""
    for divisor, unit in ((1e6, "M"), (1e3, "k")):
        if value >= divisor * 0.9995:
            scaled = value / divisor
            digits = 0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2
            return f"{scaled:.{digits}f}{unit}"
    return f"{value:.0f}"


SHORT_COMMIT_CHARS = 10
"""As perf-check names commits; git tells them apart by far fewer."""
