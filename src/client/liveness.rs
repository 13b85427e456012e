//! Is the server there, and what is due when, if v1 is spoken? No I/O and no
//! clock: the caller says what happened and what time it is.
//!
//! A heartbeat has no answer, so there are two signs that the server is gone:
//! the network refuses what is sent, or a text that was said is answered by
//! nothing at all (the server echoes each text to its sender). And there are
//! two signs that it is back: anything received, or, after a refusal, a
//! heartbeat that is not refused for a while.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// Why a server counts as gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// The network reported it: nothing listens there, or there is no way.
    Unreachable(io::ErrorKind),
    /// Something was said that has an answer, and nothing came within this time.
    NoAnswer(Duration),
    /// The server said that it stops.
    Goodbye,
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(kind) => kind.fmt(f),
            Self::NoAnswer(waited) => {
                write!(
                    f,
                    "no answer within {}",
                    humantime::format_duration(*waited)
                )
            }
            Self::Goodbye => f.write_str("it has stopped"),
        }
    }
}

/// The time limits of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Between heartbeats, and at most between tries while the server is down.
    pub(crate) heartbeat: Duration,
    /// How long nothing may come after a text.
    pub(crate) answer: Duration,
    /// Before the first try while the server is down; it doubles with each.
    pub(crate) retry: Duration,
    /// How long a heartbeat must go without being refused.
    pub(crate) settle: Duration,
    /// How long the HELLOs of v2 may go unanswered.
    pub(crate) greet: Duration,
}

#[derive(Debug)]
pub(crate) struct Liveness {
    limits: Limits,
    state: State,
    heartbeat_at: Instant,
}

#[derive(Debug)]
enum State {
    Up {
        answer_by: Option<Instant>,
    },
    Down {
        reason: DownReason,
        retry_in: Duration,
        settled_at: Option<Instant>,
    },
}

