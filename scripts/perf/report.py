"""What people and programs are shown: the tables, the line to do it again, the JSON record."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import loads
import machine
import trial
from count_verdicts import CountJudgement
from floors import Floors
from metrics import Compare, Metric
from procedure import Outcome
from processes import CheckFailed
from session import Session
from verdict import Judgement, Verdict, overall


@dataclass(frozen=True)
class Result:
    """All of one check."""

    base: str
    """What was compared, for people."""
    candidate: str
    command: str
    """That repeats it."""
    floors: Floors
    half_rate_per_s: float | None
    """Texts a second of the load `half`; `None` if no trials were run."""
    duration_s: float
    """Recorded in each trial."""
    outcome: Outcome | None
    """`None`: there were no trials, `notes` say why."""
    counts: Sequence[CountJudgement]
    notes: Sequence[str]
    failure: CheckFailed | None = None
    """Why the trials say nothing."""

    @property
    def verdict(self) -> Verdict | None:
        """Of all metrics and counts together. `None`: the trials failed, and nothing else speaks
        against the candidate."""
        trials = self.outcome.judgements if self.outcome else []
        verdicts = [judgement.verdict for judgement in trials]
        found = overall([*verdicts, *(count.verdict for count in self.counts)])
        # What the counts say against the candidate stands on its own.
        return None if self.failure and found is not Verdict.REGRESSED else found

    @property
    def exit_code(self) -> int:
        """Of the program."""
        if self.verdict:
            return self.verdict.exit_code
        assert self.failure is not None
        return self.failure.exit_code


def text(result: Result) -> str:
    """The report for people."""
    lines = [f"base {result.base}, candidate {result.candidate}"]
    if result.outcome:
        lines += ["", *table(METRIC_HEADS, [metric_row(one) for one in result.outcome.judgements])]
        lines += ["", *_sessions(result.outcome.sessions)]
        lines.append(f"half of the capacity: {result.half_rate_per_s:,.0f} texts a second")
        lines.append(f"noise floors: {result.floors.origin}")
    if result.counts:
        lines += ["", *table(COUNT_HEADS, [count_row(one) for one in result.counts])]
    lines += ["", *result.notes] if result.notes else []
    reasons = _reasons(result.outcome.judgements) if result.outcome else []
    lines += ["", *reasons] if reasons else []
    if result.failure:
        lines += ["", f"the trials failed, and say nothing: {result.failure}"]
    if result.verdict:
        lines += ["", f"{result.verdict}: {MEANING[result.verdict]}"]
    else:
        why = "only the counts are known" if result.counts else "the trials failed"
        lines += ["", f"no verdict: {why}"]
    lines.append(f"again: {result.command}")
    return "\n".join(lines)


def metric_row(judgement: Judgement) -> list[str]:
    """The cells of `METRIC_HEADS`."""
    metric, estimate = judgement.metric, judgement.estimate
    floor = allowance(metric, judgement.floor)
    bound = _bound(metric, judgement.bound)
    if estimate is None or judgement.base is None or judgement.candidate is None:
        return [metric.title, "-", "-", "-", "-", bound, floor, judgement.verdict]
    ends = sorted(metric.change(end) for end in (estimate.low, estimate.high))
    return [
        metric.title,
        metric.format(judgement.base),
        metric.format(judgement.candidate),
        _change(metric, metric.change(estimate.median)),
        "..".join(_change(metric, end) for end in ends),
        bound,
        floor,
        judgement.verdict,
    ]


def count_row(judgement: CountJudgement) -> list[str]:
    """The cells of `COUNT_HEADS`."""
    values = [
        "-" if one is None else f"{one:,.6g}" for one in (judgement.base, judgement.candidate)
    ]
    ratio = "-" if judgement.ratio is None else f"{judgement.ratio:.4f}"
    verdict = f"{judgement.verdict} ({judgement.note})" if judgement.note else judgement.verdict
    return [f"{judgement.kind}: {judgement.name}", *values, ratio, verdict]


def record(result: Result) -> dict[str, Any]:
    """The record for programs: everything that the report says, and every single value."""
    outcome = result.outcome
    return {
        "schema": SCHEMA,
        "verdict": result.verdict,
        "exit_code": result.exit_code,
        "failure": str(result.failure) if result.failure else None,
        "base": result.base,
        "candidate": result.candidate,
        "command": result.command,
        "machine": machine.identity_record(),
        "load": loads.shape(result.duration_s) | {"half_rate_per_s": result.half_rate_per_s},
        "floors": asdict(result.floors),
        "notes": list(result.notes),
        "metrics": [judgement_record(one) for one in outcome.judgements] if outcome else [],
        "sessions": session_records(outcome) if outcome else [],
        "counts": [asdict(one) for one in result.counts],
    }


def session_records(outcome: Outcome) -> list[dict[str, Any]]:
    """Each session, with the values of all of its trials."""
    return [
        {
            "seed": session.seed,
            "metrics": [judgement_record(one) for one in judgements],
            "loads": {
                name: {
                    "pairs": [
                        {"base": asdict(base), "candidate": asdict(candidate)}
                        for base, candidate in of_load.kept
                    ],
                    "discarded": [asdict(one) for one in of_load.discarded],
                    "is_invalid": of_load.is_invalid,
                }
                for name, of_load in session.loads.items()
            },
        }
        for session, judgements in zip(outcome.sessions, outcome.by_session, strict=True)
    ]


def judgement_record(judgement: Judgement) -> dict[str, Any]:
    """One metric; `change` and its interval are ratios, or differences of shares."""
    metric, estimate = judgement.metric, judgement.estimate
    row: dict[str, Any] = {
        "metric": metric.key,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "base": judgement.base,
        "candidate": judgement.candidate,
        "limit": metric.limit,
        "floor": judgement.floor,
        "bound": metric.change(judgement.bound),
        "corrected_p": judgement.corrected_p,
    }
    if estimate:
        row["pairs"] = estimate.pairs
        row["change"] = metric.change(estimate.median)
        row["interval"] = sorted(metric.change(end) for end in (estimate.low, estimate.high))
    return row


def allowance(metric: Metric, value: float | None) -> str:
    """By how much a metric may get worse, or looks worse, in the unit of its limit."""
    if value is None:
        return "-"
    if metric.compare is Compare.LOWER_POINTS:
        return f"{value * 100:.3f} pt"
    return f"{value:.1%}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    last = len(heads) - 1

    def line(cells: Sequence[str]) -> str:
        # Names and verdicts to the left, numbers to the right.
        padded = [
            cell.ljust(width) if index in (0, last) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return [line(heads), line(["-" * width for width in widths]), *map(line, rows)]


def _sessions(sessions: Sequence[Session]) -> list[str]:
    lines = []
    for number, session in enumerate(sessions, start=1):
        parts = [
            f"{len(of_load.kept)} pairs at {name} ({len(of_load.discarded)} discarded)"
            for name, of_load in session.loads.items()
            if of_load.kept or of_load.discarded
        ]
        lines.append(f"session {number}: {', '.join(parts)}")
        for name, of_load in session.loads.items():
            reasons = Counter((one.side, trial.alike(one.reason)) for one in of_load.discarded)
            for (side, reason), count in reasons.most_common(REASONS):
                lines.append(
                    f"  {count} of those discarded at {name}, for the {side}'s trial: {reason}"
                )
    return lines


def _reasons(judgements: Sequence[Judgement]) -> list[str]:
    titles: dict[str, list[str]] = {}
    for judgement in judgements:
        if judgement.reason:
            titles.setdefault(judgement.reason, []).append(judgement.metric.title)
    return [f"{'; '.join(of)}: {reason}" for reason, of in titles.items()]


def _change(metric: Metric, change: float) -> str:
    if metric.compare is Compare.LOWER_POINTS:
        return f"{change * 100:+.3f} pt"
    return f"{change:.3f}"


def _bound(metric: Metric, bound: float) -> str:
    sign = "≥" if metric.compare is Compare.HIGHER_RATIO else "≤"
    return f"{sign} {_change(metric, metric.change(bound))}"


METRIC_HEADS = (
    "metric",
    "base",
    "candidate",
    "ratio",
    "95 % interval",
    "bound",
    "floor",
    "verdict",
)
"""Of the trials. "ratio" is candidate by base, the median over pairs, or for shares the
difference in percentage points ("pt")."""

COUNT_HEADS = ("count", "base", "candidate", "ratio", "verdict")
"""Of what is counted exactly."""

MEANING = {
    Verdict.PASS: "nothing got worse by more than its bound",
    Verdict.REGRESSED: "something got worse by more than its bound",
    Verdict.INVALID: "too much disturbed the measurement: run it again on a quiet machine",
    Verdict.INCONCLUSIVE: "neither a pass nor a regression: run it again with more pairs (--pairs)",
}
"""Each verdict in words."""

REASONS = 3
"""For discarding, shown of each load: the others are in the record."""

SCHEMA = "bullhorn-perf-check/1"
"""Of the record. The number rises when a key goes or changes its meaning."""
