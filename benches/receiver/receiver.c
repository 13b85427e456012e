/* A receiver for version 2 of the protocol, written from docs/PROTOCOL.md alone.
 *
 *   receiver HOST PORT PEERS SECONDS [SERVER_PID]
 *
 * PEERS peers, each with a session and a socket of its own, are in the lobby. The first one
 * speaks as fast as the room follows: at most WINDOW of its messages have not come back to it.
 * One thread serves all peers. Messages are counted by their sequence numbers. After SECONDS, and
 * a second for what is under way at most, the program prints one JSON line and ends. With
 * SERVER_PID the line has the CPU time that the server took.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { PAD = 0x00, HELLO = 0x01, HEARTBEAT = 0x02, BYE = 0x03, SAY = 0x04 };
enum { WELCOME = 0x82, MESSAGE = 0x83, NOTICE = 0x85, GOODBYE = 0x86, ROOM = 0x87 };

enum {
    HEADER = 10,               /* FF 02, and the session or a nonce: u64 */
    HELLO_BYTES = 256,         /* at least */
    ROOM_BYTES = 4,            /* room:u32 */
    BUNDLE_BYTES = 1200,       /* of what this client sends; the server reads up to 2048 */
    PAYLOAD_BYTES = 32,        /* a line of chat */
    SAYS = (BUNDLE_BYTES - HEADER) / (3 + PAYLOAD_BYTES),
    PACKET_BYTES = 65536,      /* UDP_GRO: the most that one call receives */
    RECEIVE_BUFFER = 4 << 20,  /* wanted; the kernel may grant less */
    STREAMS = 256,             /* stream:u8 */
    WINDOW = 500,              /* messages; the rate with 50,000 is the same, but some are shed */
    REGISTERED_AT_ONCE = 100,  /* HELLOs under way, which any buffer of a server holds */
};

static const double STALLED_S = 0.5; /* without an echo, what is under way was shed */

struct peer {
    int socket;
    uint64_t nonce;              /* of its HELLO */
    uint64_t session;            /* never 0 once it is open */
    uint32_t room;
    uint8_t is_registered;       /* it knows its room */
    uint32_t next[STREAMS];      /* the sequence number that is expected */
    uint8_t has_begun[STREAMS];  /* whether a message of the stream was received */
    uint64_t passed;             /* messages that were received, or lost before a later one */
};

struct counts {
    uint64_t received, lost, repeated, packets;
    uint64_t misdirected; /* datagrams with another number than those of their peer */
};

static struct peer *peers;
static int peer_count;
static uint32_t timeout_ms;
static struct counts counts;
static uint8_t packet[PACKET_BYTES];

static void fail(const char *what) {
    fprintf(stderr, "receiver: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static double now_s(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) fail("the clock cannot be read");
    return time.tv_sec + time.tv_nsec / 1e9;
}

static uint64_t get(const uint8_t *bytes, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++) value = value << 8 | bytes[i];
    return value;
}

static uint8_t *put(uint8_t *at, uint64_t value, int count) {
    for (int i = count - 1; i >= 0; i--) *at++ = value >> 8 * i;
    return at;
}

/* Writes the header of a datagram, and returns its end. */
static uint8_t *put_header(uint8_t *datagram, uint64_t session) {
    return put(put(datagram, 0xFF02, 2), session, 8);
}

static void send_all(const struct peer *peer, const uint8_t *start, const uint8_t *end) {
    if (send(peer->socket, start, end - start, 0) < 0 && errno != ECONNREFUSED && errno != EAGAIN)
        fail("send");
}

static void send_hello(const struct peer *peer) {
    uint8_t datagram[HELLO_BYTES] = {0};
    uint8_t *at = put_header(datagram, 0);
    put(put(put(at, HELLO, 1), 8, 2), peer->nonce, 8); /* then PAD */
    send_all(peer, datagram, datagram + sizeof datagram);
}

/* Sends a HEARTBEAT with the room, once it is known. The server tells a peer its room that does
 * not know it. The first one registers the session. */
static void send_heartbeat(const struct peer *peer) {
    int length = peer->is_registered ? ROOM_BYTES : 0;
    uint8_t datagram[HEADER + 3 + ROOM_BYTES];
    uint8_t *at = put(put(put_header(datagram, peer->session), HEARTBEAT, 1), length, 2);
    send_all(peer, datagram, put(at, peer->room, length));
}

