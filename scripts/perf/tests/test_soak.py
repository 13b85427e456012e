"""What a soak checks, how it judges, and its load."""

import random
import unittest
from pathlib import Path
from unittest import mock

import accounts
import attacks
import soak
import soak_load
import soak_tables
from soak_load import Faults, mutated
from soak_tables import WARMUP_MINUTES

LISTING = """thread      core   datagrams in   deliveries out
worker-0       0             20               40
worker-1       -              5                0
peers: 31 now, 4 expired
datagrams: 25 = 12 texts + 3 of frames + 10 dropped
deliveries: 45 = 40 sent + 2 given up + 1 refused + 2 shed
rooms: 3
dropped, over text limit: 7
dropped, malformed: 3
messages shed, backlog full: 6
messages dropped, sender muted: 4
datagrams lost in the kernel, receive buffer full: 55
>>>>: """


class AccountsTest(unittest.TestCase):
    def test_a_listing_that_adds_up(self) -> None:
        parsed = accounts.parse(LISTING)
        self.assertEqual(parsed.sums, {"datagrams": 25, "deliveries": 45})
        self.assertEqual(parsed.part("deliveries", "given up"), 2)
        self.assertEqual([parsed.count(name) for name in ("peers", "expired", "rooms")], [31, 4, 3])
        self.assertEqual(parsed.missing(), [])
        self.assertEqual(
            parsed.drops(),
            {
                "over text limit": 7,
                "malformed": 3,
                "messages shed, backlog full": 6,
                "datagrams lost in the kernel, receive buffer full": 55,
            },
        )

    def test_what_is_under_way_is_missing(self) -> None:
        for line, sentence in (
            ("datagrams: 25 = 20 texts + 5 under way", "25 datagrams, and 20 of them"),
            # The console says nothing of a part that is too much.
            ("datagrams: 25 = 26 texts", "25 datagrams, and 26 of them"),
            ("deliveries: 3 = 3 under way", "3 deliveries, and 0 of them"),
            ("deliveries: 7", "7 deliveries, and 0 of them"),
        ):
            (missing,) = accounts.parse(line).missing()
            self.assertTrue(missing.startswith(sentence), missing)
        self.assertEqual(accounts.parse("deliveries: 0").missing(), [])

    def test_each_lost_copy_needs_a_cause(self) -> None:
        drops = {"messages shed, backlog full": 1, "deliveries refused by the kernel": 2}
        causes = soak.causes(drops | {"malformed": 100})
        self.assertEqual(causes, soak.ROOM_SIZE + 2)
        counts = {
            "expected": 100, "delivered": 88, "lost": 12, "repeated": 0, "stray": 0,
            "own_drops": 0, "too_late": 0, "joined": 5,
        }
        self.assertEqual(accounts.missing_of_loadgen(counts, causes), [])
        (missing,) = accounts.missing_of_loadgen(counts, causes - 1)
        self.assertEqual(missing, "12 copies lost, and causes for 11 of them")
        self.assertEqual(accounts.missing_of_loadgen(counts | {"own_drops": 1}, 0), [])
        self.assertEqual(accounts.missing_of_loadgen(counts | {"stray": 5}, causes), [])

    def test_copies_neither_vanish_nor_repeat(self) -> None:
        counts = {
            "expected": 10, "delivered": 9, "lost": 0, "repeated": 2, "stray": 6, "own_drops": 0,
            "too_late": 0, "joined": 5,
        }
        self.assertEqual(
            accounts.missing_of_loadgen(counts, 0),
            ["10 copies expected, 9 delivered and 0 lost", "2 copies repeated",
             "6 datagrams stray, and 5 clients came back"],
        )


class SlopeTest(unittest.TestCase):
    def test_a_line_has_its_slope_and_no_error(self) -> None:
        found = soak_tables.slope([(minute, 10 + minute / 20) for minute in range(6, 31)])
        assert found
        self.assertAlmostEqual(found.per_hour, 3)
        self.assertAlmostEqual(found.half_width, 0)
        self.assertAlmostEqual(found.start, 10)

    def test_the_interval_has_the_true_slope_nineteen_times_of_twenty(self) -> None:
        chance = random.Random(1)
        hits = 0
        for _ in range(1000):
            points = [(minute, minute / 60 + chance.gauss(10, 0.1)) for minute in range(10)]
            found = soak_tables.slope(points)
            assert found
            hits += abs(found.per_hour - 1) <= found.half_width
        self.assertAlmostEqual(hits, 950, delta=25)

    def test_the_quantile_is_that_of_the_tables(self) -> None:
        for degrees, quantile in ((5, 2.571), (8, 2.306), (23, 2.069)):
            self.assertAlmostEqual(soak_tables.student_t(degrees), quantile, delta=0.01 * quantile)

    def test_few_points_tell_nothing(self) -> None:
        self.assertIsNone(soak_tables.slope([(0, 1), (1, 2), (2, 3)]))


