"""Loads a server with loadgen for some seconds in both versions, with rooms and churn, and lets it
stop by itself: short_load.py DIR, the folder of both programs. It measures nothing."""

import sys
from pathlib import Path

import measuring
import processes
import trial
from crowd import running
from processes import CheckFailed


def main() -> int:
    """The program; returns its exit code."""
    programs = Path(sys.argv[1])
    with running(programs / "server", 2) as server:
        for version in ("v1", "v2"):
            command = [
                programs / "loadgen", f"127.0.0.1:{server.address[1]}", f"--protocol={version}",
                *LOAD,
            ]
            # A slow build does not keep up with its schedule, and a load like that is a load, too.
            processes.run([*trial.VALID_OR_NOT, *command], LIMIT_S)
            print(f"{version}: loadgen has ended")
        assert server.process.stdin is not None
        server.process.stdin.write(b"quit\n")
        if code := server.process.wait(LIMIT_S):
            raise CheckFailed(f"the server ended with exit code {code}")
    return 0


LOAD = (
    "--clients=200", "--rate=500", "--churn=20", "--payload=32..900", "--duration=5s", "--force",
    "--quiet",
)

LIMIT_S = 120.0

if __name__ == "__main__":
    sys.exit(measuring.exit_code(main))
