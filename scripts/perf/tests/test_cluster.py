"""What the check of a cluster makes of lines, metrics and counts."""

import io
import unittest
from collections import Counter
from contextlib import redirect_stderr
from unittest import mock

import cluster
import cluster_faults
import cluster_load
import cluster_nodes
import cluster_peers
from cluster_load import Result
from processes import CheckFailed

METRICS = """# HELP bullhorn_messages Messages queued.
# TYPE bullhorn_messages counter
bullhorn_messages_total 7
bullhorn_deliveries_total{outcome="sent"} 40
bullhorn_deliveries_total{outcome="given up"} 2
bullhorn_worker_busy_seconds_total{worker="0"} 3.2e-04
# EOF
"""


class MetricsTest(unittest.TestCase):
    def test_samples_have_their_labels(self) -> None:
        metrics = cluster_nodes.parse_metrics(METRICS)
        self.assertEqual(len(metrics), 4)
        self.assertEqual(metrics['bullhorn_deliveries_total{outcome="given up"}'], 2)
        self.assertEqual(metrics['bullhorn_worker_busy_seconds_total{worker="0"}'], 0.00032)
        self.assertEqual(cluster_nodes.total(metrics, "bullhorn_deliveries_total"), 42)
        self.assertEqual(cluster_nodes.total(metrics, "bullhorn_deliveries"), 0)

    def test_a_change_has_what_is_new(self) -> None:
        self.assertEqual(cluster_load.change({"a": 2}, {"a": 5, "b": 1}), {"a": 3, "b": 1})


class LinesTest(unittest.TestCase):
    def test_members_are_those_of_a_whole_answer(self) -> None:
        members = cluster_peers.members_of("* 3 in den: ann ann 127.0.0.1:4000")
        self.assertEqual(members, Counter({"ann": 2, "127.0.0.1:4000": 1}))
        for line in (
            "* 60 in den, 1 to 2: a b ... (more: /who 3)",
            "* 3 in den: ann bob",
            "* 1 in den: ann bob",
            "* you are in den (2 here)",
            "ann 1 in den: ann",
        ):
            self.assertIsNone(cluster_peers.members_of(line), line)

    def test_texts_are_those_of_peers(self) -> None:
        self.assertEqual(cluster_peers.text_of("peer-3 #3 17"), (3, 17))
        self.assertEqual(cluster_peers.text_of("127.0.0.1:4000 #3 17"), (3, 17))
        for line in ("* ada to you: #3 17", "ann #3", "ann 3 17", "ann #3 17 "):
            self.assertIsNone(cluster_peers.text_of(line), line)

    def test_a_repeat_is_what_was_there_before(self) -> None:
        self.assertEqual(cluster_peers.repeats([(1, 1), (1, 2), (2, 1)]), 0)
        self.assertEqual(cluster_peers.repeats([(1, 1), (1, 2), (1, 1), (1, 1)]), 2)


class RoomTest(unittest.TestCase):
    def setUp(self) -> None:
        node = mock.Mock()
        node.inside = mock.MagicMock()
        node.address = ("127.0.0.1", 9)
        self.room = cluster_peers.Room("den", [node], 3)
        self.addCleanup(self.room.close)
        self.one, self.two, self.three = self.room.peers

    def test_copies_are_missing_if_they_were_said_since(self) -> None:
        self.one.said = 3
        since = self.room.said()
        self.one.said = 6
        self.two.heard = [(0, 0), (0, 4), (1, 5)]
        pairs = [(self.one, self.two), (self.two, self.one)]
        with mock.patch.object(cluster_peers, "UNDER_WAY_S", 0.05):
            self.assertEqual(self.room.missing(since, pairs), 2)
            self.two.heard += [(0, 3), (0, 5)]
            self.assertEqual(self.room.missing(since, pairs), 0)

    def test_a_ghost_and_a_missing_member_are_seen(self) -> None:
        for names, expected in (
            (["peer-0", "peer-1"], True),
            (["peer-0"], False),
            (["peer-0", "peer-1", "peer-2"], False),
            (["peer-0", "peer-0"], False),
        ):
            self.one.who = Counter(names)
            self.assertEqual(self.room.sees([self.one], [self.one, self.two]), expected, names)

    def test_one_of_two_must_have_lost_its_name(self) -> None:
        rivals = [self.one, self.two]
        lost = "* ada belongs to a peer of another server: you are 127.0.0.1:4000"
        self.one.name = self.two.name = "ada"
        settled = cluster_faults.settled_names(self.room, self.one, self.two)
        self.assertEqual(settled, Counter(["ada", self.two.address(), "peer-2"]))
        self.two.notices = [lost]
        with self.assertRaises(CheckFailed):
            cluster_faults._told(rivals)
        self.two.name = self.two.address()
        self.assertIn("was told", cluster_faults._told(rivals))
        self.one.notices = [lost]
        with self.assertRaises(CheckFailed):
            cluster_faults._told(rivals)


