//! Every command at its bounds.

use super::core::Core;
use super::*;
use crate::net::PeerAddr;
use crate::server::ops::stats::{DropReason, WorkerId};
use crate::wire::v2::{ClientFrame, MAX_PAYLOAD_BYTES};
use crate::wire::{Protocol, RoomName};

fn core(limits: RegistryLimits) -> Core {
    Core::new(limits, Proof::Never, &Log::new().0)
}

/// Sends a datagram of a v1 peer. Returns what all peers receive, in the order of the peers.
fn send(core: &mut Core, peer: usize, line: &str) -> Vec<(usize, String)> {
    core.receive(peer, line.as_bytes());
    let received = core.settle().into_iter().enumerate();
    let items = received.flat_map(|(peer, items)| items.into_iter().map(move |item| (peer, item)));
    let text = |item| match item {
        Received::Line(line) => line,
        Received::Notice(_, text) => text,
        Received::Private(from, text) => format!("{from} in private: {text}"),
        item => format!("{item:?}"),
    };
    items.map(|(peer, item)| (peer, text(item))).collect()
}

/// Sends a datagram of a v1 peer. Returns the reply, and checks that no other peer receives
/// anything.
fn request(core: &mut Core, peer: usize, line: &str) -> String {
    let mut received = send(core, peer, line);
    let (to, reply) = received.pop().expect("a reply");
    assert!(to == peer && received.is_empty(), "{received:?}");
    reply
}

/// Opens a session for `peer`.
fn open_session(core: &mut Core, peer: usize) -> u64 {
    core.hello(peer);
    core.settle();
    let session = core.session(peer).expect("a session");
    let received = send_frames(core, peer, session, &[ClientFrame::Heartbeat(None)]);
    assert_eq!(received, [Received::Room(0, "lobby".to_owned())]);
    session
}