impl Liveness {
    /// Up until something says otherwise, and a heartbeat is due at once.
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            state: State::Up { answer_by: None },
            heartbeat_at: now,
        }
    }

    /// Why the server counts as gone, if it does.
    pub(crate) fn down(&self) -> Option<&DownReason> {
        match &self.state {
            State::Up { .. } => None,
            State::Down { reason, .. } => Some(reason),
        }
    }

    /// When [`Self::advance`] or a heartbeat is due next.
    pub(crate) fn deadline(&self) -> Instant {
        let other = match self.state {
            State::Up { answer_by } => answer_by,
            State::Down { settled_at, .. } => settled_at,
        };
        other.map_or(self.heartbeat_at, |other| other.min(self.heartbeat_at))
    }

    pub(crate) fn is_heartbeat_due(&self, now: Instant) -> bool {
        now >= self.heartbeat_at
    }

    /// A text was sent. True if that made a new deadline.
    pub(crate) fn said(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Up {
                answer_by: answer_by @ None,
            } => {
                *answer_by = Some(now + self.limits.answer);
                true
            }
            _ => false,
        }
    }

    /// Something came from the server.
    pub(crate) fn received(&mut self) {
        self.state = State::Up { answer_by: None };
    }

    /// A heartbeat was sent.
    pub(crate) fn heartbeat_sent(&mut self, now: Instant) {
        let limits = self.limits;
        let wait = match &mut self.state {
            State::Up { .. } => limits.heartbeat,
            State::Down {
                reason,
                retry_in,
                settled_at,
            } => {
                *retry_in = (*retry_in * 2).min(limits.heartbeat);
                // Silence proves nothing if silence is what we had before.
                if matches!(reason, DownReason::Unreachable(_)) {
                    settled_at.get_or_insert(now + limits.settle);
                }
                *retry_in
            }
        };
        self.heartbeat_at = now + wait;
    }

    /// The way to the server has changed, so it must hear from us.
    pub(crate) fn beat_at_once(&mut self, now: Instant) {
        self.heartbeat_at = now;
    }

    /// The network refused something that was sent.
    pub(crate) fn refused(&mut self, kind: io::ErrorKind, now: Instant) {
        match &mut self.state {
            State::Up { .. } => self.go_down(DownReason::Unreachable(kind), now),
            State::Down {
                reason, settled_at, ..
            } => {
                *reason = DownReason::Unreachable(kind);
                *settled_at = None;
            }
        }
    }

    /// Draws the conclusions from the time that has passed.
    pub(crate) fn advance(&mut self, now: Instant) {
        match self.state {
            State::Up {
                answer_by: Some(by),
            } if now >= by => {
                self.go_down(DownReason::NoAnswer(self.limits.answer), now);
            }
            State::Down {
                settled_at: Some(at),
                ..
            } if now >= at => {
                self.state = State::Up { answer_by: None };
            }
            _ => {}
        }
    }

    fn go_down(&mut self, reason: DownReason, now: Instant) {
        let retry_in = self.limits.retry.min(self.limits.heartbeat);
        self.heartbeat_at = now + retry_in;
        self.state = State::Down {
            reason,
            retry_in,
            settled_at: None,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn start() -> (Liveness, Instant) {
        let limits = Limits {
            heartbeat: 5000 * MS,
            answer: 3000 * MS,
            retry: 500 * MS,
            settle: 1000 * MS,
            greet: 900 * MS,
        };
        let now = Instant::now();
        (Liveness::new(limits, now), now)
    }

    #[test]
    fn beats_at_once_and_then_steadily() {
        let (mut live, t) = start();
        assert!(live.is_heartbeat_due(t));
        live.heartbeat_sent(t);
        assert!(!live.is_heartbeat_due(t + 4999 * MS));
        assert!(live.is_heartbeat_due(t + 5000 * MS));
        assert_eq!(live.deadline(), t + 5000 * MS);
        assert_eq!(live.down(), None);
    }

    #[test]
    fn a_text_without_an_answer_is_the_end_and_anything_received_brings_it_back() {
        let (mut live, t) = start();
        live.heartbeat_sent(t);
        assert!(live.said(t));
        assert!(!live.said(t + MS), "the first text's limit stays");
        live.advance(t + 2999 * MS);
        assert_eq!(live.down(), None);
        live.advance(t + 3000 * MS);
        assert_eq!(live.down(), Some(&DownReason::NoAnswer(3000 * MS)));

        // A heartbeat that is answered by silence proves nothing.
        live.heartbeat_sent(t + 3500 * MS);
        live.advance(t + 60_000 * MS);
        assert!(live.down().is_some());
        live.received();
        assert_eq!(live.down(), None);
    }

    #[test]
    fn an_answer_in_time_keeps_it_up() {
        let (mut live, t) = start();
        live.said(t);
        live.received();
        live.advance(t + 3000 * MS);
        assert_eq!(live.down(), None);
    }

    #[test]
    fn retries_back_off_to_the_heartbeat_interval() {
        let (mut live, mut t) = start();
        live.refused(ConnectionRefused, t);
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(live.heartbeat_at.duration_since(t).as_millis());
            t = live.heartbeat_at;
            live.heartbeat_sent(t);
            live.refused(ConnectionRefused, t);
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
    }

    #[test]
    fn after_a_refusal_an_unrefused_heartbeat_brings_it_back() {
        let (mut live, t) = start();
        live.refused(ConnectionRefused, t);
        live.heartbeat_sent(t + 500 * MS);
        live.refused(HostUnreachable, t + 501 * MS);
        live.advance(t + 1500 * MS);
        assert_eq!(live.down(), Some(&DownReason::Unreachable(HostUnreachable)));

        live.heartbeat_sent(t + 1500 * MS);
        live.heartbeat_sent(t + 2000 * MS);
        assert_eq!(live.deadline(), t + 2500 * MS, "the first of them counts");
        live.advance(t + 2500 * MS);
        assert_eq!(live.down(), None);
    }

    #[test]
    fn back_up_the_next_fall_starts_from_the_short_wait_again() {
        let (mut live, t) = start();
        live.refused(ConnectionRefused, t);
        live.heartbeat_sent(t);
        live.heartbeat_sent(t);
        live.received();
        live.refused(ConnectionRefused, t);
        assert_eq!(live.deadline(), t + 500 * MS);
    }

    #[test]
    fn a_wait_never_exceeds_the_heartbeat_interval() {
        let (mut live, t) = start();
        live.limits.heartbeat = 50 * MS;
        live.refused(ConnectionRefused, t);
        assert_eq!(live.deadline(), t + 50 * MS);
    }
}
