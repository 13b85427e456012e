//! The limit of replies to HELLO.

use std::hash::BuildHasher;
use std::num::NonZero;
use std::time::Duration;

use crate::net::PeerAddr;
use crate::server::rate::{Meter, Rate};
use crate::server::registry::{AddressHash, SlotTable};

/// Allows each address some replies to HELLO per second, without storing addresses. A reply takes
/// several times as long as a datagram that is dropped.
///
/// An address has a slot, which it may share with others. Those have one limit together. The hash
/// has a random key, so nobody can choose addresses that use up the limit of another one.
pub struct HelloLimit {
    rate: Rate,
    slots: SlotTable<Meter>,
    hash: AddressHash,
}

impl HelloLimit {
    pub fn new(hash: AddressHash) -> Self {
        Self {
            rate: Rate::new(PER_SECOND, BURST),
            slots: SlotTable::new(SLOTS),
            hash,
        }
    }

    /// Returns true if this address may be sent a reply to HELLO now, and takes it.
    pub fn allows(&self, address: &PeerAddr, now_ms: u64) -> bool {
        let hash = self.hash.hash_one(address.socket_addr());
        self.slots.get(hash).take(&self.rate, 1, now_ms)
    }
}

/// Far more than a client sends, which repeats its HELLO after 0.3 s or more. So an attacker who
/// delays it with forged HELLOs has to send as many. They take a worker less than a thousandth of its
/// time.
const PER_SECOND: Option<NonZero<u32>> = NonZero::new(100);

const BURST: Duration = Duration::from_secs(2);

/// Number of slots, in 2 MiB. Forged HELLOs of random addresses use up a thousandth of what each
/// allows at 26,000 per second.
const SLOTS: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_hundred_replies_per_second_and_twice_as_many_at_once() {
        let hellos = HelloLimit::new(AddressHash::random());
        let address = |port| PeerAddr::new(([192, 0, 2, 1], port).into(), 0);
        let allowed = |port, now_ms| {
            let allows = |_: &u32| hellos.allows(&address(port), now_ms);
            (0..1_000).filter(allows).count()
        };
        assert_eq!(allowed(5_000, 0), 200);
        assert_eq!(allowed(5_000, 9), 0);
        assert_eq!(allowed(5_000, 1_000), 100);
        assert_eq!(allowed(5_001, 1_000), 200, "another address");
        let elsewhere = PeerAddr::new(address(5_001).socket_addr(), 1);
        assert!(
            !hellos.allows(&elsewhere, 1_000),
            "at another --bind address"
        );
    }
}
