"""Says each line that it reads, and prints what it hears: v2_client.py IP PORT"""
import os, socket, struct, sys, threading

HELLO, HEARTBEAT, BYE, SAY, PING, COMMAND = range(1, 7)
WELCOME, MESSAGE, PONG, NOTICE, GOODBYE, ROOM, PRIVATE = range(0x82, 0x89)

def send(kind, body=b""):
    data = struct.pack(">HQBH", 0xFF02, session, kind, len(body)) + body
    sock.send(data.ljust(256, b"\0") if kind == HELLO else data)

def hear():
    data, at = sock.recv(2048), 10
    if data[2:10] not in (nonce, session.to_bytes(8, "big"), bytes(8)):
        return  # not from the server; messages to a room have 0
    while at < len(data) and data[at] != 0:  # after a 0 is padding
        kind, length = struct.unpack_from(">BH", data, at)
        at += 3 + length
        yield kind, data[at - length : at]

def speaker(body):  # and what was said
    if body[0] == 1:
        return body[2 : 2 + body[1]].decode(), body[2 + body[1] :]
    family, end = (socket.AF_INET, 5) if body[0] == 4 else (socket.AF_INET6, 17)
    port = int.from_bytes(body[end : end + 2], "big")
    rest = end + (6 if body[0] == 7 else 2)  # a link-local address has a zone, too
    return f"{socket.inet_ntop(family, body[1:end])} {port}", body[rest:]

def listen():
    while True:
        for kind, body in hear():
            if kind == MESSAGE:  # its room, stream and sequence number come first
                print(*speaker(body[9:]))  # as b'...', which no terminal obeys
            elif kind == PRIVATE:
                print("to you:", *speaker(body))
            elif kind == NOTICE:
                print("*", body[1:])
            elif kind == PONG:
                print("pong", body)

def beat():
    while not stop.wait(5):  # seconds; the server forgets who is silent for 10
        send(HEARTBEAT)

family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock, session, stop = socket.socket(family, socket.SOCK_DGRAM), 0, threading.Event()
nonce = os.urandom(8)
sock.connect((sys.argv[1], int(sys.argv[2])))
send(HELLO, nonce)
session = next(int.from_bytes(body[:8], "big") for kind, body in hear() if kind == WELCOME)
send(HEARTBEAT)  # the first datagram with the session registers it
for work in (listen, beat):
    threading.Thread(target=work, daemon=True).start()
for line in map(str.strip, sys.stdin):
    kind = {"/": COMMAND, "?": PING}.get(line[:1], SAY)
    send(kind, line.lstrip("?").encode())
send(BYE)
