//! What is worked on: the same in every run.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bullhorn::net::PeerAddr;
use bullhorn::server::ops::stats::WorkerId;
use bullhorn::server::registry::{AddressHash, Registry, RegistryLimits};
use bullhorn::wire::Protocol;
use bullhorn::wire::v2::SessionId;

/// Returns a registry with the first `count` peers, all seen at `now_ms`. The key of its
/// hash never changes, because the places of entries depend on it.
pub(crate) fn registry(count: u32, protocol: Protocol, now_ms: u64) -> Registry {
    let limits = RegistryLimits {
        max_peers: MAX_PEERS,
        max_names: 1,
        max_rooms: 1,
        max_room_members: u32::MAX,
    };
    let hash = AddressHash::with_key(1, 2);
    let registry = Registry::new(WORKERS, limits, hash, Arc::new(|| {}));
    for peer in 0..count {
        match protocol {
            Protocol::Text | Protocol::Lines => {
                registry.touch(&address(peer), protocol, WORKER, now_ms);
            }
            Protocol::Frames(size) => {
                registry.open_session(&address(peer), WORKER, size, session(peer), now_ms);
            }
        }
    }
    assert_eq!(registry.len(), count as usize);
    registry
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

/// The number of workers. The work of one is counted.
pub(crate) const WORKERS: usize = 1;

/// The worker that serves all peers.
pub(crate) const WORKER: WorkerId = WorkerId(0);

/// More than register, because no peer is to be refused.
const MAX_PEERS: usize = 1_000_000;
