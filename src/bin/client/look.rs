//! How events look: as lines for people, plain or coloured, or as JSON for programs.

use std::borrow::Cow;
use std::fmt::Write;
use std::io;

use super::json;
use super::paint::{may_paint, paint};
use bullhorn::client::DownReason;
use bullhorn::client::Event;
use bullhorn::client::ServerAddress;
use bullhorn::client::Session;
use bullhorn::wire::Thousands;

/// How events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Coloured,
    Json,
}

impl Look {
    pub(super) fn new(is_json: bool) -> Self {
        match is_json {
            true => Self::Json,
            false if may_paint() => Self::Coloured,
            false => Self::Plain,
        }
    }

    /// Appends to `out` what is printed of an event whose [`Event::line`] is `line`.
    pub(super) fn push(
        self,
        event: &Event,
        line: Option<&str>,
        of: (&ServerAddress, &Session),
        out: &mut String,
    ) {
        let (server, session) = of;
        if self == Self::Json {
            out.push_str(&json::line(event, session));
            out.push('\n');
            return;
        }
        if let Some(line) = line {
            let line = match event {
                Event::Pong { .. } => Cow::Owned(format!("{line}{}", losses(session))),
                _ => Cow::Borrowed(line),
            };
            out.push_str(&self.paint(event, &line));
            out.push('\n');
            return;
        }
        // Writing to a String cannot fail.
        let _ = match event {
            Event::Down(DownReason::Unreachable(io::ErrorKind::ConnectionRefused)) => {
                writeln!(out, "{server} is down")
            }
            Event::Down(reason) => writeln!(out, "{server} is down ({reason})"),
            Event::Up => writeln!(out, "{server} is back"),
            Event::Missed(texts) => writeln!(out, "({texts} texts came too fast to show)"),
            // The notice that comes with it says it in words.
            _ => Ok(()),
        };
    }

    fn paint<'a>(self, event: &Event, line: &'a str) -> Cow<'a, str> {
        match self {
            Self::Coloured => paint(event, line).into(),
            Self::Plain | Self::Json => line.into(),
        }
    }
}

/// `, 3 of 1,200 messages lost`, in v2 and once there was one.
fn losses(session: &Session) -> String {
    let messages = session.stats().messages;
    if messages.expected == 0 {
        return String::new();
    }
    let (lost, expected) = (Thousands(messages.lost), Thousands(messages.expected));
    format!(", {lost} of {expected} messages lost")
}
