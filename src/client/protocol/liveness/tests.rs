use std::io::ErrorKind::{ConnectionRefused, HostUnreachable};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// The conclusion of a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conclusion {
    Nothing,
    /// Three HELLOs were sent, and none was answered or refused.
    NotGreeted,
    Down,
    /// A server of version 1 counts as up again.
    Settled,
}

/// The state with a clock that the test sets.
struct Live {
    liveness: Liveness,
    now: Instant,
}

impl Live {
    fn new(mode: Mode) -> Self {
        let mut config = SessionConfig::new("127.0.0.1:9999".parse().unwrap());
        config.greeting_timeout = 900 * MS;
        let now = Instant::now();
        Self {
            liveness: Liveness::new(mode, config, no_jitter, now),
            now,
        }
    }

    /// Returns a state in which version 2 is spoken.
    fn welcomed() -> Self {
        let mut live = Self::new(GREETING);
        live.beat();
        live.liveness.join(10_000 * MS, live.now);
        live.liveness.joined(live.now);
        live
    }

    fn beat(&mut self) {
        assert!(self.liveness.is_beat_due(self.now));
        self.liveness.beat(self.now);
    }

    /// Lets time pass until the next timeout, and draws the conclusion. Returns the time in
    /// milliseconds, the conclusion, and true if a beat was sent.
    fn next(&mut self) -> (u128, Conclusion, bool) {
        let timeout = self.liveness.poll_timeout();
        let wait = timeout.saturating_duration_since(self.now);
        self.now += wait;
        let conclusion = self.handle_timeout();
        let is_due = self.liveness.is_beat_due(self.now);
        if is_due {
            self.beat();
        }
        (wait.as_millis(), conclusion, is_due)
    }

    fn handle_timeout(&mut self) -> Conclusion {
        let was_down = self.down().is_some();
        self.liveness.handle_timeout(self.now);
        match (was_down, self.down().is_some()) {
            (false, true) => Conclusion::Down,
            (true, false) => Conclusion::Settled,
            _ if self.liveness.is_greeted_in_vain(self.now) => Conclusion::NotGreeted,
            _ => Conclusion::Nothing,
        }
    }

    fn refused(&mut self) {
        self.liveness.refused(ConnectionRefused, self.now);
    }

    fn down(&self) -> Option<&DownReason> {
        self.liveness.down()
    }
}

/// Makes every wait as long as it is on average.
fn no_jitter() -> u64 {
    1 << 63
}

#[test]
fn clients_that_lose_a_server_together_come_back_one_by_one() {
    let wait = |random| {
        let mut live = Live::welcomed();
        live.liveness.random = random;
        live.liveness.stopped(live.now);
        [live.next().0, live.next().0]
    };
    assert_eq!(wait(|| 0), [375, 750]);
    assert_eq!(wait(|| 1 << 62), [437, 875]);
    assert_eq!(wait(no_jitter), [500, 1000]);
    assert_eq!(wait(|| u64::MAX), [625, 1250]);
}

#[test]
fn a_heartbeat_is_due_at_once_and_then_steadily() {
    let mut live = Live::new(Mode::V1);
    live.beat();
    assert!(!live.liveness.is_beat_due(live.now + 4999 * MS));
    assert!(live.liveness.is_beat_due(live.now + 5000 * MS));
    assert_eq!(live.liveness.poll_timeout(), live.now + 5000 * MS);
    assert_eq!(live.down(), None);
    assert!(!live.liveness.is_up(), "nothing has come");
    live.liveness.answered();
    assert!(live.liveness.is_up());
}

#[test]
fn a_server_is_greeted_three_times_before_the_conclusion() {
    let mut live = Live::new(GREETING);
    live.beat();
    assert_eq!(live.next(), (300, Conclusion::Nothing, true));
    assert_eq!(live.next(), (300, Conclusion::Nothing, true));
    live.now += 299 * MS;
    assert_eq!(live.handle_timeout(), Conclusion::Nothing);
    live.now += MS;
    let conclusion = live.handle_timeout();
    assert_eq!(conclusion, Conclusion::NotGreeted);
    live.liveness.not_greeted(live.now);
    assert_eq!(live.down(), Some(&DownReason::NoAnswer(900 * MS)));
    for expected in [500, 1000, 2000, 4000, 5000, 5000] {
        assert_eq!(live.next(), (expected, Conclusion::Nothing, true));
    }
    live.liveness.join(10_000 * MS, live.now);
    live.liveness.joined(live.now);
    assert_eq!(live.down(), None);
    assert!(live.liveness.is_up());
}

