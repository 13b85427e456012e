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
        if text[2:10] == bytes(8):
            udp.sendto(text[:2] + text[13:21] + b"\\x82\\0\\x15" + b"12345678" + bytes(13), peer)
            continue
        if text[:5] == b"/ping" or text[10:11] == b"\\x02":
            peers.append(peer)
            udp.sendto(text[:10] + b"\\x87\\0\\x0d" + bytes(13), peer)
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
                texts = sum((len(one) - 10) // 51 for one in batch)
                udp.sendto(text[:10] + bytes(67) * texts, peer)
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
        self.assertEqual(self.steps(Scene("v2", 2, 4, 3)), [(4, 4 * (10 + 3 * 67))] * 5)
        self.assertEqual(self.steps(Scene("v2", 2, 4, 3, says=2)), [(4, 4 * (10 + 6 * 67))] * 5)

    def test_a_commit_without_sessions_in_its_header(self) -> None:
        hello = "udp.sendto(text[:2] + text[13:21]"
        code = SERVER.replace(hello, "peers.append(peer); udp.sendto(text[:2]")
        code = code.replace("text[:10] +", "text[:2] +")
        self.assertEqual(self.steps(Scene("v2", 2, 4, 3), code), [(4, 4 * (2 + 3 * 67))] * 5)

    def test_a_reply_for_another_client_is_no_reply(self) -> None:
        for old, new in (("text[13:21]", "bytes(8)"), ("text[:10] + b", "bytes(10) + b")):
            with self.assertRaisesRegex(CheckFailed, "without the"):
                self.steps(Scene("v2", 2, 4, 3), SERVER.replace(old, new))

    def test_more_than_is_due_is_no_step(self) -> None:
        code = SERVER.replace("* texts", "* (texts + 1)")
        with self.assertRaisesRegex(CheckFailed, "more came than was due"):
            self.steps(Scene("v2", 2, 4, 3), code)

    def test_a_server_that_loses_a_copy_is_found_out(self) -> None:
        code = SERVER.replace("for peer in peers:", "for peer in peers[1:]:")
        with mock.patch.object(scenes, "LIMIT_S", 1), self.assertRaises(OSError):
            self.steps(Scene("v1", 1, 4, 3), code)


class ScenesTest(unittest.TestCase):
    def test_a_step_fits_into_one_call_that_receives(self) -> None:
        for scene in scenes.COUNTED_SCENES:
            self.assertLessEqual(scene.datagrams, min(scene.peers, scenes.MAX_DATAGRAMS))
            self.assertEqual((scene.peers % scene.rooms, scene.datagrams % scene.rooms), (0, 0))

    def test_deliveries(self) -> None:
        self.assertEqual(Scene("texts", 1, 10, 3).deliveries, 30)
        self.assertEqual(Scene("bundles", 2, 10, 3, says=2).deliveries, 60)
        self.assertEqual(Scene("rooms", 1, 10, 2, rooms=2).deliveries, 10)
        self.assertEqual(Scene("pings", 1, 10, 3, is_ping=True).deliveries, 3)
