"""perf-check: did the candidate get slower than the base?

Builds both in the same way, counts (instructions, allocations, system calls) and runs the real
servers in turn under the load generator, pair by pair, and says for each figure whether it got
worse by more than a limit and than this machine's noise.

For each metric, over the pairs of trials of a session (median of the ratios within pairs, its
bootstrap 95 % interval, Wilcoxon's signed-rank test with Holm's correction):

  REGRESSED     the whole interval lies beyond 1 + max(noise floor, limit), the test says so with
                p < 0.05, and a second session says the same
  pass          the whole interval lies below that bound
  INCONCLUSIVE  neither of these, also after as many pairs again
  INVALID       too many trials were spoiled, by the hypervisor, other programs or the generator;
                where nearly all of those are the candidate's, it has REGRESSED

Exit codes: 0 pass, 1 the check itself failed, 2 wrong use, 3 regressed, 4 invalid,
5 inconclusive; if several are true, it is the first of 3, 4 and 5.
"""

import argparse
import json
import sys
from pathlib import Path

import builds
import counting
import floors
import measuring
import report
from builds import Source, Workshop
from count_verdicts import CountJudgement
from processes import CheckFailed


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    options = measuring.options(arguments)
    known_floors = floors.load(arguments.floors, options.pairs, options.duration_s)
    workshop = builds.workshop()
    base = workshop.commit(arguments.base) if arguments.base else workshop.default_base()
    is_commit = arguments.candidate is not None
    candidate = workshop.commit(arguments.candidate) if is_commit else workshop.working_tree()
    notes: list[str] = []
    counts: list[CountJudgement] = []
    bench = outcome = failure = None
    with workshop.locked():
        measuring.progress(f"base {base.label}, candidate {candidate.label}")
        if arguments.no_counts:
            notes.append("instructions, allocations and system calls were not counted")
        elif not (counts := counting.compare(workshop, base, candidate)):
            notes.append("neither tree has benchmarks that count")
        if arguments.counts_only:
            if not counts:
                raise CheckFailed("nothing was counted, and nothing else is to be judged")
            notes.append("no trials were run (--counts-only)")
        else:
            try:
                bench = make_bench(workshop, base, candidate, options, arguments)
                if bench:
                    outcome = bench.compare(known_floors.values, options.seed)
                else:
                    notes.append("the two servers are equal, byte for byte: no trials were run")
            except CheckFailed as error:
                # The counts are judged all the same.
                failure = error
    half_rate = bench.half_rate_per_s if bench else None
    result = report.Result(
        base=_name(base),
        candidate=_name(candidate),
        command=_repeat(arguments, options, (base, candidate), half_rate),
        floors=known_floors,
        duration_s=options.duration_s,
        half_rate_per_s=half_rate,
        outcome=outcome,
        counts=counts,
        notes=notes,
        failure=failure,
    )
    print(report.text(result))
    write(result, arguments.json, arguments.out)
    return result.exit_code


def make_bench(
    workshop: Workshop,
    base: Source,
    candidate: Source,
    options: measuring.Options,
    arguments: argparse.Namespace,
) -> measuring.Bench | None:
    """Builds both servers, and gets ready to compare them; `None` if they are equal, and are
    not to be compared all the same."""
    cores = measuring.choose_cores()
    built_base, built_candidate = workshop.build(base), workshop.build(candidate)
    if built_base.is_same_server(built_candidate) and not arguments.even_if_equal:
        return None
    # The candidate's, as the base may not have one, or one that knows less.
    loadgen = workshop.loadgen(candidate)
    return measuring.make_bench(built_base, built_candidate, loadgen, options, cores)


def write(result: report.Result, json_file: Path | None, directory: Path | None) -> None:
    """Keeps the record in `json_file`, and in `directory` the report beside it."""
    record = json.dumps(report.record(result), indent=1) + "\n"
    if json_file:
        json_file.write_text(record)
    if directory:
        (directory / "report.txt").write_text(report.text(result) + "\n")
        (directory / "perf-check.json").write_text(record)


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="perf-check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "base",
        nargs="?",
        help="a commit [default: the merge base of HEAD with main or origin/main; where HEAD is "
        "that itself, or there is none, HEAD if something is not committed, else HEAD~1]",
    )
    parser.add_argument("candidate", nargs="?", help="a commit [default: the working tree]")
    measuring.add_options(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--no-counts", action="store_true", help="run trials only")
    what.add_argument("--counts-only", action="store_true", help="count only")
    parser.add_argument(
        "--even-if-equal",
        action="store_true",
        help="run trials though the two servers are the same file",
    )
    measuring.add_floors(parser)
    parser.add_argument(
        "--json", type=measuring.output_file, metavar="FILE", help="write every value there"
    )
    parser.add_argument(
        "--out",
        type=measuring.output_directory,
        metavar="DIR",
        help="write the report and every value there",
    )
    return parser.parse_args(words)


def _name(source: Source) -> str:
    return source.label if source.commit else f"{source.label} ({source.tree[:10]})"


def _repeat(
    arguments: argparse.Namespace,
    options: measuring.Options,
    sources: tuple[Source, Source],
    half_rate: float | None,
) -> str:
    words = [source.label for source in sources if source.commit]
    words += measuring.repeat_options(options, half_rate)
    for name in ("no_counts", "counts_only", "even_if_equal"):
        if getattr(arguments, name):
            words.append(f"--{name.replace('_', '-')}")
    if arguments.floors:
        words.append(f"--floors={arguments.floors}")
    return measuring.command_line("perf-check", words)


if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
