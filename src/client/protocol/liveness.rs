//! Liveness of the server: it decides when a beat is due, and when the server counts as
//! down or up. It does no I/O and reads no clock.
//!
//! A beat is a HELLO while the server is greeted. In version 2 it is then the first datagram of the
//! session, until ROOM comes, and a heartbeat after that. A heartbeat of version 2 carries a PING,
//! so every beat is answered. In version 1 it is answered only if
//! the server knows `/ping`. Otherwise these are the only signs there: a datagram from the
//! server, a text that is not echoed, and an error of the network.

use std::io;
use std::time::{Duration, Instant};

use crate::client::config::{MIN_HEARTBEAT, SessionConfig};
use crate::client::event::DownReason;

/// The state of the connection to a server.
#[derive(Debug)]
pub(super) struct Liveness {
    config: SessionConfig,
    /// The source of the jitter.
    random: fn() -> u64,
    mode: Mode,
    down: Option<Down>,
    /// True if something came from the server since it was last down.
    is_proven: bool,
    /// True if a heartbeat is answered in version 1.
    can_probe_v1: bool,
    /// True if the last server of version 1 has answered commands.
    has_commands: bool,
    /// Number of addresses that attempts go to in turn, or 1 if all are of one server.
    ways: u32,
    /// The time between heartbeats that the server needs.
    heartbeat: Duration,
    next_beat: Instant,
    /// The next heartbeat, if all beats are answered.
    next_heartbeat: Instant,
    /// The time by which the server must answer.
    answer_by: Option<Instant>,
    /// The time at which a server of version 1 counts as up if no heartbeat is refused.
    settled_at: Option<Instant>,
}

/// The meaning of a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// A HELLO. `hellos` of them have been neither answered nor refused.
    Greeting { hellos: u32 },
    /// The first datagram of a session of version 2, which registers it. `attempts` of them were
    /// sent.
    Joining { attempts: u32 },
    /// A heartbeat of version 1.
    V1,
    /// A heartbeat of version 2.
    V2,
}

#[derive(Debug)]
struct Down {
    reason: DownReason,
    retry: Duration,
    /// The time that was taken last.
    last: Duration,
    /// The number of attempts before the time between them doubles.
    attempts_left: u32,
    /// True if the attempts go to another server than the one that went down, and it has refused
    /// none.
    is_elsewhere: bool,
}

