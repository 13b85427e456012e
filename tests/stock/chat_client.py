#!/usr/bin/env python3
"""A stock chat client, as written by the reader of a UDP tutorial.

It represents every client that was not written for bullhorn. It reads 1024 bytes
at a time, decodes them as strict UTF-8, and treats an empty datagram as the end
of the server. It fails if the server sends anything else.

Its weak points are intended. A message longer than 1024 bytes loses its end. An
empty line on stdin is sent as an empty datagram, which the server treats as a
leave. A text that contains line ends is printed as several lines.

Exit codes: 0 after `quit` or the end of stdin; 1, with a traceback, after an error
in any thread; 3 after an empty datagram from the server.
"""

import argparse
import os
import socket
import sys
import threading
import traceback


def finish(code):
    """Ends the process from any thread, without waiting for the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def guarded(work, *args):
    """Runs the work of a thread. An error ends the process, not only the thread."""
    try:
        work(*args)
    except BaseException:
        traceback.print_exc()
        finish(1)


def show(line):
    sys.stdout.write(line + "\n")  # one write, so that the threads' lines don't mix
    sys.stdout.flush()


def beat(sock, interval_s, stop):
    while True:
        sock.send(b"@im@")
        if stop.wait(interval_s):
            return


def receive(sock):
    while True:
        data = sock.recv(1024)
        if not data:
            show("server down")
            finish(3)
        show(data.decode("utf-8"))


def chat(sock, interval_s):
    stop = threading.Event()
    beater = threading.Thread(target=guarded, args=(beat, sock, interval_s, stop), daemon=True)
    beater.start()
    threading.Thread(target=guarded, args=(receive, sock), daemon=True).start()
    for line in sys.stdin:
        text = line.rstrip("\n")
        if text.lower() == "quit":
            break
        sock.send(text.encode("utf-8"))
    stop.set()
    beater.join()  # a heartbeat after the quit would register again
    show("bye bye")
    sock.send(b"quit")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="stock UDP chat client")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between heartbeats")
    options = parser.parse_args()
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((options.host, options.port))
        guarded(chat, udp, options.interval)
        finish(0)
