"""What a trial makes of what the generator, the server and the kernel say."""

import math
import subprocess
import tempfile
import unittest
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest import mock

import capacity
import generator
import loads
import machine
import processes
import subject
import trial
from loads import LoadName
from machine import CoreTimes, ProcessTimes
from processes import CheckFailed
from trial import Cores, Sample, Span, Trial

RUN = generator.Run(
    began_at_unix_s=100.0,
    recorded_s=1.0,
    sent_ratio=1.0,
    received=50_000,
    loss_ratio=0.0,
    p50_us=200.0,
    p99_us=900.0,
    run_queue_ratio=0.0,
    invalid=(),
    server_cpu_s=0.95,
)

SPAN = Span(
    length_s=0.8,
    server_cpu_s=0.76,
    server_run_queue_s=0.0,
    deliveries=40_000,
    foreign_s=0.0,
    steal_s=0.0,
)


def sample(at_unix_s: float, cpu_s: float, deliveries: int, **more: float) -> Sample:
    return Sample(
        at_unix_s,
        ProcessTimes(cpu_s, more.get("run_queue_s", 0.0)),
        deliveries,
        CoreTimes(more.get("busy_s", cpu_s), 0.0),
        CoreTimes(0.0, more.get("steal_s", 0.0)),
    )


class EvaluateTest(unittest.TestCase):
    def test_cpu_time_a_delivery_as_the_generator_sees_both(self) -> None:
        values = trial.evaluate(LoadName.HALF, RUN, SPAN).values
        self.assertAlmostEqual(values["cpu_us_per_delivery"], 19.0)
        self.assertEqual((values["p50_us"], values["p99_us"]), (200.0, 900.0))

    def test_throughput_is_what_the_server_sent(self) -> None:
        # What did not come, the generator could not read.
        run = replace(RUN, received=1, loss_ratio=0.9, invalid=("own drops",), sent_ratio=0.96)
        one = trial.evaluate(LoadName.SATURATION, run, SPAN)
        self.assertIsNone(one.spoiled)
        self.assertAlmostEqual(one.values["throughput_per_s"], 50_000)

    def test_what_spoils_a_trial(self) -> None:
        half, saturation = LoadName.HALF, LoadName.SATURATION
        for load, run, seen, reason in (
            (half, RUN, replace(SPAN, steal_s=0.05), "hypervisor took 6.2%"),
            (half, RUN, replace(SPAN, foreign_s=0.2), "others had 25.0%"),
            (half, RUN, replace(SPAN, server_run_queue_s=0.08), "waited for its core 10.0%"),
            (half, replace(RUN, invalid=("it fell behind: offer less",)), SPAN, "it fell behind"),
            (half, RUN, None, "no processor to look"),
            (half, replace(RUN, p50_us=math.nan), SPAN, "no value: delivery p50"),
            (saturation, replace(RUN, sent_ratio=0.9), SPAN, "sent 90.0%"),
            (saturation, RUN, replace(SPAN, server_cpu_s=0.4), "busy 50.0%"),
            (saturation, RUN, replace(SPAN, deliveries=0), "no value: saturated"),
        ):
            spoiled = trial.evaluate(load, run, seen).spoiled
            self.assertIn(reason, spoiled or "nothing", reason)
        self.assertIsNone(trial.evaluate(half, RUN, SPAN).spoiled)
        self.assertIsNone(trial.evaluate(half, RUN, replace(SPAN, server_cpu_s=0.4)).spoiled)

    def test_what_is_common_spoils_nothing(self) -> None:
        common = replace(SPAN, steal_s=0.03, foreign_s=0.07, server_run_queue_s=0.03)
        self.assertIsNone(trial.evaluate(LoadName.HALF, RUN, common).spoiled)


