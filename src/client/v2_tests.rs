use std::io::ErrorKind::{ConnectionRefused, HostUnreachable};

use super::super::payload::Payload;
use super::*;
use crate::wire::v2::{MIN_HELLO_BYTES, parse_client, push_server_frame, push_server_header};

const MS: Duration = Duration::from_millis(1);

/// A client with the server that the test plays.
struct Pair {
    v2: V2,
    now: Instant,
    out: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Hello,
    Probe { session: u64, token: Vec<u8> },
}

impl Pair {
    fn new() -> Self {
        let limits = Limits {
            heartbeat: 5000 * MS,
            answer: 3000 * MS,
            retry: 500 * MS,
            settle: 1000 * MS,
            greet: 900 * MS,
        };
        let now = Instant::now();
        Self {
            v2: V2::new(limits, now),
            now,
            out: Vec::new(),
        }
    }

    fn open(session: u64) -> Self {
        let mut pair = Self::new();
        assert_eq!(pair.sent(), [Sent::Hello]);
        pair.welcome(session);
        assert!(pair.v2.is_open());
        pair
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// All that is due now.
    fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        self.v2.advance(self.now);
        while self.v2.is_due(self.now) {
            self.v2.push_due(self.now, &mut self.out);
            let (session, frames) = parse_client(&self.out).unwrap();
            let session = session.map_or(0, SessionId::get);
            let frames: Vec<_> = frames.collect();
            sent.push(match frames[..] {
                [ClientFrame::Hello] if session == 0 => Sent::Hello,
                [ClientFrame::Heartbeat, ClientFrame::Ping(token)] => Sent::Probe {
                    session,
                    token: token.to_vec(),
                },
                _ => panic!("{session} {frames:?}"),
            });
        }
        sent
    }

    /// Waits until something is due, and says how long that was and what it is.
    fn next(&mut self) -> (u128, Vec<Sent>) {
        let wait = self.v2.deadline().saturating_duration_since(self.now);
        self.pass(wait);
        (wait.as_millis(), self.sent())
    }

    /// Hands the client what the server says, and returns what it hears.
    fn hear(&mut self, frames: &[ServerFrame<'_>]) -> Vec<String> {
        let mut datagram = Vec::new();
        push_server_header(&mut datagram);
        for frame in frames {
            push_server_frame(frame, &mut datagram);
        }
        self.hear_bytes(&datagram)
    }

    fn hear_bytes(&mut self, datagram: &[u8]) -> Vec<String> {
        let mut heard = Vec::new();
        self.v2.received(datagram, self.now, &mut |frame| {
            heard.push(match frame {
                Frame::Message(message) => String::from_utf8_lossy(message.payload).into_owned(),
                Frame::Private(from, payload) => {
                    format!("{from} to you: {}", String::from_utf8_lossy(payload))
                }
                Frame::Notice(code, text) => {
                    format!("{code:?}: {}", String::from_utf8_lossy(text))
                }
                Frame::Room(room) => format!("in {room}"),
                Frame::Pong(token) => format!("pong {}", String::from_utf8_lossy(token)),
            });
        });
        heard
    }

    fn welcome(&mut self, session: u64) {
        self.welcome_for(session, 10_000);
    }

    fn welcome_for(&mut self, session: u64, timeout_ms: u32) {
        self.hear(&[ServerFrame::Welcome(Welcome {
            session: SessionId::new(session).unwrap(),
            timeout_ms,
            bundle_bytes: 1200,
            room: 0,
        })]);
    }

    fn no_answer(&self, time_ms: u64) -> bool {
        self.v2.down() == Some(&DownReason::NoAnswer(Duration::from_millis(time_ms)))
    }
}

fn message(sequence: u32, payload: &[u8]) -> ServerFrame<'_> {
    message_in(0, sequence, payload)
}

fn message_in(room: u32, sequence: u32, payload: &[u8]) -> ServerFrame<'_> {
    ServerFrame::Message(Message {
        room,
        stream: 0,
        sequence,
        from: "127.0.0.1:7".parse().unwrap(),
        payload,
    })
}

#[test]
fn greets_three_times_and_then_less_and_less_often() {
    let mut pair = Pair::new();
    assert_eq!(pair.sent(), [Sent::Hello]);
    for _ in 0..2 {
        assert_eq!(pair.next(), (300, vec![Sent::Hello]));
    }
    assert!(!pair.v2.is_not_understood(pair.now + 299 * MS));
    assert!(pair.v2.is_not_understood(pair.now + 300 * MS));
    assert_eq!(pair.next(), (300, vec![]), "the conclusion");
    assert!(pair.no_answer(900));
    let waits: Vec<_> = (0..6).map(|_| pair.next()).collect();
    for ((wait, sent), expected) in waits.into_iter().zip([500, 1000, 2000, 4000, 5000, 5000]) {
        assert_eq!((wait, sent), (expected, vec![Sent::Hello]));
    }
    pair.welcome(7);
    assert_eq!(pair.v2.down(), None);
}

