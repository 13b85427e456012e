"""perf-check: did the candidate get slower than the base?

Builds both in the same way, counts what fixed pieces of work take (scripts/perf/counts.py), and
runs both servers in turn, step by step, on one core (scripts/perf/pairs.py). Of each scene it
judges the CPU time per delivery and the time until the last copy is read, by the median of the
ratios within pairs and its bootstrap 95 % interval:

  pass          the interval lies below the limit
  REGRESSED     the median lies above the limit, and the whole interval above 1;
                or a count has risen by more than it may
  INCONCLUSIVE  neither of these
  INVALID       neither of these, while something else had the cores

Exit codes: 0 pass, 1 the check itself failed, 2 wrong use, 3 regressed, 4 invalid,
5 inconclusive; if several are true, it is the first of 3, 4 and 5.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import builds
import counts
import machine
import measuring
import pairs
from builds import Source, Workshop
from counts import CountJudgement
from verdict import LIMITS, Judgement, Verdict, judge, overall


@dataclass
class Result:
    """All of one check."""

    base: str
    candidate: str
    counts: Sequence[CountJudgement] = ()
    judgements: Sequence[Judgement] = ()
    session: pairs.Session | None = None
    """`None`: no pairs were run."""
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """Of everything together."""
        verdicts = [one.verdict for one in self.judgements]
        return overall(verdicts + [one.verdict for one in self.counts])


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    workshop = builds.workshop()
    base = workshop.commit(arguments.base) if arguments.base else workshop.default_base()
    is_commit = arguments.candidate is not None
    candidate = workshop.commit(arguments.candidate) if is_commit else workshop.working_tree()
    result = Result(base.label, candidate.label)
    with workshop.locked():
        measuring.progress(f"base {base.label}, candidate {candidate.label}")
        if not arguments.pairs_only:
            result.counts = counts.compare(workshop, base, candidate)
        if not arguments.counts_only:
            run_pairs(result, workshop, base, candidate, arguments.pairs)
    print(text(result))
    if arguments.out:
        (arguments.out / "report.txt").write_text(text(result) + "\n")
        (arguments.out / "perf-check.json").write_text(json.dumps(record(result), indent=1) + "\n")
    return result.verdict.exit_code


def run_pairs(
    result: Result, workshop: Workshop, base: Source, candidate: Source, count: int
) -> None:
    """Builds and compares two servers, unless they are equal builds of two commits: two builds
    of one source are compared in any case."""
    cores = machine.choose_cores()
    servers = workshop.build(base), workshop.build(candidate)
    is_equal = servers[0].read_bytes() == servers[1].read_bytes()
    if is_equal and base.again == candidate.again:
        result.notes.append("the two servers are equal, byte for byte: no pairs were run")
        return
    result.session = pairs.run(*servers, count, cores, measuring.progress)
    result.judgements = judge(result.session.pairs, result.session.disturbed)


def text(result: Result) -> str:
    """The report for people."""
    lines = [f"base {result.base}, candidate {result.candidate}"]
    if result.judgements:
        rows = [
            [
                one.name,
                f"{one.base:.3f}",
                f"{one.candidate:.3f}",
                f"{one.ratio:.3f}",
                f"{one.low:.3f}..{one.high:.3f}",
                f"{LIMITS[one.name.split()[-1]]:.2f}",
                one.verdict,
            ]
            for one in result.judgements
        ]
        lines += ["", *table(PAIR_HEADS, rows)]
    if result.session:
        session = result.session
        count = len(session.pairs) // len({pair.scene for pair in session.pairs})
        lines += ["", f"{count} pairs of each scene in {session.took_s:.0f} s"]
        lines += [session.disturbed] if session.disturbed else []
    if result.counts:
        rows = [
            [
                f"{one.kind}: {one.name}",
                *("-" if v is None else f"{v:,.6g}" for v in (one.base, one.candidate)),
                f"{one.candidate / one.base:.4f}" if one.base and one.candidate else "-",
                f"{one.verdict} ({one.note})" if one.note else one.verdict,
            ]
            for one in result.counts
            if one.base != one.candidate or one.note
        ]
        lines += ["", f"counts that are the same: {len(result.counts) - len(rows)}"]
        lines += table(COUNT_HEADS, rows) if rows else []
    lines += ["", *result.notes] if result.notes else []
    return "\n".join([*lines, "", f"{result.verdict}: {MEANING[result.verdict]}"])


def record(result: Result) -> dict[str, Any]:
    """The record for programs: everything that the report says, and every single pair."""
    return {
        "schema": SCHEMA,
        "verdict": result.verdict,
        "machine": machine.identity_record(),
        "limits": {"pairs": LIMITS, "counts": counts.MAX_RATIOS},
        **asdict(result),
    }


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table for a terminal: names and verdicts to the left, numbers to the right."""
    cells = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    last = len(heads) - 1
    return [
        "  ".join(
            cell.ljust(width) if index in (0, last) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = measuring.parser("perf-check", __doc__)
    parser.add_argument(
        "base",
        nargs="?",
        help="a commit [default: the merge base of HEAD with main or origin/main; where HEAD is "
        "that itself, or there is none, HEAD if something is not committed, else HEAD~1]",
    )
    parser.add_argument("candidate", nargs="?", help="a commit [default: the working tree]")
    add_pairs(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--pairs-only", action="store_true", help="count nothing")
    what.add_argument("--counts-only", action="store_true", help="run no pairs")
    parser.add_argument(
        "--out",
        type=measuring.output_directory,
        metavar="DIR",
        help="write the report and every value there",
    )
    return parser.parse_args(words)


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """The option `--pairs`."""
    parser.add_argument(
        "--pairs",
        type=measuring.whole(MIN_PAIRS, 1000),
        default=DEFAULT_PAIRS,
        help=f"pairs of servers for each scene, at least {MIN_PAIRS} [default: %(default)s]",
    )


PAIR_HEADS = ("µs per delivery", "base", "candidate", "ratio", "95 % interval", "limit", "verdict")
"""Of the table of pairs."""

COUNT_HEADS = ("count", "base", "candidate", "ratio", "verdict")
"""Of the table of counts."""

MEANING = {
    Verdict.PASS: "nothing got worse by more than its limit",
    Verdict.REGRESSED: "something got worse by more than its limit",
    Verdict.INVALID: "undecided on a busy machine: run it again on a quiet one",
    Verdict.INCONCLUSIVE: "neither a pass nor a regression: run it again with more --pairs",
}
"""Each verdict in words."""

MIN_PAIRS = 10
"""Of fewer an interval is hardly narrower than their extremes."""

DEFAULT_PAIRS = 60
"""About a minute on a quiet machine, and three on a busy one."""

SCHEMA = "bullhorn-perf-check/2"
"""Of the record. The number rises when a key goes or changes its meaning."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
