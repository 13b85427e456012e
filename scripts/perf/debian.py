"""Programs that are installed when they are missing, as Debian's packages."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import measuring
import processes
from processes import CheckFailed


def install(packages: Sequence[str]) -> None:
    """Installs `packages`, without beginning any service of theirs. Raises `CheckFailed`, which
    says what to do where this may not be done."""
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise CheckFailed(f"missing: {packages[0]}; on Debian: apt-get install {names}")
    measuring.progress(f"installing {names} with apt-get")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    with _no_services():
        processes.run(["apt-get", "update", "-qq"], LIMIT_S)
        processes.run(command, LIMIT_S, env=environment)


@contextmanager
def _no_services() -> Iterator[None]:
    """As long as the block lasts, what is installed is told to start nothing."""
    if POLICY.exists():
        yield
        return
    POLICY.touch(mode=0o755)
    try:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        yield
    finally:
        POLICY.unlink()


POLICY = Path("/usr/sbin/policy-rc.d")
"""A program that packages ask before they start a service, see invoke-rc.d(8)."""

LIMIT_S = 600.0
"""Minutes, on a slow network."""
