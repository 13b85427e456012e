//! The limits of requests to v1 newcomers to prove their address.

use std::hash::BuildHasher;
use std::num::NonZero;
use std::time::Duration;

use super::ReplyLimit;
use crate::net::PeerAddr;
use crate::server::keys::Keys;
use crate::server::rate::{Meter, SharedRate};
use crate::server::registry::{AddressHash, NetworkMeters, NetworkSlot, RecentAddresses};

/// Decides which v1 newcomers are asked for a proof. Each is asked once in 15 s, those of a network
/// have a rate of requests, and all together have a rate of bytes.
///
/// A datagram with a forged source looks like one of a true newcomer, who sends another one after
/// its heartbeat. So an address that was not asked because of a rate is remembered, and goes before
/// new ones when it sends again. A flood from ever new sources keeps nobody out for longer.
pub struct Challenges {
    per_address: ReplyLimit,
    per_network: NetworkMeters,
    /// Bytes of all. Without a maximum, nobody is asked.
    rate: SharedRate,
    bytes: Meter,
    waiting: RecentAddresses,
    hash: AddressHash,
}

impl Challenges {
    /// Returns the limits for this many bytes per second, and the limit of each network. The keys are
    /// drawn from `keys`.
    pub fn new(bytes_per_second: u32, per_network: NetworkMeters, keys: &mut Keys) -> Self {
        Self {
            per_address: ReplyLimit::with_slots(
                CHALLENGE_SLOTS,
                CHALLENGE_INTERVAL_MS,
                AddressHash::drawn(keys),
            ),
            per_network,
            rate: SharedRate::new(NonZero::new(bytes_per_second), BURST),
            bytes: Meter::default(),
            waiting: RecentAddresses::new(WAITING_SLOTS, WAITING_S),
            hash: AddressHash::drawn(keys),
        }
    }

    /// Changes the bytes per second, and the limit of each network.
    pub fn set_rates(&self, bytes_per_second: u32, per_network: Option<NonZero<u32>>) {
        self.rate.set(NonZero::new(bytes_per_second));
        self.per_network.set_rate(per_network);
    }

    #[cfg(test)]
    pub fn rates(&self) -> [&SharedRate; 2] {
        [&self.rate, self.per_network.rate()]
    }

    /// Returns true if this newcomer may be sent a request of `bytes` now, and takes it. `network` is
    /// `None` if the newcomer is trusted.
    pub fn allows(
        &self,
        address: &PeerAddr,
        network: Option<NetworkSlot>,
        bytes: u32,
        now_ms: u64,
    ) -> bool {
        let rate = self.rate.get();
        if rate.per_second().is_none() {
            return false;
        }
        let hash = self.hash.hash_one(address.socket_addr());
        let percent = match self.waiting.contains(hash, now_ms) {
            true => 100,
            false => 50,
        };
        let per_network = &self.per_network;
        if !self.bytes.has(&rate.with_part_of_burst(percent), now_ms)
            || network.is_some_and(|network| !per_network.has(network, percent, now_ms))
        {
            self.waiting.insert(hash, now_ms);
            return false;
        }
        self.per_address.allows(address, now_ms)
            && network.is_none_or(|network| per_network.take(network, now_ms).is_ok())
            && self.bytes.take(&rate, bytes, now_ms)
    }
}

/// Time between two requests to an address. It is for people, who read the first.
const CHALLENGE_INTERVAL_MS: u32 = 15_000;

/// Bytes of this time may be sent at once. Half of them are kept for addresses that wait.
const BURST: Duration = Duration::from_millis(100);

/// Number of slots for these times, in 4 MiB. When the most are asked that may be, one address in
/// 170 finds both of its slots taken.
const CHALLENGE_SLOTS: usize = 1 << 19;

/// Number of addresses that are remembered, in 4 MiB. When 17,000 others come per second, one is
/// still remembered at its next heartbeat with a probability of 85 %.
const WAITING_SLOTS: usize = 1 << 19;

