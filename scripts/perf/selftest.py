"""perf-selftest: does perf-check see what it must, and nothing else?

Two comparisons, in just the way of perf-check: the working tree against itself with about 10 %
more work a delivery (scripts/perf/slower.patch), which must be flagged, and against a second
build of the same sources, which must not.

Exit codes: 0 as it must be, 1 it failed, 2 wrong use, 3 a slower server was not flagged, or an
equal one was, 4 too much disturbed a comparison.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import builds
import floors
import measuring
import report
from session import Side
from verdict import Verdict


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    options = measuring.options(arguments)
    known_floors = floors.load(arguments.floors, options.pairs, options.duration_s)
    cores = measuring.choose_cores()
    workshop = builds.workshop()
    source = workshop.working_tree()
    codes = []
    with workshop.locked():
        measuring.progress("building the working tree twice, and with more work a delivery")
        plain = workshop.build(source)
        again = workshop.build(replace(source, again=1))
        loadgen = workshop.loadgen(source)
        slower = workshop.build(replace(source, label="10 % more work", patch=SLOWER_PATCH))
        for candidate, wanted in ((slower, Verdict.REGRESSED), (again, Verdict.PASS)):
            bench = measuring.make_bench(plain, candidate, loadgen, options, cores)
            # The second comparison gets the same load.
            options = replace(options, half_rate_per_s=bench.half_rate_per_s)
            verdict = compare(bench, options, known_floors)
            print(f"wanted: {wanted}, found: {verdict}\n", flush=True)
            codes.append(code(wanted, verdict))
    return of_both(codes)


def code(wanted: Verdict, found: Verdict) -> int:
    """The exit code that one comparison asks for. That an equal server may be inconclusive is
    allowed, as it is no false alarm; that a slower one is, is not, as it went unseen."""
    if found is Verdict.INVALID:
        return Verdict.INVALID.exit_code
    is_right = (found is Verdict.REGRESSED) == (wanted is Verdict.REGRESSED)
    return 0 if is_right else Verdict.REGRESSED.exit_code


def of_both(codes: Sequence[int]) -> int:
    """The exit code of both: that the check is wrong goes before that it could not be judged."""
    wrong = Verdict.REGRESSED.exit_code
    return wrong if wrong in codes else max(codes)


def compare(
    bench: measuring.Bench, options: measuring.Options, known_floors: floors.Floors
) -> Verdict:
    """Compares two builds, prints the report, and returns the verdict."""
    base, candidate = (bench.builds[side].source for side in Side)
    words = measuring.repeat_options(options, bench.half_rate_per_s)
    outcome = bench.compare(known_floors.values, options.seed)
    result = report.Result(
        base=base.label,
        candidate=candidate.label + (", built again" if candidate.again else ""),
        command=measuring.command_line("perf-selftest", words),
        floors=known_floors,
        duration_s=options.duration_s,
        half_rate_per_s=bench.half_rate_per_s,
        outcome=outcome,
        counts=[],
        notes=[],
    )
    print(report.text(result), flush=True)
    return outcome.verdict


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="perf-selftest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    measuring.add_options(parser)
    measuring.add_floors(parser)
    return parser.parse_args(words)


SLOWER_PATCH = Path(__file__).with_name("slower.patch")
"""Burns time in proportion to that of each system call that sends."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
