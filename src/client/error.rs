//! What may go wrong in a session.

use std::io;

use super::address::ServerAddress;
use super::payload::{CannotSay, Payload};
use super::v1::NotAText;

/// Why a session could not start, or a text was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The server's name has no address.
    #[error("cannot resolve {server}: {source}")]
    Resolve {
        /// As the user wrote it.
        server: ServerAddress,
        /// What the resolver says.
        source: io::Error,
    },
    /// There is no way to any address of the server.
    #[error("cannot reach {server}: {source}")]
    Connect {
        /// As the user wrote it.
        server: ServerAddress,
        /// About the last of its addresses.
        source: io::Error,
    },
    /// The system gave no thread, or no means to wake it.
    #[error("cannot start the session: {0}")]
    Thread(#[source] io::Error),
    /// In the protocol this is not a text.
    #[error(transparent)]
    NotAText(#[from] NotAText),
    /// The server speaks v1, in which only texts can be said.
    #[error("the server speaks protocol v1, in which only texts can be said")]
    TextOnly,
    /// The server is down, and there is no session in which it could be said.
    #[error("the server is down")]
    Down,
    /// The text does not fit into one datagram.
    #[error("a text of {bytes} bytes does not fit into one datagram")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// There is no way to the server now.
    #[error("there is no way to the server: {0}")]
    Unreachable(io::ErrorKind),
    /// The kernel could not take more for some time, or more texts wait for the
    /// server's answer to the greeting than may.
    #[error("the network does not keep up: too much waits to be sent")]
    Full,
    /// Anything else that the operating system says.
    #[error("cannot send: {0}")]
    Send(#[source] io::Error),
    /// The session has been left.
    #[error("the session has ended")]
    Ended,
}

impl SessionError {
    /// Why `payload` was not said.
    pub(super) fn of(why: CannotSay, payload: Payload<'_>) -> Self {
        match why {
            CannotSay::NotAText(why) => Self::NotAText(why),
            CannotSay::TooLong => Self::TooLong {
                bytes: payload.len(),
            },
            CannotSay::TextOnly => Self::TextOnly,
            CannotSay::Full => Self::Full,
            CannotSay::Down => Self::Down,
        }
    }
}
