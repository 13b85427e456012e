//! Rates: how much may happen per second, and how much has happened.

use std::num::NonZero;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A maximum of units per second, evenly, with a burst: the units of this time may come at once. By
/// default there is no maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// `None`: any number.
    per_second: Option<NonZero<u32>>,
    burst_ns: u64,
}

/// A [`Rate`] whose maximum may change while it is used.
#[derive(Debug)]
pub struct SharedRate {
    /// 0: any number.
    per_second: AtomicU32,
    burst_ns: u64,
}

/// The use of a [`Rate`], by the generic cell rate algorithm of ATM (ITU-T I.371). Each unit moves a
/// time forward by its part of a second, and that time may be ahead of now by a burst.
#[derive(Debug, Default)]
pub struct Meter {
    paid_until_ns: AtomicU64,
}

impl Rate {
    pub fn new(per_second: Option<NonZero<u32>>, burst: Duration) -> Self {
        let burst_ns = burst.as_nanos() as u64;
        Self {
            per_second,
            burst_ns,
        }
    }

    /// The maximum per second, or `None` for any number.
    pub fn per_second(&self) -> Option<NonZero<u32>> {
        self.per_second
    }

    /// Returns the same rate with this part of its burst, in percent.
    #[must_use]
    pub fn with_part_of_burst(self, percent: u64) -> Self {
        Self {
            burst_ns: self.burst_ns / 100 * percent,
            ..self
        }
    }
}

impl SharedRate {
    pub fn new(per_second: Option<NonZero<u32>>, burst: Duration) -> Self {
        Rate::new(per_second, burst).into()
    }

    /// The rate at this moment.
    #[inline]
    pub fn get(&self) -> Rate {
        Rate {
            per_second: NonZero::new(self.per_second.load(Ordering::Relaxed)),
            burst_ns: self.burst_ns,
        }
    }

    /// Changes the maximum. What has been used stays used.
    pub fn set(&self, per_second: Option<NonZero<u32>>) {
        let per_second = per_second.map_or(0, NonZero::get);
        self.per_second.store(per_second, Ordering::Relaxed);
    }
}

impl From<Rate> for SharedRate {
    fn from(rate: Rate) -> Self {
        Self {
            per_second: AtomicU32::new(rate.per_second.map_or(0, NonZero::get)),
            burst_ns: rate.burst_ns,
        }
    }
}

impl Meter {
    /// Returns true if a unit may be taken now.
    pub fn has(&self, rate: &Rate, now_ms: u64) -> bool {
        let paid_ns = self.paid_until_ns.load(Ordering::Relaxed);
        rate.unit_begins_ns(paid_ns) <= now_ms * NS_PER_MS
    }

    /// Takes `units` if one may be taken now. They may be more than are left. Then nothing may be
    /// taken for that much longer.
    pub fn take(&self, rate: &Rate, units: u32, now_ms: u64) -> bool {
        let Some(cost_ns) = rate.cost_ns(units) else {
            return true;
        };
        let now_ns = now_ms * NS_PER_MS;
        let add = |paid_ns: u64| {
            let is_left = rate.unit_begins_ns(paid_ns) <= now_ns;
            is_left.then(|| paid_ns.max(now_ns) + cost_ns)
        };
        self.paid_until_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
    }

    /// Takes `units`, also if nothing is left.
    pub fn charge(&self, rate: &Rate, units: u32, now_ms: u64) {
        if let Some(cost_ns) = rate.cost_ns(units) {
            let now_ns = now_ms * NS_PER_MS;
            let add = |paid_ns: u64| Some(paid_ns.max(now_ns) + cost_ns);
            // It always adds.
            let _ = self
                .paid_until_ns
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    /// Has as much in use as `other`, if that is more.
    pub fn raise_to(&self, other: &Self) {
        let paid_ns = other.paid_until_ns.load(Ordering::Relaxed);
        self.paid_until_ns.fetch_max(paid_ns, Ordering::Relaxed);
    }

    /// Returns true if the whole burst is left.
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.paid_until_ns.load(Ordering::Relaxed) <= now_ms * NS_PER_MS
    }

    /// The first time at which a unit may be taken again.
    pub fn next_ms(&self, rate: &Rate) -> u64 {
        let paid_ns = self.paid_until_ns.load(Ordering::Relaxed);
        rate.unit_begins_ns(paid_ns).div_ceil(NS_PER_MS)
    }
}

impl Rate {
    /// Returns the time that units take, or `None` if they are not limited.
    fn cost_ns(&self, units: u32) -> Option<u64> {
        let per_second = self.per_second?.get();
        Some(u64::from(units) * NS_PER_S / u64::from(per_second))
    }

    /// Returns the time from which the next unit may be taken. One is always within the burst.
    fn unit_begins_ns(&self, paid_ns: u64) -> u64 {
        match self.cost_ns(1) {
            None => 0,
            Some(unit_ns) => paid_ns.saturating_sub(self.burst_ns.saturating_sub(unit_ns)),
        }
    }
}

const NS_PER_MS: u64 = 1_000_000;

const NS_PER_S: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst_ms: u64) -> Rate {
        Rate::new(NonZero::new(per_second), Duration::from_millis(burst_ms))
    }

    #[test]
    fn units_are_taken_evenly_after_a_burst() {
        let (rate, meter) = (rate(20, 3_000), Meter::default());
        let taken = |from_ms: u64, to_ms: u64| {
            (from_ms..to_ms)
                .map(|now_ms| (0..5).filter(|_| meter.take(&rate, 1, now_ms)).count())
                .sum::<usize>()
        };
        assert_eq!(taken(0, 1), 5);
        assert_eq!(taken(1, 1_000), 55 + 19);
        assert_eq!(taken(1_000, 11_000), 200);
        // Nothing is gathered beyond a burst.
        assert_eq!(taken(100_000, 100_020), 60);
    }

    #[test]
    fn a_debt_is_paid_first() {
        let (rate, meter) = (rate(200, 3_000), Meter::default());
        assert!(meter.is_full(0));
        meter.charge(&rate, 1_000, 0);
        assert!(!meter.has(&rate, 2_004) && !meter.take(&rate, 1, 2_004));
        assert_eq!(meter.next_ms(&rate), 2_005);
        assert!(meter.has(&rate, 2_005) && meter.take(&rate, 1, 2_005));
        assert!(!meter.is_full(5_004));
        assert!(meter.is_full(5_005));
        meter.charge(&rate, 1_000, 100_000);
        assert_eq!(meter.next_ms(&rate), 102_005);
    }

    #[test]
    fn a_shared_rate_keeps_its_burst_when_its_maximum_changes() {
        let shared = SharedRate::new(NonZero::new(20), Duration::from_millis(3_000));
        assert_eq!(shared.get(), rate(20, 3_000));
        shared.set(NonZero::new(5));
        assert_eq!(shared.get(), rate(5, 3_000));
        shared.set(None);
        assert_eq!(shared.get(), rate(0, 3_000));
    }

    #[test]
    fn a_rate_without_a_maximum_allows_everything() {
        let (rate, meter) = (rate(0, 0), Meter::default());
        meter.charge(&rate, u32::MAX, 0);
        assert!(meter.has(&rate, 0) && meter.take(&rate, u32::MAX, 0) && meter.is_full(0));
    }
}
