//! Sentences to replies.

use std::str::FromStr;

use super::{Changes, KINDS, Limit, LimitScope, MAX_NAMED_EVENTS, NO_SUCH_PEER, NoticeCode};
use super::{OPERATOR, PONG, Page, PresenceEvent, Reply, Resource, SPLIT, WHOLE};
use crate::wire::command::{Verb, split_at_blank};
use crate::wire::proof::ProofToken;

impl<'a> Reply<'a> {
    /// Parses the sentence of a NOTICE with this code. Returns `None` if this version
    /// does not know it.
    pub fn parse(code: NoticeCode, text: &'a [u8]) -> Option<Self> {
        if code == NoticeCode::Done
            && let Some(token) = text.strip_prefix(PONG)
        {
            // The one sentence that is frequent. All others allocate.
            return Some(Self::Pong(token));
        }
        let reply = match code {
            NoticeCode::Done => read_done(text),
            NoticeCode::Misuse | NoticeCode::Refused => read_refusal(text),
            NoticeCode::Presence => read_presence(text),
            NoticeCode::Operator => read_operator(text),
            NoticeCode::Other(_) => None,
        }?;
        // The readers look only at words that differ between sentences. This compares the
        // others, and the form of the numbers.
        let mut written = Vec::with_capacity(text.len());
        reply.push(&mut written);
        (reply.code() == code && written == text).then_some(reply)
    }

    /// Parses a sentence that came to a v1 peer, which has no code.
    ///
    /// The reply to a ping is ambiguous if its token continues another sentence.
    /// `pong is taken` is parsed as [`Reply::NameTaken`].
    pub fn parse_uncoded(text: &'a [u8]) -> Option<Self> {
        let codes = [
            NoticeCode::Operator,
            NoticeCode::Misuse,
            NoticeCode::Refused,
            NoticeCode::Presence,
            NoticeCode::Done,
        ];
        codes.into_iter().find_map(|code| Self::parse(code, text))
    }
}

fn read_done(text: &[u8]) -> Option<Reply<'_>> {
    if let Some(sent) = text.strip_prefix(b"to ") {
        let (to, text) = split_at_blank(sent)?;
        let to = to.strip_suffix(b":")?;
        return Some(Reply::Sent { to, text });
    }
    let text = str::from_utf8(text).ok()?;
    match *words(text, &mut [""; MAX_WORDS]) {
        ["presence", "is", state] => Some(Reply::Subscribed(state == "on")),
        ["you", "are", name] => Some(Reply::Named(name.parse().ok()?)),
        ["you", "are", name, "(not", "confirmed)"] => {
            Some(Reply::NamedUnconfirmed(name.parse().ok()?))
        }
        ["you", "are", "in", room, members, "here)"] => Some(Reply::Entered {
            room: room.parse().ok()?,
            members: read_number(members)?,
        }),
        ["/nick", ..] => Some(Reply::Help),
        ["not", "muted", "any", "more"] => Some(Reply::Unmuted),
        [_, "in", room, ..] => {
            let room = room.trim_end_matches([':', ',']).parse().ok()?;
            Some(Reply::Members(room, read_page(text, 1)?))
        }
        _ => Some(Reply::Rooms(read_page(text, 2)?)),
    }
}

fn read_refusal(text: &[u8]) -> Option<Reply<'_>> {
    if let Some(whom) = text.strip_prefix(NO_SUCH_PEER) {
        return Some(Reply::NoSuchPeer(whom));
    }
    let text = str::from_utf8(text).ok()?;
    match *words(text, &mut [""; MAX_WORDS]) {
        ["usage:", verb, ..] => {
            let verb = verb.strip_prefix('/')?.as_bytes();
            Verb::parse(verb).map(Reply::Usage)
        }
        [name, "belongs", "to", ..] => {
            let (_, address) = text.rsplit_once(' ')?;
            Some(Reply::NameLost(name.parse().ok()?, address.parse().ok()?))
        }
        [name, "is", "taken"] => Some(Reply::NameTaken(name.parse().ok()?)),
        ["name", "limit", ..] => Some(Reply::NameLimit(read_limit(text)?)),
        ["peer", "limit", ..] => Some(Reply::PeerLimit(read_limit(text)?)),
        [room, "is", "full", max] => Some(Reply::RoomFull(room.parse().ok()?, read_number(max)?)),
        ["cannot", "create", room, ..] => {
            let room = room.trim_matches(['"', ':']).parse().ok()?;
            Some(Reply::RoomLimit(room, read_limit(text)?))
        }
        ["too", "many", "messages", ..] => Some(Reply::TooManyMessages),
        ["too", "many", "lists", ..] => Some(Reply::TooManyLists),
        ["not", "in", "room", room] => Some(Reply::NotInRoom(room.parse().ok()?)),
        ["at", "most", max, "rooms"] => Some(Reply::SessionRoomLimit(read_number(max)?)),
        ["at", "most", amount, ref resource @ .., "per", "second"] => Some(Reply::OverBudget {
            resource: match *resource {
                ["texts"] => Resource::Texts,
                ["bytes"] => Resource::Bytes,
                ["units", "of", "work"] => Resource::Work,
                _ => return None,
            },
            per_second: read_number(amount)?,
        }),
        ["unknown", "frame", kind] => {
            let digits = kind.strip_prefix("0x")?;
            Some(Reply::UnknownFrame(u8::from_str_radix(digits, 16).ok()?))
        }
        ["unknown", "option", kind] => Some(Reply::UnknownOption(kind.parse().ok()?)),
        ["removed", "by", ..] => Some(Reply::Removed),
        ["muted", "by", _, _, _, seconds, "s"] => Some(Reply::Muted(seconds.parse().ok()?)),
        ["stopping", "soon,", ..] => Some(Reply::NoNewcomers),
        ["say", "/in", token] => Some(Reply::Prove(ProofToken::parse(token.as_bytes())?)),
        _ => None,
    }
}

