"""How many deliveries a worker can carry: a model with two costs, to size a machine by.

A worker takes the texts that have gathered, and sends them to each peer of their room as one
packet: a packet of `k` texts costs `packet_us + k * text_us` of CPU time. It then takes what has
gathered meanwhile. So at a rate at which it has time to spare, `k` is 1; above it, `k` grows until
the worker keeps up, as a packet of many texts costs less than as many packets; and with as many
texts as a packet may have, it can do no more.

Loads are deliveries offered a second: texts a second times the peers that hear each. In how many
rooms of equal size these are makes no difference to the model.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """Of one worker on one machine, for texts of one length to stock peers."""

    packet_us: float
    """CPU time of a packet to a peer, whatever is in it, in microseconds."""
    text_us: float
    """CPU time of each text in a packet, in microseconds."""

    def batch(self, offered_per_s: float) -> float:
        """Texts in a packet. Where a worker is always busy, the texts of one round are those
        that came in the round before: k = offered * (packet + k * text)."""
        offered_per_us = offered_per_s / 1e6
        left = 1 - offered_per_us * self.text_us
        if left <= 0:
            return MAX_BATCH
        return min(MAX_BATCH, max(1.0, offered_per_us * self.packet_us / left))

    def delivery_us(self, batch: float) -> float:
        """CPU time of a delivery, in microseconds, in packets of so many texts."""
        return self.packet_us / batch + self.text_us

    def deliveries_per_s(self, offered_per_s: float) -> float:
        """Deliveries that are made of those offered, a second."""
        return min(offered_per_s, self.most_deliveries_per_s)

    def round_us(self, offered_per_s: float, peers: int) -> float:
        """How long it takes to send what has gathered to all peers, in microseconds."""
        batch = self.batch(offered_per_s)
        return peers * batch * self.delivery_us(batch)

    @property
    def idle_deliveries_per_s(self) -> float:
        """Deliveries a second up to which nothing waits for anything else."""
        return 1e6 / self.delivery_us(1)

    @property
    def most_deliveries_per_s(self) -> float:
        """Deliveries a second that a worker carries at the most."""
        return 1e6 / self.delivery_us(MAX_BATCH)


def fit(alone_us: float, full_us: float) -> Costs:
    """The costs from the CPU time of a delivery in packets of one text, and in full ones."""
    packet_us = (alone_us - full_us) / (1 - 1 / MAX_BATCH)
    return Costs(packet_us, alone_us - packet_us)


MAX_BATCH = 128.0
"""Texts in a packet: as many as the kernel takes as one (since Linux 6.9), and as a worker sends
to a peer before it goes on to the next one (docs/ARCHITECTURE.md, "Passes")."""
