//! What came from the server for the application.

use std::borrow::Cow;
use std::time::Duration;

use super::event::{Event, Message};
use crate::wire::v2::{self, NoticeCode};
use crate::wire::{DisplayName, RoomName};

/// What came, in either protocol.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    /// A line of v1.
    Text(Cow<'a, str>),
    /// To everyone in the room.
    Message {
        from: DisplayName,
        payload: &'a [u8],
    },
    /// To us alone.
    Private {
        from: DisplayName,
        payload: &'a [u8],
    },
    Notice(NoticeCode, Cow<'a, str>),
    Room(RoomName),
    /// A ping was answered after this time.
    Pong(Duration),
}

impl Heard<'_> {
    /// What the application is told of it.
    pub(crate) fn into_event(self) -> Event {
        let message = |from, payload: &[u8]| Message {
            from,
            payload: payload.to_vec(),
        };
        match self {
            Self::Text(text) => Event::Text(text.into_owned()),
            Self::Message { from, payload } => Event::Message(message(from, payload)),
            Self::Private { from, payload } => Event::Private(message(from, payload)),
            Self::Notice(code, text) => Event::Notice {
                code,
                text: text.into_owned(),
            },
            Self::Room(room) => Event::Room(room),
            Self::Pong(round_trip) => Event::Pong { round_trip },
        }
    }
}

/// What a datagram of v2 has for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Message(v2::Message<'a>),
    /// To us alone.
    Private(DisplayName, &'a [u8]),
    Notice(NoticeCode, &'a [u8]),
    /// The room that we are in now.
    Room(RoomName),
    /// Not the answer to a heartbeat.
    Pong(&'a [u8]),
}
