"""Counts what does not depend on the machine's mood: instructions, allocations and system
calls of fixed pieces of work, built and run in a checkout of the project.
"""

from pathlib import Path


class CountsUnavailable(Exception):
    """The checkout has no benchmarks that count: it is older than they are."""


def collect(tree: Path, target_dir: Path) -> dict:
    """Builds and runs the counting benchmarks of the checkout `tree` into `target_dir`.

    Returns {"instructions": {name: count}, "allocations": {name: count},
    "syscalls_per_delivery": {name: ratio}}.
    """
    for bench in ("instructions", "steady"):
        if not (tree / "benches" / bench / "main.rs").is_file():
            raise CountsUnavailable(f"{tree} has no benches/{bench}")
    raise NotImplementedError
