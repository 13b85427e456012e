//! Sentences of the server, as clients parse them.

use std::fmt::Display;

use arbitrary::{Result, Unstructured};
use bullhorn::wire::reply::{
    Changes, Limit, LimitScope, MAX_NAMED_EVENTS, NoticeCode, Page, PresenceEvent, Reply, Resource,
    Thousands,
};
use bullhorn::wire::{MAX_TEXT_DATAGRAM, ProofToken, RoomName, ServerLine, Verb, push_reply};

use crate::frames::{any_address, any_bytes, any_code, any_display_name, any_label};
use crate::printable::assert_printable;

/// Parses the bytes as a sentence of each code, and writes what they mean. Then writes a reply that
/// the bytes choose, and parses it.
pub fn replies(data: &[u8]) {
    for code in CODES {
        if let Some(reply) = Reply::parse(code, data) {
            assert_eq!((reply.code(), sentence(&reply)), (code, data.to_vec()));
            assert_line(&reply);
        }
    }
    if let Some(reply) = Reply::parse_uncoded(data) {
        assert_eq!(sentence(&reply), data);
    }
    let mut input = Unstructured::new(data);
    if let Ok(code) = any_code(&mut input)
        && let Some(reply) = Reply::parse(code, input.take_rest())
    {
        assert_eq!(reply.code(), code);
    }
    if let Ok(reply) = any_reply(&mut Unstructured::new(data)) {
        assert_line(&reply);
        assert_eq!(Reply::parse(reply.code(), &sentence(&reply)), Some(reply));
    }
}

fn sentence(reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    reply.push(&mut out);
    out
}

/// A v1 peer receives the reply as a printable line, and can parse it if nothing was escaped or
/// cut. Some sentences are ambiguous without a code, but their words are the same.
fn assert_line(reply: &Reply<'_>) {
    let mut line = Vec::new();
    push_reply(reply, &mut line);
    assert!(line.len() <= MAX_TEXT_DATAGRAM);
    assert_printable(&line);
    let sentence = sentence(reply);
    if line[2..] != sentence[..] {
        return;
    }
    match ServerLine::parse(&line) {
        Some(ServerLine::Notice(notice)) => {
            let parsed = Reply::parse_uncoded(notice).expect("what was written");
            assert_eq!(self::sentence(&parsed), sentence);
        }
        Some(ServerLine::Private { .. }) => assert!(matches!(reply, Reply::Pong(_))),
        other => panic!("{other:?}"),
    }
}

/// Any reply of a server of this version.
pub(crate) fn any_reply<'a>(input: &mut Unstructured<'a>) -> Result<Reply<'a>> {
    Ok(match input.int_in_range(0..=33)? {
        0 => Reply::Help,
        1 => Reply::Named(any_label(input)?),
        2 => Reply::Entered {
            room: any_label(input)?,
            members: input.arbitrary()?,
        },
        3 => Reply::Members(any_label(input)?, any_page(input, any_display_name)?),
        4 => Reply::Rooms(any_page(input, |input| {
            let name: RoomName = any_label(input)?;
            Ok(format!("{name} ({})", Thousands(input.arbitrary()?)))
        })?),
        5 => Reply::Sent {
            to: any_word(input)?,
            text: any_bytes(input, 200)?,
        },
        6 => Reply::Pong(any_bytes(input, 40)?),
        7 => Reply::Subscribed(input.arbitrary()?),
        8 => Reply::Usage(*input.choose(&Verb::ALL)?),
        9 => Reply::PeerLimit(any_limit(input)?),
        10 => Reply::NameTaken(any_label(input)?),
        11 => Reply::NameLimit(any_limit(input)?),
        12 => Reply::RoomFull(any_label(input)?, input.arbitrary()?),
        13 => Reply::RoomLimit(any_label(input)?, any_limit(input)?),
        14 => Reply::NoSuchPeer(any_word(input)?),
        15 => Reply::TooManyMessages,
        16 => Reply::TooManyLists,
        17 => Reply::NotInRoom(input.arbitrary()?),
        18 => Reply::SessionRoomLimit(input.arbitrary()?),
        19 => Reply::UnknownFrame(input.arbitrary()?),
        20 => Reply::UnknownOption(input.arbitrary()?),
        21 => Reply::Prove(ProofToken::of(input.arbitrary()?)),
        22 => Reply::OverBudget {
            resource: *input.choose(&[Resource::Texts, Resource::Bytes, Resource::Work])?,
            per_second: input.arbitrary()?,
        },
        23 => Reply::Removed,
        24 => Reply::Muted(input.arbitrary()?),
        25 => Reply::Unmuted,
        26 => Reply::Operator(any_bytes(input, 200)?),
        27 => Reply::Stopping(input.arbitrary()?),
        28 => Reply::NoNewcomers,
        29 => Reply::NamedUnconfirmed(any_label(input)?),
        30 => Reply::NameLost(any_label(input)?, any_address(input)?),
        31 => Reply::Split,
        32 => Reply::Whole,
        _ => Reply::Presence {
            changes: any_changes(input)?,
            members: input.arbitrary()?,
        },
    })
}

