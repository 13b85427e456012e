"""A room with peers at all nodes, each of which talks, listens and asks who is here."""

import re
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from cluster_nodes import LIMIT_S, Node
from crowd import resized
from processes import CheckFailed

Text = tuple[int, int]
"""The number of a peer, and that of a text among its texts."""


class Peer:
    """A peer of version 1, with a number and a name."""

    def __init__(self, node: Node, number: int, name: str) -> None:
        self.node, self.number, self.name = node, number, name
        with node.inside():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        resized(self.socket, 4 << 20)
        self.socket.connect(node.address)
        self.socket.setblocking(False)
        self.said = 0
        """The number of its texts."""
        self.heard: list[Text] = []
        self.notices: list[str] = []
        self.who: Counter[str] = Counter()
        """The members of its room, as the node told it last."""

    def address(self) -> str:
        """Under which others see it if it has no name."""
        ip, port = self.socket.getsockname()
        return f"{ip}:{port}"

    def send(self, line: str) -> None:
        """Sends a line. That the node is not there at the moment is no error."""
        with suppress(ConnectionRefusedError):
            self.socket.send(line.encode())

    def say(self) -> None:
        """Says the next text."""
        self.send(f"#{self.number} {self.said}")
        self.said += 1

    def receive(self) -> None:
        """Takes all that has come."""
        while True:
            try:
                line = self.socket.recv(4096).decode()
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            if members := members_of(line):
                self.who = members
            elif line.startswith("* "):
                self.notices.append(line)
            elif text := text_of(line):
                self.heard.append(text)

    def was_told(self, beginning: str) -> bool:
        """Returns true if a notice begins so."""
        return any(notice.startswith(beginning) for notice in self.notices)