class CountsTest(unittest.TestCase):
    def counts(self, **changed: int) -> Result:
        counts = dict.fromkeys(
            ("expected", "delivered", "lost", "repeated", "own_drops", "too_late", "stray", "joined"), 0
        )
        return Result({"counts": counts | changed}, [])

    def test_causes_are_copies(self) -> None:
        counted = {
            'bullhorn_deliveries_total{outcome="sent"}': 1000.0,
            'bullhorn_deliveries_total{outcome="shed"}': 3.0,
            'bullhorn_messages_dropped_total{reason="shed"}': 2.0,
            'bullhorn_kernel_drops_total{worker="0"}': 1.0,
            'bullhorn_cluster_texts_dropped_total{reason="late"}': 1.0,
            'bullhorn_cluster_texts_dropped_total{reason="no space"}': 5.0,
            "bullhorn_cluster_texts_missing_total": 4.0,
        }
        self.assertEqual(cluster_load.causes(counted, 30, 10), 3 + 30 * (2 + 1) + 10 * (5 + 4))

        counted['bullhorn_cluster_texts_dropped_total{reason="late"}'] = 3.0
        self.assertEqual(cluster_load.causes(counted, 30, 10), 3 + 30 * (2 + 1) + 20 * 3 + 10 * 5)

    def test_drops_are_named(self) -> None:
        counted = {
            'bullhorn_deliveries_total{outcome="sent"}': 10.0,
            'bullhorn_deliveries_total{outcome="shed"}': 1.0,
            "bullhorn_cluster_texts_missing_total": 0.0,
            'bullhorn_kernel_drops_total{worker="0"}': 1234.0,
        }
        told = 'deliveries_total{outcome="shed"} 1, kernel_drops_total{worker="0"} 1,234'
        self.assertEqual(cluster_load.drops(counted), told)
        self.assertEqual(cluster_load.drops({}), "no drops")

    def test_a_loss_needs_a_cause(self) -> None:
        result = self.counts(expected=100, delivered=70, lost=30)
        counted = {"bullhorn_cluster_texts_missing_total": 3.0}
        self.assertEqual(cluster_load.mistakes(result, counted, 30, 10), [])
        counted = {"bullhorn_cluster_texts_missing_total": 2.0}
        (found,) = cluster_load.mistakes(result, counted, 30, 10)
        self.assertIn("30 copies lost", found)
        self.assertIn("do not count", cluster_load.mistakes(result, {}, 30, 10)[1])

    def test_a_repeat_is_a_mistake(self) -> None:
        counted = {"bullhorn_cluster_texts_stale_total": 0.0}
        (found,) = cluster_load.mistakes(self.counts(repeated=1), counted, 30, 10)
        self.assertIn("1 copies repeated", found)
        counted = {"bullhorn_cluster_texts_stale_total": 2.0}
        (found,) = cluster_load.mistakes(self.counts(), counted, 30, 10)
        self.assertIn("2 texts", found)

    def test_copies_for_nobody_need_no_count(self) -> None:
        result = self.counts(expected=100, delivered=70, lost=30)
        counted = {"bullhorn_cluster_texts_missing_total": 2.0}
        self.assertEqual(cluster_load.mistakes(result, counted, 30, 10, 10), [])
        self.assertEqual(len(cluster_load.mistakes(result, counted, 30, 10, 9)), 1)

    def test_a_node_is_alone_until_another_is_back(self) -> None:
        line = "2026-11-28T19:15:{} {} bullhorn::server: cluster: node {}\n"
        log = "".join(
            line.format(*words)
            for words in (
                ("22.000000Z", " INFO", "n2 is here"),
                ("31.250000Z", " WARN", "n2 does not answer"),
                ("31.500000Z", " WARN", "n3 does not answer"),
                ("31.750000Z", " INFO", "n2 is here"),
                ("40.000000Z", " WARN", "n2 has stopped"),
            )
        )
        self.assertEqual(cluster_load.alone(log), [0.5])

    def test_messages_are_those_with_texts(self) -> None:
        counted = {"bullhorn_messages_total": 500.0}
        self.assertEqual(cluster_load.batches_of(counted, 120, 20), (500, 100, "as the bus counts"))
        with self.assertRaises(CheckFailed):
            cluster_load.batches_of(counted, 20, 20)
        counted |= {
            "bullhorn_cluster_batches_published_total": 90.0,
            "bullhorn_cluster_texts_published_total": 480.0,
        }
        self.assertEqual(cluster_load.batches_of(counted, 120, 20), (480, 90, "as nodes count"))

    def test_seconds_are_those_between_two_times(self) -> None:
        def second(start: int) -> dict[str, object]:
            return {"start_s": start, "length_s": 1, "latencies": {"delivery": {"p99_us": 1000 * start}}}

        result = Result({"began_at_unix_s": 100.0}, [second(start) for start in range(5)])
        self.assertEqual(result.p99s_ms("delivery", 101, 104), [1, 2, 3])
        self.assertEqual(result.p99s_ms("delivery", 101.5, 104), [2, 3])
        self.assertEqual(result.p99s_ms("answer", 101, 104), [])


class ArgumentsTest(unittest.TestCase):
    def test_parts_are_known(self) -> None:
        arguments = cluster.parse(["target/release", "--only=kill", "--only=bus", "--kills=3"])
        self.assertEqual((arguments.only, arguments.kills), (["kill", "bus"], 3))
        for words in (["--only=rest"], ["--kills=0"], ["--peers=many"]):
            with self.assertRaises(SystemExit) as ended, redirect_stderr(io.StringIO()):
                cluster.parse(["target/release", *words])
            self.assertEqual(ended.exception.code, 2)

    def test_a_part_that_fails_leaves_the_others(self) -> None:
        ran = []

        def fails(*_: object) -> list[str]:
            raise CheckFailed("no luck")

        def misses(*_: object) -> list[str]:
            ran.append("bus")
            return ["too late"]

        parts = {"kill": fails, "bus": misses}
        words = ["cluster", "target/release", "--nats", __file__, "--only=kill", "--only=bus"]
        with (
            mock.patch.dict(cluster.PARTS, parts),
            mock.patch("sys.argv", words),
            mock.patch("sys.stdout", io.StringIO()),
            redirect_stderr(io.StringIO()),
            self.assertRaises(CheckFailed) as failed,
        ):
            cluster.main()
        self.assertEqual(ran, ["bus"])
        self.assertEqual(str(failed.exception), "kill: no luck\nbus: too late")
