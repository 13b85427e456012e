//! The hash of peers' addresses. The registry and its rooms share one with each other.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use siphasher::sip::SipHasher13;

use crate::net::PeerAddr;
use crate::server::keys::Keys;

/// SipHash-1-3 with a key (Aumasson and Bernstein, 2012). Strangers choose the
/// addresses. If they knew the key, they could fill one shard of the registry, or choose
/// addresses that collide with the one of another peer.
#[derive(Debug, Clone, Copy)]
pub struct AddressHash {
    key: (u64, u64),
}

/// An address and its hash.
#[derive(Clone, Copy)]
pub(super) struct HashedAddr {
    pub(super) address: PeerAddr,
    pub(super) hash: u64,
}

/// Builds hashers that return the hash of a [`HashedAddr`].
pub(super) type Prehashed = BuildHasherDefault<PrehashedHasher>;

#[derive(Default)]
pub(super) struct PrehashedHasher(u64);

impl AddressHash {
    /// Returns a hash with the next of these keys.
    pub fn drawn(keys: &mut Keys) -> Self {
        let (key0, key1) = keys.draw();
        Self::with_key(key0, key1)
    }

    /// Returns a hash whose key nobody knows, for tests.
    pub fn random() -> Self {
        // The standard library draws these from the system's random numbers.
        let random = || RandomState::new().build_hasher().finish();
        Self::with_key(random(), random())
    }

    /// Returns another hash, whose key follows from that of this one.
    pub(super) fn derived(&self) -> Self {
        Self::with_key(self.hash_one(0_u16), self.hash_one(1_u16))
    }

    /// Returns a hash with a known key, so that counts of instructions can be repeated.
    pub fn with_key(key0: u64, key1: u64) -> Self {
        Self { key: (key0, key1) }
    }

    pub(super) fn hash(&self, address: &PeerAddr) -> HashedAddr {
        HashedAddr {
            address: *address,
            hash: self.hash_one(address),
        }
    }
}

impl BuildHasher for AddressHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.key.0, self.key.1)
    }
}

impl PartialEq for HashedAddr {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl Eq for HashedAddr {}

impl Hash for HashedAddr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hasher for PrehashedHasher {
    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "a HashedAddr writes one u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
