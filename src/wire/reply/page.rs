//! Pages of long lists.

use std::fmt::{self, Debug, Display, Formatter};
use std::marker::PhantomData;
use std::str::FromStr;

use super::number::{Thousands, parse_number};
use super::push;
use crate::wire::command::Verb;
use crate::wire::name::{DisplayName, RoomName};

/// An entry of a list.
pub trait Entry: Display + FromStr {
    /// Number of words of an entry, each after a blank.
    const WORDS: usize;
}

/// A room and the number of its members, as listed: `chess (3)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomSummary {
    /// Name of the room.
    pub name: RoomName,
    /// Number of its members.
    pub members: usize,
}

/// Error of parsing a [`RoomSummary`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a room and the number of its members, such as chess (3)")]
pub struct ParseRoomSummaryError;

/// Part of a list of `E` that fits into one reply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Page<'a, E> {
    total: usize,
    first: usize,
    count: usize,
    /// The entries, each after a blank.
    text: &'a [u8],
    entry: PhantomData<E>,
}

/// Collects the entries of a page.
#[derive(Debug)]
pub struct PageBuilder<'a, E> {
    first: usize,
    count: usize,
    text: &'a mut Vec<u8>,
    entry: PhantomData<E>,
}

/// Error of adding an entry to a page: it does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFull;

impl<'a, E: Entry> PageBuilder<'a, E> {
    /// Begins a page with number `first` of a list, counted from 1. Its text is collected
    /// in `buffer`.
    pub fn new(first: usize, buffer: &'a mut Vec<u8>) -> Self {
        buffer.clear();
        Self {
            first,
            count: 0,
            text: buffer,
            entry: PhantomData,
        }
    }

    /// Adds the next entry.
    ///
    /// # Errors
    /// [`PageFull`]; the page is as it was before.
    pub fn push(&mut self, entry: E) -> Result<(), PageFull> {
        let end = self.text.len();
        push(self.text, format_args!(" {entry}"));
        if self.text.len() > MAX_PAGE_BYTES {
            self.text.truncate(end);
            return Err(PageFull);
        }
        self.count += 1;
        Ok(())
    }

    /// Returns the page of a list that has `total` entries.
    pub fn finish(self, total: usize) -> Page<'a, E> {
        Page {
            total,
            first: self.first,
            count: self.count,
            text: self.text,
            entry: PhantomData,
        }
    }
}

impl<'a, E: Entry> Page<'a, E> {
    /// Number of entries of the whole list.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Number of the first entry of the page, counted from 1.
    pub fn first(&self) -> usize {
        self.first
    }

    /// The entries of the page. Those that this version cannot parse are left out.
    pub fn entries(&self) -> impl Iterator<Item = E> + use<'a, E> {
        entries_of::<E>(self.text).filter_map(|entry| str::from_utf8(entry).ok()?.parse().ok())
    }

    /// Appends what follows the head of the list:
    /// - all entries: `: a b c`
    /// - none: `, none from 9 on`
    /// - some: `, 1 to 3: a b c (more: /who 4)`
    pub(super) fn push(&self, verb: Verb, out: &mut Vec<u8>) {
        let Self { total, first, .. } = *self;
        let next = first.saturating_add(self.count);
        if first == 1 && self.count == total {
            out.push(b':');
            out.extend_from_slice(self.text);
        } else if self.count == 0 {
            push(out, format_args!(", none from {first} on"));
        } else {
            push(out, format_args!(", {first} to {}:", next - 1));
            out.extend_from_slice(self.text);
            if next <= total {
                push(out, format_args!(" (more: /{} {next})", verb.as_str()));
            }
        }
    }

    /// Parses what [`Self::push`] has written.
    pub(super) fn parse(total: usize, list: &'a [u8]) -> Option<Self> {
        let page = |first, count, text| {
            let entry = PhantomData;
            let is_whole = entries_of::<E>(text).count() == count;
            is_whole.then_some(Self {
                total,
                first,
                count,
                text,
                entry,
            })
        };
        if let Some(all) = list.strip_prefix(b":") {
            return page(1, total, all);
        }
        let list = list.strip_prefix(b", ")?;
        if let Some(none) = list.strip_prefix(b"none from ") {
            return page(parse_number(none.strip_suffix(b" on")?)?, 0, b"");
        }
        let colon = list.iter().position(|byte| *byte == b':')?;
        let (range, text) = (&list[..colon], &list[colon + 1..]);
        let to = range.windows(4).position(|word| word == b" to ")?;
        let first = parse_number(&range[..to])?;
        let last = parse_number(&range[to + 4..])?;
        let count = last.checked_sub(first)?.checked_add(1)?;
        let more = text.windows(MORE.len()).rposition(|word| word == MORE);
        page(first, count, &text[..more.unwrap_or(text.len())])
    }
}

impl<E: Entry> Debug for Page<'_, E> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { total, first, .. } = self;
        write!(out, "{first}.. of {total}:{}", self.text.escape_ascii())
    }
}

impl Entry for DisplayName {
    const WORDS: usize = 1;
}

impl Entry for RoomSummary {
    const WORDS: usize = 2;
}

impl Display for RoomSummary {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.name, Thousands(self.members as u64))
    }
}

impl FromStr for RoomSummary {
    type Err = ParseRoomSummaryError;

    fn from_str(text: &str) -> Result<Self, ParseRoomSummaryError> {
        let parse = || {
            let (name, members) = text.strip_suffix(')')?.split_once(" (")?;
            let members = Thousands::parse(members.as_bytes())?;
            Some(Self {
                name: RoomName::parse(name.as_bytes())?,
                members: usize::try_from(members.0).ok()?,
            })
        };
        parse().ok_or(ParseRoomSummaryError)
    }
}

/// Cuts the text of a page into its entries, without the blanks before them.
fn entries_of<E: Entry>(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix(b" ")?;
        let mut blanks = rest.iter().enumerate().filter(|(_, byte)| **byte == b' ');
        let end = blanks.nth(E::WORDS - 1).map_or(rest.len(), |(at, _)| at);
        let (entry, after) = rest.split_at(end);
        rest = after;
        Some(entry)
    })
}

/// Maximum length of the entries of a page. With the rest of the sentence it is less than
/// a datagram of v1 holds.
pub const MAX_PAGE_BYTES: usize = 900;

const MORE: &[u8] = b" (more: ";
