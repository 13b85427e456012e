"""The loads that the server under test gets: all their parameters, in this one place."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class LoadName(StrEnum):
    """Which of the two loads a trial or a metric is of."""

    HALF = "half"
    SATURATION = "saturation"


@dataclass(frozen=True)
class Load:
    """What `loadgen` is told to offer."""

    scenario: str
    clients: int
    room_size: int
    """Members of a room, each of whom gets every text of the room; 0 where the scenario has
    no rooms to be sized."""
    payload: str
    """Bytes of a text, as `loadgen --payload` takes them."""
    rate_per_s: float
    """Texts offered a second, by all clients together."""
    warmup_s: float
    """Offered before anything is recorded."""
    duration_s: float
    """Recorded."""
    more: tuple[str, ...] = ()
    """Further arguments of `loadgen`."""

    def arguments(self, seed: int) -> list[str]:
        """The arguments of `loadgen` that say the same."""
        return [
            f"--scenario={self.scenario}",
            f"--clients={self.clients}",
            *([f"--room-size={self.room_size}"] if self.room_size else []),
            f"--payload={self.payload}",
            f"--rate={self.rate_per_s:.6g}",
            f"--warmup={self.warmup_s * 1000:.0f}ms",
            f"--duration={self.duration_s * 1000:.0f}ms",
            f"--seed={seed}",
            *self.more,
        ]


def half(rate_per_s: float, duration_s: float) -> Load:
    """The load at half of the capacity: batches are small, and latencies are the server's."""
    return Load("chat", CLIENTS, ROOM_SIZE, PAYLOAD, rate_per_s, WARMUP_S, duration_s, MORE)


def saturation(duration_s: float) -> Load:
    """More than the server can deliver: its one worker is always busy, and sheds. All are in
    one room, as with several ones the way in which the backlog happens to be divided between
    them decides over the figure; and of all lengths, as what a full packet of equal ones costs
    depends by a quarter on whether the receivers, who do not keep up, have space for it."""
    # What it is to be asked is what the server sent meanwhile: its backlog is of no interest.
    more = (*MORE, "--drain=0s")
    return Load(
        "lobby", CLIENTS, 0, MIXED_PAYLOAD, SATURATION_RATE_PER_S, WARMUP_S, duration_s, more
    )


def shape(duration_s: float) -> dict[str, object]:
    """The loads of trials in which `duration_s` seconds are recorded, but for the rate that is
    found out, for a record: figures of others, such as noise floors, say nothing of these."""
    both = {LoadName.HALF: half(0, duration_s), LoadName.SATURATION: saturation(duration_s)}
    return {name.value: asdict(load) | {"more": list(load.more)} for name, load in both.items()}


CLIENTS = 1000
"""Enough addresses that the table of peers is no single cache line; few enough that all have
come within some milliseconds of each trial."""

ROOM_SIZE = 100
"""One text is 100 deliveries, so the generator offers little and the server sends much; and
there are some hundred texts a second, so that one that was late is no hundredth of them."""

PAYLOAD = "48"
"""The length of the project's other measurements."""

MORE = ("--no-gro",)
"""The server's kernel then cuts the packets, as it does for stock clients and beyond this
machine; without, it would hand over a batch as it is, and no load would keep a worker busy."""

MIXED_PAYLOAD = "32..256"
"""Every length is as likely, so few texts in a row have the same one."""

SATURATION_RATE_PER_S = 2_000
"""Two million deliveries a second, several times what one worker sends of such texts."""

WARMUP_S = 0.3
"""Until buffers, caches and the processor's clock are as they stay."""

DURATION_S = 1.0
"""A trial is one value, whatever its length: more pairs say more than longer ones."""

CAPACITY_FROM_PER_S = 250
"""Texts a second of the search's first try: any machine carries that."""

CAPACITY_TO_PER_S = 16_000
"""And the last one that it gets to by doubling, which no worker carries."""

CAPACITY_STEPS = 2
"""Halvings (of the logarithm) after doubling has failed: the capacity is then known to a factor
of 2^(1/4), 19 %. Both sides get the same rate, so that is close enough."""

CAPACITY_DURATION_S = 0.8
"""Of a try of the search for the capacity: as short as a trial may be."""

CAPACITY_MAX_LOSS_RATIO = 0.001
"""A rate is carried if no more than this is lost..."""

CAPACITY_MAX_BUSY_RATIO = 0.9
"""...and the worker has time to spare. Beyond that it still carries a few times as much, in
ever larger batches, whose size would decide over the figures (docs/PERFORMANCE.md, "A
model")."""
