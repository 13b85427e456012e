"""A client of protocol v2: v2.py IP PORT [OPTIONS IN HEXADECIMAL], or v2.py --vectors FILE

Says each line that it reads, and prints what it receives. A line may begin with / for a command,
? for a ping, + or - to subscribe to a room or end that, @ for a room (@den hi), ! for a new port."""
import os, select, signal, socket, struct, sys, time
HELLO, HEARTBEAT, BYE, SAY, PING, COMMAND, SUBSCRIBE, UNSUBSCRIBE, SAY_TO, MOVE = range(1, 11)
WELCOME, MESSAGE, PONG, NOTICE, GOODBYE, ROOM, PRIVATE, UNKNOWN = range(0x82, 0x8A)
SUBSCRIBED, UNSUBSCRIBED, OWN = range(0x8A, 0x8D)
NAMES = {number: name for name, number in list(globals().items()) if isinstance(number, int)}

def datagram(number, *frames):
    """Every datagram begins with FF 02 and the session. A frame has a kind, a length, a body."""
    parts = [struct.pack(">BH", kind, len(body)) + body for kind, body in frames]
    return b"".join([struct.pack(">HQ", 0xFF02, number), *parts])

def parse(data):
    """Returns the number in the header, and the frames. A kind of 0 begins the padding."""
    mark, number = struct.unpack_from(">HQ", data)
    assert mark == 0xFF02, "not version 2"
    at, frames = 10, []
    while at < len(data) and data[at]:
        kind, length = struct.unpack_from(">BH", data, at)
        at += 3 + length
        assert at <= len(data), "a frame is cut short"
        frames.append((kind, data[at - length : at]))
    return number, frames

def split_from(body):
    """Cuts a sender off: a name, or an address. Returns its text, and what follows."""
    if body[0] == 1:
        return body[2 : 2 + body[1]].decode(), body[2 + body[1] :]
    family, end = (socket.AF_INET, 5) if body[0] == 4 else (socket.AF_INET6, 17)
    (port,) = struct.unpack_from(">H", body, end)
    rest = end + (6 if body[0] == 7 else 2)  # a link-local address has a zone, too
    return f"{socket.inet_ntop(family, body[1:end])} {port}", body[rest:]

def describe(kind, body):
    """Returns the meaning of a frame as words, as the test vectors have it."""
    number = lambda at=0: str(int.from_bytes(body[at : at + 4], "big"))
    words = [NAMES.get(kind, f"{kind:02x}")]
    if kind == HELLO:
        words += [body[:8].hex(), body[8:].hex()]  # options: type, length, value
    elif kind == WELCOME:
        timeout, limit = struct.unpack_from(">IH", body, 8)
        address, rest = split_from(body[14:])
        words += [body[:8].hex(), str(timeout), str(limit), address, rest.hex()]
    elif kind == MESSAGE:
        sender, payload = split_from(body[9:])
        words += [number(), str(body[4]), number(5), sender, payload.hex()]
    elif kind == PRIVATE:
        sender, payload = split_from(body)
        words += [sender, payload.hex()]
    elif kind == MOVE:
        words += [body[:8].hex(), split_from(body[8:])[0]]
    elif kind in (ROOM, SUBSCRIBED, SAY_TO):
        rest = [body[4:].hex()] if kind == SAY_TO else [body[4:12].hex(), body[12:].decode()]
        words += [number(), *rest]
    elif kind == OWN:
        words += [number(), str(body[4]), number(5), str(int.from_bytes(body[9:], "big"))]
    elif kind in (HEARTBEAT, UNSUBSCRIBE, UNSUBSCRIBED) and body:
        words.append(number())
    else:
        words.append(body.decode() if kind == SUBSCRIBE else body.hex())
    return " ".join(filter(None, words))

def check_vectors(path):
    for line in open(path):
        if line.strip() and not line.startswith("#"):
            name, digits, meaning = (part.strip() for part in line.split("|"))
            data = bytes.fromhex(digits)
            number, frames = parse(data)
            words = "; ".join([f"{number:016x}", *(describe(*frame) for frame in frames)])
            assert words == meaning, f"{name}: {words}"
            assert data == datagram(number, *frames).ljust(len(data), b"\0"), name
            print(name)