/// Time for which an address is remembered, enough for a person who tries again.
const WAITING_S: u64 = 60;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::server::registry::Registry;

    fn address(number: u32) -> PeerAddr {
        let ip = Ipv4Addr::from_bits(0x0A00_0000 + number);
        PeerAddr::new((ip, 5000).into(), 0)
    }

    #[test]
    fn a_second_has_its_bytes_and_a_burst() {
        let challenges = Challenges::new(
            125_000,
            NetworkMeters::new(None),
            &mut Keys::random().unwrap(),
        );
        let asked = (0..100_000_u32).filter(|number| {
            let now_ms = u64::from(number / 50);
            challenges.allows(&address(*number), None, 47, now_ms)
        });
        // Two seconds, and half a burst.
        let most = (2_000 + 50) * 125 / 47 + 1;
        let asked = asked.count();
        assert!((most - 600..=most).contains(&asked), "{asked} of {most}");
    }

    #[test]
    fn an_address_that_comes_again_goes_before_new_ones() {
        let challenges = Challenges::new(
            125_000,
            NetworkMeters::new(None),
            &mut Keys::random().unwrap(),
        );
        // Seven times as many others as can be asked.
        let mut others = 1_000..;
        let mut flood = |now_ms| {
            let asked = others.by_ref().take(18);
            asked
                .filter(|other| challenges.allows(&address(*other), None, 47, now_ms))
                .count()
        };
        for now_ms in 0..5_000 {
            flood(now_ms);
        }
        let newcomers: Vec<_> = (0..50).map(address).collect();
        let asked = |now_ms| {
            let asked = |address: &&PeerAddr| challenges.allows(address, None, 47, now_ms);
            newcomers.iter().filter(asked).count()
        };
        assert_eq!(asked(4_999), 0);
        for now_ms in 5_000..10_000 {
            flood(now_ms);
        }
        // The others have taken the places of a few.
        let asked = asked(10_000);
        assert!((30..=50).contains(&asked), "{asked}");
    }

    #[test]
    fn a_network_is_asked_evenly_after_a_burst_and_no_other_has_to_wait() {
        let challenges = Challenges::new(
            u32::MAX,
            NetworkMeters::new(NonZero::new(50)),
            &mut Keys::random().unwrap(),
        );
        let registry = Registry::plain(1, 1);
        // Networks of 256 addresses, which differ in the third number.
        let asked = |first: u32, count: u32, now_ms| {
            let asked = |number: &u32| {
                let ip = Ipv4Addr::from_bits(first + number % 256);
                let from = PeerAddr::new((ip, 5000 + (number / 256) as u16).into(), 0);
                challenges.allows(&from, Some(registry.network(&from)), 47, now_ms)
            };
            (0..count).filter(asked).count()
        };
        const FIRST: u32 = 0x0A00_0000;
        assert_eq!(asked(FIRST, 5_000, 0), 250);
        assert_eq!(asked(FIRST + 256, 100, 0), 100, "of another network");
        assert_eq!(asked(FIRST, 5_000, 0), 250, "that came again");
        assert_eq!(asked(FIRST, 5_000, 0), 0);
        assert_eq!(asked(FIRST, 5_000, 1_000), 50);
        assert_eq!(asked(FIRST + 256, 250, 1_000), 150);
    }

    #[test]
    fn nobody_is_asked_without_bytes_and_trusted_newcomers_without_a_limit_of_their_network() {
        for (bytes_per_second, is_asked) in [(0, false), (1, true)] {
            let per_network = NetworkMeters::new(NonZero::new(1));
            let challenges =
                Challenges::new(bytes_per_second, per_network, &mut Keys::random().unwrap());
            assert_eq!(challenges.allows(&address(1), None, 47, 0), is_asked);
        }
        let challenges = Challenges::new(
            u32::MAX,
            NetworkMeters::new(NonZero::new(1)),
            &mut Keys::random().unwrap(),
        );
        let asked = (0..100).filter(|number| challenges.allows(&address(*number), None, 47, 0));
        assert_eq!(asked.count(), 100);
    }

    #[test]
    fn an_address_is_asked_once_in_15_seconds() {
        let challenges = Challenges::new(
            125_000,
            NetworkMeters::new(None),
            &mut Keys::random().unwrap(),
        );
        for (now_ms, is_asked) in [(0, true), (14_999, false), (15_000, true)] {
            assert_eq!(challenges.allows(&address(1), None, 47, now_ms), is_asked);
        }
    }
}