class Room:
    """Peers in a room."""

    def __init__(self, name: str, nodes: Sequence[Node], each: int) -> None:
        self.name, self.next = name, 0
        self.peers: list[Peer] = []
        for node in nodes:
            for _ in range(each):
                self.add(node)

    def add(self, node: Node) -> Peer:
        """Adds a peer, which is not in the room yet."""
        peer = Peer(node, self.next, f"peer-{self.next}")
        self.next += 1
        self.peers.append(peer)
        return peer

    def at(self, *nodes: Node) -> list[Peer]:
        """The peers at these nodes."""
        return [peer for peer in self.peers if peer.node in nodes]

    def remove(self, peer: Peer) -> None:
        """Lets a peer leave."""
        peer.send("quit")
        peer.socket.close()
        self.peers.remove(peer)

    def close(self) -> None:
        """Lets all leave."""
        for peer in list(self.peers):
            self.remove(peer)

    def enter(self, peers: Sequence[Peer]) -> None:
        """Lets the peers join the room and take their names."""
        for peer in peers:
            peer.notices.clear()
        asked = 0.0

        def are_in() -> bool:
            nonlocal asked
            late = time.monotonic() - asked > ASK_AGAIN_S
            asked = time.monotonic() if late else asked
            missing = 0
            for peer in peers:
                wanted = {
                    f"/join {self.name}": f"* you are in {self.name} (",
                    f"/nick {peer.name}": f"* you are {peer.name}",
                }
                for command, answer in wanted.items():
                    if not peer.was_told(answer):
                        missing += 1
                        if late:
                            peer.send(command)
            return missing == 0

        self.wait(are_in, "the peers are in the room with their names", talkers=())

    def turn(self, talkers: Sequence[Peer]) -> None:
        """Lets these peers say a text each, and all ask who is here. Then takes what comes within the
        time of a turn."""
        for peer in talkers:
            peer.say()
        for peer in self.peers:
            peer.send("/who")
        end = time.monotonic() + TURN_S
        sockets = [peer.socket for peer in self.peers]
        while (left := end - time.monotonic()) > 0:
            ready = select.select(sockets, [], [], left)[0]
            for peer in self.peers:
                if peer.socket in ready:
                    peer.receive()

    def wait(
        self, condition: Callable[[], bool], what: str, talkers: Sequence[Peer], limit_s: float = LIMIT_S
    ) -> float:
        """Goes on until the condition holds, and returns for how long, in seconds."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > limit_s:
                raise CheckFailed(f"not within {limit_s:.0f} s: {what}; {self.views()}")
            self.turn(talkers)
        return time.monotonic() - start

    def talk(self, talkers: Sequence[Peer], seconds: float) -> None:
        """Goes on for this time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(talkers)

    def views(self) -> str:
        """Who is here, as each node says."""
        views = {peer.node.id: " ".join(sorted(peer.who.elements())) for peer in self.peers}
        return "; ".join(f"{node} has {who}" for node, who in views.items())

    def sees(self, watchers: Sequence[Peer], members: Sequence[Peer]) -> bool:
        """Returns true if all watchers see these members under their names, and no others."""
        names = Counter(peer.name for peer in members)
        return all(peer.who == names for peer in watchers)

    def wait_until_whole(self, limit_s: float = LIMIT_S) -> float:
        """Waits until all nodes show all peers, and returns for how long, in seconds."""
        self.forget()
        whole = lambda: self.sees(self.peers, self.peers)  # noqa: E731
        return self.wait(whole, "all nodes show all peers", (), limit_s)

    def forget(self) -> None:
        """Forgets who was here, as it may have changed since."""
        for peer in self.peers:
            peer.who.clear()

    def said(self) -> dict[int, int]:
        """The number of texts of each peer until now."""
        return {peer.number: peer.said for peer in self.peers}

    def missing(self, since: dict[int, int], pairs: Sequence[tuple[Peer, Peer]]) -> int:
        """The copies that are missing, of texts said `since`, for each pair of speaker and listener. Waits
        for those that are under way."""
        end = time.monotonic() + UNDER_WAY_S
        while (count := sum(self._missing(since, *pair) for pair in pairs)) and time.monotonic() < end:
            self.turn(())
        return count

    def _missing(self, since: dict[int, int], speaker: Peer, listener: Peer) -> int:
        owed = {(speaker.number, number) for number in range(since[speaker.number], speaker.said)}
        return len(owed - set(listener.heard))

    def repeated(self) -> int:
        """The copies that came again."""
        return sum(repeats(peer.heard) for peer in self.peers)

    def check_texts(self, seconds: float) -> None:
        """Lets all talk for this time. Each text must come to all, once."""
        since = self.said()
        self.talk(self.peers, seconds)
        if missing := self.missing(since, all_pairs(self.peers)):
            raise CheckFailed(f"{missing} copies are missing in a cluster that is whole")
        if repeated := self.repeated():
            raise CheckFailed(f"{repeated} copies came again")


@contextmanager
def room(name: str, nodes: Sequence[Node], each: int) -> Iterator[Room]:
    """A room with this number of peers at each node, all of which see each other."""
    with ExitStack() as stack:
        made = Room(name, nodes, each)
        stack.callback(made.close)
        made.enter(made.peers)
        made.wait_until_whole()
        yield made


def all_pairs(peers: Sequence[Peer]) -> list[tuple[Peer, Peer]]:
    """Each peer with each, itself included."""
    return [(speaker, listener) for speaker in peers for listener in peers]


def repeats(texts: Sequence[Text]) -> int:
    """The number of texts that were there before."""
    return len(texts) - len(set(texts))


def members_of(line: str) -> Counter[str] | None:
    """The members in an answer to /who, if it is one that has all."""
    found = re.fullmatch(r"\* (\d+) in [^ ,:]+: ([^()]+)", line)
    if not found:
        return None
    members = Counter(found[2].split())
    return members if members.total() == int(found[1]) else None


def text_of(line: str) -> Text | None:
    """The text in a line of a peer."""
    found = re.fullmatch(r"\S+ #(\d+) (\d+)", line)
    return (int(found[1]), int(found[2])) if found else None


TURN_S = 0.02

ASK_AGAIN_S = 1.0
"""A name is confirmed within 500 ms."""

UNDER_WAY_S = 3.0
"""A text that has not come by then does not come."""