class SpanTest(unittest.TestCase):
    def test_it_lies_within_the_recording(self) -> None:
        samples = [
            sample(99.9, 1.0, 1000),
            sample(100.1, 2.0, 2000, steal_s=7.0, run_queue_s=0.5),
            sample(100.5, 2.2, 4000),
            sample(100.9, 2.4, 9000, busy_s=2.5, steal_s=7.3, run_queue_s=0.75),
            sample(101.1, 9.0, 99_000),
        ]
        seen = trial.span(samples, RUN)
        assert seen is not None
        self.assertAlmostEqual(seen.length_s, 0.8)
        self.assertAlmostEqual(seen.server_cpu_s, 0.4)
        self.assertEqual(seen.deliveries, 7000)
        self.assertAlmostEqual(seen.foreign_s, 0.1)
        self.assertAlmostEqual(seen.steal_s, 0.3)
        self.assertAlmostEqual(seen.server_run_queue_s, 0.25)

    def test_what_is_stolen_of_either_core_counts(self) -> None:
        first, last = sample(100.1, 1.0, 1000), sample(100.9, 1.4, 9000)
        for core in ("server_core", "load_core"):
            stolen = replace(getattr(last, core), steal_s=0.3)
            seen = trial.span([first, replace(last, **{core: stolen})], RUN)
            assert seen is not None
            self.assertAlmostEqual(seen.steal_s, 0.3)

    def test_too_little_was_seen(self) -> None:
        few = [sample(100.1, 1.0, 1), sample(100.5, 1.0, 1)]
        for samples in ([], few[:1], few):
            self.assertIsNone(trial.span(samples, RUN))


class RunTrialTest(unittest.TestCase):
    def setUp(self) -> None:
        self.addCleanup(mock.patch.stopall)
        self.server = mock.Mock(pid=4321, address="127.0.0.1:5")
        self.server.counts.return_value = subject.Counts(10)
        self.running = mock.patch.object(subject, "running", mock.MagicMock()).start()
        self.running.return_value.__enter__.return_value = self.server
        self.running.return_value.__exit__.return_value = False
        self.generate = mock.patch.object(generator, "run", return_value=RUN).start()

    def trial(self) -> Trial:
        load = loads.half(100, 1.0)
        cores = Cores(server=3, load=7)
        return trial.run_trial(Path("server"), Path("loadgen"), LoadName.HALF, load, cores, 5)

    def test_server_and_generator_have_a_core_each(self) -> None:
        self.trial()
        self.running.assert_called_once_with(Path("server"), {3})
        *_, core, seed, _ = self.generate.call_args.args
        self.assertEqual((core, seed), (7, 5))

    def test_a_sample_is_of_both_cores(self) -> None:
        times = mock.patch.object(machine, "core_times", lambda core: CoreTimes(core, core))
        process = mock.patch.object(machine, "process_times", lambda pid: ProcessTimes(1.0, 0.0))
        with times, process:
            one = trial.sample(self.server, Cores(server=3, load=7))
        self.assertEqual((one.server_core.busy_s, one.load_core.busy_s), (3, 7))
        self.assertEqual(one.deliveries, 10)

    def test_a_run_without_outcome_is_spoiled_unless_the_server_has_died(self) -> None:
        self.generate.side_effect = generator.NoOutcome("nobody answered")
        self.assertEqual(self.trial().spoiled, "nobody answered")
        self.server.counts.side_effect = CheckFailed("it has ended")
        with self.assertRaisesRegex(CheckFailed, "it has ended"):
            self.trial()