def record(growth_kib: int = 0, descriptors: int = 26, missing: tuple[str, ...] = ()) -> list:
    """Of 20 minutes, in the last of which something is different."""
    rows = [
        {
            "minute": minute, "flood": "none",
            # The warm-up does not count, nor does what there is under load.
            "rss_kib": [99_999, 20_000 + growth_kib * minute if minute > WARMUP_MINUTES else 5000],
            "private_dirty_kib": 15_000, "descriptors": [26, 26], "threads": [10], "peers": [3],
            "socket_bytes": 0, "log_bytes": 0, "cpu_s": 6.0, "datagrams": 100, "deliveries": 10,
            "drops": {"malformed": 2}, "missing": [],
            "loadgen": {
                "v1": {"expected": 10, "lost": 0, "repeated": 0, "stray": 0}, "v2": None,
            },
            "clients": {"starts": 3, "up": 3, "messages": 5},
        }
        for minute in range(1, 21)
    ]
    rows[-1] |= {"descriptors": [26, descriptors], "missing": list(missing)}
    head = {
        "commit": "0123456789ab", "date": "2026-11-27",
        "machine": {"cpu_model": "CPU", "processors": 2, "kernel": "6"},
    }
    return [head, *rows, {"end": True, "rss_kib": [1], "missing": []}]


class VerdictTest(unittest.TestCase):
    def test_a_steady_server_passes(self) -> None:
        self.assertEqual(soak_tables.failures(record()), [])
        page = soak_tables.page(record())
        self.assertIn("20 of 20", page)
        self.assertNotIn("It failed", page)

    def test_growth_beyond_the_bound_fails(self) -> None:
        self.assertEqual(soak_tables.failures(record(growth_kib=17)), [])
        (failure,) = soak_tables.failures(record(growth_kib=18))
        self.assertEqual(failure, "the memory grows by +1.05 ± 0.00 MiB/h")

    def test_another_descriptor_fails(self) -> None:
        (failure,) = soak_tables.failures(record(descriptors=27))
        self.assertEqual(failure, "descriptors are 26 to 27")
        self.assertIn("26 to 27", soak_tables.page(record(descriptors=27)))

    def test_a_minute_that_does_not_close_fails_with_its_figures(self) -> None:
        missing = "5 datagrams, and 4 of them have an outcome"
        open_one = record(missing=(missing,))
        self.assertEqual(soak_tables.failures(open_one), [f"minute 20: {missing}"])
        page = soak_tables.page(open_one)
        self.assertIn("19 of 20", page)
        self.assertIn(f"- minute 20: {missing}", page)

    def test_a_soak_that_was_stopped_fails(self) -> None:
        self.assertEqual(soak_tables.failures(record()[:-1]), ["it did not come to its end"])


class SampleTest(unittest.TestCase):
    def test_a_file_that_is_open_for_a_moment_does_not_count(self) -> None:
        looks = mock.Mock(side_effect=[["0", "1"], ["0", "1", "2"], ["0", "1"]])
        with mock.patch.object(soak.os, "listdir", looks):
            self.assertEqual(soak.fewest(Path("fd")), 2)

    def test_the_buffers_of_the_servers_sockets_are_summed(self) -> None:
        head = "  sl  local_address rem_address   st tx_queue rx_queue tr ...\n"
        line = "  9: {} 00000000:0000 07 {} 00:00000000 00000000     0        0 17 2 0 0\n"
        text = head + "".join(
            line.format(*one)
            for one in (
                ("0100007F:270F", "00000010:00000900"),
                ("0100FF0A:1234", "00000000:00000001"),
                ("0100007F:0035", "00000000:00000500"),
            )
        )
        self.assertEqual(soak.socket_bytes(text, {9999, 0x1234}), 0x10 + 0x900 + 1)


class LoadTest(unittest.TestCase):
    def test_mutations_are_seeded_and_fit_into_a_datagram(self) -> None:
        many = [mutated(random.Random(seed), attacks.KINDS) for seed in range(500)]
        self.assertEqual(many, [mutated(random.Random(n), attacks.KINDS) for n in range(500)])
        self.assertGreater(len(set(many)), 400)
        self.assertLessEqual(max(map(len, many)), soak_load.MAX_DATAGRAM)

    def test_a_relay_loses_repeats_and_reorders(self) -> None:
        faults = Faults(random.Random(1))
        sent = [n.to_bytes(2, "big") for n in range(10_000)]
        passed = [one for datagram in sent for one in faults.pass_on(datagram)]
        lost = len(sent) - len(set(passed))
        self.assertAlmostEqual(lost, 500, delta=75)
        self.assertAlmostEqual(len(passed) - len(set(passed)), 500, delta=75)
        late = sum(after < before for before, after in zip(passed, passed[1:], strict=False))
        self.assertAlmostEqual(late, 500, delta=100)

    def test_what_is_reordered_comes_after_the_next(self) -> None:
        faults = Faults(mock.Mock(**{"random.side_effect": [soak_load.LOST, 0.5, 0.99]}))
        self.assertEqual(faults.pass_on(b"a"), [])
        self.assertEqual(faults.pass_on(b"b"), [b"b", b"a"])
        self.assertEqual(faults.pass_on(b"c"), [b"c", b"c"])

    def test_the_network_that_floods_is_the_one_that_is_banned(self) -> None:
        for verb in ("ban", "unban"):
            self.assertIn(f"{verb} 10.66.6.0/24", soak_load.OPERATOR)


class ProgramsTest(unittest.TestCase):
    def test_programs_that_are_not_built_are_named(self) -> None:
        with self.assertRaisesRegex(soak.CheckFailed, "no /nowhere/server: cargo build"):
            soak.copied(Path("/nowhere"), Path("/nowhere"))


if __name__ == "__main__":
    unittest.main()
