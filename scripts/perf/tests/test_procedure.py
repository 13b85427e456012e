"""Sessions of made-up trials, and the verdicts on them."""

import unittest
from collections import Counter
from dataclasses import replace
from unittest import mock

import fakes
import stats
from loads import LoadName
from procedure import Outcome, compare
from session import MIN_DISCARDED, Discard, LoadPairs, Session, Side, max_discarded
from trial import Trial
from verdict import Verdict

FLOORS: dict[str, float] = {}
PAIRS = 12


def outcome(slower: float, noise: float, seed: int, pairs: int = PAIRS) -> Outcome:
    return compare(fakes.trials(slower, noise, seed), pairs, FLOORS, seed)


# Enough for hundreds of sessions, of which none is decided by the third digit.
@mock.patch.object(stats, "RESAMPLES", 1000)
class CompareTest(unittest.TestCase):
    def test_a_tenth_slower_among_noise_is_flagged_by_both_sessions(self) -> None:
        outcomes = [outcome(1.10, 0.05, seed, pairs=20) for seed in range(20)]
        flagged = [one for one in outcomes if one.verdict is Verdict.REGRESSED]
        self.assertGreaterEqual(len(flagged), 18)
        for one in flagged:
            self.assertEqual(len(one.sessions), 2)
            seen = [
                {one.metric.key for one in judgements if one.verdict is Verdict.REGRESSED}
                for judgements in one.by_session
            ]
            self.assertTrue(seen[0] & seen[1])

    def test_the_same_is_hardly_ever_flagged(self) -> None:
        verdicts = Counter(outcome(fakes.SAME, 0.05, seed).verdict for seed in range(60))
        self.assertLessEqual(verdicts[Verdict.REGRESSED], 3)

    def test_the_same_passes_where_the_noise_is_below_the_limits(self) -> None:
        verdicts = Counter(outcome(fakes.SAME, 0.02, seed).verdict for seed in range(20))
        self.assertGreaterEqual(verdicts[Verdict.PASS], 18, verdicts)

    def test_a_clear_pass_takes_one_session_without_more_pairs(self) -> None:
        one = outcome(fakes.SAME, 0.005, seed=1)
        self.assertEqual((one.verdict, len(one.sessions)), (Verdict.PASS, 1))
        self.assertEqual({len(of.kept) for of in one.sessions[0].loads.values()}, {PAIRS})

    def test_an_interval_across_the_bound_gets_as_many_pairs_again_and_is_said(self) -> None:
        # Just at the bound of CPU time, and far below that of the others.
        one = outcome(1.04, 0.01, seed=1)
        self.assertEqual(one.verdict, Verdict.INCONCLUSIVE)
        self.assertEqual(len(one.sessions[0].loads[LoadName.HALF].kept), 2 * PAIRS)
        self.assertEqual(len(one.sessions[0].loads[LoadName.SATURATION].kept), PAIRS)
        self.assertEqual(one.judgements[0].estimate.pairs, 2 * PAIRS)  # type: ignore[union-attr]

    def test_what_the_second_session_does_not_see_is_inconclusive(self) -> None:
        slower, same = fakes.trials(1.2, 0.01), fakes.trials(fakes.SAME, 0.01)
        done = 0

        def first_slower(side: Side, load: LoadName, seed: int) -> Trial:
            nonlocal done
            done += 1
            return (slower if done <= 2 * 2 * PAIRS else same)(side, load, seed)

        one = compare(first_slower, PAIRS, FLOORS, seed=1)
        self.assertEqual(one.verdict, Verdict.INCONCLUSIVE)
        self.assertEqual(len(one.sessions), 2)

    def test_a_second_session_is_of_the_loads_alone_that_may_have_regressed(self) -> None:
        slower, same = fakes.trials(1.2, 0.005), fakes.trials(fakes.SAME, 0.005)

        def slower_at_half(side: Side, load: LoadName, seed: int) -> Trial:
            return (slower if load is LoadName.HALF else same)(side, load, seed)

        one = compare(slower_at_half, PAIRS, FLOORS, seed=1)
        self.assertIs(one.verdict, Verdict.REGRESSED)
        self.assertEqual(one.sessions[1].loads[LoadName.SATURATION].kept, [])
        self.assertEqual({of.metric.load for of in one.by_session[1]}, {LoadName.HALF})

    def test_a_second_session_has_trials_of_its_own(self) -> None:
        one = outcome(2.0, 0.01, seed=1)
        first, second = one.sessions
        self.assertNotEqual(first.seed, second.seed)
        self.assertEqual(len(second.loads[LoadName.HALF].kept), PAIRS)