static void send_bye(const struct peer *peer) {
    uint8_t datagram[HEADER + 3];
    uint8_t *at = put_header(datagram, peer->session);
    send_all(peer, datagram, put(put(at, BYE, 1), 0, 2));
}

/* Sends `says` messages in one datagram. */
static void speak(const struct peer *peer, int says) {
    uint8_t datagram[BUNDLE_BYTES];
    uint8_t *at = put_header(datagram, peer->session);
    for (int i = 0; i < says; i++) {
        at = put(put(at, SAY, 1), PAYLOAD_BYTES, 2);
        memset(at, 'x', PAYLOAD_BYTES);
        at += PAYLOAD_BYTES;
    }
    send_all(peer, datagram, at);
}

static void count_message(struct peer *peer, int stream, uint32_t sequence) {
    counts.received++;
    if (!peer->has_begun[stream]) {
        peer->has_begun[stream] = 1;
    } else {
        /* Sequence numbers wrap: what lies behind has a negative distance. */
        int32_t distance = (int32_t)(sequence - peer->next[stream]);
        if (distance < 0) {
            counts.repeated++;
            return;
        }
        counts.lost += distance;
        peer->passed += distance;
    }
    peer->passed++;
    peer->next[stream] = sequence + 1;
}

static void read_datagram(struct peer *peer, const uint8_t *at, const uint8_t *end) {
    if (end - at < HEADER || get(at, 2) != 0xFF02) fail("a datagram that is not version 2");
    uint64_t number = get(at + 2, 8);
    if (number != (peer->session ? peer->session : peer->nonce)) {
        /* The reply to a HELLO that was sent twice has the nonce. */
        counts.misdirected += number != peer->nonce;
        return;
    }
    at += HEADER;
    while (at < end && *at != PAD) {
        if (end - at < 3) fail("a frame is cut short");
        int kind = at[0], length = get(at + 1, 2);
        at += 3;
        if (end - at < length) fail("a frame is cut short");
        if (kind == MESSAGE && length >= 10) {
            if (get(at, ROOM_BYTES) == peer->room) count_message(peer, at[4], get(at + 5, 4));
        } else if (kind == WELCOME && length >= 21) {
            peer->session = get(at, 8);
            timeout_ms = get(at + 8, 4);
        } else if (kind == ROOM && length >= 13) {
            peer->room = get(at, ROOM_BYTES);
            peer->is_registered = 1;
        } else if (kind == NOTICE) {
            fprintf(stderr, "receiver: the server says: %.*s\n", length - 1, at + 1);
            exit(1);
        } else if (kind == GOODBYE) {
            errno = 0;
            fail("the server stops");
        }
        at += length;
    }
}

/* Receives one packet, which holds several datagrams of one length and a shorter one at its end.
 * Returns 0 if there is none. */
static int receive(struct peer *peer) {
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec iovec = {packet, sizeof packet};
    struct msghdr header = {.msg_iov = &iovec, .msg_iovlen = 1, .msg_control = control,
                            .msg_controllen = sizeof control};
    ssize_t length = recvmsg(peer->socket, &header, MSG_DONTWAIT);
    if (length < 0) {
        if (errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED) return 0;
        fail("recvmsg");
    }
    counts.packets++;
    int segment = length;
    struct cmsghdr *message = CMSG_FIRSTHDR(&header);
    if (message && message->cmsg_level == IPPROTO_UDP && message->cmsg_type == UDP_GRO)
        memcpy(&segment, CMSG_DATA(message), sizeof segment);
    for (ssize_t at = 0; at < length; at += segment) {
        ssize_t rest = length - at;
        read_datagram(peer, packet + at, packet + at + (rest < segment ? rest : segment));
    }
    return 1;
}

