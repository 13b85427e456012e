use std::net::SocketAddr;

use proptest::prelude::*;

use super::LimitScope::{Network, NetworkPerSecond, Server};
use super::*;
use crate::wire::Protocol;

mod strategies;

use strategies::{any_reply, any_text};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn room(text: &str) -> RoomName {
    text.parse().unwrap()
}

fn display_name(text: &str) -> DisplayName {
    text.parse().unwrap()
}

fn sentence(reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    reply.push(&mut out);
    out
}

/// A page that begins with number `first` of a list with `total` entries.
fn page<E: Display>(first: usize, entries: Vec<E>, total: usize) -> Page {
    let mut page = Page::new(first);
    for entry in entries {
        page.push(entry, usize::MAX).unwrap();
    }
    page.total = total;
    page
}

fn summary(name: &str, members: usize) -> String {
    format!("{} ({})", room(name), Thousands(members as u64))
}

fn limit(max: u32, scope: LimitScope) -> Limit {
    Limit { max, scope }
}

fn named(events: &[PresenceEvent]) -> Reply<'_> {
    Reply::Presence {
        changes: Changes::Events(events.to_vec()),
        members: 12,
    }
}

/// These are part of the protocol, and do not change any more.
#[test]
fn each_sentence_has_its_words() {
    let (ada, den) = (display_name("ada"), room("den"));
    let bob = display_name("[::1]:5000");
    let counts = |joined, left, timed_out, renamed| Reply::Presence {
        changes: Changes::Counts([joined, left, timed_out, renamed]),
        members: 10_300,
    };
    let members = |first, entries, total| Reply::Members(den, page(first, entries, total));
    let rooms = |first, entries, total| Reply::Rooms(page(first, entries, total));
    let lobby = || summary("lobby", 1000);
    let entered = |members| Reply::Entered { room: den, members };
    let sent = Reply::Sent {
        to: b"[::1]:5000",
        text: b"a  b: c",
    };
    let events = [
        PresenceEvent::Joined(ada),
        PresenceEvent::Left(bob),
        PresenceEvent::TimedOut(ada),
        PresenceEvent::Renamed(bob, DisplayName::Name(name("eve"))),
    ];
    let done = [
        (Reply::Help, HELP),
        (Reply::Named(name("in")), "you are in"),
        (
            Reply::NamedUnconfirmed(name("in")),
            "you are in (not confirmed)",
        ),
        (entered(1000), "you are in den (1,000 here)"),
        (members(1, vec![], 0), "0 in den:"),
        (members(1, vec![ada, bob], 2), "2 in den: ada [::1]:5000"),
        (
            members(1, vec![ada, bob], 1003),
            "1,003 in den, 1 to 2: ada [::1]:5000 (more: /who 3)",
        ),
        (
            members(1002, vec![ada, bob], 1003),
            "1,003 in den, 1002 to 1003: ada [::1]:5000",
        ),
        (members(4, vec![], 3), "3 in den, none from 4 on"),
        (rooms(1, vec![lobby()], 1), "1 room: lobby (1,000)"),
        (
            rooms(1, vec![lobby(), summary("den", 1)], 3),
            "3 rooms, 1 to 2: lobby (1,000) den (1) (more: /rooms 3)",
        ),
        (rooms(2, vec![], 1), "1 room, none from 2 on"),
        (sent, "to [::1]:5000: a  b: c"),
        (Reply::Pong(b"a b"), "pong a b"),
        (Reply::Subscribed(true), "presence is on"),
        (Reply::Subscribed(false), "presence is off"),
        (Reply::Unmuted, "not muted any more"),
    ];
    let misuse = [
        (Verb::Help, "usage: /help"),
        (Verb::Nick, "usage: /nick NAME (1 to 24 of A-Z a-z 0-9 _ -)"),
        (Verb::Join, "usage: /join ROOM (1 to 32 of A-Z a-z 0-9 _ -)"),
        (Verb::Leave, "usage: /leave"),
        (Verb::Who, "usage: /who [FROM]"),
        (Verb::Rooms, "usage: /rooms [FROM]"),
        (Verb::Msg, "usage: /msg NAME TEXT"),
        (Verb::Ping, "usage: /ping TOKEN (1 to 32 bytes)"),
        (Verb::Presence, "usage: /presence on|off"),
    ]
    .map(|(verb, words)| (Reply::Usage(verb), words));
    let over = |resource, per_second| Reply::OverBudget {
        resource,
        per_second,
    };
    let refused = [
        (
            Reply::PeerLimit(limit(10_000, Server)),
            "peer limit reached (10000)",
        ),
        (
            Reply::PeerLimit(limit(5_000, Network)),
            "peer limit reached (5000 in your network)",
        ),
        (Reply::NameTaken(name("ada")), "ada is taken"),
        (
            Reply::NameLost(name("ada"), "[::1]:5000".parse().unwrap()),
            "ada belongs to a peer of another server: you are [::1]:5000",
        ),
        (
            Reply::NameLimit(limit(1000, Server)),
            "name limit reached (1000)",
        ),
        (
            Reply::NameLimit(limit(50, Network)),
            "name limit reached (50 in your network)",
        ),
        (Reply::RoomFull(den, 2), "den is full (2)"),
        (
            Reply::RoomLimit(den, limit(0, Server)),
            "cannot create \"den\": room limit reached (0)",
        ),
        (
            Reply::RoomLimit(den, limit(20, NetworkPerSecond)),
            "cannot create \"den\": room limit reached (20 per second in your network)",
        ),
        (Reply::NoSuchPeer(b"a.b"), "no such peer: a.b"),
        (Reply::TooManyMessages, "too many messages in one datagram"),
        (Reply::TooManyLists, "too many lists in one datagram"),
        (Reply::NotInRoom(10_300), "not in room 10300"),
        (Reply::SessionRoomLimit(64), "at most 64 rooms"),
        (over(Resource::Texts, 20), "at most 20 texts per second"),
        (
            over(Resource::Bytes, 65_536),
            "at most 65,536 bytes per second",
        ),
        (
            over(Resource::Work, 200),
            "at most 200 units of work per second",
        ),
        (Reply::UnknownFrame(0x0B), "unknown frame 0x0b"),
        (Reply::UnknownFrame(0xFF), "unknown frame 0xff"),
        (Reply::UnknownOption(77), "unknown option 77"),
        (Reply::Prove(ProofToken::of(1)), "say /in 00000001"),
        (Reply::Removed, "removed by the operator"),
        (Reply::Muted(600), "muted by the operator for 600 s"),
        (Reply::NoNewcomers, "stopping soon, no newcomers"),
    ];
    let operator = [
        (Reply::Operator(b" a: b "), "operator:  a: b "),
        (Reply::Operator(b""), "operator: "),
        (Reply::Stopping(30), "the server stops in 30 s"),
        (
            Reply::Split,
            "the cluster is split: only peers of this server are here",
        ),
        (Reply::Whole, "the cluster is whole again"),
    ];
    let presence = [
        (
            named(&events),
            "ada joined, [::1]:5000 left, ada timed out, [::1]:5000 is now eve (12 here)",
        ),
        (
            counts(3120, 12, 1, 2),
            "3,120 joined, 12 left, 1 timed out, 2 renamed (10,300 here)",
        ),
        (counts(0, 0, 5, 0), "5 timed out (10,300 here)"),
    ];
    for (code, sentences) in [
        (NoticeCode::Done, &done[..]),
        (NoticeCode::Misuse, &misuse),
        (NoticeCode::Refused, &refused),
        (NoticeCode::Presence, &presence),
        (NoticeCode::Operator, &operator),
    ] {
        for (reply, words) in sentences {
            assert_eq!(String::from_utf8(sentence(reply)).unwrap(), *words);
            assert_eq!(reply.code(), code, "{words}");
            let parsed = Reply::parse(code, words.as_bytes());
            assert_eq!(parsed.as_ref(), Some(reply), "{words}");
        }
    }
}

