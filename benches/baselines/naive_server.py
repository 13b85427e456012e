#!/usr/bin/env python3
"""The baseline that `scripts/compare` measures for Python: a chat server as a reader of a
UDP tutorial would write it. One thread, one dict, one `sendto` for each delivery.

It speaks what stock peers speak: `@im@` registers, `quit` or an empty datagram leaves,
`/ping TOKEN` is answered with `* pong TOKEN`, and any other text goes to every peer, the
sender too, as `ip:port text`. It differs from `tests/stock/chat_server.py` in that: it
answers pings, so that round trips can be measured; and it passes bytes on as they are,
which is quicker than to decode them.

Port 0 asks the kernel for a port; stderr says which one it became.
"""

import argparse
import socket
import sys
import time


def serve(sock, timeout_s):
    last_seen_s = {}  # (ip, port) -> when this peer last sent anything
    while True:
        data, sender = sock.recvfrom(2048)
        word = data.lower()
        if word == b"" or word == b"quit":
            last_seen_s.pop(sender, None)
            continue
        now_s = time.monotonic()
        last_seen_s[sender] = now_s
        if word == b"@im@":
            continue
        if word.startswith(b"/ping "):
            sock.sendto(b"* pong " + data[6:], sender)
            continue
        message = b"%s:%d %s" % (sender[0].encode(), sender[1], data)
        for peer, seen_s in list(last_seen_s.items()):
            if now_s - seen_s > timeout_s:
                del last_seen_s[peer]
            else:
                sock.sendto(message, peer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="message-by-message UDP chat server")
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
