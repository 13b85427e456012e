//! Names of peers and rooms.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::net::{SocketAddr, SocketAddrV4};
use std::str::FromStr;

use super::protocol::{MAX_NAME_BYTES, MAX_ROOM_NAME_BYTES};

/// Name of a peer.
pub type Name = Label<MAX_NAME_BYTES>;

/// Name of a room.
pub type RoomName = Label<MAX_ROOM_NAME_BYTES>;

/// 1 to `MAX` of the characters `A-Z a-z 0-9 _ -`, stored inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label<const MAX: usize> {
    len: u8,
    /// The label, and zeros up to the end.
    bytes: [u8; MAX],
}

/// Error of parsing a [`Label`]. Its message says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} of {ALLOWED}", MAX)]
pub struct ParseLabelError<const MAX: usize>;

/// Display name of a peer: its name, or its address while it has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cluster", derive(serde::Serialize, serde::Deserialize))]
pub enum DisplayName {
    /// The address of a peer without a name.
    Address(SocketAddr),
    /// The name of a peer.
    Name(Name),
}

/// Error of parsing a [`DisplayName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither an address with a port nor a name, which is 1 to {MAX_NAME_BYTES} of {ALLOWED}")]
pub struct ParseDisplayNameError;

impl<const MAX: usize> Label<MAX> {
    /// Returns `text` as a label, if it is one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if text.is_empty() || text.len() > MAX || !text.iter().all(is_allowed) {
            return None;
        }
        let mut bytes = [0; MAX];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self {
            len: text.len() as u8,
            bytes,
        })
    }

    /// Returns the label in lower case. Labels that differ only in case are the same.
    #[must_use]
    pub fn folded(mut self) -> Self {
        self.bytes.make_ascii_lowercase();
        self
    }

    /// The label as it was written.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).expect("only ASCII is allowed")
    }

    /// The label as it was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl<const MAX: usize> Ord for Label<MAX> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl<const MAX: usize> PartialOrd for Label<MAX> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const MAX: usize> FromStr for Label<MAX> {
    type Err = ParseLabelError<MAX>;

    fn from_str(text: &str) -> Result<Self, ParseLabelError<MAX>> {
        Self::parse(text.as_bytes()).ok_or(ParseLabelError)
    }
}

#[cfg(feature = "cluster")]
impl<const MAX: usize> serde::Serialize for Label<MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "cluster")]
impl<'de, const MAX: usize> serde::Deserialize<'de> for Label<MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<const MAX: usize> Display for Label<MAX> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl<const MAX: usize> fmt::Debug for Label<MAX> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.as_str())
    }
}

impl DisplayName {
    /// Returns the display name of the peer at `address`.
    pub fn of(address: SocketAddr, name: Option<Name>) -> Self {
        name.map_or(Self::Address(address), Self::Name)
    }

    /// Returns `text` as a display name, if it is one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        str::from_utf8(text).ok()?.parse().ok()
    }

    /// Appends what [`Display`] writes, in a fifth of the time for names and IPv4 addresses.
    pub fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Address(SocketAddr::V4(address)) => push_v4(*address, out),
            Self::Address(address) => {
                write!(out, "{address}").expect("writing to a Vec never fails");
            }
            Self::Name(name) => out.extend_from_slice(name.as_bytes()),
        }
    }
}

impl From<SocketAddr> for DisplayName {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

fn push_v4(address: SocketAddrV4, out: &mut Vec<u8>) {
    let [a, b, c, d] = address.ip().octets().map(u16::from);
    // Filled from the end.
    let mut text = *b"255.255.255.255:65535";
    let mut start = text.len();
    for (number, before) in [
        (address.port(), b':'),
        (d, b'.'),
        (c, b'.'),
        (b, b'.'),
        (a, b' '),
    ] {
        let mut left = number;
        loop {
            start -= 1;
            text[start] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        if before != b' ' {
            start -= 1;
            text[start] = before;
        }
    }
    out.extend_from_slice(&text[start..]);
}

impl FromStr for DisplayName {
    type Err = ParseDisplayNameError;

    fn from_str(text: &str) -> Result<Self, ParseDisplayNameError> {
        let name = || Name::parse(text.as_bytes()).ok_or(ParseDisplayNameError);
        text.parse()
            .map(Self::Address)
            .or_else(|_| name().map(Self::Name))
    }
}

impl Display for DisplayName {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Name(name) => name.fmt(out),
        }
    }
}

/// The room in which every peer starts.
pub const LOBBY: &str = "lobby";

/// The characters of a label, in words.
pub(super) const ALLOWED: &str = "A-Z a-z 0-9 _ -";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_1_to_max_allowed_characters() {
        for text in ["a", "-", "_", "Z9", "a-B_c", &"x".repeat(24)] {
            assert_eq!(Name::parse(text.as_bytes()).unwrap().as_str(), text);
        }
        for text in ["", "a b", "a:b", "ä", "a\n", "a.b", "*", &"x".repeat(25)] {
            assert_eq!(Name::parse(text.as_bytes()), None, "{text:?}");
        }
        let error = "a b".parse::<Name>().unwrap_err();
        assert_eq!(error.to_string(), "must be 1 to 24 of A-Z a-z 0-9 _ -");
        let error = "a b".parse::<RoomName>().unwrap_err();
        assert_eq!(error.to_string(), "must be 1 to 32 of A-Z a-z 0-9 _ -");
        assert_eq!("ada".parse(), Ok(Name::parse(b"ada").unwrap()));
        assert!(RoomName::parse(&[b'x'; 32]).is_some());
        assert!(RoomName::parse(&[b'x'; 33]).is_none());
    }

    #[test]
    fn a_display_name_is_parsed_as_it_is_written() {
        for text in [
            "127.0.0.1:5000",
            "0.0.0.0:0",
            "255.255.255.255:65535",
            "10.9.100.99:10",
            "[::1]:5000",
            "[fe80::1%2]:9",
            "ada",
        ] {
            let name = text.parse::<DisplayName>().unwrap();
            assert_eq!(name.to_string(), text);
            let mut pushed = b"x".to_vec();
            name.push(&mut pushed);
            assert_eq!(pushed, format!("x{text}").into_bytes());
        }
        assert!("127.0.0.1".parse::<DisplayName>().is_err());
    }

    #[test]
    fn folded_labels_are_equal_in_any_case() {
        let name = |text: &str| Name::parse(text.as_bytes()).unwrap();
        assert_ne!(name("Ada"), name("ADA"));
        assert_eq!(name("Ada_-9").folded(), name("aDA_-9").folded());
        assert_eq!(name("Ada").folded().as_str(), "ada");
        assert_ne!(name("Ada").folded(), name("Adam").folded());
        let long = name(&"X".repeat(24));
        assert_eq!(long.folded().as_str(), "x".repeat(24));
    }
}
