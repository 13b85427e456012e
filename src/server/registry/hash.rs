//! The hash of peer addresses.

use std::hash::{BuildHasher, Hasher, RandomState};

use siphasher::sip::SipHasher13;

/// SipHash-1-3 with a key (Aumasson and Bernstein, 2012). Strangers choose the
/// addresses. If they knew the key, they could fill one shard of the registry.
#[derive(Debug, Clone, Copy)]
pub struct AddressHash {
    key: (u64, u64),
}

impl AddressHash {
    pub fn random() -> Self {
        // The standard library draws these from the system's random numbers.
        let random = || RandomState::new().build_hasher().finish();
        Self::with_key(random(), random())
    }

    /// Returns a hash with a known key, with which counts of instructions are reproducible.
    pub fn with_key(key0: u64, key1: u64) -> Self {
        Self { key: (key0, key1) }
    }
}

impl BuildHasher for AddressHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.key.0, self.key.1)
    }
}
