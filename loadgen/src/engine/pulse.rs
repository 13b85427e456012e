//! The signs of life of the server during the load: since when nothing arrived although
//! something was expected, and whether the server was gone and came back.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::engine::probe::{Probe, Sign};
use crate::outcome::Silence;

/// The signs of life that all threads have seen. Times are nanoseconds of the run's clock, and 0
/// stands for none.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// The last time at which something arrived.
    received_ns: AtomicU64,
    /// The first time after that at which something was sent to which an answer is due.
    waiting_ns: AtomicU64,
    /// The number of datagrams sent since to which an answer is due.
    asked: AtomicU64,
    /// The last time at which the kernel said that nothing listens there.
    refused_ns: AtomicU64,
    /// The last silence: its start and its end.
    silent_from_ns: AtomicU64,
    silent_to_ns: AtomicU64,
    /// Texts that arrived in another room than their own, and clients that are in one.
    misrouted: AtomicU64,
    /// Set if the server was gone, or had forgotten its clients, and answered again.
    restarted: AtomicBool,
}

impl Pulse {
    /// Something arrived from the server.
    pub(crate) fn received(&self, now_ns: u64) {
        self.received_ns.fetch_max(now_ns, Relaxed);
        if self.silent_from_ns.load(Relaxed) > 0 && self.silent_to_ns.load(Relaxed) == 0 {
            self.silent_to_ns.store(now_ns, Relaxed);
        }
        let refused_ns = self.refused_ns.load(Relaxed);
        if refused_ns > 0 && now_ns > refused_ns + UNDER_WAY_NS {
            self.restarted.store(true, Relaxed);
        }
    }

    /// Datagrams were sent to which answers are due.
    pub(crate) fn asked(&self, now_ns: u64, datagrams: u64) {
        if self.waiting_ns.load(Relaxed) <= self.received_ns.load(Relaxed) {
            self.waiting_ns.store(now_ns, Relaxed);
            self.asked.store(0, Relaxed);
        }
        self.asked.fetch_add(datagrams, Relaxed);
    }

    /// The kernel said that nothing listens there.
    pub(crate) fn refused(&self, now_ns: u64) {
        self.refused_ns.fetch_max(now_ns, Relaxed);
    }

    /// A text arrived in another room than its own, or a client is in one: a new server knows no
    /// rooms.
    pub(crate) fn misrouted(&self) {
        if self.misrouted.fetch_add(1, Relaxed) >= MANY {
            self.forgotten();
        }
    }

    /// The server does not know a client any more that it knew.
    pub(crate) fn forgotten(&self) {
        self.restarted.store(true, Relaxed);
    }

    /// Notes a silence, if there is one. The caller has just looked and found nothing, and
    /// `now_ns` is from before that, so that a thread that stood still takes nothing for silence.
    pub(crate) fn check(&self, now_ns: u64) {
        let Some(since_ns) = self.waiting_since_ns() else {
            return;
        };
        // One that is there, and knows nobody, owes nothing.
        if self.has_restarted() {
            return;
        }
        let is_certain =
            self.asked.load(Relaxed) >= SEVERAL || self.refused_ns.load(Relaxed) >= since_ns;
        if is_certain && now_ns >= since_ns + SILENT_NS {
            self.silent_from_ns.store(since_ns, Relaxed);
            self.silent_to_ns.store(0, Relaxed);
        }
    }

    /// Returns since when something is expected and nothing has arrived.
    fn waiting_since_ns(&self) -> Option<u64> {
        let waiting_ns = self.waiting_ns.load(Relaxed);
        (waiting_ns > self.received_ns.load(Relaxed)).then_some(waiting_ns)
    }

    /// Returns true if the server was gone, or had forgotten its clients, and answered again.
    pub(crate) fn has_restarted(&self) -> bool {
        self.restarted.load(Relaxed)
    }

    /// Returns the last silence of `target`, whose pulse this is, with times since `begin_ns`,
    /// unless it was over by then.
    pub(crate) fn silence(&self, target: SocketAddr, begin_ns: u64) -> Option<Silence> {
        let since = |ns: u64| Duration::from_nanos(ns.saturating_sub(begin_ns));
        let (from_ns, to_ns) = (
            self.silent_from_ns.load(Relaxed),
            self.silent_to_ns.load(Relaxed),
        );
        let is_recorded = to_ns == 0 || to_ns > begin_ns;
        (from_ns > 0 && is_recorded).then(|| Silence {
            target,
            from: since(from_ns),
            to: (to_ns > 0).then(|| since(to_ns)),
            is_refused: self.refused_ns.load(Relaxed) >= from_ns,
        })
    }
}

/// Probes the server when nothing has arrived for a moment.
pub(crate) struct Prober {
    /// There is none where the system has no socket for it.
    probe: Option<Probe>,
    probed_ns: u64,
}

impl Prober {
    pub(crate) fn new(probe: Option<Probe>) -> Self {
        Self {
            probe,
            probed_ns: 0,
        }
    }

