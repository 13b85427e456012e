//! Version 2.

use std::io::ErrorKind::HostUnreachable;

use super::*;
use crate::wire::v2::{BUNDLE_BYTES, MAX_PAYLOAD_BYTES, MIN_HELLO_BYTES};

#[test]
fn a_server_is_greeted_less_and_less_often() {
    let mut talk = Talk::new(ProtocolChoice::V2);
    let sent = talk.pass(20_000);
    let hellos = [0, 300, 600, 1400, 2400, 4400, 8400, 13_400, 18_400];
    assert_eq!(sent, hellos.map(|at| (at, "hello".to_owned())));
    let silent = DownReason::NoAnswer(900 * MS);
    assert_eq!(talk.events(), [Event::Down(silent)]);
    assert_eq!(talk.welcome(7), [Event::Up(ProtocolVersion::V2)]);
    assert_eq!(talk.down(), None);
}

#[test]
fn a_hello_is_long_enough_for_its_answer() {
    let mut talk = Talk::new(ProtocolChoice::V2);
    assert_eq!(talk.datagrams()[0].len(), MIN_HELLO_BYTES);
}

#[test]
fn every_heartbeat_asks_for_an_answer() {
    let mut talk = Talk::welcomed();
    let probe = "7: heartbeat + ping";
    assert_eq!(talk.next(), (5000, vec![probe.to_owned()]));
    assert_eq!(talk.next(), (1000, vec![probe.to_owned()]));
    let mut talk = Talk::welcomed();
    for _ in 0..3 {
        assert_eq!(talk.pong(), 5000);
    }
    assert_eq!(talk.down(), None);
}

#[test]
fn a_server_that_has_restarted_gives_another_session() {
    let mut talk = Talk::welcomed();
    let waits = [5000, 1000, 1000].map(|_| talk.next().0);
    assert_eq!(waits, [5000, 1000, 1000]);
    assert_eq!(talk.next(), (1000, vec!["hello".to_owned()]));
    let silent = DownReason::NoAnswer(3000 * MS);
    assert_eq!(talk.events(), [Event::Down(silent)]);
    assert_eq!(talk.next().0, 500);
    assert_eq!(talk.next().0, 1000);
    assert_eq!(talk.welcome(8), [Event::Up(ProtocolVersion::V2)]);
    assert_eq!(talk.protocol.stats.sessions, 2);
    assert_eq!(talk.next().1, ["8: heartbeat + ping"]);
}

#[test]
fn only_the_answer_to_a_recent_probe_proves_anything() {
    let mut talk = Talk::welcomed();
    let mut tokens = Vec::new();
    for _ in 0..5 {
        let token = ping_token(&talk.next_datagrams()[0]);
        talk.hear_frames(&[ServerFrame::Pong(&token)]);
        tokens.push(token);
    }
    talk.next();
    for stale in [&tokens[0], &tokens[1], &vec![], &vec![0; 8]] {
        assert_eq!(talk.hear_frames(&[ServerFrame::Pong(stale)]), []);
    }
    assert_eq!(talk.next().0, 1000, "none of them was an answer");
}

#[test]
fn the_answer_to_a_ping_of_the_application_proves_that_the_server_is_there() {
    let mut talk = Talk::welcomed();
    let ping: Ticket<Duration> = talk.request(Request::ping());
    let token = ping_token(&talk.datagrams()[0]);
    talk.now += MS;
    talk.hear_frames(&[ServerFrame::Pong(&token)]);
    assert_result(&ping, Ok(MS));
    assert_eq!(talk.next().0, 4999);
}

#[test]
fn a_refusal_is_the_end_and_the_attempts_back_off() {
    let mut talk = Talk::welcomed();
    assert_eq!(talk.refused(), [Event::Down(refused())]);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let (wait, sent) = talk.next();
        assert_eq!(sent, ["hello"]);
        waits.push(wait);
        for _ in 0..2 {
            talk.protocol.handle_refusal(HostUnreachable, talk.now);
        }
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
    assert_eq!(talk.down(), Some(DownReason::Unreachable(HostUnreachable)));
    assert_eq!(talk.events(), [], "it was told");
    assert_eq!(talk.next().0, 5000);
    assert_eq!(talk.welcome(7), [Event::Up(ProtocolVersion::V2)]);
    assert_eq!(talk.protocol.stats.sessions, 1, "it knew the session");
    talk.refused();
    assert_eq!(talk.next().0, 500, "the time is short again");
}

#[test]
fn goodbye_is_the_end_at_once_after_the_frames_before_it() {
    let mut talk = Talk::welcomed();
    let events = talk.hear_frames(&[message(0, b"last words"), ServerFrame::Goodbye]);
    assert_eq!(payloads(&events), ["last words"]);
    assert_eq!(events.last(), Some(&Event::Down(DownReason::Goodbye)));
    assert!(!talk.protocol.push_leave(&mut Vec::new()));
    assert_eq!(talk.hear_frames(&[ServerFrame::Goodbye]), []);
    assert_eq!(talk.next(), (500, vec!["hello".to_owned()]));
    assert_eq!(talk.welcome(8), [Event::Up(ProtocolVersion::V2)]);
    assert_eq!(talk.protocol.stats.sessions, 2);
}

#[test]
fn heartbeats_keep_up_with_a_server_that_waits_less_long() {
    for (timeout_ms, expected) in [(1000, 500), (0, 10)] {
        let mut talk = Talk::new(ProtocolChoice::V2);
        talk.sent();
        talk.hear_frames(&[welcome(7, timeout_ms)]);
        talk.sent();
        talk.hear_frames(&[room_frame(0, LOBBY.parse().unwrap())]);
        assert_eq!(talk.next().0, expected);
    }
}

