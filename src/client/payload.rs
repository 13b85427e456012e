//! What is to be said, and what becomes of it.

use super::v1::NotAText;
use crate::wire::v2::{ClientFrame, MAX_PAYLOAD_BYTES};

/// What is to be said, or asked of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload<'a> {
    /// A text, or a command if it begins with `/`.
    Text(&'a str),
    /// Any bytes, which never are a command.
    Bytes(&'a [u8]),
    /// For an answer, from which the round trip is measured.
    Ping,
}

impl<'a> Payload<'a> {
    /// It is no longer than a frame may be.
    pub(crate) fn fits(self) -> bool {
        self.len() <= MAX_PAYLOAD_BYTES
    }

    pub(crate) fn len(self) -> usize {
        self.bytes().len()
    }

    /// The frame that says it in v2, unless it is a ping.
    pub(crate) fn frame(self) -> ClientFrame<'a> {
        match self {
            Self::Text(text) if text.starts_with(COMMAND) => ClientFrame::Command(self.bytes()),
            _ => ClientFrame::Say(self.bytes()),
        }
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Ping => &[],
        }
    }
}

/// What is to be done with what was said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// Send the datagram that was written.
    Send,
    /// Nothing: it is kept until it can be sent.
    Held,
}

/// Why something cannot be said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CannotSay {
    NotAText(NotAText),
    TooLong,
    /// In v1, only texts can be said.
    TextOnly,
    /// Too much waits already.
    Full,
    /// There is no session in which it could be said.
    Down,
}

/// What waits until it can be said.
#[derive(Debug)]
pub(crate) enum Held {
    Text(String),
    Bytes(Vec<u8>),
    Ping,
}

impl Held {
    pub(crate) fn of(payload: Payload<'_>) -> Self {
        match payload {
            Payload::Text(text) => Self::Text(text.to_owned()),
            Payload::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Payload::Ping => Self::Ping,
        }
    }

    pub(crate) fn payload(&self) -> Payload<'_> {
        match self {
            Self::Text(text) => Payload::Text(text),
            Self::Bytes(bytes) => Payload::Bytes(bytes),
            Self::Ping => Payload::Ping,
        }
    }
}

/// How commands begin. Which of them are known is the server's business: it takes
/// the others for texts.
const COMMAND: char = '/';
