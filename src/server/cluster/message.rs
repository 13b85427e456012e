//! Messages of nodes to each other, except texts.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::server::registry::Digest;
use crate::wire::DisplayName;
use crate::wire::cluster::{Change, Claim, NodeId, VERSION};

/// A message of a node to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message<'a> {
    pub version: u8,
    pub from: NodeId,
    /// Begins with the time of the start of the node, and is another one after each start.
    pub incarnation: u64,
    pub body: Body<'a>,
}

/// The body of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body<'a> {
    /// Each second, to all.
    Heartbeat(Heartbeat),
    /// To all, in order: the numbers of changes go on from message to message.
    Changes {
        /// Number of the first change.
        number: u64,
        changes: Cow<'a, [Change]>,
    },
    /// To one node, which then sends all a list of its members.
    ListRequest,
    /// To the node that decides about a name: a peer wants it.
    NameRequest {
        number: u64,
        claim: Claim,
    },
    /// To the node that has asked.
    NameAnswer {
        number: u64,
        is_granted: bool,
    },
    /// To one node: a direct message for one of its peers.
    Private {
        from: DisplayName,
        to: DisplayName,
        text: Cow<'a, [u8]>,
    },
    /// To one node, which replies with a pong of the same number.
    Ping(u64),
    Pong(u64),
    /// To all: a part of the changes that make its members of none.
    List {
        /// Number of the next change after the list.
        number: u64,
        /// Number of the part, from 0.
        part: u32,
        is_last: bool,
        changes: Cow<'a, [Change]>,
    },
    /// To all: the node stops, and its members are gone.
    Bye,
}

/// A sign of life, and what others have to know of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Number of the next change.
    pub number: u64,
    /// Digest of its members after the changes so far.
    pub digest: Digest,
    /// Number of its peers.
    pub peers: u32,
    /// Number of its rooms with members.
    pub rooms: u32,
    /// The share of time in which its busiest worker was not asleep, in percent.
    pub busy_percent: u8,
    /// Its version: major, minor and patch.
    pub version: (u16, u16, u16),
    /// The address under which clients reach it, if it has told.
    pub advertise: Option<SocketAddr>,
}

/// The reason why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("a malformed message of a node")]
    Malformed,
    /// The node has another version of these messages. Each version begins with itself and the node.
    #[error(
        "node {from} has version {version} of the cluster's messages, and this server {VERSION}"
    )]
    OtherVersion { version: u8, from: NodeId },
}

impl Message<'_> {
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("every message has a form")
    }

    /// Parses the bytes of a message.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn parse(bytes: &[u8]) -> Result<Message<'_>, MessageError> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(MessageError::Malformed);
        }
        let start = postcard::take_from_bytes::<(u8, NodeId)>(bytes);
        match start {
            Ok(((version, from), _)) if version != VERSION => {
                return Err(MessageError::OtherVersion { version, from });
            }
            Ok(_) => {}
            Err(_) => return Err(MessageError::Malformed),
        }
        match postcard::take_from_bytes(bytes) {
            Ok((message, [])) => Ok(message),
            _ => Err(MessageError::Malformed),
        }
    }
}

/// Maximum number of changes in a message.
pub const MAX_CHANGES: usize = 256;

/// Maximum length of a message: [`MAX_CHANGES`] of 64 bytes at most, and a head.
pub const MAX_MESSAGE_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(body: Body<'_>) -> Message<'_> {
        Message {
            version: VERSION,
            from: "node-1".parse().unwrap(),
            incarnation: u64::MAX,
            body,
        }
    }

    #[test]
    fn the_longest_message_is_parsed_as_it_was() {
        let room = "r".repeat(32).parse().unwrap();
        let long = Change::Renamed(
            room,
            DisplayName::Name("n".repeat(24).parse().unwrap()),
            DisplayName::Name("m".repeat(24).parse().unwrap()),
        );
        let message = message(Body::List {
            number: u64::MAX,
            part: u32::MAX,
            is_last: false,
            changes: vec![long; MAX_CHANGES].into(),
        });
        let bytes = message.encode();
        assert!(bytes.len() <= MAX_MESSAGE_BYTES, "{}", bytes.len());
        assert_eq!(Message::parse(&bytes), Ok(message));
    }

    #[test]
    fn a_message_that_is_too_long_is_refused() {
        let private = |len: usize| Body::Private {
            from: "ada".parse().unwrap(),
            to: "eve".parse().unwrap(),
            text: vec![0; len].into(),
        };
        let head = message(private(0)).encode().len();
        // The length of the text takes two bytes more.
        let longest = MAX_MESSAGE_BYTES - head - 2;
        assert!(Message::parse(&message(private(longest)).encode()).is_ok());
        let bytes = message(private(longest + 1)).encode();
        assert_eq!(Message::parse(&bytes), Err(MessageError::Malformed));
    }

    #[test]
    fn another_version_and_more_bytes_are_refused() {
        let mut bytes = message(Body::Bye).encode();
        assert!(Message::parse(&bytes).is_ok());
        bytes.push(0);
        assert_eq!(Message::parse(&bytes), Err(MessageError::Malformed));
        bytes[0] = VERSION + 1;
        let error = Message::parse(&bytes).unwrap_err();
        let expected = "node node-1 has version 2 of the cluster's messages, and this server 1";
        assert_eq!(error.to_string(), expected);
        for malformed in [&[][..], &[VERSION], &[VERSION + 1, 3, b'a']] {
            assert_eq!(Message::parse(malformed), Err(MessageError::Malformed));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&[&[VERSION][..], &bytes].concat());
        }
    }
}
