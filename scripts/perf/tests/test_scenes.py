"""Steps of a scene, with a script in the place of the server."""

import os
import tempfile
import textwrap
import unittest
from pathlib import Path
from unittest import mock

import scenes
import subject
from processes import CheckFailed
from scenes import Room, Scene

SERVER = """
    import ctypes, socket, sys
    ctypes.CDLL(None).prctl(15, b"worker-0")
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    print("listening on 127.0.0.1:%d" % udp.getsockname()[1], file=sys.stderr, flush=True)
    print(">>>>: ", end="", flush=True)
    peers = []
    while True:
        text, peer = udp.recvfrom(2048)
        if text[:5] == b"/ping" or text[2:10] == bytes(8):
            if peer not in peers:
                peers.append(peer)
            udp.sendto(b"\\xff\\x02\\x82\\0\\x12" + b"12345678" + bytes(10), peer)
            continue
        # Everything that waits is one batch.
        batch = [text]
        udp.setblocking(False)
        try:
            while True:
                batch.append(udp.recv(2048))
        except BlockingIOError:
            udp.setblocking(True)
        is_v2 = text[:2] == b"\\xff\\x02"
        for peer in peers:
            if is_v2:
                assert text[2:10] == b"12345678"
                udp.sendto(b"\\xff\\x02" + bytes(67) * len(batch), peer)
            else:
                for one in batch:
                    udp.sendto(one, peer)
"""


class StepTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.script = Path(directory.name) / "server"

    def steps(self, scene: Scene, code: str = SERVER) -> list[tuple[int, int]]:
        self.script.write_text("#!/usr/bin/env python3\n" + textwrap.dedent(code))
        self.script.chmod(0o755)
        with subject.running(self.script, {min(os.sched_getaffinity(0))}) as running:
            room = Room(running, scene)
            try:
                done = [room.step() for _ in range(5)]
            finally:
                room.close()
        return [(one.datagrams, one.payload_bytes) for one in done]

    def test_every_copy_is_read(self) -> None:
        copies = 12 * len(scenes.TEXT)
        self.assertEqual(self.steps(Scene("v1", 1, 4, 3)), [(12, copies)] * 5)

    def test_what_is_queued_while_the_server_is_stopped_is_one_batch(self) -> None:
        # One bundle of 3 messages for each of 4 peers.
        self.assertEqual(self.steps(Scene("v2", 2, 4, 3)), [(4, 4 * (2 + 3 * 67))] * 5)

    def test_more_than_is_due_is_no_step(self) -> None:
        code = SERVER.replace("* len(batch)", "* (len(batch) + 1)")
        with self.assertRaisesRegex(CheckFailed, "more came than was due"):
            self.steps(Scene("v2", 2, 4, 3), code)

    def test_a_server_that_loses_a_copy_is_found_out(self) -> None:
        code = SERVER.replace("for peer in peers:", "for peer in peers[1:]:")
        with mock.patch.object(scenes, "LIMIT_S", 1), self.assertRaises(OSError):
            self.steps(Scene("v1", 1, 4, 3), code)


class ScenesTest(unittest.TestCase):
    def test_a_step_fits_into_one_call_that_receives(self) -> None:
        for scene in scenes.SCENES:
            self.assertLessEqual(scene.datagrams, min(scene.peers, scenes.MAX_DATAGRAMS))

    def test_deliveries(self) -> None:
        self.assertEqual(Scene("texts", 1, 10, 3).deliveries, 30)
        self.assertEqual(Scene("pings", 1, 10, 3, is_ping=True).deliveries, 3)