/// Sends frames of `peer` in one datagram. Returns what `peer` receives.
fn send_frames(
    core: &mut Core,
    peer: usize,
    session: u64,
    frames: &[ClientFrame<'_>],
) -> Vec<Received> {
    core.receive_frames(peer, session, frames.iter().copied());
    core.settle().swap_remove(peer)
}

#[test]
fn names_and_tokens_have_at_most_their_maximum_length() {
    let mut core = core(LARGE);
    for (verb, max, done) in [("nick", 24, "* you are "), ("join", 32, "* you are in ")] {
        let longest = "x".repeat(max);
        let reply = request(&mut core, 0, &format!("/{verb} {longest}"));
        assert!(reply.starts_with(&format!("{done}{longest}")), "{reply}");
        let reply = request(&mut core, 0, &format!("/{verb} {longest}x"));
        assert!(reply.starts_with(&format!("* usage: /{verb} ")), "{reply}");
    }
    let token = "t".repeat(32);
    assert_eq!(
        request(&mut core, 0, &format!("/ping {token}")),
        format!("* pong {token}")
    );
    let reply = request(&mut core, 0, &format!("/ping {token}t"));
    assert!(reply.starts_with("* usage: /ping "), "{reply}");
}

#[test]
fn the_last_room_member_name_and_peer_are_taken_and_freed() {
    let mut core = core(RegistryLimits {
        max_peers: 4,
        max_names: 2,
        max_rooms: 2,
        max_room_members: 2,
    });
    for (peer, line, reply) in [
        (0, "/join a", "* you are in a (1 here)"),
        (1, "/join b", "* you are in b (1 here)"),
        (
            2,
            "/join c",
            "* cannot create \"c\": room limit reached (2)",
        ),
        (2, "/join A", "* you are in a (2 here)"),
        (3, "/join A", "* a is full (2)"),
        (2, "/join A", "* you are in a (2 here)"),
        // Refused, although its own room would vanish.
        (
            1,
            "/join c",
            "* cannot create \"c\": room limit reached (2)",
        ),
        (1, "/leave", "* you are in lobby (2 here)"),
        (2, "/join c", "* you are in c (1 here)"),
        (3, "/join A", "* you are in a (2 here)"),
        (3, "/nick ada", "* you are ada"),
        (2, "/nick bob", "* you are bob"),
        (1, "/nick eve", "* name limit reached (2)"),
        (1, "/nick ADA", "* ADA is taken"),
        (3, "/nick eve", "* you are eve"),
        (1, "/nick ada", "* name limit reached (2)"),
    ] {
        assert_eq!(request(&mut core, peer, line), reply, "{peer}: {line}");
    }
    assert_eq!(request(&mut core, 4, "/help"), "* peer limit reached (4)");
    assert_eq!(send(&mut core, 3, "quit"), []);
    let rooms = request(&mut core, 4, "/rooms");
    assert_eq!(rooms, "* 3 rooms: lobby (2) a (1) c (1)");
    assert_eq!(request(&mut core, 4, "/nick Eve"), "* you are Eve");
}

#[test]
fn a_full_server_tells_newcomers_but_no_other_server() {
    let mut core = core(RegistryLimits {
        max_peers: 1,
        ..LARGE
    });
    assert_eq!(send(&mut core, 0, "@im@"), []);
    let full = "* peer limit reached (1)";
    for line in ["@im@", "\0", "hi", "/help", "*", "*hi"] {
        assert_eq!(request(&mut core, 1, line), full, "{line:?}");
    }
    for line in ["@im@\n", "\r\n", "hi\n\0\0", "/help\n"] {
        assert_eq!(request(&mut core, 1, line), format!("{full}\n"));
    }
    for line in ["", "quit", " QUIT\n", "\u{feff}quit\0"] {
        assert_eq!(send(&mut core, 1, line), [], "a leave: {line:?}");
    }
    for line in [
        full,
        "* ",
        "* eve joined (2 here)\n\0",
        "\u{feff}* hi",
        "127.0.0.1:9999 * peer limit reached (1)",
        "eve * peer limit reached (12)\n",
        "hello,('127.0.0.1', 9999)",
    ] {
        assert_eq!(send(&mut core, 1, line), [], "from a server: {line:?}");
    }
    core.hello(1);
    let refusal = Received::Notice(NoticeCode::Refused, full[2..].to_owned());
    assert_eq!(core.settle()[1], [refusal]);
    let frames = [ClientFrame::Ping(b"1")];
    let received = send_frames(&mut core, 1, 7, &frames);
    assert_eq!(received, [Received::UnknownSession]);
    let counts = core.counts();
    assert_eq!(counts.dropped(DropReason::PeersFull), 10 + 7 + 1);
    assert_eq!((counts.replies, counts.leaves), (10 + 1 + 1, 4));
    assert_eq!((core.registry.len(), counts.registered), (1, 1));
}

#[test]
fn a_name_that_expiry_has_freed_can_be_taken() {
    let mut core = core(LARGE);
    request(&mut core, 0, "/nick Ada");
    core.wait(TIMEOUT_MS);
    assert_eq!(request(&mut core, 1, "/nick ADA"), "* ADA is taken");
    core.wait(1);
    assert_eq!(
        request(&mut core, 1, "/msg ada hi"),
        "* no such peer: ada",
        "the name has no owner"
    );
    assert_eq!(request(&mut core, 1, "/nick ADA"), "* you are ADA");
    assert_eq!(request(&mut core, 0, "/nick ada"), "* ada is taken");
    assert_eq!(
        send(&mut core, 0, "/msg ada hi"),
        [
            (0, "* to ada: hi".to_owned()),
            (1, "* 127.0.0.1:5000 to you: hi".to_owned())
        ]
    );
}

#[test]
fn a_page_is_filled_and_names_the_next_one() {
    let mut core = core(LARGE);
    let others = |count: u16| (6000..6000 + count).map(|port| ([127, 0, 0, 1], port));
    // Each address takes 15 bytes with its space, so 60 take 900.
    for other in others(59) {
        core.registry.touch(
            &PeerAddr::new(other.into(), 0),
            Protocol::Text,
            WorkerId(0),
            0,
        );
    }
    let reply = request(&mut core, 0, "/who");
    assert!(reply.starts_with("* 60 in lobby: 127"), "{reply}");
    assert!(reply.ends_with(":5000") && reply.split(' ').count() == 64);
    let last = PeerAddr::new(([127, 0, 0, 1], 7000).into(), 0);
    core.registry.touch(&last, Protocol::Text, WorkerId(0), 0);
    let reply = request(&mut core, 0, "/who");
    assert!(reply.starts_with("* 61 in lobby, 1 to 60: 127"));
    assert!(reply.ends_with(":5000 (more: /who 61)"), "{reply}");
    for (line, reply) in [
        ("/who 61", "* 61 in lobby, 61 to 61: 127.0.0.1:7000"),
        ("/who 62", "* 61 in lobby, none from 62 on"),
        ("/rooms 1", "* 1 room: lobby (61)"),
        ("/rooms 2", "* 1 room, none from 2 on"),
    ] {
        assert_eq!(request(&mut core, 0, line), reply);
    }
    let reply = request(&mut core, 0, "/who 2");
    assert!(reply.starts_with("* 61 in lobby, 2 to 61: 127") && !reply.contains("more"));

    for (number, other) in (0..).zip(others(59)) {
        let room = RoomName::parse(format!("a-room-of-{number:02}").as_bytes()).unwrap();
        let joined = core.registry.join(&PeerAddr::new(other.into(), 0), room);
        joined.unwrap().unwrap();
    }
    // The lobby takes 10 bytes, and each other room 17.
    let reply = request(&mut core, 0, "/rooms");
    assert!(reply.starts_with("* 60 rooms, 1 to 53: lobby (2) a-room-of-00 (1) "));
    assert!(
        reply.ends_with(" a-room-of-51 (1) (more: /rooms 54)"),
        "{reply}"
    );
}

#[test]
fn the_longest_private_message_fits_into_the_recipients_buffer() {
    let mut core = core(LARGE);
    request(&mut core, 0, "/help");
    request(&mut core, 2, "/help");
    let session = open_session(&mut core, 1);
    // The server reads this much of a command, without `/msg` and the address.
    let (long, left) = (
        "x".repeat(2000),
        MAX_PAYLOAD_BYTES - "/msg 127.0.0.1:5001 ".len(),
    );
    for (to, private) in [
        (1, format!("127.0.0.1:5000 in private: {}", &long[..left])),
        (
            2,
            format!("* 127.0.0.1:5000 to you: {long}")[..1024].to_owned(),
        ),
    ] {
        let to = format!("127.0.0.1:500{to}");
        let received = send(&mut core, 0, &format!("/msg {to} {long}"));
        let texts: Vec<String> = received.into_iter().map(|(_, text)| text).collect();
        let reply = format!("* to {to}: {long}")[..1024].to_owned();
        assert_eq!(texts, [reply, private]);
    }
    // Bytes that are not UTF-8 are repeated unchanged. `Core` checks the length.
    for to in [
        b"127.0.0.1:5000 ".to_vec(),
        vec![0x80; 1000],
        b"x ".to_vec(),
    ] {
        let mut line = [b"/msg ".to_vec(), to, b" ".to_vec()].concat();
        line.resize(MAX_PAYLOAD_BYTES, 0x80);
        let received = send_frames(&mut core, 1, session, &[ClientFrame::Command(&line)]);
        assert!(
            matches!(&received[..], [Received::Notice(..)]),
            "{received:?}"
        );
    }
}

#[test]
fn frames_after_a_bye_have_no_reply() {
    let mut core = core(LARGE);
    let session = open_session(&mut core, 0);
    let before = [ClientFrame::Ping(b"1"), ClientFrame::Bye];
    let after = [ClientFrame::Ping(b"2"), ClientFrame::Command(b"/help")];
    let received = send_frames(&mut core, 0, session, &[before, after].concat());
    assert_eq!(received, [Received::Pong("1".to_owned())]);
}

#[test]
fn a_text_for_a_vanished_room_does_not_reach_the_next_room_of_that_name() {
    let mut core = core(LARGE);
    request(&mut core, 0, "/join tea");
    for (peer, line) in [(0, "to nobody"), (0, "/leave"), (2, "/join tea")] {
        core.receive(peer, line.as_bytes());
    }
    let received = core.settle();
    let line = |text: &str| vec![Received::Line(text.to_owned())];
    assert_eq!(received[0], line("* you are in lobby (1 here)"));
    assert_eq!(received[2], line("* you are in tea (1 here)"));
}

const LARGE: RegistryLimits = RegistryLimits {
    max_peers: 100,
    max_names: 100,
    max_rooms: 100,
    max_room_members: 100,
};