#[test]
fn the_help_has_its_words() {
    let words = "/nick NAME, /join ROOM, /leave to the lobby, /who [FROM], /rooms [FROM], \
                 /msg NAME TEXT, /ping TOKEN, /presence on|off";
    assert_eq!(HELP, words);
}

#[test]
fn the_help_names_every_verb() {
    for verb in Verb::ALL.into_iter().filter(|verb| *verb != Verb::Help) {
        assert!(HELP.contains(&format!("/{}", verb.as_str())), "{verb:?}");
    }
}

#[test]
fn other_sentences_are_not_known() {
    for (code, text) in [
        (NoticeCode::Done, "you are in a den (3 here)"),
        (NoticeCode::Done, "you are in  (3 here)"),
        (NoticeCode::Done, "you are in den (3,00 here)"),
        (NoticeCode::Done, "you are a den"),
        (NoticeCode::Done, "to ada"),
        (NoticeCode::Done, "to ada hi: all"),
        (NoticeCode::Done, "1 rooms: lobby (1)"),
        (NoticeCode::Done, "2 rooms: lobby (1)"),
        (NoticeCode::Done, "2 in den: ada"),
        (NoticeCode::Done, "2 in a den: ada bob"),
        (NoticeCode::Done, "9 in den, 2 to 1:"),
        (NoticeCode::Done, "9 in den, 2 to 3: ada"),
        (NoticeCode::Done, "9 in den, none"),
        (NoticeCode::Done, "ada is taken"),
        (NoticeCode::Misuse, "usage: /dance"),
        (NoticeCode::Misuse, "pong 1"),
        (NoticeCode::Refused, "server is full"),
        (NoticeCode::Refused, "peer limit reached (1,000)"),
        (NoticeCode::Refused, "peer limit reached (2 in my network)"),
        (NoticeCode::Refused, "name limit reached (2 per second)"),
        (NoticeCode::Done, "peer limit reached (2)"),
        (NoticeCode::Refused, "den is full"),
        (NoticeCode::Refused, "den is full (two)"),
        (NoticeCode::Refused, "a den is full (2)"),
        (NoticeCode::Refused, "name limit reached ()"),
        (NoticeCode::Refused, "pong 1"),
        (NoticeCode::Presence, "ada joined"),
        (NoticeCode::Presence, "ada came (2 here)"),
        (NoticeCode::Presence, " (2 here)"),
        (
            NoticeCode::Presence,
            "a joined, b left, c left, d left, e left (2 here)",
        ),
        (NoticeCode::Other(9), "presence is on"),
    ] {
        assert_eq!(Reply::parse(code, text.as_bytes()), None, "{text}");
    }
}

