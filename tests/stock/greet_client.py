#!/usr/bin/env python3
"""A stock greeting client, which sends one datagram and receives one reply.

It prints the address of its socket before and after `connect`, then the reply. A UDP
socket gets its address and port in `connect`, which sends nothing. It represents a
client that expects UTF-8 of at most 1024 bytes.

Its weak point is that UDP may lose either datagram, and it does not send again. If no
reply arrives in time, or one that is not UTF-8, it ends with a traceback and exit
code 1.
"""

import argparse
import socket
import sys


def greet(host, port, message, timeout_s):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        print("before connect:", sock.getsockname())
        sock.connect((host, port))
        print("after connect:", sock.getsockname())
        sock.send(message.encode("utf-8"))
        print(sock.recv(1024).decode("utf-8"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="stock UDP greeting client")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("message")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds to wait for the answer")
    options = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")
    greet(options.host, options.port, options.message, options.timeout)