#[test]
fn each_message_is_received_once_and_counted() {
    let mut talk = Talk::welcomed();
    let hear = |talk: &mut Talk, frames: &[ServerFrame<'_>]| payloads(&talk.hear_frames(frames));
    let one = [message(0, b"a"), message(1, b"b")];
    assert_eq!(hear(&mut talk, &one), ["a", "b"]);
    assert_eq!(hear(&mut talk, &one), [""; 0]);
    assert_eq!(
        hear(&mut talk, &[message(3, b"d"), message(2, b"c")]),
        ["d", "c"]
    );
    let total = talk.protocol.losses.total();
    assert_eq!((total.received, total.repeated), (4, 2));
    assert_eq!((total.reordered, total.lost), (1, 0));
    // A new session counts anew, so this is no repetition.
    talk.hear_frames(&[ServerFrame::Goodbye]);
    talk.welcome(8);
    assert_eq!(hear(&mut talk, &[message(0, b"a")]), ["a"]);
    // The same session does not.
    talk.refused();
    talk.welcome(8);
    assert_eq!(hear(&mut talk, &[message(0, b"a")]), [""; 0]);
    assert_eq!(talk.protocol.losses.total().expected, 5);
}

#[test]
fn welcomes_that_nobody_asked_for_change_nothing() {
    let mut talk = Talk::welcomed();
    assert_eq!(talk.hear_frames(&[welcome(7, 10_000)]), []);
    assert_eq!(talk.hear_frames(&[welcome(6, 10_000)]), []);
    assert_eq!(talk.protocol.stats.sessions, 1);
    assert_eq!(talk.next().1, ["7: heartbeat + ping"]);
    // No session is number 0.
    let mut talk = Talk::new(ProtocolChoice::V2);
    talk.hear(&[&[0xFF, 2, 0x82, 0, 18][..], &[0; 18]].concat());
    assert_eq!(talk.version(), None);
}

#[test]
fn a_malformed_datagram_is_dropped_as_a_whole_and_proves_nothing() {
    let mut talk = Talk::new(ProtocolChoice::V2);
    talk.sent();
    talk.welcome(7);
    talk.next();
    let mut bad = datagram_to(7, &[message(0, b"never"), ServerFrame::Goodbye]);
    bad.extend_from_slice(&[0x84, 0]);
    for datagram in [&b""[..], b"text", b"\xff\x02\x83", &bad] {
        assert_eq!(talk.hear(datagram), []);
    }
    assert_eq!(talk.protocol.stats.malformed, 4);
    assert_eq!(talk.version(), Some(ProtocolVersion::V2));
    assert_eq!(talk.next().0, 1000, "it still waits for an answer");
}

#[test]
fn texts_in_a_row_share_a_datagram() {
    let mut talk = Talk::welcomed();
    for text in ["one", "two", "/who"] {
        talk.say(text);
    }
    talk.say_bytes(b"");
    assert_eq!(talk.sent(), ["7: say one + say two + say /who + say "]);

    let texts: Vec<_> = (0..40).map(|n| format!("{n:060}")).collect();
    texts.iter().for_each(|text| drop(talk.say(text)));
    let datagrams = talk.datagrams();
    let lengths: Vec<_> = datagrams.iter().map(Vec::len).collect();
    // Each text takes 63 bytes, and the header 10.
    assert_eq!(lengths, [1144, 1144, 10 + 4 * 63]);
    let sent: Vec<_> = datagrams
        .iter()
        .map(|datagram| describe(datagram))
        .collect();
    let says: Vec<_> = sent
        .iter()
        .flat_map(|sent| sent[3..].split(" + "))
        .collect();
    let expected: Vec<_> = texts.iter().map(|text| format!("say {text}")).collect();
    assert_eq!(says, expected);
}

#[test]
fn a_datagram_with_texts_is_no_longer_than_a_bundle() {
    let mut talk = Talk::welcomed();
    talk.say(&"x".repeat(MAX_PAYLOAD_BYTES));
    talk.say(&"y".repeat(600));
    // With the text before it, this one fills a datagram.
    let rest = BUNDLE_BYTES - 10 - 603 - 3;
    talk.say(&"y".repeat(rest));
    talk.say(&"z".repeat(600));
    talk.say(&"z".repeat(rest + 1));
    let lengths: Vec<_> = talk.datagrams().iter().map(Vec::len).collect();
    assert_eq!(
        lengths,
        [13 + MAX_PAYLOAD_BYTES, BUNDLE_BYTES, 613, 13 + rest + 1]
    );
}

#[test]
fn a_request_ends_its_datagram() {
    let mut talk = Talk::welcomed();
    talk.say("one");
    talk.say("two");
    let _: Ticket<()> = talk.request(Request::Members(1));
    talk.say("three");
    let _: Ticket<()> = talk.request(Request::ping());
    let _: Ticket<()> = talk.request(Request::ping());
    talk.say("four");
    assert_eq!(
        talk.sent(),
        [
            "7: say one + say two + /who 1",
            "7: say three + ping",
            "7: ping",
            "7: say four",
        ]
    );
    // A long direct message does not fit behind a long text.
    let long = "x".repeat(600);
    let private = Request::Private {
        to: "ada".parse().unwrap(),
        text: long.clone(),
    };
    talk.say(&long);
    let _: Ticket<()> = talk.request(private);
    let lengths: Vec<_> = talk.datagrams().iter().map(Vec::len).collect();
    assert_eq!(lengths, [613, 622]);
}
