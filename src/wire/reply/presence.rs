//! Sentences about peers that come and go.

use std::borrow::Cow;

use super::number::Thousands;
use super::push;
use crate::wire::name::{DisplayName, Name};

/// A change in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceEvent {
    /// A peer came to the room.
    Joined(DisplayName),
    /// A peer left the room, or the server.
    Left(DisplayName),
    /// The server dropped a peer that was silent for too long.
    TimedOut(DisplayName),
    /// A peer took another name.
    Renamed(DisplayName, Name),
}

/// Changes in a room since the last notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes<'a> {
    /// 1 to [`MAX_NAMED_EVENTS`] changes, in order: `ada joined, bob left`
    Events(Cow<'a, [PresenceEvent]>),
    /// More changes: `3,120 joined, 12 left`
    Counts(PresenceCounts),
}

/// Numbers of changes in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PresenceCounts {
    /// Number of peers that came to the room.
    pub joined: u64,
    /// Number of peers that left the room.
    pub left: u64,
    /// Number of peers that were dropped.
    pub timed_out: u64,
    /// Number of names that were taken.
    pub renamed: u64,
}

impl PresenceCounts {
    /// Counts one more event.
    pub fn add(&mut self, event: &PresenceEvent) {
        match event {
            PresenceEvent::Joined(_) => self.joined += 1,
            PresenceEvent::Left(_) => self.left += 1,
            PresenceEvent::TimedOut(_) => self.timed_out += 1,
            PresenceEvent::Renamed(..) => self.renamed += 1,
        }
    }

    /// Number of all changes.
    pub fn total(&self) -> u64 {
        let Self {
            joined,
            left,
            timed_out,
            renamed,
        } = self;
        [joined, left, timed_out, renamed]
            .into_iter()
            .fold(0, |total, count| total.saturating_add(*count))
    }
}

impl Changes<'_> {
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        let mut separator = "";
        match self {
            Self::Events(events) => {
                for event in events.iter() {
                    push(out, separator);
                    push_event(event, out);
                    separator = SEPARATOR;
                }
            }
            Self::Counts(counts) => {
                for (count, change) in [
                    (counts.joined, JOINED),
                    (counts.left, LEFT),
                    (counts.timed_out, TIMED_OUT),
                    (counts.renamed, RENAMED),
                ] {
                    if count > 0 {
                        push(
                            out,
                            format_args!("{separator}{} {change}", Thousands(count)),
                        );
                        separator = SEPARATOR;
                    }
                }
            }
        }
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        if let Some(counts) = parse_counts(text) {
            return Some(Self::Counts(counts));
        }
        let events = text.split(SEPARATOR).map(parse_event);
        let events: Vec<_> = events.collect::<Option<_>>()?;
        let is_named = events.len() <= MAX_NAMED_EVENTS;
        is_named.then_some(Self::Events(events.into()))
    }
}

fn push_event(event: &PresenceEvent, out: &mut Vec<u8>) {
    match event {
        PresenceEvent::Joined(who) => push(out, format_args!("{who} {JOINED}")),
        PresenceEvent::Left(who) => push(out, format_args!("{who} {LEFT}")),
        PresenceEvent::TimedOut(who) => push(out, format_args!("{who} {TIMED_OUT}")),
        PresenceEvent::Renamed(who, now) => push(out, format_args!("{who} {IS_NOW}{now}")),
    }
}

fn parse_event(text: &str) -> Option<PresenceEvent> {
    let (who, change) = text.split_once(' ')?;
    let who = who.parse().ok()?;
    match change {
        JOINED => Some(PresenceEvent::Joined(who)),
        LEFT => Some(PresenceEvent::Left(who)),
        TIMED_OUT => Some(PresenceEvent::TimedOut(who)),
        _ => {
            let now = change.strip_prefix(IS_NOW)?.parse().ok()?;
            Some(PresenceEvent::Renamed(who, now))
        }
    }
}

/// Each kind of change occurs at most once, and in this order.
fn parse_counts(text: &str) -> Option<PresenceCounts> {
    let mut counts = [0; 4];
    let mut kinds = [JOINED, LEFT, TIMED_OUT, RENAMED].into_iter().enumerate();
    for part in text.split(SEPARATOR) {
        let (count, change) = part.split_once(' ')?;
        let (at, _) = kinds.find(|(_, kind)| *kind == change)?;
        counts[at] = Thousands::parse(count.as_bytes())?.0;
    }
    let [joined, left, timed_out, renamed] = counts;
    let counts = PresenceCounts {
        joined,
        left,
        timed_out,
        renamed,
    };
    let is_counted = counts.total() > MAX_NAMED_EVENTS as u64;
    is_counted.then_some(counts)
}

/// Maximum number of changes that a notice names, so that it can be read at a glance.
pub const MAX_NAMED_EVENTS: usize = 4;

const SEPARATOR: &str = ", ";
const JOINED: &str = "joined";
const LEFT: &str = "left";
const TIMED_OUT: &str = "timed out";
const RENAMED: &str = "renamed";
const IS_NOW: &str = "is now ";
