"""The model of what a worker carries."""

import unittest

from model import MAX_BATCH, Costs, fit


class TestCosts(unittest.TestCase):
    costs = Costs(packet_us=2.0, text_us=0.5)

    def test_an_idle_worker_sends_texts_alone(self) -> None:
        # 100 deliveries of 2.5 µs each, 1000 times a second.
        offered_per_s, peers = 1000 * 100.0, 100
        self.assertEqual(self.costs.batch(offered_per_s), 1.0)
        self.assertAlmostEqual(self.costs.round_us(offered_per_s, peers), 250.0)
        self.assertAlmostEqual(self.costs.deliveries_per_s(offered_per_s), offered_per_s)

    def test_a_busy_worker_sends_what_came_in_the_round_before(self) -> None:
        # 800,000 deliveries a second: alone they would take 2 s of each second.
        rate_per_s, peers = 8000.0, 100
        batch = self.costs.batch(rate_per_s * peers)
        round_s = self.costs.round_us(rate_per_s * peers, peers) / 1e6
        self.assertAlmostEqual(batch, rate_per_s * round_s)
        self.assertAlmostEqual(batch, 1.6 / 0.6)
        self.assertAlmostEqual(self.costs.deliveries_per_s(rate_per_s * peers), 800_000)

    def test_batches_begin_to_grow_where_the_worker_has_no_time_to_spare(self) -> None:
        limit = self.costs.idle_deliveries_per_s
        self.assertAlmostEqual(limit, 400_000.0)
        self.assertAlmostEqual(self.costs.batch(limit), 1.0)
        self.assertGreater(self.costs.batch(limit * 1.01), 1.0)

    def test_no_packet_has_more_than_fits(self) -> None:
        most = self.costs.most_deliveries_per_s
        self.assertAlmostEqual(most, 1e6 / (2 / 128 + 0.5))
        for offered_per_s in (most, 3 * most):
            self.assertAlmostEqual(self.costs.batch(offered_per_s), MAX_BATCH)
            self.assertAlmostEqual(self.costs.deliveries_per_s(offered_per_s), most)

    def test_costs_are_found_from_what_they_cause(self) -> None:
        found = fit(self.costs.delivery_us(1), self.costs.delivery_us(MAX_BATCH))
        self.assertAlmostEqual(found.packet_us, 2.0)
        self.assertAlmostEqual(found.text_us, 0.5)
