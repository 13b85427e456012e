"""perf-selftest and perf-noise: does perf-check see what it must, and nothing else?

Sessions of perf-check, of the working tree against builds of itself: `equal`, the same sources
built again, which must pass, and `slower`, with a tenth of the CPU time of each call that sends
on top (scripts/perf/slower.patch), which must be flagged. perf-noise runs `equal` alone,
perf-selftest both. What was found is written to results/noise.json, session by session.

Exit codes: 0 as it must be, 1 it failed, 2 wrong use, 3 a slower server was not flagged, or an
equal one was, 5 more than one of ten equal ones did not pass.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import builds
import check
import machine
import measuring
from check import Result
from verdict import Verdict


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    workshop = builds.workshop()
    source = workshop.working_tree()
    candidates = {
        "slower": replace(source, label="10 % more work", patch=SLOWER_PATCH),
        "equal": replace(source, label="the same, built again", again=1),
    }
    found: dict[str, list[Result]] = {name: [] for name in arguments.candidates}
    with workshop.locked():
        for number in range(1, arguments.sessions + 1):
            for name, results in found.items():
                result = Result(source.label, candidates[name].label)
                check.run_pairs(result, workshop, source, candidates[name], arguments.pairs)
                print(f"{check.text(result)}\n\nsession {number}, {name}: {result.verdict}\n")
                results.append(result)
                write(arguments.out, found)
    for name, results in found.items():
        print(f"{name}: {verdicts(results)}")
    print(f"written: {arguments.out}")
    return exit_code({name: [one.verdict for one in of] for name, of in found.items()})


def exit_code(found: Mapping[str, Sequence[Verdict]]) -> int:
    """The exit code for the verdicts of the sessions, by candidate. That an equal server is
    undecided is no false alarm, and one in ten may be; that a slower one is, is not, as it
    went unseen."""
    equal = Counter(found.get("equal", ()))
    if set(found.get("slower", ())) - {Verdict.REGRESSED} or equal[Verdict.REGRESSED]:
        return Verdict.REGRESSED.exit_code
    if equal.total() - equal[Verdict.PASS] > equal.total() / 10:
        return Verdict.INCONCLUSIVE.exit_code
    return 0


def write(file: Path, found: Mapping[str, Sequence[Result]]) -> None:
    """Keeps what was found in `file`, next to what it has of other candidates."""
    record: dict[str, Any] = {}
    if file.exists():
        old = json.loads(file.read_text())
        record = old if old.get("schema") == SCHEMA else {}
    record["schema"] = SCHEMA
    for name, results in found.items():
        if results:
            record[name] = {
                "date": datetime.now(UTC).date().isoformat(),
                "machine": machine.identity_record(),
                "verdicts": verdicts(results),
                "sessions": [_session(one) for one in results],
            }
    text = json.dumps(record, indent=1)
    builds.write_whole(file, (text + "\n").encode())


def verdicts(results: Sequence[Result]) -> str:
    """How many sessions had which verdict."""
    counted = Counter(result.verdict for result in results).most_common()
    return ", ".join(f"{count} {verdict}" for verdict, count in counted)


def _session(result: Result) -> dict[str, Any]:
    assert result.session is not None
    return {
        "verdict": result.verdict,
        "took_s": round(result.session.took_s, 1),
        "disturbed": result.session.disturbed,
        "pairs": len(result.session.pairs),
        "judgements": [
            " ".join(
                f"{value:.4g}" if isinstance(value, float) else str(value)
                for value in asdict(one).values()
            )
            for one in result.judgements
        ],
    }


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments, the first of which the scripts give; wrong ones end the program with exit
    code 2."""
    program, *words = words
    parser = measuring.parser(program, __doc__)
    parser.add_argument(
        "--sessions", type=measuring.whole(1, 1000), default=1, help="[default: %(default)s]"
    )
    check.add_pairs(parser)
    results = Path(__file__).resolve().parents[2] / "results" / "noise.json"
    parser.add_argument(
        "--out",
        type=measuring.output_file,
        metavar="FILE",
        default=results,
        help="where the record goes [default: %(default)s]",
    )
    arguments = parser.parse_args(words)
    arguments.candidates = ["equal"] if program == "perf-noise" else ["slower", "equal"]
    return arguments


SLOWER_PATCH = Path(__file__).with_name("slower.patch")
"""Burns time in proportion to that of each system call that sends."""

SCHEMA = "bullhorn-perf-noise/2"
"""Of the record. The number rises when a key goes or changes its meaning."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
