//! Every command at its bound, one after the other.

use super::core::{Bounds, Core};
use super::*;
use crate::net::PeerAddr;
use crate::server::ops::stats::WorkerId;
use crate::wire::v2::{ClientFrame, MAX_PAYLOAD_BYTES};
use crate::wire::{Protocol, RoomName};

fn core(bounds: Bounds) -> Core {
    Core::new(bounds, &Log::new().0)
}

/// What all peers hear of what a v1 peer says, in the order of the peers.
fn say(core: &mut Core, peer: usize, line: &str) -> Vec<(usize, String)> {
    core.take(peer, line.as_bytes());
    let heard = core.settle().into_iter().enumerate();
    let lines = heard.flat_map(|(peer, heard)| heard.into_iter().map(move |heard| (peer, heard)));
    let text = |heard| match heard {
        Heard::Line(line) => line,
        Heard::Notice(_, text) => text,
        Heard::Private(from, text) => format!("{from} whispers {text}"),
        heard => format!("{heard:?}"),
    };
    lines.map(|(peer, heard)| (peer, text(heard))).collect()
}

/// What is answered to a v1 peer, which nobody else hears.
fn ask(core: &mut Core, peer: usize, line: &str) -> String {
    let mut heard = say(core, peer, line);
    let (to, answer) = heard.pop().expect("an answer");
    assert!(to == peer && heard.is_empty(), "{heard:?}");
    answer
}

/// `peer` gets a session.
fn hello(core: &mut Core, peer: usize) -> u64 {
    core.hello(peer);
    core.settle();
    core.session(peer).expect("a session")
}