#[test]
fn without_an_answer_a_v1_server_is_down_until_something_comes() {
    let mut live = Live::new(Mode::V1);
    live.beat();
    live.liveness.expect_answer(live.now);
    live.liveness.expect_answer(live.now + MS);
    assert_eq!(
        live.liveness.poll_timeout(),
        live.now + 3000 * MS,
        "the limit of the first text stays"
    );
    live.now += 2999 * MS;
    assert_eq!(live.handle_timeout(), Conclusion::Nothing);
    live.now += MS;
    assert_eq!(live.handle_timeout(), Conclusion::Down);
    assert_eq!(live.down(), Some(&DownReason::NoAnswer(3000 * MS)));
    assert_eq!(live.liveness.mode(), Mode::V1);

    // A heartbeat that is followed by silence proves nothing.
    for expected in [500, 1000, 2000, 4000, 5000, 5000] {
        assert_eq!(live.next(), (expected, Conclusion::Nothing, true));
    }
    assert!(live.down().is_some());
    live.liveness.answered();
    assert_eq!(live.down(), None);
}

#[test]
fn an_answer_in_time_keeps_a_v1_server_up() {
    let mut live = Live::new(Mode::V1);
    live.beat();
    live.liveness.expect_answer(live.now);
    live.liveness.answered();
    assert_eq!(live.next(), (5000, Conclusion::Nothing, true));
    assert_eq!(live.down(), None);
}

