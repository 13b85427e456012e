//! What an application hears of its session.

use std::borrow::Cow;
use std::time::Duration;

use super::escape::{escape, into_text};
use super::liveness::DownReason;
use crate::wire::v2::NoticeCode;
use crate::wire::{DisplayName, NOTICE, RoomName, push_private, push_text};

/// What happens in a [`Session`](super::Session).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// In v2: someone said something.
    Message(Message),
    /// In v2: someone said something to this session alone.
    Private(Message),
    /// In v2: the server says something to this session alone, such as the
    /// answer to a command.
    Notice {
        /// What it is.
        code: NoticeCode,
        /// For people. What was not UTF-8 has become `U+FFFD`.
        text: String,
    },
    /// In v2: the room that this session is in from now on.
    Room(RoomName),
    /// A [`ping`](super::Session::ping) was answered.
    Pong {
        /// Since it was sent.
        round_trip: Duration,
    },
    /// In v1: a datagram from the server, without its line end. What was not
    /// UTF-8 has become `U+FFFD`. Pass it through [`escape`](super::escape())
    /// before it reaches a terminal.
    Text(String),
    /// The server counts as gone, and the session keeps trying.
    Down(DownReason),
    /// The server is there again, and knows us again.
    Up,
    /// So many texts were dropped here, because the channel was full.
    Missed(u64),
}

/// What someone said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose it is.
    pub from: DisplayName,
    /// What was said; any bytes.
    pub payload: Vec<u8>,
}

impl Event {
    /// What was said, as a line to print: `name text` or `ip:port text`, or
    /// `* ada to you: text` if nobody else hears it, or `* text` if the server said
    /// it. It looks the same in both protocols, and is escaped. `None` for what
    /// nobody said.
    pub fn line(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(escape(text)),
            Self::Notice { text, .. } => Some(Cow::Owned(format!("{NOTICE}{}", escape(text)))),
            Self::Message(message) => Some(Cow::Owned(message.line())),
            Self::Private(message) => Some(Cow::Owned(message.private_line())),
            Self::Pong { round_trip } => {
                let round_trip_ms = 1000.0 * round_trip.as_secs_f64();
                Some(Cow::Owned(format!("{NOTICE}pong: {round_trip_ms:.2} ms")))
            }
            // The notice that comes with a room says it in words.
            Self::Room(_) | Self::Down(_) | Self::Up | Self::Missed(_) => None,
        }
    }
}

impl Message {
    /// `ip:port text` or `name text`, escaped and cut as the server does it for
    /// those who speak v1.
    pub fn line(&self) -> String {
        self.line_by(|out| push_text(self.from, &self.payload, out))
    }

    /// `* ada to you: text`, made in the same way.
    pub fn private_line(&self) -> String {
        self.line_by(|out| push_private(self.from, &self.payload, out))
    }

    fn line_by(&self, push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::with_capacity(PREFIX_BYTES + self.payload.len());
        push(&mut line);
        into_text(line)
    }
}

/// The usual length of what stands before a text; longer ones make the line grow.
const PREFIX_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(from: &str, payload: &[u8]) -> Event {
        Event::Message(Message {
            from: from.parse().unwrap(),
            payload: payload.to_vec(),
        })
    }

    #[test]
    fn a_message_looks_like_the_text_that_a_v1_peer_gets() {
        for payload in [
            &b"hi all"[..],
            b"",
            b"\x1b[2J\xff\xe2\x80\xae",
            &[b'x'; 1150],
        ] {
            let mut text = Vec::new();
            let from: std::net::SocketAddr = "[::1]:7".parse().unwrap();
            push_text(from, payload, &mut text);
            let text = Event::Text(String::from_utf8(text).unwrap());
            assert_eq!(message("[::1]:7", payload).line(), text.line());
        }
        let event = message("127.0.0.1:7", b"a\x07");
        assert_eq!(event.line().as_deref(), Some("127.0.0.1:7 a\\x07"));
    }

    #[test]
    fn a_private_message_looks_like_the_text_that_a_v1_peer_gets() {
        let mut text = Vec::new();
        push_private("ada", b"psst\x1b", &mut text);
        let private = Event::Private(Message {
            from: "ada".parse().unwrap(),
            payload: b"psst\x1b".to_vec(),
        });
        let text = Event::Text(String::from_utf8(text).unwrap());
        assert_eq!(private.line(), text.line());
        assert_eq!(text.line().as_deref(), Some("* ada to you: psst\\x1b"));
    }

    #[test]
    fn only_what_was_said_is_a_line() {
        let notice = Event::Notice {
            code: NoticeCode::Refused,
            text: "no\x1b".to_owned(),
        };
        assert_eq!(notice.line().as_deref(), Some("* no\\x1b"));
        let round_trip = Duration::from_micros(432);
        let pong = Event::Pong { round_trip };
        assert_eq!(pong.line().as_deref(), Some("* pong: 0.43 ms"));
        let room = RoomName::parse(b"chess").unwrap();
        assert_eq!(Event::Room(room).line(), None);
        assert_eq!(Event::Up.line(), None);
        assert_eq!(Event::Missed(3).line(), None);
    }
}
