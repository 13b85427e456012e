"""The accounts of a server and of the load generator, and what does not add up in them."""

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Accounts:
    """What the console of a server lists."""

    sums: dict[str, int] = field(default_factory=dict)
    """`datagrams` received and `deliveries` planned."""
    parts: dict[str, dict[str, int]] = field(default_factory=dict)
    """What became of each sum, by outcome, without what is under way."""
    counts: dict[str, int] = field(default_factory=dict)
    """All other counts, such as `dropped, malformed`. One that is 0 may be missing."""

    def count(self, name: str) -> int:
        """A count, 0 where it is not listed."""
        return self.counts.get(name, 0)

    def part(self, name: str, outcome: str) -> int:
        """A part of a sum, 0 where it is not listed."""
        return self.parts.get(name, {}).get(outcome, 0)

    def drops(self) -> dict[str, int]:
        """Datagrams and messages that were dropped or shed, by reason."""
        return {
            name.removeprefix("dropped, "): count
            for name, count in self.counts.items()
            if name.startswith(("dropped, ", *LOSSES))
        }

    def missing(self) -> list[str]:
        """The sums that differ from their parts, a sentence each."""
        found = []
        for name, total in self.sums.items():
            known = sum(self.parts[name].values())
            if total != known:
                found.append(f"{total} {name}, and {known} of them have an outcome")
        return found


def parse(listing: str) -> Accounts:
    """The accounts in a listing of the console."""
    accounts = Accounts()
    for line in listing.splitlines():
        if found := re.fullmatch(r"(datagrams|deliveries): (\d+)(.*)", line):
            name, total, rest = found.groups()
            accounts.sums[name] = int(total)
            parts = {what: int(count) for count, what in re.findall(r"[=+] (\d+) ([a-z ]+)", rest)}
            accounts.parts[name] = {
                what.strip(): count for what, count in parts.items() if what != UNDER_WAY
            }
        elif found := re.fullmatch(r"peers: (\d+) now, (\d+) expired", line):
            accounts.counts |= {"peers": int(found[1]), "expired": int(found[2])}
        elif found := re.fullmatch(r"([a-z][^:]*): (\d+)", line):
            accounts.counts[found[1]] = int(found[2])
    return accounts


def missing_of_loadgen(counts: dict[str, Any], causes: int) -> list[str]:
    """What does not add up in the counts of a run of loadgen (docs/LOADGEN.md), a sentence each.
    `causes` is the number of copies that may be lost by what the server counted meanwhile."""
    found = []
    if counts["delivered"] + counts["lost"] != counts["expected"]:
        found.append(
            f"{counts['expected']} copies expected, {counts['delivered']} delivered and "
            f"{counts['lost']} lost"
        )
    causes += MAX_MESSAGES * counts["own_drops"] + counts["too_late"]
    if counts["lost"] > causes:
        found.append(f"{counts['lost']} copies lost, and causes for {causes} of them")
    if counts["repeated"]:
        found.append(f"{counts['repeated']} copies repeated")
    # A client that comes back asks again if the reply is late, and the second reply is stray.
    if counts["stray"] > counts["joined"]:
        found.append(f"{counts['stray']} datagrams stray, and {counts['joined']} clients came back")
    return found


UNDER_WAY = "under way"
"""What the console says of the rest of a sum."""

LOSSES = ("messages shed", "deliveries given up", "deliveries refused", "deliveries shed",
          "datagrams lost")
"""How the names of counts begin that say what was lost, other than `dropped`."""

MAX_MESSAGES = 64
"""In what the kernel counts as one drop at a socket with `UDP_GRO`."""