    /// Returns true if nothing listens at the target. It asks from time to time.
    pub(crate) fn is_refused(&mut self, now_ns: u64) -> bool {
        let Some(probe) = &self.probe else {
            return false;
        };
        if now_ns >= self.probed_ns + PROBE_INTERVAL_NS || self.probed_ns == 0 {
            self.probed_ns = now_ns;
            probe.knock();
        }
        probe.sign() == Some(Sign::Refused)
    }

    /// Looks after the server, some ten times a second or more often.
    pub(crate) fn turn(&mut self, pulse: &Pulse, now_ns: u64) {
        let Some(probe) = &self.probe else {
            return;
        };
        // Read in any case, so that none is taken for a later one.
        let is_refused = probe.sign() == Some(Sign::Refused);
        let Some(since_ns) = pulse.waiting_since_ns() else {
            return;
        };
        if is_refused {
            pulse.refused(now_ns);
        }
        if now_ns >= self.probed_ns.max(since_ns) + PROBE_INTERVAL_NS {
            self.probed_ns = now_ns;
            probe.knock();
        }
    }
}

/// A second in which nothing arrives is longer than any stall that people take for latency.
const SILENT_NS: u64 = 1_000_000_000;

/// As many in a row are not lost by chance.
const SEVERAL: u64 = 3;

/// More texts in wrong rooms than a client causes that the server forgot by itself.
const MANY: u64 = 10;

/// Datagrams of the old server may be read as late after its end.
const UNDER_WAY_NS: u64 = 100_000_000;

/// Longer than answers take within a machine or a site, and shorter than a restart.
const PROBE_INTERVAL_NS: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn target() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9))
    }

    /// A pulse that received something at 1 s.
    fn pulse() -> Pulse {
        let pulse = Pulse::default();
        pulse.asked(999 * MS, 1);
        pulse.received(1_000 * MS);
        pulse
    }

    fn times(pulse: &Pulse) -> Option<(u64, Option<u64>)> {
        let silence = pulse.silence(target(), 500 * MS)?;
        let ms = |time: Duration| time.as_millis() as u64;
        Some((ms(silence.from), silence.to.map(ms)))
    }

    #[test]
    fn a_second_without_answers_is_silence_and_less_is_not() {
        let pulse = pulse();
        pulse.check(5_000 * MS);
        assert_eq!(times(&pulse), None, "nothing is due");
        for at in [5_000, 5_001, 5_900] {
            pulse.asked(at * MS, 1);
        }
        pulse.check(5_999 * MS);
        assert_eq!(times(&pulse), None);
        pulse.check(6_000 * MS);
        assert_eq!(times(&pulse), Some((4_500, None)));
        pulse.received(7_000 * MS);
        assert_eq!(times(&pulse), Some((4_500, Some(6_500))));
        assert!(!pulse.has_restarted());
    }

    #[test]
    fn one_that_is_lost_is_no_silence_unless_nothing_listens() {
        let pulse = pulse();
        pulse.asked(5_000 * MS, 2);
        pulse.check(9_000 * MS);
        assert_eq!(times(&pulse), None);
        pulse.refused(9_000 * MS);
        pulse.check(9_000 * MS);
        assert_eq!(times(&pulse), Some((4_500, None)));
        assert!(pulse.silence(target(), 0).unwrap().is_refused);
    }

    #[test]
    fn a_server_that_was_gone_and_answers_is_another_one() {
        let pulse = pulse();
        pulse.asked(5_000 * MS, 10);
        pulse.refused(5_000 * MS);
        pulse.received(5_050 * MS);
        assert!(!pulse.has_restarted(), "it was under way");
        pulse.received(5_200 * MS);
        assert!(pulse.has_restarted());
        assert_eq!(times(&pulse), None);
    }

    #[test]
    fn more_than_a_few_texts_in_wrong_rooms_are_of_another_server() {
        let pulse = pulse();
        for _ in 0..MANY {
            pulse.misrouted();
        }
        assert!(!pulse.has_restarted());
        pulse.misrouted();
        assert!(pulse.has_restarted());
    }

    #[test]
    fn a_server_that_knows_nobody_is_not_silent() {
        let pulse = pulse();
        pulse.forgotten();
        pulse.asked(5_000 * MS, 10);
        pulse.check(9_000 * MS);
        assert!(pulse.has_restarted());
        assert_eq!(times(&pulse), None);
    }

    #[test]
    fn a_silence_counts_if_some_of_it_was_recorded() {
        let pulse = pulse();
        pulse.asked(5_000 * MS, 10);
        pulse.check(6_000 * MS);
        pulse.received(7_000 * MS);
        assert_eq!(pulse.silence(target(), 7_000 * MS), None);
        let silence = pulse.silence(target(), 6_999 * MS).unwrap();
        assert_eq!(
            (silence.from, silence.to),
            (Duration::ZERO, Some(Duration::from_millis(1)))
        );
    }
}