#[test]
fn a_hello_is_long_enough_for_its_answer() {
    let mut out = Vec::new();
    push_hello(&mut out);
    assert_eq!(out.len(), MIN_HELLO_BYTES);
}

#[test]
fn every_heartbeat_asks_for_an_answer() {
    let mut pair = Pair::open(7);
    for _ in 0..3 {
        let (wait, sent) = pair.next();
        let [Sent::Probe { session: 7, token }] = &sent[..] else {
            panic!("{sent:?}");
        };
        assert_eq!(wait, 5000);
        pair.hear(&[ServerFrame::Pong(token)]);
    }
    assert_eq!(pair.v2.down(), None);
}

#[test]
fn a_probe_that_is_lost_is_followed_by_another() {
    let mut pair = Pair::open(7);
    pair.next();
    let (wait, sent) = pair.next();
    assert_eq!(wait, 1000);
    let [Sent::Probe { token, .. }] = &sent[..] else {
        panic!("{sent:?}");
    };
    pair.pass(10 * MS);
    pair.hear(&[ServerFrame::Pong(token)]);
    assert_eq!(pair.next().0, 4990, "all is well, as if none was lost");
    assert_eq!(pair.v2.down(), None);
}

#[test]
fn three_probes_without_an_answer_are_the_end_and_a_hello_follows_at_once() {
    let mut pair = Pair::open(7);
    let waits = [5000, 1000, 1000].map(|_| pair.next().0);
    assert_eq!(waits, [5000, 1000, 1000]);
    assert_eq!(pair.next(), (1000, vec![Sent::Hello]));
    assert!(pair.no_answer(3000));
    assert!(!pair.v2.is_not_understood(pair.now), "it does know v2");
    assert_eq!(pair.next(), (500, vec![Sent::Hello]));
    assert_eq!(pair.next(), (1000, vec![Sent::Hello]));
    // It has restarted: another session.
    pair.welcome(8);
    assert_eq!((pair.v2.down(), pair.v2.sessions), (None, 2));
    assert!(matches!(
        pair.next().1[..],
        [Sent::Probe { session: 8, .. }]
    ));
}

#[test]
fn a_text_that_nothing_comes_back_for_is_followed_by_probes() {
    let mut pair = Pair::open(7);
    pair.pass(10 * MS);
    assert!(pair.v2.said(pair.now));
    assert!(!pair.v2.said(pair.now), "the first text's limit stays");
    assert_eq!(pair.next().0, 1000);
    assert_eq!(pair.next().0, 1000);
    assert_eq!(pair.next(), (1000, vec![Sent::Hello]));
    assert!(pair.no_answer(3000));

    let mut pair = Pair::open(7);
    pair.v2.said(pair.now);
    pair.hear(&[message(0, b"the echo")]);
    assert_eq!(pair.next().0, 5000);
}

#[test]
fn only_the_answer_to_a_recent_probe_proves_anything() {
    let mut pair = Pair::open(7);
    let mut tokens = Vec::new();
    for _ in 0..5 {
        let sent = pair.next().1;
        let [Sent::Probe { token, .. }] = &sent[..] else {
            panic!("{sent:?}");
        };
        pair.hear(&[ServerFrame::Pong(token)]);
        tokens.push(token.clone());
    }
    pair.next();
    for stale in [&tokens[0], &tokens[1], &vec![], &vec![0; 8]] {
        pair.hear(&[ServerFrame::Pong(stale)]);
    }
    assert_eq!(pair.next().0, 1000, "none of them was an answer");
}