static void open_peer(struct peer *peer, const struct sockaddr_in *server) {
    if (getrandom(&peer->nonce, sizeof peer->nonce, 0) != sizeof peer->nonce) fail("getrandom");
    int on = 1, bytes = RECEIVE_BUFFER;
    peer->socket = socket(AF_INET, SOCK_DGRAM, 0);
    if (peer->socket < 0) fail("socket");
    if (setsockopt(peer->socket, IPPROTO_UDP, UDP_GRO, &on, sizeof on) != 0) fail("UDP_GRO");
    setsockopt(peer->socket, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (connect(peer->socket, (const struct sockaddr *)server, sizeof *server) != 0)
        fail("connect");
}

/* Opens all sessions, some at a time: HELLO until a WELCOME comes, and then HEARTBEAT until ROOM
 * does. What has no reply is sent again after 100 ms. */
static void register_all(void) {
    double deadline = now_s(CLOCK_MONOTONIC) + 10;
    for (int from = 0; from < peer_count; from += REGISTERED_AT_ONCE) {
        int to = from + REGISTERED_AT_ONCE < peer_count ? from + REGISTERED_AT_ONCE : peer_count;
        double sent = 0;
        for (int open = from; open < to;) {
            double now = now_s(CLOCK_MONOTONIC);
            int is_due = now - sent > 0.1;
            errno = 0;
            if (now > deadline) fail("not every peer knows its room after 10 s");
            if (is_due) sent = now;
            for (int i = from; i < to; i++) {
                struct peer *peer = &peers[i];
                uint64_t session = peer->session;
                receive(peer);
                if (!peer->session && is_due) send_hello(peer);
                if (peer->session && !peer->is_registered && (is_due || !session))
                    send_heartbeat(peer);
            }
            while (open < to && peers[open].is_registered) open++;
        }
    }
}

/* Heartbeats of all peers, two in a timeout and more. */
static void keep_alive(double now) {
    static double sent;
    if (sent == 0) sent = now;
    if (now - sent < timeout_ms / 1e3 / 4) return;
    for (int i = 0; i < peer_count; i++) send_heartbeat(&peers[i]);
    sent = now;
}

int main(int argc, char **argv) {
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: receiver HOST PORT PEERS SECONDS [SERVER_PID]\n");
        return 2;
    }
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    peer_count = atoi(argv[3]);
    double seconds = atof(argv[4]);
    clockid_t server_clock = CLOCK_MONOTONIC;
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 || peer_count < 1 || seconds <= 0)
        fail("HOST is an IPv4 address, and PEERS and SECONDS are above 0");
    if (argc == 6 && (errno = clock_getcpuclockid(atoi(argv[5]), &server_clock)) != 0)
        fail("SERVER_PID");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (files.rlim_max < (rlim_t)peer_count + 16 || setrlimit(RLIMIT_NOFILE, &files) != 0)
        fail("more PEERS than files that may be open");
    peers = calloc(peer_count, sizeof *peers);
    if (!peers) fail("no memory");
    for (int i = 0; i < peer_count; i++) open_peer(&peers[i], &server);
    register_all();

    memset(&counts, 0, sizeof counts);
    double start = now_s(CLOCK_MONOTONIC), moved_at = start, cpu_start = now_s(server_clock);
    double wall = 0, cpu = 0, received = 0; /* once SECONDS are over */
    /* Messages that were sent, and those of them that the server seems to have shed. */
    uint64_t said = 0, given_up = 0;
    for (;;) {
        double now = now_s(CLOCK_MONOTONIC);
        if (now - moved_at > STALLED_S) given_up = said - peers[0].passed, moved_at = now;
        if (now - start < seconds) {
            while ((int64_t)(said + SAYS - given_up - peers[0].passed) <= WINDOW) {
                speak(&peers[0], SAYS);
                said += SAYS;
            }
        } else {
            if (wall == 0) {
                wall = now - start;
                cpu = now_s(server_clock) - cpu_start;
                received = counts.received;
            }
            if (counts.received + counts.lost >= said * peer_count) break;
            if (now - start > seconds + 1) break;
        }
        keep_alive(now);
        uint64_t passed = peers[0].passed;
        for (int i = 0; i < peer_count; i++) receive(&peers[i]);
        if (peers[0].passed != passed) moved_at = now;
    }
    for (int i = 0; i < peer_count; i++) send_bye(&peers[i]);
    printf("{\"peers\": %d, \"seconds\": %.3f, \"said\": %" PRIu64 ", \"received\": %" PRIu64
           ", \"lost\": %" PRIu64 ", \"repeated\": %" PRIu64 ", \"misdirected\": %" PRIu64
           ", \"received_per_packet\": %.0f, \"received_per_s\": %.0f",
           peer_count, wall, said, counts.received, counts.lost, counts.repeated,
           counts.misdirected, counts.received / (counts.packets + 1e-9), received / wall);
    if (argc == 6)
        printf(", \"server_cpu_s\": %.3f, \"received_per_server_cpu_s\": %.0f", cpu,
               received / (cpu + 1e-9));
    puts("}");
    return 0;
}
