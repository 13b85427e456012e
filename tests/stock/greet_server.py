#!/usr/bin/env python3
"""The naive greeting server, the first program of many UDP tutorials.

It answers every datagram with `hello,` and the address of the sender as Python
prints it: `hello,('127.0.0.1', 51859)`. It is the model of bullhorn's greeting
service, to the byte.

Its weak points are intended. It answers one datagram at a time. It answers anyone,
so a forged sender address makes it send to a third party, with more bytes than it
received.

With port 0 the kernel chooses a port, which is printed to stderr.
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