fn any_word<'a>(input: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let word = any_bytes(input, 40)?;
    let end = word.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    Ok(&word[..end.unwrap_or(word.len())])
}

fn any_limit(input: &mut Unstructured<'_>) -> Result<Limit> {
    let scopes = [
        LimitScope::Server,
        LimitScope::Network,
        LimitScope::NetworkPerSecond,
    ];
    Ok(Limit {
        max: input.arbitrary()?,
        scope: *input.choose(&scopes)?,
    })
}

/// A page as the server makes one.
fn any_page<'a, E: Display>(
    input: &mut Unstructured<'a>,
    entry: impl Fn(&mut Unstructured<'a>) -> Result<E>,
) -> Result<Page> {
    let mut page = Page::new(input.int_in_range(1..=5000)?);
    let count = input.int_in_range(0..=20)?;
    let mut pushed = 0;
    for _ in 0..count {
        if page.push(entry(input)?, PAGE_BYTES).is_none() {
            break;
        }
        pushed += 1;
    }
    let before = page.first - 1;
    page.total = match pushed {
        0 => input.int_in_range(0..=before)?,
        _ => before + pushed + input.int_in_range(0..=10_000)?,
    };
    Ok(page)
}

fn any_changes(input: &mut Unstructured<'_>) -> Result<Changes> {
    if input.arbitrary()? {
        let counts: [u64; 4] = input.arbitrary()?;
        let total = counts.into_iter().fold(0, u64::saturating_add);
        if total > MAX_NAMED_EVENTS as u64 {
            return Ok(Changes::Counts(counts));
        }
    }
    let count = input.int_in_range(1..=MAX_NAMED_EVENTS)?;
    let events = (0..count)
        .map(|_| any_event(input))
        .collect::<Result<_>>()?;
    Ok(Changes::Events(events))
}

fn any_event(input: &mut Unstructured<'_>) -> Result<PresenceEvent> {
    let who = any_display_name(input)?;
    // One with a number for a name is taken for a count, as `wire::reply` says.
    if who.to_string().bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(arbitrary::Error::IncorrectFormat);
    }
    Ok(match input.int_in_range(0..=3)? {
        0 => PresenceEvent::Joined(who),
        1 => PresenceEvent::Left(who),
        2 => PresenceEvent::TimedOut(who),
        _ => PresenceEvent::Renamed(who, any_display_name(input)?),
    })
}

const CODES: [NoticeCode; 6] = [
    NoticeCode::Done,
    NoticeCode::Misuse,
    NoticeCode::Refused,
    NoticeCode::Presence,
    NoticeCode::Operator,
    NoticeCode::Other(77),
];

/// As the server limits the entries of a page.
const PAGE_BYTES: usize = 900;
