"""perf-check from its arguments to its exit code, with made-up builds."""

import json
import shlex
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import check
import fakes
import floors
import measuring
from builds import Source
from procedure import compare

BASE = Source("abc", "01", commit="abc")
CANDIDATE = Source("working tree", "02")


class MakeBenchTest(unittest.TestCase):
    def make(self, is_same: bool, *words: str) -> tuple[object, mock.Mock]:
        arguments = check.parse(list(words))
        shop = mock.Mock()
        shop.build.side_effect = lambda source: mock.Mock(
            source=source, is_same_server=lambda other: is_same
        )
        shop.loadgen.side_effect = lambda source: Path(source.label)
        with (
            mock.patch.object(measuring, "make_bench") as make,
            mock.patch.object(measuring, "choose_cores"),
        ):
            options = measuring.options(arguments)
            return check.make_bench(shop, BASE, CANDIDATE, options, arguments), make

    def test_equal_servers_are_compared_only_where_that_is_asked(self) -> None:
        self.assertIsNone(self.make(True)[0])
        self.assertIsNotNone(self.make(True, "--even-if-equal")[0])
        self.assertIsNotNone(self.make(False)[0])

    def test_the_generator_is_the_candidates(self) -> None:
        base, candidate, loadgen, *_ = self.make(False)[1].call_args.args
        self.assertEqual((base.source, candidate.source), (BASE, CANDIDATE))
        self.assertEqual(loadgen, Path(CANDIDATE.label))


class MainTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)

    def test_the_floors_that_are_known_count_and_all_is_written(self) -> None:
        bench = mock.Mock(half_rate_per_s=1000)
        bench.compare.return_value = compare(fakes.trials(noise=0.005), 12, {}, 1)
        shop = mock.MagicMock()
        shop.default_base.return_value = BASE
        shop.working_tree.return_value = CANDIDATE
        known = floors.Floors({"p50_us": 0.5}, "made up")
        record, out = self.path / "new" / "record.json", self.path / "out"
        words = ["--no-counts", "--seed=7", f"--json={record}", f"--out={out}"]
        with (
            fakes.program(shop, "perf-check", *words) as said,
            mock.patch.object(floors, "load", lambda *rest: known),
            mock.patch.object(check, "make_bench", lambda *rest: bench),
        ):
            self.assertEqual(check.main(), 0)
        bench.compare.assert_called_once_with({"p50_us": 0.5}, 7)
        self.assertIn("noise floors: made up", said.getvalue())
        self.assertEqual((out / "report.txt").read_text(), said.getvalue())
        self.assertEqual((out / "perf-check.json").read_text(), record.read_text())
        self.assertEqual(json.loads(record.read_text())["verdict"], "pass")

    def test_the_command_to_repeat_asks_for_the_same(self) -> None:
        file = self.path / "noise.json"
        file.write_text('{"floors": {}}')
        words = ["--even-if-equal", "--no-counts", f"--floors={file}"]
        words += ["--seconds=0.8", "--seed=7", "--budget-min=3"]
        arguments = check.parse(words)
        options = measuring.options(arguments)
        command = check._repeat(arguments, options, (BASE, CANDIDATE), 1234.0)
        program, *again = shlex.split(command)
        self.assertEqual(program, "scripts/perf-check")
        named = {"base": "abc", "pairs": options.pairs, "half_rate": 1234}
        self.assertEqual(vars(check.parse(again)), vars(arguments) | named)
