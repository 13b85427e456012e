//! What a peer is to hear, and whether that is what it heard.

use super::Heard;
use crate::wire::frame::NoticeCode;

/// What a peer is to hear.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expected {
    Exactly(Heard),
    /// A notice with so many of these behind its head, in any order.
    List {
        is_frames: bool,
        head: String,
        count: usize,
        entries: Vec<String>,
    },
    /// Who came and went. The reaper finds peers in any order.
    Presence(Heard),
}

impl Expected {
    /// Whether this is what was heard.
    pub(super) fn is(&self, heard: &Heard) -> bool {
        match self {
            Self::Exactly(expected) => expected == heard,
            Self::Presence(expected) => in_any_order(expected) == in_any_order(heard),
            Self::List {
                is_frames,
                head,
                count,
                entries,
            } => {
                let text = match heard {
                    Heard::Line(line) if !is_frames => line.strip_prefix("* "),
                    Heard::Notice(NoticeCode::Done, text) if *is_frames => Some(text.as_str()),
                    _ => None,
                };
                let list = text.and_then(|text| text.strip_prefix(head)?.strip_prefix(": "));
                let list = list.unwrap_or_default().replace(" (", "(");
                let mut left = entries.clone();
                let is_entry = |entry: &str| {
                    let at = left.iter().position(|left| left == entry);
                    at.map(|at| left.swap_remove(at)).is_some()
                };
                list.split(' ').all(is_entry) && entries.len() - left.len() == *count
            }
        }
    }
}

/// With those that timed out one after the other in the order of the alphabet.
fn in_any_order(heard: &Heard) -> Option<Vec<String>> {
    let (Heard::Line(text) | Heard::Notice(NoticeCode::Presence, text)) = heard else {
        return None;
    };
    let (is_line, text) = match text.strip_prefix("* ") {
        Some(text) => (true, text),
        None => (false, text.as_str()),
    };
    let (parts, here) = text.split_once(" (")?;
    let mut parts: Vec<String> = parts.split(", ").map(str::to_owned).collect();
    let has_timed_out = |part: &String| part.ends_with(" timed out");
    for run in parts.chunk_by_mut(|a, b| has_timed_out(a) && has_timed_out(b)) {
        run.sort();
    }
    parts.push(format!("{here} {is_line}"));
    Some(parts)
}
