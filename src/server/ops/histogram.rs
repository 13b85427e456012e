//! Histograms of times. One thread adds to each, and any thread may read it.

use std::ops::AddAssign;

use super::stats::Counter;

/// A histogram of times in µs, with two buckets for each doubling.
#[derive(Debug)]
pub struct TimeHistogram {
    buckets: [Counter; BUCKETS],
    sum_us: Counter,
}

/// A [`TimeHistogram`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeCounts {
    buckets: [u64; BUCKETS],
    /// The sum of all times in µs.
    pub sum_us: u64,
}

impl TimeHistogram {
    /// Adds a time.
    pub fn add(&self, us: u64) {
        self.buckets[bucket(us)].add(1);
        self.sum_us.add(us);
    }

    /// Returns the counts at this moment.
    pub fn read(&self) -> TimeCounts {
        TimeCounts {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].get()),
            sum_us: self.sum_us.get(),
        }
    }
}

impl Default for TimeHistogram {
    fn default() -> Self {
        Self {
            buckets: [const { Counter::new() }; BUCKETS],
            sum_us: Counter::new(),
        }
    }
}

impl TimeCounts {
    /// The upper bound in µs of each bucket, and the number of times in it. The last bucket has no
    /// bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = (0..BUCKETS - 1).map(|bucket| Some(bound_us(bucket)));
        bounds.chain([None]).zip(self.buckets)
    }

    /// The number of times.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the time in µs that a share of all times is not above: the upper bound of its
    /// bucket, which is up to 1.42 times as long. `None` if there are no times, or if it lies above
    /// the last bound.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let rank = (share * self.count() as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let (bound, _) = self.buckets().find(|(_, count)| {
            below += count;
            below >= rank
        })?;
        bound
    }

    /// Returns the times that came after `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|bucket| {
                self.buckets[bucket].saturating_sub(before.buckets[bucket])
            }),
            sum_us: self.sum_us.saturating_sub(before.sum_us),
        }
    }
}

impl Default for TimeCounts {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            sum_us: 0,
        }
    }
}

impl AddAssign<&Self> for TimeCounts {
    fn add_assign(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
        self.sum_us += other.sum_us;
    }
}

/// Returns the first bucket whose bound is not below a time.
fn bucket(us: u64) -> usize {
    // The square of a bound is 2^(2 * MIN_EXPONENT + bucket), before it is rounded down.
    let square = us.min(u32::MAX.into()).pow(2);
    let exponent = u64::BITS - square.saturating_sub(1).leading_zeros();
    let bucket = exponent.saturating_sub(2 * MIN_EXPONENT) as usize;
    bucket.min(BUCKETS - 1)
}

/// The upper bound of a bucket: 2^(MIN_EXPONENT + bucket / 2), rounded down.
fn bound_us(bucket: usize) -> u64 {
    (1_u64 << (2 * MIN_EXPONENT as usize + bucket)).isqrt()
}

/// The first bound is 2^4 = 16 µs. Waking a thread takes longer.
const MIN_EXPONENT: u32 = 4;

/// The last bound is 2^24 µs = 17 s. A backlog is far shorter.
const BUCKETS: usize = 2 * (24 - MIN_EXPONENT as usize) + 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_whose_bound_is_not_below_it() {
        let bounds: Vec<_> = (0..BUCKETS - 1).map(bound_us).collect();
        assert_eq!(bounds[..6], [16, 22, 32, 45, 64, 90]);
        assert_eq!(*bounds.last().unwrap(), 1 << 24);
        let near = bounds
            .iter()
            .flat_map(|bound| [bound - 1, *bound, bound + 1]);
        for us in near.chain([0, 1, 1 << 25, u64::MAX]) {
            let expected = bounds.iter().position(|bound| us <= *bound);
            assert_eq!(bucket(us), expected.unwrap_or(BUCKETS - 1), "{us}");
        }
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let histogram = TimeHistogram::default();
        assert_eq!(histogram.read().quantile_us(0.5), None);
        for us in 1..=100 {
            histogram.add(us);
        }
        let before = histogram.read();
        assert_eq!((before.count(), before.sum_us), (100, 5050));
        for (share, bound_us) in [(0.0, 16), (0.16, 16), (0.17, 22), (0.5, 64), (1.0, 128)] {
            assert_eq!(before.quantile_us(share), Some(bound_us), "{share}");
        }
        histogram.add(u64::from(u32::MAX));
        let since = histogram.read().since(&before);
        assert_eq!((since.count(), since.quantile_us(0.5)), (1, None));
        let mut sum = before.clone();
        sum += &since;
        assert_eq!(sum, histogram.read());
    }
}