class BudgetTest(unittest.TestCase):
    def test_without_time_nothing_more_is_begun_and_it_is_inconclusive(self) -> None:
        for slower, asked in ((1.2, 1), (1.04, 1)):
            has_time = mock.Mock(return_value=False)
            run = fakes.trials(slower, noise=0.01)
            one = compare(run, PAIRS, FLOORS, 1, has_time=has_time)
            self.assertEqual(one.verdict, Verdict.INCONCLUSIVE)
            self.assertEqual(len(one.sessions), 1)
            self.assertEqual({len(of.kept) for of in one.sessions[0].loads.values()}, {PAIRS})
            self.assertEqual(has_time.call_count, asked)
            self.assertEqual("no time" in one.judgements[0].reason, slower == 1.2)

    def test_what_has_passed_needs_no_second_session(self) -> None:
        run = fakes.trials(1.2, noise=0.01)
        one = compare(run, PAIRS, FLOORS, 1, has_time=lambda: False)
        verdicts = {of.metric.key: of.verdict for of in one.judgements}
        self.assertIs(verdicts["cpu_us_per_delivery"], Verdict.INCONCLUSIVE)
        self.assertIs(verdicts["loss_ratio"], Verdict.PASS)


class SpoiledTest(unittest.TestCase):
    def test_spoiled_trials_are_replaced_and_counted(self) -> None:
        def spoil(number: int, load: LoadName) -> str | None:
            return "stolen" if number in (3, 10) else None

        session = Session(fakes.trials(spoil=spoil), seed=1)
        session.run(PAIRS)
        self.assertEqual({len(of.kept) for of in session.loads.values()}, {PAIRS})
        self.assertEqual(sum(len(of.discarded) for of in session.loads.values()), 2)
        kept = [trial for of in session.loads.values() for pair in of.kept for trial in pair]
        self.assertTrue(all(trial.spoiled is None for trial in kept))

    def test_what_only_the_candidate_spoils_has_regressed_if_it_does_so_again(self) -> None:
        for sessions, expected in ((1, Verdict.INCONCLUSIVE), (2, Verdict.REGRESSED)):
            run = fakes.trials(noise=0.005)
            discarded = 0

            def hanging(side: Side, load: LoadName, seed: int) -> Trial:
                nonlocal discarded
                one = run(side, load, seed)
                is_spoiled = side is Side.CANDIDATE and load is LoadName.HALF
                if not is_spoiled or discarded == sessions * (max_discarded(PAIRS) + 1):
                    return one
                discarded += 1
                return replace(one, spoiled="nobody answered")

            one = compare(hanging, PAIRS, FLOORS, seed=1)
            self.assertEqual(one.verdict, expected)
            first = one.by_session[0][0]
            self.assertIn("13 by the candidate's trial", first.reason)
            self.assertIn("nobody answered", first.reason)

    def test_the_candidate_is_blamed_only_beyond_doubt(self) -> None:
        for of_base, of_candidate, expected in (
            (0, 13, Verdict.REGRESSED),
            (1, 12, Verdict.INVALID),
            (13, 0, Verdict.INVALID),
        ):
            discarded = [Discard(Side.BASE, "late")] * of_base
            discarded += [Discard(Side.CANDIDATE, "late")] * of_candidate
            found = LoadPairs(discarded=discarded, is_invalid=True).unmeasured()
            self.assertIs(found.verdict, expected, (of_base, of_candidate))

    def test_a_pair_in_place_of_a_discarded_one_may_have_the_other_order(self) -> None:
        session = Session(fakes.trials(spoil=lambda number, load: "stolen"), seed=1)
        session.run(PAIRS)
        for of in session.loads.values():
            self.assertEqual({one.side for one in of.discarded}, set(Side))

    def test_too_many_make_it_invalid_and_end_it(self) -> None:
        def spoil(number: int, load: LoadName) -> str | None:
            return "stolen" if load is LoadName.HALF else None

        one = compare(fakes.trials(noise=0.005, spoil=spoil), PAIRS, FLOORS, seed=1)
        self.assertEqual(one.verdict.exit_code, 4)
        self.assertEqual(
            len(one.sessions[0].loads[LoadName.HALF].discarded), max_discarded(PAIRS) + 1
        )
        self.assertIn("stolen", one.judgements[0].reason)
        self.assertEqual(one.judgements[-1].verdict, Verdict.PASS)

    def test_as_many_as_may_be_leave_it_valid(self) -> None:
        left = max_discarded(PAIRS)

        def spoil(number: int, load: LoadName) -> str | None:
            nonlocal left
            left -= 1
            return "stolen" if left >= 0 else None

        session = Session(fakes.trials(spoil=spoil), seed=1)
        session.run(PAIRS)
        self.assertEqual(session.unmeasured(), {})
        self.assertEqual((max_discarded(2), max_discarded(20)), (MIN_DISCARDED, 20))


