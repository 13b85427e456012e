"""What the floods count, and how their figures are shown."""

import socket
import struct
import unittest
from types import SimpleNamespace
from unittest import mock

import crowd
import flooding
import floods
from machine import CoreTimes

LISTING = """thread      core   datagrams in   deliveries out
worker-0       -           2500               12
peers: 31 now, 4 expired
datagrams: 2500 = 20 texts + 2470 dropped + 10 under way
deliveries: 15 = 12 sent + 3 under way
dropped, over text limit: 70
dropped, over byte limit: 2400
dropped, unproven: 3
datagrams lost in the kernel, receive buffer full: 55
datagrams cut, sender over a limit: 5
>>>>: """


class ListingTest(unittest.TestCase):
    def test_counts_are_found_in_the_listing(self) -> None:
        self.assertEqual(floods.expired(LISTING), 4)
        self.assertEqual(floods.limit_drops(LISTING), 2475)
        server = crowd.Server(None, ("10.0.0.1", 1))  # type: ignore[arg-type]
        with mock.patch.object(server, "listing", lambda: LISTING):
            self.assertEqual(server.datagrams(), 2500)
            lost = "datagrams lost in the kernel, receive buffer full"
            self.assertEqual([server.count("peers"), server.count(lost)], [31, 55])

    def test_a_server_without_limits_lists_none(self) -> None:
        self.assertEqual(floods.limit_drops("peers: 3 now, 0 expired\nrooms: 2\n"), 0)


class FloodTest(unittest.TestCase):
    def test_one_call_sends_no_more_than_the_kernel_takes(self) -> None:
        for size, rate, count in ((6, 500_000, 64), (6, 20_000, 20), (2010, 90_000, 32), (6, 9, 1)):
            self.assertEqual(flooding.segments(size, rate), count, (size, rate))

    def test_a_full_datagram_has_200_commands_and_room_for_a_session(self) -> None:
        joins = floods.DATAGRAMS["joins"]
        self.assertEqual(len(joins), 10 + 200 * 10)
        self.assertEqual(joins[10:20], b"\x06\x00\x07/join a")

    def test_the_bare_loop_receives_batches_with_their_senders(self) -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("127.0.0.1", 0))
            sender.connect(receiver.getsockname())
            headers, kept = flooding.message_headers()
            for text in (b"one", b"three"):
                sender.send(text)
            received = flooding.receive_batch(receiver, headers)
            self.assertEqual(received, 2)
            lengths = [flooding.MMSGHDR.unpack_from(headers, 64 * n)[-1] for n in range(2)]
            self.assertEqual(lengths, [3, 5])
            self.assertEqual(kept[0].raw[:3], b"one")  # type: ignore[attr-defined]
            port = struct.unpack_from("!2xH", kept[1].raw)[0]  # type: ignore[attr-defined]
            self.assertEqual(port, sender.getsockname()[1])

    def test_each_source_has_an_address_and_a_port_of_its_own(self) -> None:
        sockets = iter(range(3))
        fake = SimpleNamespace(setblocking=lambda _: None)
        with mock.patch("strangers.wildcard_socket", lambda port: next(sockets) and fake or fake):
            sources = flooding.Sources(None, 600, (10, 66, 6))  # type: ignore[arg-type]
        found = {sources.address(number) for number in range(600)}
        self.assertEqual(len(found), 600)
        self.assertTrue(all(ip[:3] == b"\x0a\x42\x06" and 0 < ip[3] < 255 for _, ip in found))
        self.assertEqual({port for port, _ in found}, {0, 1, 2})

    def test_the_interface_says_what_it_has_sent(self) -> None:
        text = "Inter-| Receive | Transmit\n  lo: 1 2 0 0 0 0 0 0 77 9 0 0 0 0 0 0\n"
        self.assertEqual(flooding.interface_counts(text), (77, 9))
        with self.assertRaises(ValueError):
            flooding.interface_counts(text, "eth0")


class FiguresTest(unittest.TestCase):
    def test_rounds_stand_beside_each_other(self) -> None:
        rounds = [[{"a": 1.0}, {"a": 3.0}, {"a": 2.0}], [{"a": 5.0}] * 3]
        lines = floods.table("row", ["before", "now"], rounds).splitlines()
        self.assertEqual(lines[0], "| row | before | now |")
        self.assertEqual(lines[2], "| a | 2 (1..3) | 5 (5..5) |")

    def test_a_figure_has_the_digits_that_it_needs(self) -> None:
        self.assertEqual(floods.span([2.34567]), "2.346")
        self.assertEqual(floods.span([499_999.5, 20_000.2]), "260,000 (20,000..500,000)")

    def test_a_core_is_taken_by_work_and_by_other_machines(self) -> None:
        self.assertEqual(floods.taken_s(CoreTimes(1.0, 0.5), CoreTimes(3.0, 0.75)), 2.25)

    def test_tries_come_at_a_steady_rate(self) -> None:
        clock = iter(quarter / 4 for quarter in range(100))
        with mock.patch("time.monotonic", lambda: next(clock)), mock.patch("time.sleep"):
            due = list(crowd.Tries(3, 3.0, 5.0).due())
        at = [step for step, number in enumerate(due) if number is not None]
        self.assertEqual([due[step] for step in at], [0, 1, 2])
        # The clock has ticked once before the first look.
        self.assertEqual(at, [0, 3, 7])
        # The last one has the time of a try.
        self.assertGreaterEqual((len(due) - at[-1]) / 4, 5.0)


if __name__ == "__main__":
    unittest.main()
