"""perf-noise from its arguments to its exit code, with made-up sessions."""

import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import fakes
import measuring
import noise
from builds import Source
from procedure import compare


class MainTest(unittest.TestCase):
    def run_main(self, alarms: int, sessions: int) -> tuple[int, mock.Mock]:
        calm, alarm = (compare(fakes.trials(by, 0.005), 12, {}, 1) for by in (fakes.SAME, 1.2))
        bench = mock.Mock(half_rate_per_s=1000)
        bench.compare.side_effect = [alarm] * alarms + [calm] * (sessions - alarms)
        shop = mock.MagicMock()
        shop.working_tree.return_value = Source("working tree", "0123")
        shop.build.return_value.is_same_server.return_value = True
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "noise.json"
            with (
                fakes.program(shop, "perf-noise", f"--sessions={sessions}", f"--out={file}"),
                mock.patch.object(measuring, "make_bench", lambda *rest: bench),
            ):
                code = noise.main()
            record = json.loads(file.read_text())
        self.assertEqual(len(record["sessions"]), sessions)
        self.assertEqual(record["false_alarms"], alarms)
        return code, bench

    def test_one_false_alarm_of_up_to_twenty_sessions_is_allowed(self) -> None:
        for alarms, code in ((0, 0), (1, 0), (2, 3)):
            self.assertEqual(self.run_main(alarms, sessions=3)[0], code)

    def test_sessions_have_seeds_of_their_own_and_know_no_floors(self) -> None:
        _, bench = self.run_main(0, sessions=3)
        seeds = [call.args[1] for call in bench.compare.call_args_list]
        # A second session, where one is asked, takes the next one.
        both = {seed for first in seeds for seed in (first, first + 1)}
        self.assertEqual(len(both), 2 * len(seeds))
        self.assertTrue(all(call.args[0] == {} for call in bench.compare.call_args_list))