class OrderTest(unittest.TestCase):
    def sides(self, seed: int, pairs: int = PAIRS) -> list[tuple[Side, LoadName, int]]:
        seen = []
        run = fakes.trials()

        def note(side: Side, load: LoadName, load_seed: int) -> Trial:
            seen.append((side, load, load_seed))
            return run(side, load, load_seed)

        Session(note, seed).run(pairs)
        return seen

    def test_each_side_goes_first_in_half_of_the_pairs_of_each_load(self) -> None:
        firsts = Counter((side, load) for side, load, _ in self.sides(1)[::2])
        self.assertEqual(set(firsts.values()), {PAIRS // 2})
        self.assertEqual(len(firsts), 4)

    def test_of_an_odd_number_of_pairs_either_side_may_have_one_more(self) -> None:
        more = set()
        for seed in range(10):
            firsts = Counter(
                side for side, load, _ in self.sides(seed, PAIRS + 1)[::2] if load is LoadName.HALF
            )
            more.add(firsts.most_common(1)[0][0])
        self.assertEqual(more, set(Side))

    def test_the_loads_take_turns_in_random_order(self) -> None:
        loads = [load for _, load, _ in self.sides(1)[::2]]
        rounds = list(zip(loads[::2], loads[1::2], strict=True))
        self.assertEqual({frozenset(one) for one in rounds}, {frozenset(LoadName)})
        self.assertEqual(len(set(rounds)), 2)

    def test_no_two_pairs_get_the_same_seed(self) -> None:
        seeds = [seed for _, _, seed in self.sides(1)[::2]]
        self.assertEqual(len(set(seeds)), len(seeds))

    def test_the_order_is_random_and_repeatable(self) -> None:
        self.assertEqual(self.sides(1), self.sides(1))
        self.assertNotEqual(self.sides(1), self.sides(2))
        firsts = [side for side, load, _ in self.sides(1)[::2] if load is LoadName.HALF]
        alternating = [firsts[index % 2] for index in range(len(firsts))]
        self.assertNotEqual(firsts, alternating)

    def test_a_pair_takes_turns_under_the_same_load_with_the_same_seed(self) -> None:
        seen = self.sides(1)
        for (one, load, seed), (other, other_load, other_seed) in zip(seen[::2], seen[1::2]):
            self.assertNotEqual(one, other)
            self.assertEqual((load, seed), (other_load, other_seed))
