"""A bus and the servers of a cluster, each of which can be killed and started again."""

import http.client
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import machine
import processes
from processes import CheckFailed

LOOPBACK = "127.0.0.1"

LIMIT_S = 20.0
"""Of what takes a moment, on a busy machine."""

Metrics = Mapping[str, float]
"""The samples of a server by name and labels, as its metrics have them."""


@dataclass(frozen=True)
class Tools:
    """The programs, and a folder for their logs."""

    programs: Path
    """The folder of server, client and loadgen."""
    nats: Path
    folder: Path


class Program:
    """A program that runs until the block ends, and can be killed and started again meanwhile."""

    def __init__(self, command: Sequence[str | Path], log: Path, cores: Sequence[int] = ()) -> None:
        self.command, self.log, self.cores = command, log, cores
        self.inside: Callable[[], AbstractContextManager[object]] = nullcontext
        """What it is started in, such as another network namespace."""
        self._stack = ExitStack()

    def __enter__(self) -> "Program":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Starts it. It goes on with its log."""
        with ExitStack() as stack:
            stack.enter_context(self.inside())
            log = stack.enter_context(self.log.open("ab"))
            pipes = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            child = processes.child(self.command, self.cores, **pipes)
            self.process = self._stack.enter_context(child)

    def kill(self) -> None:
        """Ends it by SIGKILL."""
        self.process.kill()
        self.process.wait()
        self._stack.close()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stops it by SIGSTOP until the block ends."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def rss_kib(self) -> int:
        """The memory that it has."""
        return machine.field_kib(Path(f"/proc/{self.process.pid}/status"), "VmRSS")

    def check_runs(self) -> None:
        """Fails if it has ended by itself."""
        if self.process.poll() is not None:
            end = self.log.read_text(errors="replace")[-processes.ERROR_CHARS :]
            raise CheckFailed(f"{self.log.name} has ended with exit code {self.process.returncode}\n{end}")


class Bus(Program):
    """A nats-server."""

    def __init__(self, tools: Tools, ip: str = LOOPBACK, cores: Sequence[int] = ()) -> None:
        self.address, self.monitor = free_address(socket.SOCK_STREAM, ip), free_address(socket.SOCK_STREAM, ip)
        command = [tools.nats, "-a", ip, "-p", str(self.address[1]), "-m", str(self.monitor[1])]
        super().__init__(command, tools.folder / "nats-server", cores)

    def start(self) -> None:
        super().start()
        wait_until(lambda: accepts(self.address), "the bus accepts connections")

    def url(self) -> str:
        """Under which servers reach it."""
        return f"nats://{self.address[0]}:{self.address[1]}"

    def messages(self) -> int:
        """The messages that servers have published."""
        return int(json.loads(page(self.monitor, "/varz"))["in_msgs"])


class Node(Program):
    """A server with one worker. It takes part in a cluster if it has a bus."""

    def __init__(
        self, tools: Tools, node_id: str, bus: Bus | None, cores: Sequence[int] = (), flags: Sequence[str] = ()
    ) -> None:
        self.id, self.address = node_id, free_address(socket.SOCK_DGRAM)
        self.admin = free_address(socket.SOCK_STREAM)
        command = [
            tools.programs / "server", f"--bind={self.target()}", "--workers=1", "--no-pin",
            f"--admin={self.admin[0]}:{self.admin[1]}", "--timeout=60s",
            "--log=info,bullhorn::text=off,bullhorn::peer=off", *flags,
        ]
        if bus:
            command += [f"--cluster={bus.url()}", "--cluster-name=check", f"--node-id={node_id}"]
        super().__init__(command, tools.folder / node_id, cores)

    def start(self) -> None:
        super().start()
        wait_until(self._answers, f"{self.id} answers")

    def target(self) -> str:
        """The address as clients and loadgen take it."""
        return f"{self.address[0]}:{self.address[1]}"

    def metrics(self) -> Metrics:
        """What it counts, now."""
        with self.inside():
            return parse_metrics(page(self.admin, "/metrics"))

    def _answers(self) -> bool:
        self.check_runs()
        with self.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.connect(self.address)
            peer.settimeout(0.05)
            with suppress(ConnectionRefusedError, TimeoutError):
                peer.send(b"/ping 1")
                return peer.recv(100) == b"* pong 1" and bool(peer.send(b"quit"))
        return False


@dataclass(frozen=True)
class Cluster:
    """A bus and its nodes."""

    bus: Bus
    nodes: Sequence[Node]

    def targets(self) -> list[str]:
        """The addresses of all nodes."""
        return [node.target() for node in self.nodes]

    def check_runs(self) -> None:
        """Fails if a program has ended by itself."""
        for program in (self.bus, *self.nodes):
            program.check_runs()

    def cpu_s(self) -> float:
        """The CPU time that the nodes have used."""
        return sum(machine.process_cpu_s(node.process.pid) for node in self.nodes)

    def metrics(self) -> Metrics:
        """The sums of what all nodes count."""
        sums: dict[str, float] = {}
        for node in self.nodes:
            for name, value in node.metrics().items():
                sums[name] = sums.get(name, 0.0) + value
        return sums


@contextmanager
def running(
    tools: Tools, count: int = 3, cores: Sequence[int] = (), bus_cores: Sequence[int] = ()
) -> Iterator[Cluster]:
    """A bus and this number of nodes. The nodes share their cores."""
    with ExitStack() as stack:
        bus = Bus(tools, cores=bus_cores)
        stack.enter_context(bus)
        nodes = [Node(tools, f"n{number + 1}", bus, cores) for number in range(count)]
        for node in nodes:
            stack.enter_context(node)
        yield Cluster(bus, nodes)


def page(address: tuple[str, int], path: str) -> str:
    """A page of an HTTP server."""
    connection = http.client.HTTPConnection(*address, timeout=LIMIT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
    except http.client.HTTPException as error:
        raise CheckFailed(f"http://{address[0]}:{address[1]}{path}: {error}") from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise CheckFailed(f"http://{address[0]}:{address[1]}{path}: status {answer.status}")
    return text


def parse_metrics(text: str) -> Metrics:
    """The samples in the text of a page of metrics."""
    samples = {}
    for line in text.splitlines():
        if found := re.fullmatch(r'([a-z_]\w*(?:\{[^}]*\})?) (\S+)', line):
            samples[found[1]] = float(found[2])
    return samples


def total(metrics: Metrics, name: str) -> float:
    """The sum of the samples of a metric over its labels."""
    return sum(value for key, value in metrics.items() if key.partition("{")[0] == name)


def free_address(kind: socket.SocketKind, ip: str = LOOPBACK) -> tuple[str, int]:
    """An address with a port that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind((ip, 0))
        return ip, free.getsockname()[1]


def accepts(address: tuple[str, int]) -> bool:
    """Returns true if something listens there."""
    with suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = 0.0) -> float:
    """Waits until the condition holds, and returns for how long, in seconds."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > (limit_s or LIMIT_S):
            raise CheckFailed(f"not within {limit_s or LIMIT_S:.0f} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - start
