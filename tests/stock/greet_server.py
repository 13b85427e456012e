#!/usr/bin/env python3
"""The naive greeting server: the first program of many a UDP tutorial.

It answers every datagram, whatever is in it, with `hello,` and the sender's
address as Python prints the tuple: `hello,('127.0.0.1', 51859)`. It is the
yardstick for bullhorn's greeting service, to the byte.

Known weak points, kept on purpose: it answers one datagram at a time, and it
answers anyone, so a forged sender address makes it write to a stranger, with
more bytes than came in.

Port 0 asks the kernel for a port; stderr says which one it became.
"""

import argparse
import socket
import sys


def serve(sock):
    print("UDP Server is Starting...", flush=True)
    while True:
        _, sender = sock.recvfrom(1024)
        sock.sendto(f"hello,{sender}".encode("utf-8"), sender)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="naive UDP greeting server")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((options.host, options.port))
        print("bound to %s:%d" % udp.getsockname(), file=sys.stderr, flush=True)
        try:
            serve(udp)
        except KeyboardInterrupt:
            pass