impl Liveness {
    /// Returns the state before the first beat, which is due at once.
    pub(super) fn new(
        mode: Mode,
        config: SessionConfig,
        random: fn() -> u64,
        now: Instant,
    ) -> Self {
        Self {
            heartbeat: config.heartbeat_interval,
            config,
            random,
            mode,
            down: None,
            is_proven: false,
            can_probe_v1: false,
            has_commands: false,
            ways: 1,
            next_beat: now,
            next_heartbeat: now,
            answer_by: None,
            settled_at: None,
        }
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// The reason why the server counts as down, if it does.
    pub(super) fn down(&self) -> Option<&DownReason> {
        self.down.as_ref().map(|down| &down.reason)
    }

    /// Returns true if the server counts as there, and has shown that it is.
    pub(super) fn is_up(&self) -> bool {
        self.down.is_none() && self.is_proven
    }

    pub(super) fn can_probe(&self) -> bool {
        self.mode == Mode::V2 || (self.mode == Mode::V1 && self.can_probe_v1)
    }

    /// Sets if the server of version 1 answers commands.
    pub(super) fn set_can_probe_v1(&mut self, can_probe: bool) {
        self.can_probe_v1 = can_probe;
        self.has_commands = can_probe;
    }

    /// Sets the number of addresses that attempts go to in turn. It is 1 if all are of one server.
    pub(super) fn set_ways(&mut self, ways: u32) {
        self.ways = ways;
    }

    /// The next attempts go to another server.
    pub(super) fn change_server(&mut self) {
        if let Some(down) = &mut self.down {
            down.is_elsewhere = true;
        }
    }

    /// Returns true if a heartbeat of version 1 goes to a server that is down, and that will answer
    /// a command as the last one did.
    pub(super) fn is_asking_elsewhere(&self) -> bool {
        let is_elsewhere = self.down.as_ref().is_some_and(|down| down.is_elsewhere);
        is_elsewhere && self.has_commands && self.mode == Mode::V1
    }

    /// Begins to greet the server, at once.
    pub(super) fn greet(&mut self, now: Instant) {
        self.enter(Mode::Greeting { hellos: 0 }, now);
    }

    /// Begins to speak version 1, at once.
    pub(super) fn speak_v1(&mut self, now: Instant) {
        self.enter(Mode::V1, now);
        self.heartbeat = self.config.heartbeat_interval;
    }

    /// Begins to join a server of version 2, which has answered a HELLO, at once. It drops a client
    /// that is silent for `server_timeout`.
    pub(super) fn join(&mut self, server_timeout: Duration, now: Instant) {
        // Half, so that one lost heartbeat does no harm.
        let longest = (server_timeout / 2).max(MIN_HEARTBEAT);
        self.heartbeat = self.config.heartbeat_interval.min(longest);
        self.enter(Mode::Joining { attempts: 0 }, now);
        self.answer_by = Some(now + self.config.answer_timeout);
    }

    /// The server has registered the client. Begins to speak version 2.
    pub(super) fn joined(&mut self, now: Instant) {
        self.enter(Mode::V2, now + self.heartbeat);
        self.down = None;
        self.is_proven = true;
    }

    fn enter(&mut self, mode: Mode, next_beat: Instant) {
        self.mode = mode;
        self.next_beat = next_beat;
        self.next_heartbeat = next_beat;
        self.answer_by = None;
        self.settled_at = None;
        self.can_probe_v1 = false;
    }

    /// Notes that something came which proves that the server is there. In version 2 a server
    /// that is down proves it by a ROOM alone.
    pub(super) fn answered(&mut self) {
        if matches!(self.mode, Mode::V1 | Mode::V2) {
            self.down = None;
            self.is_proven = true;
            self.settled_at = None;
            self.answer_by = None;
            self.next_beat = self.next_heartbeat;
        }
    }

    /// Notes that something was sent which the server answers.
    pub(super) fn expect_answer(&mut self, now: Instant) {
        let is_beginning = !matches!(self.mode, Mode::V1 | Mode::V2);
        if is_beginning || self.down.is_some() || self.answer_by.is_some() {
            return;
        }
        self.answer_by = Some(now + self.config.answer_timeout);
        if self.can_probe() {
            self.next_beat = self
                .next_beat
                .min(now + self.config.answer_timeout / PROBES);
        }
    }

    pub(super) fn is_beat_due(&self, now: Instant) -> bool {
        now >= self.next_beat
    }

    /// Notes that a beat was sent.
    pub(super) fn beat(&mut self, now: Instant) {
        if let Mode::Greeting { hellos } = &mut self.mode {
            *hellos += 1;
            let answer = self.config.greeting_timeout / PROBES;
            let wait = match self.down.is_none() || self.is_hopeful() {
                true => answer,
                false => self.take_retry_after(answer),
            };
            self.next_beat = now + wait;
            return;
        }
        if let Mode::Joining { attempts } = &mut self.mode {
            let wait = FIRST_JOIN_INTERVAL * (1 << (*attempts).min(MAX_JOIN_DOUBLINGS));
            *attempts += 1;
            self.next_beat = now + wait;
            return;
        }
        if let Some(down) = &self.down {
            // Silence proves nothing where silence is the reason. A server of version 1 that is
            // full or about to stop refuses every heartbeat, and does not answer one that it takes.
            let was_heard = matches!(
                down.reason,
                DownReason::Unreachable(_) | DownReason::Full | DownReason::Stopping
            );
            let may_settle = (was_heard || down.is_elsewhere) && !self.is_asking_elsewhere();
            let mut wait = self.config.greeting_timeout / PROBES;
            if may_settle {
                self.settled_at.get_or_insert(now + self.config.settle_time);
                wait += self.config.settle_time;
            }
            self.next_beat = now + self.take_retry_after(wait);
            return;
        }
        self.next_heartbeat = now + self.heartbeat;
        self.next_beat = self.next_heartbeat;
        if self.can_probe() {
            self.answer_by
                .get_or_insert(now + self.config.answer_timeout);
            self.next_beat = now + (self.config.answer_timeout / PROBES).min(self.heartbeat);
        }
    }

    /// Notes that the network refused something that was sent.
    pub(super) fn refused(&mut self, kind: io::ErrorKind, now: Instant) {
        let reason = DownReason::Unreachable(kind);
        let Some(down) = &mut self.down else {
            self.go_down(reason);
            self.next_beat = now + self.take_retry();
            return;
        };
        down.reason = reason;
        let was_elsewhere = std::mem::take(&mut down.is_elsewhere);
        let last = down.last;
        self.settled_at = None;
        match self.mode {
            // One HELLO may be refused in more than one way.
            Mode::Greeting { hellos: 0 } | Mode::V1 | Mode::V2 => {}
            Mode::Greeting { .. } | Mode::Joining { .. } => {
                self.mode = Mode::Greeting { hellos: 0 };
                self.answer_by = None;
                let wait = match was_elsewhere {
                    // The HELLO has taken it.
                    true => with_jitter(last, self.random()),
                    false => self.take_retry(),
                };
                self.next_beat = now + wait;
            }
        }
    }

    /// Notes that the server stops, as it said.
    pub(super) fn stopped(&mut self, now: Instant) {
        if self.down.is_none() || matches!(self.mode, Mode::Joining { .. }) {
            self.go_down(DownReason::Goodbye);
            // All clients learn it at the same moment, so the first wait is a long one also if
            // there are other servers.
            let first = with_jitter(self.first_retry(), self.random());
            self.next_beat = now + self.take_retry_after(first);
        }
    }

    /// Notes that the server takes no newcomers, as it said: it is full, or about to stop.
    pub(super) fn turned_away(&mut self, reason: DownReason, now: Instant) {
        let was_joining = matches!(self.mode, Mode::Joining { .. });
        if self.mode != Mode::V1 {
            self.mode = Mode::Greeting { hellos: 0 };
        }
        (self.settled_at, self.answer_by) = (None, None);
        match &mut self.down {
            // The HELLO or heartbeat that was answered has set the time of the next one.
            Some(down) if down.reason == reason && !was_joining => return,
            Some(down) if down.reason == reason => {}
            Some(down) => down.reason = reason,
            None => self.go_down(reason),
        }
        self.next_beat = now + self.take_retry();
    }

    /// Notes that no HELLO was answered, where version 1 is no choice.
    pub(super) fn not_greeted(&mut self, now: Instant) {
        self.go_down(DownReason::NoAnswer(self.config.greeting_timeout));
        self.next_beat = now + self.take_retry();
    }

    /// The time of the next beat or timeout.
    pub(super) fn poll_timeout(&self) -> Instant {
        let others = [self.answer_by, self.settled_at];
        let others = others.into_iter().flatten();
        others.fold(self.next_beat, Instant::min)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let has_passed = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if has_passed(self.settled_at) {
            self.answered();
        } else if has_passed(self.answer_by) {
            let was_v2 = self.mode == Mode::V2;
            self.go_down(DownReason::NoAnswer(self.config.answer_timeout));
            // A server of version 2 may have restarted, and answers the next HELLO.
            self.next_beat = if was_v2 { now } else { now + self.take_retry() };
        }
    }

    /// Returns true if three HELLOs were sent, and none was answered or refused.
    pub(super) fn is_greeted_in_vain(&self, now: Instant) -> bool {
        let is_greeted = matches!(self.mode, Mode::Greeting { hellos: PROBES.. });
        let may_be_there = self.down.is_none() || self.has_refused();
        is_greeted && may_be_there && self.is_beat_due(now)
    }

    /// Returns true if the last HELLO was not refused where one before it was. A server may
    /// have started, so the next attempt must take the same way.
    pub(super) fn is_hopeful(&self) -> bool {
        self.has_refused() && matches!(self.mode, Mode::Greeting { hellos: 1..=PROBES })
    }

    /// Returns true if the server in use was the last to refuse a datagram.
    fn has_refused(&self) -> bool {
        let was_refused = |down: &Down| matches!(down.reason, DownReason::Unreachable(_));
        let here = self.down.as_ref().filter(|down| !down.is_elsewhere);
        here.is_some_and(was_refused)
    }

    /// Takes it that a server has started, as it refused datagrams before, and not the last ones.
    pub(super) fn presume_started(&mut self) {
        self.is_proven |= self.down.take().is_some();
    }

    fn go_down(&mut self, reason: DownReason) {
        let mut retry = self.first_retry();
        if self.ways > 1 {
            retry /= OTHER_SERVERS_PART;
        }
        self.down = Some(Down {
            reason,
            retry,
            last: retry,
            attempts_left: self.ways,
            is_elsewhere: false,
        });
        self.is_proven = false;
        self.answer_by = None;
        self.settled_at = None;
        self.can_probe_v1 = false;
        if self.mode != Mode::V1 {
            self.mode = Mode::Greeting { hellos: 0 };
        }
    }

    fn first_retry(&self) -> Duration {
        self.config.retry_delay.min(self.config.heartbeat_interval)
    }

    /// Returns the time before the next attempt, with its jitter. It doubles when all addresses had
    /// an attempt.
    fn take_retry(&mut self) -> Duration {
        self.take_retry_after(Duration::ZERO)
    }

    /// Returns the same. If there are other servers, it is at least `wait`.
    fn take_retry_after(&mut self, wait: Duration) -> Duration {
        let longest = self.config.heartbeat_interval;
        let mut retry = longest;
        if let Some(down) = &mut self.down {
            retry = down.retry;
            down.last = retry;
            down.attempts_left = down.attempts_left.saturating_sub(1);
            if down.attempts_left == 0 {
                down.attempts_left = self.ways;
                down.retry = (retry * 2).min(longest);
            }
        }
        let retry = with_jitter(retry, self.random());
        match self.ways {
            1 => retry,
            _ => retry.max(wait),
        }
    }

    pub(super) fn random(&self) -> u64 {
        (self.random)()
    }
}

/// Returns between three and five quarters of `time`, by a random number. All clients of a
/// server that stops learn it at the same moment, and should not come back at the same moment.
pub(super) fn with_jitter(time: Duration, random: u64) -> Duration {
    let fraction = random as f64 / u64::MAX as f64;
    time.mul_f64(0.75 + fraction / 2.0)
}

/// With other servers to go to, an attempt costs little time, and the next one follows after this part
/// of the time that a server takes to restart.
const OTHER_SERVERS_PART: u32 = 4;

/// Three datagrams in a row are not lost by chance on a path on which anything can be said.
const PROBES: u32 = 3;

/// Time after which the first datagram of a session is sent again. It doubles with each. The
/// round trips on most paths are shorter, and on a longer one the server receives it twice.
const FIRST_JOIN_INTERVAL: Duration = Duration::from_millis(100);

/// So the datagrams are at most 0.8 s apart.
const MAX_JOIN_DOUBLINGS: u32 = 3;

#[cfg(test)]
mod tests;
