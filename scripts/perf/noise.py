"""perf-noise: how far apart does the same server look from itself on this machine?

Compares two builds of the same sources, again and again, in just the way in which perf-check
compares two commits (A/A). How far the medians of sessions lie from "the same" is the noise floor,
which perf-check reads. What perf-check would have said is recorded, too: of 20 sessions at most
one may call one of two equal servers slower.

The record is written after each session, so one that is stopped keeps what it had.

Exit codes: 0 done, 1 it failed, 2 wrong use, 3 there were more false alarms than one in 20
sessions.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import builds
import floors
import measuring
import report
from metrics import METRICS
from procedure import Outcome
from verdict import Verdict


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    options = measuring.options(arguments)
    cores = measuring.choose_cores()
    workshop = builds.workshop()
    source = workshop.commit(arguments.commit) if arguments.commit else workshop.working_tree()
    outcomes: list[Outcome] = []
    with workshop.locked():
        measuring.progress(f"building {source.label} twice")
        first, second = workshop.build(source), workshop.build(replace(source, again=1))
        loadgen = workshop.loadgen(source)
        bench = measuring.make_bench(first, second, loadgen, options, cores)
        for number in range(1, arguments.sessions + 1):
            # With no floors: those from before would hide that noise has grown.
            # Two seeds a session, as a second one may be asked for.
            seed = options.seed + 2 * number
            outcomes.append(bench.compare({}, seed))
            measuring.progress(f"session {number} of {arguments.sessions}: {outcomes[-1].verdict}")
            details = {
                "sources": source.label,
                "is_same_binary": first.is_same_server(second),
                "half_rate_per_s": bench.half_rate_per_s,
            }
            keep(arguments.out or floors.kept_at(), outcomes, options, details)
    print(text(outcomes))
    print(f"kept in {arguments.out or floors.kept_at()}")
    is_bad = false_alarms(outcomes) > allowed_alarms(len(outcomes))
    return Verdict.REGRESSED.exit_code if is_bad else 0


def keep(
    file: Path,
    outcomes: Sequence[Outcome],
    options: measuring.Options,
    details: dict[str, Any],
) -> None:
    """Writes the record of all sessions so far."""
    sessions = [
        {
            "verdict": outcome.verdict,
            "metrics": [report.judgement_record(one) for one in outcome.judgements],
            "discarded": sum(
                len(of_load.discarded)
                for session in outcome.sessions
                for of_load in session.loads.values()
            ),
        }
        for outcome in outcomes
    ]
    record = floors.record(
        measured(outcomes),
        options.pairs,
        options.duration_s,
        details | {"false_alarms": false_alarms(outcomes), "sessions": sessions},
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.growing")
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.replace(file)


def measured(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The floors, from every session."""
    return floors.measured([judgements for one in outcomes for judgements in one.by_session])


def false_alarms(outcomes: Sequence[Outcome]) -> int:
    """How often one of two equal servers was called slower."""
    return sum(outcome.verdict is Verdict.REGRESSED for outcome in outcomes)


def allowed_alarms(sessions: int) -> int:
    """One for 20 sessions begun: of fewer, a single one is no proof."""
    return -(-sessions // 20)


def text(outcomes: Sequence[Outcome]) -> str:
    """What a person wants to know."""
    verdicts = _counted([outcome.verdict for outcome in outcomes])
    rows = []
    values = measured(outcomes)
    for metric in METRICS:
        judgements = [
            one for outcome in outcomes for one in outcome.judgements if one.metric is metric
        ]
        estimates = [one.estimate for one in judgements if one.estimate]
        halves = [(one.high - one.low) / 2 for one in estimates]
        rows.append(
            [
                metric.title,
                report.allowance(metric, values.get(metric.key)),
                report.allowance(metric, metric.allowance(median(halves)) if halves else None),
                report.allowance(metric, metric.limit),
                _counted([one.verdict for one in judgements]),
            ]
        )
    heading = f"{len(outcomes)} sessions of the same against the same: {verdicts}"
    return "\n".join([heading, "", *report.table(HEADS, rows)])


def _counted(verdicts: Sequence[Verdict]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts).most_common())


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="perf-noise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", nargs="?", help="what to build [default: the working tree]")
    parser.add_argument(
        "--sessions", type=measuring.whole(1, 1000), default=5, help="[default: %(default)s]"
    )
    measuring.add_options(parser)
    parser.add_argument(
        "--out",
        type=measuring.output_file,
        metavar="FILE",
        help=f"where the record goes [default: {floors.kept_at()}, which perf-check reads]",
    )
    return parser.parse_args(words)


HEADS = ("metric", "floor", "interval, half", "limit", "verdicts")
"""Of the table: how far the medians lay from "the same" (`floors.measured`), and how far the
interval of a session, by the median over all, reached to either side of its own."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
