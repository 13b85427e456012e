"""perf-history: adds a row of what HEAD costs to results/history.csv.

Runs the loads of perf-check against the server of HEAD, a dozen trials each, and writes the
medians, with the machine and the commit. Rows of other machines are of other machines: compare
within one, and trust perf-check, which compares in one run, more than this.

Exit codes: 0 done, 1 it failed, 2 wrong use.
"""

import argparse
import csv
import os
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path

import builds
import loads
import machine
import measuring
import trial
from loads import LoadName
from metrics import METRICS
from processes import CheckFailed


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    cores = measuring.choose_cores()
    workshop = builds.workshop()
    head = workshop.commit("HEAD")
    if workshop.working_tree().tree != head.tree:
        raise CheckFailed("something is not committed: a row belongs to a commit")
    with workshop.locked():
        measuring.progress("building server and loadgen")
        server, loadgen = workshop.build(head).server, workshop.loadgen(head)
        os.sched_setaffinity(0, {cores.load})
        half_rate = measuring.half_rate(server, loadgen, cores, seed=1)
        both = (loads.half(half_rate, arguments.seconds), loads.saturation(arguments.seconds))
        kept: dict[LoadName, list[trial.Trial]] = {load.name: [] for load in both}
        for number in range(2 * arguments.trials):
            for load in both:
                if len(kept[load.name]) < arguments.trials:
                    one = trial.run_trial(server, loadgen, load, cores, number)
                    if not one.spoiled:
                        kept[load.name].append(one)
    if any(len(trials) < arguments.trials for trials in kept.values()):
        raise CheckFailed("too many trials were spoiled: the machine is too busy")
    who = machine.identity()
    row = {
        "measured_at": datetime.now(UTC).date().isoformat(),
        "commit": head.commit,
        "machine": f"{who.cpu_model} x{who.processors}",
        "kernel": who.kernel,
        "half_texts_per_s": half_rate,
    }
    for metric in METRICS:
        values = [one.values[metric.key] for one in kept[metric.load]]
        row[metric.key] = f"{statistics.median(values):.4g}"
    append(arguments.out, row)
    print(", ".join(f"{name} {value}" for name, value in row.items()))
    return 0


def append(file: Path, row: dict[str, object]) -> None:
    """Adds a row, below the head of a new file."""
    is_new = not file.exists()
    with file.open("a", newline="") as out:
        writer = csv.DictWriter(out, list(row), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="perf-history", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=measuring.whole(3, 100), default=12)
    parser.add_argument("--seconds", type=measuring.seconds, default=loads.DURATION_S)
    history = Path(__file__).resolve().parents[2] / "results" / "history.csv"
    parser.add_argument("--out", type=Path, default=history, help="[default: %(default)s]")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