#[test]
fn entries_that_this_version_cannot_parse_are_left_out() {
    let text = b"4 in den: ada a.b bob x:y";
    let Some(Reply::Members(_, page)) = Reply::parse(NoticeCode::Done, text) else {
        panic!("a list of members");
    };
    assert!(
        page.names::<DisplayName>()
            .eq([display_name("ada"), display_name("bob")])
    );
    assert_eq!((page.first, page.total), (1, 4));
}

#[test]
fn a_page_takes_what_fits() {
    let mut page = Page::new(1);
    let mut fits = |number: usize| {
        let entry = summary(&format!("{number:08}"), 1);
        page.push(entry, Protocol::Text.page_bytes()).is_some()
    };
    // Each is 13 bytes with its blank.
    assert_eq!((0..).take_while(|number| fits(*number)).count(), 69);
    page.total = 70;
    let sentence = sentence(&Reply::Rooms(page));
    assert!(sentence.ends_with(b" 00000068 (1) (more: /rooms 70)"));
}

#[test]
fn without_a_code_a_token_may_read_as_another_sentence() {
    for (text, reply) in [
        ("pong 1", Reply::Pong(b"1")),
        ("pong is here", Reply::Pong(b"is here")),
        ("pong is taken", Reply::NameTaken(name("pong"))),
    ] {
        assert_eq!(Reply::parse_uncoded(text.as_bytes()), Some(reply));
    }
    let coded = Reply::parse(NoticeCode::Done, b"pong is taken");
    assert_eq!(coded, Some(Reply::Pong(b"is taken")));
}

#[test]
fn more_than_a_few_peers_whose_names_are_numbers_read_as_counts() {
    let changes = |text: &'static str| {
        let reply = Reply::parse(NoticeCode::Presence, text.as_bytes());
        let Some(Reply::Presence { changes, .. }) = reply else {
            panic!("{text}: {reply:?}");
        };
        changes
    };
    let is_named = |text| matches!(changes(text), Changes::Events(_));
    assert!(!is_named("5 joined (40 here)"));
    for names in [
        "4 joined (40 here)",
        "5 joined, 6 joined (40 here)",
        "5 left, 6 joined (40 here)",
        "5 joined, ada left (40 here)",
        "5000 joined (40 here)",
    ] {
        assert!(is_named(names), "{names}");
    }
}

#[test]
fn numbers_have_a_comma_between_each_three_digits() {
    let entered = |number: &str| {
        let text = format!("you are in den ({number} here)");
        let reply = Reply::parse(NoticeCode::Done, text.as_bytes());
        reply.map(|reply| match reply {
            Reply::Entered { members, .. } => members as u64,
            _ => panic!("{text}"),
        })
    };
    for (number, text) in [
        (0, "0"),
        (999, "999"),
        (1000, "1,000"),
        (1_002_030, "1,002,030"),
        (u64::MAX, "18,446,744,073,709,551,615"),
    ] {
        assert_eq!(Thousands(number).to_string(), text);
        assert_eq!(entered(text), Some(number));
    }
    for text in [
        "",
        ",",
        "1,",
        ",000",
        "0,001",
        "01",
        "1000",
        "1,0000",
        "1,00",
        "+1",
        "18,446,744,073,709,551,616",
    ] {
        assert_eq!(entered(text), None, "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_sentence_is_parsed_to_the_reply_that_wrote_it(reply in any_reply()) {
        let sentence = sentence(&reply);
        prop_assert_eq!(Reply::parse(reply.code(), &sentence), Some(reply));
    }

    #[test]
    fn a_parsed_reply_has_its_code_and_can_be_written(text in any_text()) {
        for code in [
            NoticeCode::Done,
            NoticeCode::Misuse,
            NoticeCode::Refused,
            NoticeCode::Presence,
            NoticeCode::Operator,
        ] {
            if let Some(reply) = Reply::parse(code, &text) {
                prop_assert_eq!(reply.code(), code);
                let written = sentence(&reply);
                prop_assert_eq!(Reply::parse(code, &written), Some(reply));
            }
        }
        let uncoded = Reply::parse_uncoded(&text);
        prop_assert!(uncoded.is_none_or(|reply| Reply::parse(reply.code(), &text) == Some(reply)));
    }
}
