"""What the kernel says of the machine and of a process, and which machine this is."""

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from processes import CheckFailed


@dataclass(frozen=True)
class CoreTimes:
    """For how long a core has been what, in seconds since the start: of /proc/stat, see
    proc_stat(5), which counts in steps of 10 ms."""

    busy_s: float
    """Running anything, in user space or in the kernel, interrupts with it."""
    steal_s: float
    """Lent to another virtual machine though there was something to run."""


@dataclass(frozen=True)
class Cores:
    """Who runs where."""

    server: int
    load: int
    """Everything else: the peers or the load generator, and the check itself."""


def choose_cores() -> Cores:
    """The first core that this process may use for the server, which pins its worker to the
    first one that it finds, and the last for the load."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise CheckFailed("server and load need a core each, and there is only one")
    return Cores(allowed[0], allowed[-1])


def core_times(core: int) -> CoreTimes:
    """Of `core` until now."""
    return parse_core_times(Path("/proc/stat").read_text(), core)


def parse_core_times(text: str, core: int) -> CoreTimes:
    """From the text of /proc/stat."""
    for line in text.splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            busy = user + nice + system + irq + softirq
            return CoreTimes(busy / TICKS_PER_S, steal / TICKS_PER_S)
    raise ValueError(f"/proc/stat has no cpu{core}")


def process_cpu_s(pid: int) -> float:
    """CPU time of all threads of the process `pid` until now: of /proc/PID/task/*/schedstat, see
    Documentation/scheduler/sched-stats.rst in the kernel's sources. A thread that ends meanwhile
    is left out."""
    cpu_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            cpu_ns += int((task / "schedstat").read_text().split()[0])
    return cpu_ns / 1e9


def field_kib(file: Path, name: str) -> int:
    """A figure in KiB of /proc/PID/status or /proc/PID/smaps_rollup, see proc(5)."""
    for line in file.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise ValueError(f"{file} has no {name}")


def identity() -> dict[str, str | int]:
    """Which machine this is, as far as figures of another one would differ."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu_model": models[0] if models else "unknown",
        "processors": os.cpu_count() or 1,
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "memory_gib": round(memory / 2**30),
    }


TICKS_PER_S = os.sysconf("SC_CLK_TCK")
"""In which /proc/stat counts."""