#[test]
fn attempts_after_refusals_back_off_to_the_time_between_heartbeats() {
    let mut live = Live::new(Mode::V1);
    live.beat();
    live.refused();
    let mut waits = Vec::new();
    for _ in 0..6 {
        waits.push(live.next().0);
        live.refused();
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
}

#[test]
fn after_a_refusal_an_unrefused_heartbeat_is_a_server() {
    let mut live = Live::new(Mode::V1);
    live.beat();
    live.refused();
    assert_eq!(live.next(), (500, Conclusion::Nothing, true));
    live.now += MS;
    live.liveness.refused(HostUnreachable, live.now);
    assert_eq!(live.next(), (999, Conclusion::Nothing, true));
    let unreachable = DownReason::Unreachable(HostUnreachable);
    assert_eq!(live.down(), Some(&unreachable));

    // The first unrefused heartbeat counts, not the last one.
    live.now += 500 * MS;
    live.liveness.beat(live.now);
    assert_eq!(live.next(), (500, Conclusion::Settled, false));
    assert_eq!(live.down(), None);
    assert!(live.liveness.is_up());
}

#[test]
fn after_an_answer_the_next_attempts_begin_with_the_short_time() {
    let mut live = Live::new(Mode::V1);
    live.beat();
    live.refused();
    live.next();
    live.next();
    live.liveness.answered();
    live.refused();
    assert_eq!(live.next().0, 500);
}

#[test]
fn no_attempt_waits_longer_than_a_heartbeat() {
    let mut live = Live::new(Mode::V1);
    live.liveness.config.heartbeat_interval = 50 * MS;
    live.beat();
    live.refused();
    assert_eq!(live.next().0, 50);
}

#[test]
fn only_a_v1_server_that_answers_commands_is_probed() {
    let mut live = Live::new(Mode::V1);
    live.beat();
    assert!(!live.liveness.can_probe());
    live.liveness.answered();
    live.liveness.set_can_probe_v1(true);
    assert!(live.liveness.can_probe());
    assert_eq!(live.next(), (5000, Conclusion::Nothing, true));
    // A heartbeat must be answered now.
    for _ in 0..2 {
        assert_eq!(live.next(), (1000, Conclusion::Nothing, true));
    }
    assert_eq!(live.next(), (1000, Conclusion::Down, false));
    assert!(!live.liveness.can_probe(), "it may be another server");
}

#[test]
fn a_lost_heartbeat_is_followed_by_another_one() {
    let mut live = Live::welcomed();
    assert_eq!(live.next(), (5000, Conclusion::Nothing, true));
    assert_eq!(live.next(), (1000, Conclusion::Nothing, true));
    live.now += 10 * MS;
    live.liveness.answered();
    assert_eq!(live.next().0, 4990, "as if none was lost");
    assert_eq!(live.down(), None);
}

#[test]
fn three_heartbeats_without_an_answer_are_the_end_and_a_hello_follows_at_once() {
    let mut live = Live::welcomed();
    for expected in [5000, 1000, 1000] {
        assert_eq!(live.next(), (expected, Conclusion::Nothing, true));
    }
    assert_eq!(live.next(), (1000, Conclusion::Down, true));
    assert_eq!(live.down(), Some(&DownReason::NoAnswer(3000 * MS)));
    assert_eq!(live.liveness.mode(), Mode::Greeting { hellos: 1 });
    assert_eq!(live.next(), (500, Conclusion::Nothing, true));
    // It knows version 2, so silence is no reason for version 1.
    for expected in [1000, 2000, 4000, 5000] {
        assert_eq!(live.next(), (expected, Conclusion::Nothing, true));
    }
}

#[test]
fn a_text_without_an_answer_is_followed_by_heartbeats_in_v2() {
    let mut live = Live::welcomed();
    live.now += 10 * MS;
    live.liveness.expect_answer(live.now);
    live.liveness.expect_answer(live.now + MS);
    for _ in 0..2 {
        assert_eq!(live.next(), (1000, Conclusion::Nothing, true));
    }
    assert_eq!(live.next(), (1000, Conclusion::Down, true));

    let mut live = Live::welcomed();
    live.liveness.expect_answer(live.now);
    live.liveness.answered();
    assert_eq!(live.next().0, 5000);
}

#[test]
fn hellos_that_are_not_refused_may_have_reached_a_server() {
    let mut live = Live::welcomed();
    live.refused();
    assert_eq!(live.liveness.mode(), GREETING);
    let mut waits = Vec::new();
    for _ in 0..6 {
        waits.push(live.next().0);
        // One HELLO may be refused in more than one way.
        live.liveness.refused(HostUnreachable, live.now);
        live.liveness.refused(HostUnreachable, live.now);
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
    let unreachable = DownReason::Unreachable(HostUnreachable);
    assert_eq!(live.down(), Some(&unreachable));

    assert!(!live.liveness.is_hopeful());
    assert_eq!(live.next(), (5000, Conclusion::Nothing, true));
    assert!(live.liveness.is_hopeful());
    assert_eq!(live.next(), (300, Conclusion::Nothing, true));
    assert_eq!(live.next(), (300, Conclusion::Nothing, true));
    assert_eq!(live.next(), (300, Conclusion::NotGreeted, true));
    assert!(!live.liveness.is_hopeful());
    assert_eq!(live.next().0, 5000);
    live.liveness.join(10_000 * MS, live.now);
    live.liveness.joined(live.now);
    assert_eq!(live.down(), None);
    live.refused();
    assert_eq!(live.next().0, 500, "the time is short again");
}

#[test]
fn a_server_that_stops_is_down_at_once() {
    let mut live = Live::welcomed();
    live.liveness.stopped(live.now);
    assert_eq!(live.down(), Some(&DownReason::Goodbye));
    live.liveness.stopped(live.now);
    assert_eq!(live.next(), (500, Conclusion::Nothing, true));
    live.liveness.answered();
    assert!(
        live.down().is_some(),
        "only a WELCOME proves that it is back"
    );
}

#[test]
fn a_full_server_is_greeted_again_with_longer_and_longer_waits() {
    let mut live = Live::new(GREETING);
    live.beat();
    let mut waits = Vec::new();
    for _ in 0..6 {
        live.liveness.turned_away(DownReason::Full, live.now);
        assert_eq!(live.down(), Some(&DownReason::Full));
        waits.push(live.next().0);
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
}

#[test]
fn heartbeats_keep_up_with_a_server_that_waits_less_long() {
    for (server_timeout, expected) in [(1000, 500), (0, 10), (60_000, 5000)] {
        let mut live = Live::new(GREETING);
        live.beat();
        live.liveness.join(server_timeout * MS, live.now);
        live.liveness.joined(live.now);
        assert_eq!(live.next().0, expected);
    }
}

#[test]
fn a_server_that_is_presumed_to_have_started_counts_as_up_in_v1() {
    let mut live = Live::new(GREETING);
    live.beat();
    live.refused();
    while live.next().1 != Conclusion::NotGreeted {}
    live.liveness.presume_started();
    live.liveness.speak_v1(live.now);
    assert!(live.liveness.is_up());
    // Without a refusal before, nothing is known.
    let mut live = Live::new(GREETING);
    live.liveness.presume_started();
    live.liveness.speak_v1(live.now);
    assert!(!live.liveness.is_up());
    assert_eq!(live.down(), None);
    assert!(live.liveness.is_beat_due(live.now));
}

const GREETING: Mode = Mode::Greeting { hellos: 0 };

#[test]
fn nothing_is_expected_from_a_server_that_is_down() {
    let mut live = Live::new(Mode::V1);
    live.beat();
    live.refused();
    let timeout = live.liveness.poll_timeout();
    live.now += 1 * MS;
    live.liveness.expect_answer(live.now);
    for _ in 0..6 {
        let (_, conclusion, _) = live.next();
        live.refused();
        assert_ne!(conclusion, Conclusion::Down);
    }
    let _ = timeout;
}

#[test]
fn version_1_has_its_own_time_between_heartbeats() {
    let mut live = Live::new(GREETING);
    live.beat();
    live.liveness.join(100 * MS, live.now);
    live.liveness.joined(live.now);
    live.liveness.speak_v1(live.now);
    live.beat();
    assert_eq!(live.next().0, 5000);
}

#[test]
fn heartbeats_that_are_not_answered_are_no_rarer() {
    let mut live = Live::new(GREETING);
    live.beat();
    live.liveness.join(200 * MS, live.now);
    live.liveness.joined(live.now);
    assert_eq!(live.next(), (100, Conclusion::Nothing, true));
    assert_eq!(live.next(), (100, Conclusion::Nothing, true));
}