class ReadTest(unittest.TestCase):
    def test_the_console_of_the_server(self) -> None:
        text = (
            "thread      core   datagrams in   deliveries out\n"
            "worker-0       0           2000           100000\n"
            "peers: 500 now, 0 expired\n"
            "datagrams: 2000 = 1500 texts + 500 heartbeats\n"
            "deliveries: 100500 = 100000 sent + 200 given up + 300 under way\n>>>>: "
        )
        self.assertEqual(subject.parse_counts(text), subject.Counts(100_000))
        none = text.replace("100500 = 100000 sent + 200 given up + 300 under way", "0")
        self.assertEqual(subject.parse_counts(none), subject.Counts(0))
        self.assertIsNone(subject.parse_counts(text.replace("deliveries: ", "delivered: ")))

    def test_a_silent_console_is_a_failure(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with (
            tempfile.TemporaryFile() as log,
            processes.child(["sleep", "60"], **pipes) as process,
            mock.patch.object(subject, "ANSWER_LIMIT_S", 0.05),
            self.assertRaisesRegex(CheckFailed, "silent"),
        ):
            subject.Subject(process, "", log).counts()

    def test_the_summary_of_the_generator(self) -> None:
        summary = {
            "began_at_unix_s": 5.0,
            "recorded_s": 2.0,
            "counts": {"delivered": 30, "answered": 4},
            "rates": {"sent_ratio": 0.5, "loss_ratio": 0.25},
            "latencies": {"delivery": {"p50_us": 1.5, "p99_us": 2.5}},
            "generator": {"run_queue_delay_s": 0.5},
            "verdict": {"invalid": ["it fell behind"]},
            "server": {"cpu_s": 0.7},
        }
        run = generator.parse(summary)
        self.assertEqual((run.received, run.loss_ratio, run.p99_us), (34, 0.25, 2.5))
        self.assertEqual((run.run_queue_ratio, run.server_cpu_s), (0.25, 0.7))
        self.assertEqual(run.invalid, ("it fell behind",))
        lossless = summary | {"rates": {"sent_ratio": 1.0, "loss_ratio": 0.0}}
        self.assertEqual(generator.parse(lossless).loss_ratio, 0.0)
        with self.assertRaises(generator.NoOutcome):
            generator.parse(summary | {"server": None})
        nothing = summary | {
            "rates": {"sent_ratio": None, "loss_ratio": None},
            "latencies": {},
        }
        self.assertTrue(math.isnan(generator.parse(nothing).p50_us))
        self.assertTrue(math.isnan(generator.parse(nothing).loss_ratio))

    def test_proc_stat(self) -> None:
        text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 2 30 999 888 4 5 60 0 0\n"
        ticks = machine.TICKS_PER_S
        times = machine.parse_core_times(text, 0)
        self.assertEqual(times, CoreTimes(141 / ticks, 60 / ticks))
        with self.assertRaises(ValueError):
            machine.parse_core_times(text, 1)


class CapacityTest(unittest.TestCase):
    def at(self, rate_per_s: float, carried_per_s: float) -> Trial:
        loss = 0.0 if rate_per_s <= carried_per_s else 0.5
        return Trial(LoadName.HALF, {"loss_ratio": loss}, facts={"server_busy_ratio": 0.5})

    def search(self, carried_per_s: float) -> float:
        return capacity.search(lambda rate_per_s: self.at(rate_per_s, carried_per_s))

    def test_it_finds_what_is_carried_to_a_fifth(self) -> None:
        for carried in (500, 620, 777, 3000, 12_345):
            found = self.search(carried)
            self.assertLessEqual(found, carried)
            self.assertGreater(found * 2**0.25, carried)

    def test_a_disturbed_try_is_made_again(self) -> None:
        tries: Counter[float] = Counter()

        def run(rate_per_s: float) -> Trial:
            tries[rate_per_s] += 1
            if tries[rate_per_s] < capacity.TRIES:
                return Trial(LoadName.HALF, spoiled="stolen")
            return self.at(rate_per_s, 3000)

        found = capacity.search(run)
        self.assertTrue(3000 / 2**0.25 < found <= 3000, found)

    def test_it_ends_where_everything_is_carried(self) -> None:
        self.assertLessEqual(self.search(1e9), 2 * loads.CAPACITY_TO_PER_S)

    def test_nothing_is_carried(self) -> None:
        with self.assertRaises(CheckFailed) as failure:
            self.search(10)
        self.assertEqual(failure.exception.exit_code, 1)

    def test_a_machine_that_is_too_busy_is_not_a_server_that_carries_nothing(self) -> None:
        def run(rate_per_s: float) -> Trial:
            return Trial(LoadName.HALF, spoiled="stolen")

        with self.assertRaisesRegex(capacity.TooDisturbed, "stolen") as failure:
            capacity.search(run)
        self.assertEqual(failure.exception.exit_code, 4)

    def test_what_is_not_carried(self) -> None:
        good = Trial(LoadName.HALF, {"loss_ratio": 0.0}, facts={"server_busy_ratio": 0.89})
        self.assertTrue(capacity.is_good(good))
        self.assertFalse(capacity.is_good(replace(good, values={"loss_ratio": 0.01})))
        self.assertFalse(capacity.is_good(replace(good, facts={"server_busy_ratio": 0.91})))
        self.assertFalse(capacity.is_good(replace(good, spoiled="stolen")))