class Client:
    def __init__(self, ip, port, options=""):
        self.server, self.options = (ip, int(port)), bytes.fromhex(options)
        self.here, self.moved_from, self.rooms, self.expected_next = None, None, {}, {}
        self.expected = self.lost = self.forged = 0
        self.connect()

    def connect(self):
        family = socket.AF_INET6 if ":" in self.server[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.connect(self.server)
        self.begin()

    def begin(self):
        self.session, self.room, self.nonces, self.silent, self.next = 0, None, [], 0, 0

    def send(self, *frames):
        self.socket.send(datagram(self.session, *frames))

    def beat(self):
        """Sends what is due: a HELLO, the first datagram of a session, or a sign of life."""
        if not self.session:
            self.nonces = self.nonces[-7:] + [os.urandom(8)]
            self.socket.send(datagram(0, (HELLO, self.nonces[-1] + self.options)).ljust(256, b"\0"))
        elif self.room is None:
            hello = (HELLO, self.nonces[-1] + self.options)
            self.send(*[(MOVE, self.moved_from)] * bool(self.moved_from), hello)
        elif self.silent > 2:  # the server is gone, or does not know this address
            return self.move()
        else:
            self.silent += 1
            self.send((HEARTBEAT, struct.pack(">I", self.room)), (PING, b""))
        self.next = time.monotonic() + (0.3 if self.room is None else 5 if self.silent < 2 else 1)

    def receive(self):
        try:
            number, frames = parse(self.socket.recv(2048))
        except (OSError, AssertionError, struct.error):
            return  # nobody is there yet, or not for this version
        if not number or number != self.session and number.to_bytes(8, "big") not in self.nonces:
            self.forged += 1
        else:
            self.silent = 0
            for kind, body in frames:
                self.handle(kind, body)

    def handle(self, kind, body):
        if kind == WELCOME and not self.session:
            self.session, self.next = int.from_bytes(body[:8], "big"), 0
            self.address = body[14 : len(body) - len(split_from(body[14:])[1])]
        elif kind == ROOM:
            self.room, self.moved_from = int.from_bytes(body[:4], "big"), None
            self.here = struct.pack(">Q", self.session) + self.address  # to move from
            print("in", body[12:].decode())
        elif kind == SUBSCRIBED:
            self.rooms[body[12:].decode().lower()] = int.from_bytes(body[:4], "big")
            print("subscribed to", body[12:].decode())
        elif kind == UNSUBSCRIBED:
            number = int.from_bytes(body, "big")
            self.rooms = {name: room for name, room in self.rooms.items() if room != number}
            print("unsubscribed")
        elif kind in (MESSAGE, OWN) and self.room is not None:
            self.message(kind, body)
        elif kind in (PRIVATE, NOTICE):
            print(*(["*", body[1:]] if kind == NOTICE else ["to you:", *split_from(body)]))
        elif kind == PONG and body:
            print("pong", body)
        elif kind in (UNKNOWN, GOODBYE):
            self.move()

    def message(self, kind, body):
        room, stream, sequence = struct.unpack_from(">IBI", body)
        count = int.from_bytes(body[9:], "big") if kind == OWN else 1
        step = (sequence + count - self.expected_next.get((room, stream), sequence)) % 2**32
        if 0 < step < 2**31:  # otherwise it was overtaken, or has come before
            self.expected_next[room, stream] = sequence + count
            self.expected, self.lost = self.expected + step, self.lost + step - count
        if room != self.room and room not in self.rooms.values():
            self.next = min(self.next, time.monotonic() + 0.2)  # a ROOM was lost
        if kind == MESSAGE:
            print(*split_from(body[9:]))  # as b'...', which no terminal obeys

    def move(self):
        self.moved_from = self.here
        self.begin()

    def type(self, line):
        kind, rest = line[:1], line[1:]
        if kind == "!":
            self.move()
            self.connect()
        elif kind in "-@" and rest.split(" ")[0].lower() in self.rooms:
            name, _, text = rest.partition(" ")
            number = struct.pack(">I", self.rooms[name.lower()])
            self.send((UNSUBSCRIBE, number) if kind == "-" else (SAY_TO, number + text.encode()))
        else:
            code = {"/": COMMAND, "?": PING, "+": SUBSCRIBE}.get(kind, SAY)
            self.send((code, (rest if kind in "?+" else line).encode()))

    def run(self, typed=b""):
        while True:
            if time.monotonic() >= self.next:
                self.beat()
            inputs = [self.socket] + [sys.stdin] * (self.room is not None)
            ready = select.select(inputs, [], [], max(0, self.next - time.monotonic()))[0]
            if self.socket in ready:
                self.receive()
            elif sys.stdin in ready:
                data = os.read(sys.stdin.fileno(), 65536)
                *lines, typed = (typed + data).split(b"\n")
                for line in filter(None, lines):
                    self.type(line.decode())
                if not data:
                    break
        self.send((BYE, b""))
        print(f"{self.lost} of {self.expected} lost, {self.forged} forged datagrams")

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, without a traceback
if len(sys.argv) < 3:
    sys.exit(__doc__)
elif sys.argv[1] == "--vectors":
    check_vectors(sys.argv[2])
else:
    Client(*sys.argv[1:]).run()
