use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::wire::Protocol;

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
        PresenceEvent::Renamed(bob, name("eve")),
    ];
    let done = [
        (Reply::Help, HELP),
        (Reply::Named(name("in")), "you are in"),
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
    let refused = [
        (Reply::PeerLimit(10_000), "peer limit reached (10000)"),
        (Reply::NameTaken(name("ada")), "ada is taken"),
        (Reply::NameLimit(1000), "name limit reached (1000)"),
        (Reply::RoomFull(den, 2), "den is full (2)"),
        (
            Reply::RoomLimit(den, 0),
            "cannot create \"den\": room limit reached (0)",
        ),
        (Reply::NoSuchPeer(b"a.b"), "no such peer: a.b"),
        (Reply::TooManyMessages, "too many messages in one datagram"),
        (Reply::TooManyLists, "too many lists in one datagram"),
        (Reply::NotInRoom(10_300), "not in room 10300"),
        (Reply::SessionRoomLimit(64), "at most 64 rooms"),
        (Reply::UnknownFrame(0x0B), "unknown frame 0x0b"),
        (Reply::UnknownFrame(0xFF), "unknown frame 0xff"),
        (Reply::UnknownOption(77), "unknown option 77"),
        (Reply::Prove(ProofToken::of(1)), "say /in 00000001"),
        (Reply::Removed, "removed by the operator"),
        (Reply::Muted(600), "muted by the operator for 600 s"),
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

fn any_name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9_-]{1,24}".prop_map(|text| name(&text))
}

fn any_room() -> impl Strategy<Value = RoomName> {
    "[A-Za-z0-9_-]{1,32}".prop_map(|text| room(&text))
}

fn any_display_name() -> impl Strategy<Value = DisplayName> {
    let v4 = any::<([u8; 4], u16)>().prop_map(|address| DisplayName::Address(address.into()));
    let v6 = any::<([u16; 8], u16)>()
        .prop_map(|address| DisplayName::Address(SocketAddr::from(address)));
    prop_oneof![any_name().prop_map(DisplayName::Name), v4, v6]
}

/// No name that is a number, see above.
fn any_event() -> impl Strategy<Value = PresenceEvent> {
    let is_number = |who: &DisplayName| who.to_string().bytes().all(|byte| byte.is_ascii_digit());
    let who = || any_display_name().prop_filter("a number", move |who| !is_number(who));
    prop_oneof![
        who().prop_map(PresenceEvent::Joined),
        who().prop_map(PresenceEvent::Left),
        who().prop_map(PresenceEvent::TimedOut),
        (who(), any_name()).prop_map(|(who, now)| PresenceEvent::Renamed(who, now)),
    ]
}

fn any_counts() -> impl Strategy<Value = [u64; 4]> {
    let count = || prop_oneof![Just(0), 1..10_u64, any::<u64>()];
    let counts = (count(), count(), count(), count());
    let counts =
        counts.prop_map(|(joined, left, timed_out, renamed)| [joined, left, timed_out, renamed]);
    let total = |counts: &[u64; 4]| {
        counts
            .iter()
            .fold(0, |sum: u64, count| sum.saturating_add(*count))
    };
    counts.prop_filter("few", move |counts| total(counts) > MAX_NAMED_EVENTS as u64)
}

fn any_bytes() -> impl Strategy<Value = &'static [u8]> {
    prop::collection::vec(any::<u8>(), 0..50).prop_map(|bytes| &*bytes.leak())
}

fn any_word() -> impl Strategy<Value = &'static [u8]> {
    let word = any_bytes().prop_map(|bytes| {
        let is_in_word = |byte: &u8| !matches!(byte, b' ' | b'\t');
        bytes.iter().copied().filter(is_in_word).collect::<Vec<_>>()
    });
    word.prop_map(|bytes| &*bytes.leak())
}

fn any_page<E: Display + std::fmt::Debug + 'static>(
    entry: impl Strategy<Value = E>,
) -> impl Strategy<Value = Page> {
    let first = prop_oneof![Just(1), 1..1000_usize, Just(usize::MAX)];
    let entries = prop::collection::vec(entry, 0..10);
    (first, entries, 0..2000_usize).prop_map(|(first, entries, more)| {
        let total = (first - 1)
            .saturating_add(entries.len())
            .saturating_add(more);
        match first {
            usize::MAX => page::<E>(first, vec![], more),
            _ if more > 1000 => page::<E>(first, vec![], more),
            _ => page(first, entries, total),
        }
    })
}

fn any_reply() -> impl Strategy<Value = Reply<'static>> {
    let entered = (any_room(), any::<usize>());
    let entered = entered.prop_map(|(room, members)| Reply::Entered { room, members });
    let members = (any_room(), any_page(any_display_name()));
    let members = members.prop_map(|(room, page)| Reply::Members(room, page));
    let rooms = (any_room(), any::<usize>());
    let rooms = any_page(rooms.prop_map(|(name, members)| summary(name.as_str(), members)));
    let sent = (any_word(), any_bytes()).prop_map(|(to, text)| Reply::Sent { to, text });
    let full = (any_room(), any::<usize>());
    // See above.
    let full = full.prop_filter("a server", |(room, _)| room.as_str() != "server");
    let full = full.prop_map(|(room, max)| Reply::RoomFull(room, max));
    let limit = (any_room(), any::<usize>());
    let limit = limit.prop_map(|(room, max)| Reply::RoomLimit(room, max));
    let events = prop::collection::vec(any_event(), 1..=MAX_NAMED_EVENTS);
    let changes = prop_oneof![
        events.prop_map(Changes::Events),
        any_counts().prop_map(Changes::Counts),
    ];
    let presence = (changes, any::<usize>());
    let presence = presence.prop_map(|(changes, members)| Reply::Presence { changes, members });
    prop_oneof![
        Just(Reply::Help),
        any_name().prop_map(Reply::Named),
        entered,
        members,
        rooms.prop_map(Reply::Rooms),
        sent,
        any_bytes().prop_map(Reply::Pong),
        any::<bool>().prop_map(Reply::Subscribed),
        prop::sample::select(&Verb::ALL[..]).prop_map(Reply::Usage),
        any::<usize>().prop_map(Reply::PeerLimit),
        any_name().prop_map(Reply::NameTaken),
        any::<usize>().prop_map(Reply::NameLimit),
        full,
        limit,
        any_word().prop_map(Reply::NoSuchPeer),
        Just(Reply::TooManyMessages),
        Just(Reply::TooManyLists),
        Just(Reply::Removed),
        any::<u64>().prop_map(Reply::Muted),
        Just(Reply::Unmuted),
        presence,
    ]
}

/// Texts that are like sentences.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let parts = [
        "you are ",
        "in ",
        "to ",
        "pong ",
        "usage: /",
        "who",
        "ada",
        "den",
        "server",
        "5",
        "1,000",
        "is ",
        "taken",
        "full ",
        "(",
        ")",
        ": ",
        ", ",
        " ",
        "here",
        "room",
        "rooms",
        "none from ",
        "on",
        "joined",
        "timed out",
        "now ",
        "(more: /who ",
        "muted ",
        "removed ",
        "by the operator",
        " for ",
        " s",
    ];
    let part = prop_oneof![
        9 => prop::sample::select(parts.to_vec()).prop_map(|part| part.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
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
        for code in [NoticeCode::Done, NoticeCode::Misuse, NoticeCode::Refused, NoticeCode::Presence] {
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