/// What `peer` hears of a datagram of its own.
fn frames(core: &mut Core, peer: usize, session: u64, frames: &[ClientFrame<'_>]) -> Vec<Heard> {
    core.take_frames(peer, session, frames.iter().copied());
    core.settle().swap_remove(peer)
}

#[test]
fn labels_have_as_many_bytes_as_they_may_have_and_not_one_more() {
    let mut core = core(ROOMY);
    for (verb, max, done) in [("nick", 24, "* you are "), ("join", 32, "* you are in ")] {
        let longest = "x".repeat(max);
        let answer = ask(&mut core, 0, &format!("/{verb} {longest}"));
        assert!(answer.starts_with(&format!("{done}{longest}")), "{answer}");
        let answer = ask(&mut core, 0, &format!("/{verb} {longest}x"));
        assert!(
            answer.starts_with(&format!("* usage: /{verb} ")),
            "{answer}"
        );
    }
    let token = "t".repeat(32);
    assert_eq!(
        ask(&mut core, 0, &format!("/ping {token}")),
        format!("* pong {token}")
    );
    let answer = ask(&mut core, 0, &format!("/ping {token}t"));
    assert!(answer.starts_with("* usage: /ping "), "{answer}");
}

#[test]
fn the_last_room_member_name_and_peer_are_taken_and_freed() {
    let mut core = core(Bounds {
        peers: 4,
        names: 2,
        rooms: 2,
        members: 2,
    });
    for (peer, line, answer) in [
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
        // There is none for it, although its own would vanish.
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
        assert_eq!(ask(&mut core, peer, line), answer, "{peer}: {line}");
    }
    assert_eq!(say(&mut core, 4, "/help"), [], "the table is full");
    assert_eq!(say(&mut core, 3, "quit"), []);
    let rooms = ask(&mut core, 4, "/rooms");
    assert_eq!(rooms, "* 3 rooms: lobby (2) a (1) c (1)");
    assert_eq!(ask(&mut core, 4, "/nick Eve"), "* you are Eve");
}

#[test]
fn a_name_that_expiry_has_freed_belongs_to_whoever_takes_it() {
    let mut core = core(ROOMY);
    ask(&mut core, 0, "/nick Ada");
    core.wait(TIMEOUT_MS);
    assert_eq!(ask(&mut core, 1, "/nick ADA"), "* ADA is taken");
    core.wait(1);
    assert_eq!(
        ask(&mut core, 1, "/msg ada hi"),
        "* no such peer: ada",
        "nor is it the address's"
    );
    assert_eq!(ask(&mut core, 1, "/nick ADA"), "* you are ADA");
    assert_eq!(ask(&mut core, 0, "/nick ada"), "* ada is taken");
    assert_eq!(
        say(&mut core, 0, "/msg ada hi"),
        [
            (0, "* to ada: hi".to_owned()),
            (1, "* 127.0.0.1:5000 to you: hi".to_owned())
        ]
    );
}

#[test]
fn a_page_holds_what_fits_and_says_how_to_go_on() {
    let mut core = core(ROOMY);
    let others = |count: u16| (6000..6000 + count).map(|port| ([127, 0, 0, 1], port));
    // Each of them, with the blank in front, is 15 bytes; 60 are 900.
    for other in others(59) {
        core.registry.touch(
            &PeerAddr::new(other.into(), 0),
            Protocol::Text,
            WorkerId(0),
            0,
        );
    }
    let answer = ask(&mut core, 0, "/who");
    assert!(answer.starts_with("* 60 in lobby: 127"), "{answer}");
    assert!(answer.ends_with(":5000") && answer.split(' ').count() == 64);
    let last = PeerAddr::new(([127, 0, 0, 1], 7000).into(), 0);
    core.registry.touch(&last, Protocol::Text, WorkerId(0), 0);
    let answer = ask(&mut core, 0, "/who");
    assert!(answer.starts_with("* 61 in lobby, 1 to 60: 127"));
    assert!(answer.ends_with(":5000 (more: /who 61)"), "{answer}");
    for (line, answer) in [
        ("/who 61", "* 61 in lobby, 61 to 61: 127.0.0.1:7000"),
        ("/who 62", "* 61 in lobby, none from 62 on"),
        ("/rooms 1", "* 1 room: lobby (61)"),
        ("/rooms 2", "* 1 room, none from 2 on"),
    ] {
        assert_eq!(ask(&mut core, 0, line), answer);
    }
    let answer = ask(&mut core, 0, "/who 2");
    assert!(answer.starts_with("* 61 in lobby, 2 to 61: 127") && !answer.contains("more"));

    for (number, other) in (0..).zip(others(59)) {
        let room = RoomName::parse(format!("a-room-of-{number:02}").as_bytes()).unwrap();
        let joined = core.registry.join(&PeerAddr::new(other.into(), 0), room);
        joined.unwrap().unwrap();
    }
    // 10 bytes for the lobby, and 17 for each of the others.
    let answer = ask(&mut core, 0, "/rooms");
    assert!(answer.starts_with("* 60 rooms, 1 to 53: lobby (2) a-room-of-00 (1) "));
    assert!(
        answer.ends_with(" a-room-of-51 (1) (more: /rooms 54)"),
        "{answer}"
    );
}

#[test]
fn the_longest_private_message_fits_in_what_the_hearer_reads() {
    let mut core = core(ROOMY);
    ask(&mut core, 0, "/help");
    ask(&mut core, 2, "/help");
    let session = hello(&mut core, 1);
    // As much of a command as the server looks at, without `/msg` and the address.
    let (long, left) = (
        "x".repeat(2000),
        MAX_PAYLOAD_BYTES - "/msg 127.0.0.1:5001 ".len(),
    );
    for (to, private) in [
        (1, format!("127.0.0.1:5000 whispers {}", &long[..left])),
        (
            2,
            format!("* 127.0.0.1:5000 to you: {long}")[..1024].to_owned(),
        ),
    ] {
        let to = format!("127.0.0.1:500{to}");
        let heard = say(&mut core, 0, &format!("/msg {to} {long}"));
        let texts: Vec<String> = heard.into_iter().map(|(_, text)| text).collect();
        let answer = format!("* to {to}: {long}")[..1024].to_owned();
        assert_eq!(texts, [answer, private]);
    }
    // What is not UTF-8 goes back as it is, and no longer: `Core` checks the length.
    for whom in [
        b"127.0.0.1:5000 ".to_vec(),
        vec![0x80; 1000],
        b"x ".to_vec(),
    ] {
        let mut line = [b"/msg ".to_vec(), whom, b" ".to_vec()].concat();
        line.resize(MAX_PAYLOAD_BYTES, 0x80);
        let heard = frames(&mut core, 1, session, &[ClientFrame::Command(&line)]);
        assert!(matches!(&heard[..], [Heard::Notice(..)]), "{heard:?}");
    }
}

#[test]
fn nothing_behind_a_bye_is_answered() {
    let mut core = core(ROOMY);
    let session = hello(&mut core, 0);
    let before = [ClientFrame::Ping(b"1"), ClientFrame::Bye];
    let after = [ClientFrame::Ping(b"2"), ClientFrame::Command(b"/help")];
    let heard = frames(&mut core, 0, session, &[before, after].concat());
    assert_eq!(heard, [Heard::Pong("1".to_owned())]);
}

#[test]
fn a_text_for_a_room_that_has_vanished_does_not_reach_the_next_of_that_name() {
    let mut core = core(ROOMY);
    ask(&mut core, 0, "/join tea");
    for (peer, line) in [(0, "to nobody"), (0, "/leave"), (2, "/join tea")] {
        core.take(peer, line.as_bytes());
    }
    let heard = core.settle();
    let line = |text: &str| vec![Heard::Line(text.to_owned())];
    assert_eq!(heard[0], line("* you are in lobby (1 here)"));
    assert_eq!(heard[2], line("* you are in tea (1 here)"));
}

const ROOMY: Bounds = Bounds {
    peers: 100,
    names: 100,
    rooms: 100,
    members: 100,
};
