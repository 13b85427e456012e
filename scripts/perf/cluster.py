"""cluster: three servers and their bus on this machine, as processes that are loaded, killed, stopped and
cut off.

Its parts, each of which --only runs alone:

  load       texts to rooms that span all nodes: every copy is delivered once, or counted
  delay      what another node adds to the delay of a text
  cost       the CPU time of a node per delivery to its own rooms, with a cluster by without
  batching   texts per message of the bus
  kill       a node killed again and again: its members are gone, and no text comes twice
  bus        the bus killed for 10 s: what a node does alone, and when all is right again
  partition  a node cut off for 6 s, with the same name on both sides; it needs root, and `ip`
  slow       a bus that is stopped for 3 s under load: nobody waits, and memory is bounded
  soak       load with churn between kills of a node and of the bus: all adds up

It needs the release build and a nats-server, by default that of scripts/nats. Counts must add up on any
machine. Delays are those of a machine that has nothing else to do.

Exit codes: 0 done, 1 it failed or a bound is not kept, 2 wrong use.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cluster_faults
import cluster_load
import measuring
import processes
from cluster_nodes import Tools
from processes import CheckFailed
from scenes import allow_sockets

PARTS: dict[str, Callable[[Tools, argparse.Namespace], list[str]]] = {
    "load": cluster_load.load,
    "delay": cluster_load.delay,
    "cost": cluster_load.cost,
    "batching": cluster_load.batching,
    "kill": cluster_faults.kill,
    "bus": cluster_faults.bus,
    "partition": cluster_faults.partition,
    "slow": cluster_load.slow,
    "soak": cluster_faults.soak,
}


def main() -> int:
    """The program; returns its exit code."""
    arguments = parse(sys.argv[1:])
    allow_sockets()
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only or PARTS:
            # The logs of each part are its own.
            logs = Path(folder, name)
            logs.mkdir()
            tools = Tools(arguments.programs, nats_of(arguments), logs)
            print(f"-- {name}", flush=True)
            start = time.monotonic()
            try:
                missed += [f"{name}: {what}" for what in PARTS[name](tools, arguments)]
            except CheckFailed as error:
                # The other parts may tell more.
                missed.append(f"{name}: {error}")
            measuring.progress(f"{name} took {time.monotonic() - start:.0f} s")
    if missed:
        raise CheckFailed("\n".join(missed))
    return 0


def nats_of(arguments: argparse.Namespace) -> Path:
    """The nats-server, which is downloaded if none is given or there."""
    if not arguments.nats:
        script = Path(__file__).resolve().parents[1] / "nats"
        arguments.nats = Path(processes.run([script], NATS_LIMIT_S).strip())
    return Path(arguments.nats)


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments; wrong ones end the program with exit code 2."""
    parser = measuring.parser("cluster", __doc__)
    parser.add_argument("programs", type=Path, help="the folder of server, client and loadgen")
    parser.add_argument("--nats", type=measuring.existing, metavar="FILE", help="the program nats-server")
    parser.add_argument("--only", choices=PARTS, action="append", metavar="PART", help="run this part; may be repeated")
    numbers = (
        ("peers", 90, 100_000, 3_000, "peers of the load, over three nodes"),
        ("steps", 0, 10, 4, "times that the load is doubled, as long as nothing is lost"),
        ("seconds", 5, 600, 10, "of one load"),
        ("rounds", 5, 100, 10, "rounds of the cost"),
        ("kills", 1, 1_000, 20, "times that a node is killed"),
        ("minutes", 1, 1_000, 20, "of the soak"),
    )
    for name, least, most, default, what in numbers:
        parser.add_argument(
            f"--{name}", type=measuring.whole(least, most), default=default, metavar="N",
            help=f"{what}, {least:,} to {most:,} (default {default:,})",
        )
    parser.add_argument(
        "--failover", action="store_true", help="also kill the node of clients that know the others, in kill"
    )
    return parser.parse_args(words)


NATS_LIMIT_S = 300.0
"""Of a download."""

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
