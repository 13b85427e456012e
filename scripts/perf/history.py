"""perf-history: adds a row of what HEAD costs to results/history.csv.

The row has the machine, the commit, the capacity that `loadgen find-max` finds (texts per second
to rooms of 100), and the CPU time per delivery in each scene of perf-check. Rows of other
machines are of other machines: compare within one, and trust perf-check, which compares in one
run, more than this.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import argparse
import csv
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path

import builds
import check
import machine
import measuring
import pairs
import subject
import trial
from processes import CheckFailed
from scenes import SCENES


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    check_columns(arguments.out)
    cores = machine.choose_cores()
    workshop = builds.workshop()
    head = workshop.commit("HEAD")
    if workshop.working_tree().tree != head.tree:
        raise CheckFailed("something is not committed: a row belongs to a commit")
    with workshop.locked():
        measuring.progress("building server and loadgen")
        server, loadgen = workshop.build(head), workshop.loadgen(head)
        measuring.progress("searching for the capacity, about a minute")
        with subject.running(server, {cores.server}) as running:
            capacity = trial.find_max(loadgen, CAPACITY_ARGUMENTS, running, cores)
        session = pairs.run(server, server, arguments.pairs, cores, measuring.progress)
    if session.disturbed:
        raise CheckFailed(f"a row is of a quiet machine: {session.disturbed}")
    who = machine.identity()
    row: dict[str, object] = {
        "measured_at": datetime.now(UTC).date().isoformat(),
        "commit": head.commit,
        "machine": f"{who.cpu_model} x{who.processors}",
        "kernel": who.kernel,
        "max_texts_per_s": f"{capacity:.4g}",
        **costs(session),
    }
    append(arguments.out, row)
    print(", ".join(f"{name} {value}" for name, value in row.items()))
    return 0


def costs(session: pairs.Session) -> dict[str, str]:
    """The median CPU time per delivery of each scene."""
    return {
        _column(scene.name): "{:.4g}".format(
            statistics.median(
                side["cpu"]
                for pair in session.pairs
                if pair.scene == scene.name
                for side in (pair.base, pair.candidate)
            )
        )
        for scene in SCENES
    }


def append(file: Path, row: dict[str, object]) -> None:
    """Adds a row with a value for each of `COLUMNS`, below the head of a new file."""
    check_columns(file)
    is_new = not file.exists()
    with file.open("a", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def check_columns(file: Path) -> None:
    """Fails if there is a file with other columns."""
    if not file.exists():
        return
    with file.open(newline="") as lines:
        found = next(csv.reader(lines), [])
    if found != COLUMNS:
        raise CheckFailed(f"{file} has the columns {found}, and not {COLUMNS}")


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = measuring.parser("perf-history", __doc__)
    check.add_pairs(parser)
    history = Path(__file__).resolve().parents[2] / "results" / "history.csv"
    parser.add_argument(
        "--out", type=measuring.output_file, default=history, help="[default: %(default)s]"
    )
    return parser.parse_args(words)


def _column(scene: str) -> str:
    return f"{scene}_cpu_us"


CAPACITY_ARGUMENTS = (
    "--scenario=chat",
    "--clients=1000",
    "--room-size=100",
    "--payload=48",
    # The server's kernel then cuts packets, as it does for stock clients and beyond this machine.
    "--no-gro",
    "--duration=1s",
    "--slo=p99<10ms,loss<0.1%",
)
"""Of the search: the highest rate at which nearly nothing is lost or late."""

COLUMNS = [
    *("measured_at", "commit", "machine", "kernel", "max_texts_per_s"),
    *(_column(scene.name) for scene in SCENES),
]
"""Of the file. When one comes or goes, it is to be put right by hand, rows and all."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
