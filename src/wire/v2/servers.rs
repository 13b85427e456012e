//! The other servers that a WELCOME names.

use std::iter;
use std::net::SocketAddr;

use super::encode::push_from;
use super::parse::Body;
use crate::wire::name::DisplayName;

/// Addresses of other servers, as they stand in an option of a WELCOME.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerList<'a>(&'a [u8]);

impl<'a> ServerList<'a> {
    /// A list without an address, which takes no space in a WELCOME.
    pub const EMPTY: ServerList<'static> = ServerList(&[]);

    /// Returns the list with these bytes, which [`push_servers`] has written. `None` if they are
    /// malformed.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let list = Self(bytes);
        let mut fields = Body { rest: bytes };
        while !fields.rest.is_empty() {
            fields.take_address()?;
        }
        (bytes.len() <= u8::MAX.into()).then_some(list)
    }

    /// The addresses, in their order.
    pub fn iter(self) -> impl Iterator<Item = SocketAddr> + 'a {
        let mut fields = Body { rest: self.0 };
        iter::from_fn(move || fields.take_address())
    }

    /// Returns true if there is no address.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Appends the bytes of a [`ServerList`] with the first [`MAX_OTHER_SERVERS`] of these addresses.
pub fn push_servers(servers: &[SocketAddr], out: &mut Vec<u8>) {
    for server in servers.iter().take(MAX_OTHER_SERVERS) {
        push_from(&DisplayName::Address(*server), out);
    }
}

/// Maximum number of servers that a WELCOME names. Three link-local IPv6 addresses take 69 bytes,
/// so the reply to a HELLO stays far below the length of a HELLO.
pub const MAX_OTHER_SERVERS: usize = 3;
