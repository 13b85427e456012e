//! What is worked on: the same in every run.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::Ipv4Addr;

use bullhorn::net::PeerAddr;
use bullhorn::server::registry::Names;
use bullhorn::server::registry::Peers;
use bullhorn::server::registry::{News, RoomLimits, Rooms};
use bullhorn::wire::Protocol;
use bullhorn::wire::v2::SessionId;

/// A table whose hasher is the server's, SipHash, but with a key that never changes: where
/// an entry lies, and so how many are looked at, depends on the key.
pub(crate) type Table = Peers<BuildHasherDefault<DefaultHasher>>;

/// A table in which the first `count` peers are registered, all heard at `now_ms`.
pub(crate) fn table(count: u32, protocol: Protocol, now_ms: u64) -> Table {
    let limits = RoomLimits {
        max_rooms: 1,
        max_members: u32::MAX,
    };
    let rooms = Rooms::new(WORKERS, limits, News::new(Box::new(|| {})));
    let table = Table::with_hasher(rooms, Names::new(1), MAX_PEERS, Default::default());
    for peer in 0..count {
        match protocol {
            Protocol::Text | Protocol::Lines => {
                table.touch(&address(peer), protocol, 0, now_ms);
            }
            Protocol::Frames => {
                table.open_session(&address(peer), 0, session(peer), now_ms);
            }
        }
    }
    assert_eq!(table.len(), count as usize);
    table
}

/// Where peer number `peer` is; all are as long when printed.
pub(crate) fn address(peer: u32) -> PeerAddr {
    let [.., host, port_high, port_low] = peer.to_be_bytes();
    let host = Ipv4Addr::new(192, 168, 100, 100 + host);
    let port = 10_000 + u16::from_be_bytes([port_high, port_low]) % 50_000;
    PeerAddr::new((host, port).into(), 0)
}

/// The session of v2 peer number `peer`.
pub(crate) fn session(peer: u32) -> SessionId {
    SessionId::new(u64::from(peer) + 1).expect("it is not 0")
}

/// Numbers below `bound`, each about equally often: xorshift64 (Marsaglia, 2003), from a fixed
/// seed.
pub(crate) fn numbers(bound: usize) -> impl Iterator<Item = usize> {
    let next = |state: &u64| {
        let state = state ^ (state << 13);
        let state = state ^ (state >> 7);
        Some(state ^ (state << 17))
    };
    std::iter::successors(Some(1), next)
        .skip(1)
        .map(move |number: u64| (number % bound as u64) as usize)
}

/// `len` bytes of plain text, which no other `seed` begins with.
pub(crate) fn text(seed: usize, len: usize) -> Vec<u8> {
    let mut text = format!("{seed:04} the quick brown fox jumps over the lazy dog. ").into_bytes();
    while text.len() < len {
        text.extend_from_within(..);
    }
    text.truncate(len);
    text
}

/// Of the server that has the table: what is counted is the work of one.
pub(crate) const WORKERS: usize = 1;

/// More than come, as nobody is to be refused.
const MAX_PEERS: usize = 1_000_000;