#[test]
fn a_refusal_is_the_end_and_the_tries_back_off() {
    let mut pair = Pair::open(7);
    pair.v2.refused(ConnectionRefused, pair.now);
    let refused = DownReason::Unreachable(ConnectionRefused);
    assert_eq!(pair.v2.down(), Some(&refused));
    let mut waits = Vec::new();
    for _ in 0..6 {
        let (wait, sent) = pair.next();
        assert_eq!(sent, [Sent::Hello]);
        waits.push(wait);
        pair.v2.refused(HostUnreachable, pair.now);
        pair.v2.refused(HostUnreachable, pair.now);
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
    let reason = DownReason::Unreachable(HostUnreachable);
    assert_eq!(pair.v2.down(), Some(&reason));

    // The first that is not refused may have met a server.
    assert!(!pair.v2.is_hopeful());
    assert_eq!(pair.next(), (5000, vec![Sent::Hello]));
    assert!(pair.v2.is_hopeful());
    assert_eq!(pair.next(), (300, vec![Sent::Hello]));
    assert_eq!(pair.next(), (300, vec![Sent::Hello]));
    assert!(pair.v2.is_not_understood(pair.now + 300 * MS));
    assert_eq!(pair.next(), (300, vec![Sent::Hello]));
    assert!(!pair.v2.is_hopeful());
    assert_eq!(pair.next(), (5000, vec![Sent::Hello]));
    pair.welcome(7);
    assert_eq!((pair.v2.down(), pair.v2.sessions), (None, 1), "it knew us");
    pair.v2.refused(ConnectionRefused, pair.now);
    assert_eq!(pair.next().0, 500, "and the wait is short again");
}

#[test]
fn goodbye_is_the_end_at_once_after_what_came_with_it() {
    let mut pair = Pair::open(7);
    let heard = pair.hear(&[message(0, b"last words"), ServerFrame::Goodbye]);
    assert_eq!(heard, ["last words"]);
    assert_eq!(pair.v2.down(), Some(&DownReason::Goodbye));
    assert!(!pair.v2.has_session());
    assert!(!pair.v2.push_bye(&mut pair.out));
    pair.hear(&[ServerFrame::Goodbye]);
    assert_eq!(pair.next(), (500, vec![Sent::Hello]));
    pair.welcome(8);
    assert_eq!((pair.v2.down(), pair.v2.sessions), (None, 2));
}

#[test]
fn heartbeats_keep_up_with_a_server_that_waits_less_long() {
    let mut pair = Pair::new();
    pair.sent();
    pair.welcome_for(7, 1000);
    assert_eq!(pair.next().0, 500);
    let mut pair = Pair::new();
    pair.sent();
    pair.welcome_for(7, 0);
    assert_eq!(pair.next().0, 10, "but they are no flood");
}

#[test]
fn each_message_is_heard_once_and_counted() {
    let mut pair = Pair::open(7);
    let one = [message(0, b"a"), message(1, b"b")];
    assert_eq!(pair.hear(&one), ["a", "b"]);
    assert!(pair.hear(&one).is_empty());
    assert_eq!(pair.hear(&[message(3, b"d"), message(2, b"c")]), ["d", "c"]);
    let total = pair.v2.sequences.total();
    assert_eq!((total.received, total.repeated), (4, 2));
    assert_eq!((total.reordered, total.lost), (1, 0));
    // A new session counts anew: this is no repetition.
    pair.hear(&[ServerFrame::Goodbye]);
    pair.welcome(8);
    assert_eq!(pair.hear(&[message(0, b"a")]), ["a"]);
    // The same session does not.
    pair.v2.refused(ConnectionRefused, pair.now);
    pair.welcome(8);
    assert!(pair.hear(&[message(0, b"a")]).is_empty());
    assert_eq!(pair.v2.sequences.total().expected, 5);
}

#[test]
fn welcomes_that_nobody_asked_for_change_nothing() {
    let mut pair = Pair::open(7);
    pair.welcome(7);
    pair.welcome(6);
    assert_eq!(pair.v2.sessions, 1);
    assert!(matches!(
        pair.next().1[..],
        [Sent::Probe { session: 7, .. }]
    ));
    let mut pair = Pair::new();
    // No session is number 0.
    let bytes = [&[0xFF, 2, 0x82, 0, 18][..], &[0; 18]].concat();
    pair.hear_bytes(&bytes);
    assert!(!pair.v2.is_open());
}

#[test]
fn what_is_malformed_is_dropped_as_a_whole_and_proves_nothing() {
    let mut pair = Pair::open(7);
    pair.next();
    let mut bad = Vec::new();
    push_server_header(&mut bad);
    push_server_frame(&message(0, b"never heard"), &mut bad);
    push_server_frame(&ServerFrame::Goodbye, &mut bad);
    bad.extend_from_slice(&[0x99, 0, 0]);
    for datagram in [&b""[..], b"text", b"\xff\x02\x83", &bad] {
        assert!(pair.hear_bytes(datagram).is_empty());
    }
    assert_eq!(pair.v2.malformed, 4);
    assert!(pair.v2.is_open());
    assert_eq!(pair.next().0, 1000, "it still waits for an answer");
}

#[test]
fn says_texts_and_bytes_and_leaves() {
    let mut pair = Pair::open(7);
    let mut check = |payload: Payload<'_>, expected: ClientFrame<'_>| {
        pair.v2.push_frame(&payload.frame(), &mut pair.out);
        let (session, mut frames) = parse_client(&pair.out).unwrap();
        assert_eq!(
            (session, frames.next()),
            (SessionId::new(7), Some(expected))
        );
    };
    check(Payload::Text("hi"), ClientFrame::Say(b"hi"));
    check(Payload::Text("/who"), ClientFrame::Command(b"/who"));
    check(Payload::Bytes(b"/who"), ClientFrame::Say(b"/who"));
    check(Payload::Bytes(b"/\xff"), ClientFrame::Say(b"/\xff"));
    check(Payload::Bytes(b""), ClientFrame::Say(b""));
    assert!(pair.v2.push_bye(&mut pair.out));
    let (session, frames) = parse_client(&pair.out).unwrap();
    assert_eq!(session, SessionId::new(7));
    assert!(frames.eq([ClientFrame::Bye]));
}

#[path = "v2_rooms_tests.rs"]
mod rooms;