fn read_presence(text: &[u8]) -> Option<Reply<'_>> {
    let text = str::from_utf8(text).ok()?;
    let (changes, members) = text.strip_suffix(" here)")?.rsplit_once(' ')?;
    let (changes, members) = (read_changes(changes)?, read_number(members)?);
    Some(Reply::Presence { changes, members })
}

fn read_operator(text: &[u8]) -> Option<Reply<'_>> {
    if let Some(text) = text.strip_prefix(OPERATOR) {
        return Some(Reply::Operator(text));
    }
    match str::from_utf8(text).ok()? {
        SPLIT => Some(Reply::Split),
        WHOLE => Some(Reply::Whole),
        text => {
            let seconds = text.strip_prefix("the server stops in ")?;
            let seconds = seconds.strip_suffix(" s")?.parse().ok()?;
            Some(Reply::Stopping(seconds))
        }
    }
}

/// Reads the limit at the end of a sentence, in parentheses.
fn read_limit(sentence: &str) -> Option<Limit> {
    let (_, limit) = sentence.strip_suffix(')')?.split_once('(')?;
    let (max, words) = limit.split_at(limit.find(' ').unwrap_or(limit.len()));
    let scope = LimitScope::ALL
        .into_iter()
        .find(|scope| scope.words() == words)?;
    let max = max.parse().ok()?;
    Some(Limit { max, scope })
}

/// Reads a list with entries of `entry_words` words each.
fn read_page(sentence: &str, entry_words: usize) -> Option<Page> {
    let (head, entries) = sentence.split_once(':').unwrap_or((sentence, ""));
    let text = entries.split(" (more: ").next()?;
    let words: Vec<_> = head.split(' ').collect();
    let first = match words[..] {
        [.., "none", "from", first, "on"] | [.., first, "to", _] => read_number(first)?,
        _ => 1,
    };
    Some(Page {
        total: read_number(words[0])?,
        first,
        count: text.matches(' ').count() / entry_words,
        text: text.to_owned(),
    })
}

fn read_changes(text: &str) -> Option<Changes> {
    let counts = read_counts(text).map(Changes::Counts);
    // Others are events of peers whose names are numbers.
    if let Some(counts) = counts.filter(|counts| counts.to_string() == text) {
        return Some(counts);
    }
    let events: Option<Vec<_>> = text.split(", ").map(read_event).collect();
    let events = events.filter(|events| events.len() <= MAX_NAMED_EVENTS)?;
    Some(Changes::Events(events))
}

fn read_counts(text: &str) -> Option<[u64; 4]> {
    let mut counts = [0; 4];
    for part in text.split(", ") {
        let (count, change) = part.split_once(' ')?;
        let index = KINDS.iter().position(|kind| *kind == change)?;
        counts[index] = read_number(count)?;
    }
    let total = counts.into_iter().fold(0, u64::saturating_add);
    (total > MAX_NAMED_EVENTS as u64).then_some(counts)
}

fn read_event(text: &str) -> Option<PresenceEvent> {
    let (who, change) = text.split_once(' ')?;
    let who = who.parse().ok()?;
    Some(match change {
        "joined" => PresenceEvent::Joined(who),
        "left" => PresenceEvent::Left(who),
        "timed out" => PresenceEvent::TimedOut(who),
        _ => PresenceEvent::Renamed(who, change.strip_prefix("is now ")?.parse().ok()?),
    })
}

/// Returns the first words of `text`, up to [`MAX_WORDS`].
fn words<'a, 'b>(text: &'a str, buffer: &'b mut [&'a str; MAX_WORDS]) -> &'b [&'a str] {
    let mut count = 0;
    for (word, slot) in text.split(' ').zip(&mut *buffer) {
        *slot = word;
        count += 1;
    }
    &buffer[..count]
}

/// Returns the number of a word such as `(1,000)`.
fn read_number<N: FromStr>(word: &str) -> Option<N> {
    word.trim_matches(['(', ')']).replace(',', "").parse().ok()
}

/// Number of words of the longest sentence that has a fixed number of them.
const MAX_WORDS: usize = 8;
