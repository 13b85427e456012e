#!/usr/bin/env python3
"""The naive chat server, as written by the reader of a UDP tutorial.

It defines the behaviour of bullhorn towards stock clients, and is the baseline of
measurements. It has one thread, one dict, and one system call per message and
client.

    a text                registers or refreshes its sender, and goes to every
                          live client, the sender too, as `ip:port text`
    `@im@`, any case      registers or refreshes; no answer
    `quit`, any case, or  drops the sender; no notice
    an empty datagram

Its weak points are intended. It sends when it should receive, so under load the
kernel drops heartbeats and live clients expire. It checks for expiry only when a
text arrives, for all clients at once. A datagram that is not UTF-8 ends it. The
line end of netcat is part of the word, so `quit` from netcat is a text. The prefix
makes long texts longer than clients read. The number of clients has no limit.

With port 0 the kernel chooses a port, which is printed to stderr.
"""

import argparse
import socket
import sys
import time


def serve(sock, timeout_s):
    last_seen_s = {}  # (ip, port) -> when this client last sent anything
    while True:
        data, sender = sock.recvfrom(1024)
        text = data.decode("utf-8")
        if text == "" or text.lower() == "quit":
            last_seen_s.pop(sender, None)
            continue
        now_s = time.monotonic()
        last_seen_s[sender] = now_s
        if text.lower() == "@im@":
            continue
        message = f"{sender[0]}:{sender[1]} {text}".encode("utf-8")
        for client, seen_s in list(last_seen_s.items()):
            if now_s - seen_s > timeout_s:
                del last_seen_s[client]
            else:
                sock.sendto(message, client)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="naive UDP chat server")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds of silence until a drop")
    options = parser.parse_args()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((options.host, options.port))
        print("bound to %s:%d" % udp.getsockname(), file=sys.stderr, flush=True)
        try:
            serve(udp, options.timeout)
        except KeyboardInterrupt:
            pass
