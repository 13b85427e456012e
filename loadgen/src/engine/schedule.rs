//! The times at which datagrams are due, fixed before the first one is sent, whatever the server
//! does (an open loop, see Schroeder, Wierman and Harchol-Balter, "Open Versus Closed", NSDI 2006).

use std::time::Duration;

use crate::config::{Arrival, Rate, RunConfig};

/// The times at which one of several threads is to send. The threads' schedules
/// together are that of the run.
#[derive(Debug, Clone)]
pub struct Schedule {
    curve: Curve,
    arrival: Arrival,
    random: fastrand::Rng,
    shares: f64,
    /// Datagrams of the whole run that should be sent by the next one.
    position: f64,
    /// Its place among this thread's.
    index: u64,
    /// The place of this thread's first datagram among the first ones of all.
    offset: f64,
    due_ns: u64,
    end_ns: u64,
}

/// The number of datagrams over time: in a straight line at first, then with a rate
/// that changes in a straight line.
#[derive(Debug, Clone, Copy)]
struct Curve {
    from_per_s: f64,
    /// The growth of the rate per second.
    slope: f64,
    warmup_s: f64,
}

impl Schedule {
    /// Share number `share`, from 0, of `shares` of a run's schedule.
    pub fn new(config: &RunConfig, share: usize, shares: usize) -> Self {
        let Rate { from, to } = config.rate;
        let seed = config.seed.wrapping_add(share as u64);
        let mut schedule = Self {
            curve: Curve {
                from_per_s: from,
                slope: (to - from) / config.duration.as_secs_f64(),
                warmup_s: config.warmup.as_secs_f64(),
            },
            arrival: config.arrival,
            random: fastrand::Rng::with_seed(seed),
            shares: shares as f64,
            position: 0.0,
            index: 0,
            offset: share as f64,
            due_ns: 0,
            end_ns: nanoseconds(config.warmup + config.duration),
        };
        schedule.set_due();
        schedule
    }

    /// Returns the time at which the next datagram is due, in nanoseconds since the load began, or
    /// nothing after the end.
    pub fn due_ns(&self) -> Option<u64> {
        (self.due_ns < self.end_ns).then_some(self.due_ns)
    }

    /// Goes on to the one after that.
    pub fn advance(&mut self) {
        self.index += 1;
        self.set_due();
    }

    /// Ends the schedule at this time.
    pub fn end_at(&mut self, end_ns: u64) {
        self.end_ns = self.end_ns.min(end_ns);
    }

    fn set_due(&mut self) {
        match self.arrival {
            // Not summed up: no error grows with time.
            Arrival::Uniform => self.position = self.index as f64 * self.shares + self.offset,
            // Each thread has a process of its own; their sum is one, too.
            Arrival::Poisson => self.position += exponential(&mut self.random) * self.shares,
        }
        self.due_ns = self.curve.time_ns(self.position);
    }
}

impl Curve {
    /// Returns the time by which so many datagrams should be sent.
    fn time_ns(&self, count: f64) -> u64 {
        let in_warmup = self.from_per_s * self.warmup_s;
        let seconds = if count <= in_warmup {
            count / self.from_per_s
        } else {
            // Solves count = from × t + slope × t² / 2, in the form that takes a slope
            // of zero.
            let count = count - in_warmup;
            let square = self.from_per_s * self.from_per_s + 2.0 * self.slope * count;
            if square < 0.0 {
                return u64::MAX;
            }
            self.warmup_s + 2.0 * count / (self.from_per_s + square.sqrt())
        };
        (seconds * 1e9) as u64
    }
}

/// A random number of the exponential distribution with mean 1.
fn exponential(random: &mut fastrand::Rng) -> f64 {
    -(1.0 - random.f64()).ln()
}

/// A duration as the schedule counts time.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
