//! The limits of requests to v1 newcomers to prove their address.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ReplyLimit;
use crate::net::PeerAddr;
use crate::server::registry::{AddressHash, RecentAddresses};

/// Decides which v1 newcomers are asked for a proof. Each is asked once in 15 s, and all together
/// cost a number of bytes per second.
///
/// A datagram with a forged source looks like one of a true newcomer, who sends another one after
/// its heartbeat. So an address that was not asked for want of bytes is remembered, and goes before
/// new ones when it sends again. A flood from ever new sources keeps nobody out for longer.
pub struct Challenges {
    per_address: ReplyLimit,
    rate: ByteRate,
    waiting: RecentAddresses,
    hash: AddressHash,
}

impl Challenges {
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            per_address: ReplyLimit::with_slots(CHALLENGE_SLOTS, CHALLENGE_INTERVAL_MS),
            rate: ByteRate::new(bytes_per_second),
            waiting: RecentAddresses::new(WAITING_SLOTS, WAITING_S),
            hash: AddressHash::random(),
        }
    }

    /// Returns true if this newcomer may be sent a request of `bytes` now, and takes it.
    pub fn allows(&self, address: &PeerAddr, bytes: u32, now_ms: u64) -> bool {
        let hash = self.hash.hash_one(address.socket_addr());
        let burst_ns = match self.waiting.contains(hash, now_ms) {
            true => BURST_NS,
            false => BURST_NS / 2,
        };
        if !self.rate.has(burst_ns, now_ms) {
            self.waiting.insert(hash, now_ms);
            return false;
        }
        self.per_address.allows(address, now_ms) && self.rate.take(bytes, burst_ns, now_ms)
    }
}

/// Bytes that may be sent per second, evenly. It is the generic cell rate algorithm of ATM (ITU-T
/// I.371): each datagram moves a time forward by what it costs, and that time may be ahead of now
/// by a burst.
struct ByteRate {
    bytes_per_second: u64,
    paid_until_ns: AtomicU64,
}

impl ByteRate {
    fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            paid_until_ns: AtomicU64::new(0),
        }
    }

    /// Returns true if something may be sent now, with bursts of `burst_ns`.
    fn has(&self, burst_ns: u64, now_ms: u64) -> bool {
        let latest_ns = now_ms * NS_PER_MS + burst_ns;
        self.bytes_per_second > 0 && self.paid_until_ns.load(Ordering::Relaxed) <= latest_ns
    }

    /// Takes `bytes` if they may be sent now.
    fn take(&self, bytes: u32, burst_ns: u64, now_ms: u64) -> bool {
        let Some(cost_ns) = (u64::from(bytes) * NS_PER_S).checked_div(self.bytes_per_second) else {
            return false;
        };
        let now_ns = now_ms * NS_PER_MS;
        let add =
            |paid_ns: u64| (paid_ns <= now_ns + burst_ns).then_some(paid_ns.max(now_ns) + cost_ns);
        self.paid_until_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
    }
}

/// Time between two requests to an address. It is for people, who read the first.
const CHALLENGE_INTERVAL_MS: u32 = 15_000;

/// Bytes of this time may be sent at once. Half of them are kept for addresses that wait.
const BURST_NS: u64 = 100 * NS_PER_MS;

/// Number of slots for these times, in 4 MiB. When the most are asked that may be, one address in
/// 170 finds both of its slots taken.
const CHALLENGE_SLOTS: usize = 1 << 19;

/// Number of addresses that are remembered, in 4 MiB. When 17,000 others come per second, one is
/// still remembered at its next heartbeat with a probability of 85 %.
const WAITING_SLOTS: usize = 1 << 19;

/// Time for which an address is remembered, enough for a person who tries again.
const WAITING_S: u64 = 60;

const NS_PER_MS: u64 = 1_000_000;

const NS_PER_S: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> PeerAddr {
        let ip = std::net::Ipv4Addr::from_bits(0x0A00_0000 + number);
        PeerAddr::new((ip, 5000).into(), 0)
    }

    #[test]
    fn bytes_are_sent_evenly() {
        let rate = ByteRate::new(1_000);
        for (bytes, burst_ms, now_ms, is_taken) in [
            (100, 0, 0, true),
            (1, 0, 99, false),
            (50, 0, 100, true),
            // Until 150.
            (40, 10, 139, false),
            (40, 10, 140, true),
            // Until 190.
            (1, 100, 89, false),
            (1, 100, 90, true),
            // No time is gathered beyond a burst.
            (10, 0, 100_000, true),
            (10, 0, 100_000, false),
        ] {
            let burst_ns = burst_ms * NS_PER_MS;
            assert_eq!(rate.has(burst_ns, now_ms), is_taken, "at {now_ms}");
            assert_eq!(rate.take(bytes, burst_ns, now_ms), is_taken, "at {now_ms}");
        }
        assert!(!ByteRate::new(0).has(0, 5) && !ByteRate::new(0).take(1, 0, 5));
    }

    #[test]
    fn a_second_has_its_bytes_and_a_burst() {
        let challenges = Challenges::new(125_000);
        let asked = (0..100_000_u32).filter(|number| {
            let now_ms = u64::from(number / 50);
            challenges.allows(&address(*number), 47, now_ms)
        });
        // Two seconds, and half a burst.
        let most = (2_000 + 50) * 125 / 47 + 1;
        let asked = asked.count();
        assert!((most - 600..=most).contains(&asked), "{asked} of {most}");
    }

    #[test]
    fn an_address_that_comes_again_goes_before_new_ones() {
        let challenges = Challenges::new(125_000);
        // Seven times as many others as can be asked.
        let mut others = 1_000..;
        let mut flood = |now_ms| {
            let asked = others.by_ref().take(18);
            asked
                .filter(|other| challenges.allows(&address(*other), 47, now_ms))
                .count()
        };
        for now_ms in 0..5_000 {
            flood(now_ms);
        }
        let newcomers: Vec<_> = (0..50).map(address).collect();
        let asked = |now_ms| {
            let asked = |address: &&PeerAddr| challenges.allows(address, 47, now_ms);
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
    fn an_address_is_asked_once_in_15_seconds() {
        let challenges = Challenges::new(125_000);
        for (now_ms, is_asked) in [(0, true), (14_999, false), (15_000, true)] {
            assert_eq!(challenges.allows(&address(1), 47, now_ms), is_asked);
        }
    }
}
