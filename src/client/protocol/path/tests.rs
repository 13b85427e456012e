use super::*;

/// A path between a client and a server, which loses datagrams.
struct Link {
    path: Path,
    now: Instant,
    /// Datagrams that are longer are lost.
    max_bytes: usize,
    /// One in this many of the others is lost, in each direction. Never if it is 0.
    loss: u64,
    random: u64,
    is_server_up: bool,
    /// False for a server that ignores a HELLO in a session.
    is_server_new: bool,
    round_trip: Duration,
    /// Short and long PINGs that were sent, and HELLOs.
    sent: [u64; 3],
    /// The answers under way.
    answers: Vec<(Instant, Answer)>,
}

#[derive(Clone, Copy)]
enum Answer {
    Pong(Token),
    Welcome(BundleSize),
}

impl Link {
    fn new(max_bytes: usize) -> Self {
        let now = Instant::now();
        let mut path = Path::new(|| u64::MAX - 5, now);
        path.begin(BundleSize::Full, now);
        Self {
            path,
            now,
            max_bytes,
            loss: 0,
            random: 1,
            is_server_up: true,
            is_server_new: true,
            round_trip: Duration::from_millis(20),
            sent: [0; 3],
            answers: Vec::new(),
        }
    }

    /// Lets time pass, with a message every second. Returns the sizes that were granted.
    fn pass(&mut self, time: Duration) -> Vec<BundleSize> {
        let end = self.now + time;
        let mut next_message = self.now;
        let mut granted = Vec::new();
        while self.now < end {
            if self.now >= next_message {
                self.path.used();
                next_message += Duration::from_secs(1);
            }
            while let Some(step) = self.path.poll(self.now) {
                self.send(&step);
            }
            let now = self.now;
            let due: Vec<_> = self.answers.extract_if(.., |(at, _)| *at <= now).collect();
            for (_, answer) in due {
                match answer {
                    Answer::Pong(token) => assert!(
                        self.path.handle_pong(&token, now)
                            || !matches!(self.path.state, State::Searching { .. })
                    ),
                    Answer::Welcome(size) if self.path.granted(size, now) => granted.push(size),
                    Answer::Welcome(_) => {}
                }
            }
            let events = self.answers.iter().map(|(at, _)| *at);
            let next = events.fold(self.path.poll_timeout().min(next_message), Instant::min);
            self.now = next.max(self.now);
        }
        self.now = end;
        granted
    }

    fn send(&mut self, step: &Step) {
        match step {
            Step::Pair { long, short } => {
                self.sent[0] += 1;
                self.sent[1] += 1;
                self.exchange(BundleSize::Full.bytes(), Answer::Pong(*long));
                self.exchange(32, Answer::Pong(*short));
            }
            Step::Ask(size) => {
                self.sent[2] += 1;
                if self.is_server_new {
                    self.exchange(64, Answer::Welcome(*size));
                }
            }
        }
    }

    fn exchange(&mut self, bytes: usize, answer: Answer) {
        if bytes <= self.max_bytes && !self.is_lost() && self.is_server_up && !self.is_lost() {
            self.answers.push((self.now + self.round_trip, answer));
        }
    }

    /// Marsaglia's xorshift64.
    fn is_lost(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.loss > 0 && (self.random >> 11).is_multiple_of(self.loss)
    }
}

const NARROW: usize = 548;
const WIDE: usize = 1472;
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_path_that_loses_long_datagrams_is_found_within_a_second() {
    let mut link = Link::new(NARROW);
    assert_eq!(link.pass(SECOND), [BundleSize::Small]);
    assert_eq!(link.sent, [12, 12, 1]);
    assert_eq!(link.pass(500 * SECOND), [], "and it is left in peace");
    assert_eq!(link.sent, [12, 12, 1]);
    assert_eq!(link.pass(7200 * SECOND), []);
    assert!(link.sent[0] <= 12 + 13 * 3, "{:?}", link.sent);
}

#[test]
fn a_wide_path_in_use_costs_one_pair_in_ten_seconds() {
    for round_trip in [0, 20, 500, 3000].map(Duration::from_millis) {
        let mut link = Link::new(WIDE);
        link.round_trip = round_trip;
        assert_eq!(link.pass(SECOND * 1000), []);
        let pairs = link.sent[0];
        assert!(pairs <= 100 + round_trip.as_secs() * 200, "{pairs}");
        assert_eq!(link.sent[2], 0);
    }
}

#[test]
fn an_idle_path_is_checked_once_a_minute() {
    let mut link = Link::new(WIDE);
    link.pass(SECOND);
    let mut now = link.now;
    let mut times = Vec::new();
    for _ in 0..3 {
        let before = now;
        now = link.path.poll_timeout();
        times.push((now - before).as_secs_f64().round());
        let Some(Step::Pair { long, .. }) = link.path.poll(now) else {
            panic!("a pair is due");
        };
        assert!(link.path.handle_pong(&long, now));
    }
    // The first message was before the first search.
    assert_eq!(times, [59.0, 60.0, 60.0]);
}

#[test]
fn a_path_that_becomes_narrow_is_found_and_one_that_becomes_wide_again() {
    let mut link = Link::new(WIDE);
    assert_eq!(link.pass(100 * SECOND), []);
    link.max_bytes = NARROW;
    assert_eq!(link.pass(11 * SECOND), [BundleSize::Small]);
    link.max_bytes = WIDE;
    assert_eq!(link.pass(601 * SECOND), [BundleSize::Full]);
    assert_eq!(link.pass(601 * SECOND), []);
}

#[test]
fn random_loss_is_not_taken_for_a_narrow_path() {
    for seed in 1..=20 {
        let mut link = Link::new(WIDE);
        (link.loss, link.random) = (5, seed * 0x9E37_79B9);
        // More than a week in all.
        assert_eq!(link.pass(40_000 * SECOND), [], "{seed}");
        assert_eq!(link.sent[2], 0);
    }
}

#[test]
fn a_narrow_path_is_found_in_spite_of_random_loss() {
    for seed in 1..=20 {
        let mut link = Link::new(NARROW);
        (link.loss, link.random) = (5, seed * 0x9E37_79B9);
        assert_eq!(link.pass(30 * SECOND), [BundleSize::Small], "{seed}");
    }
}

#[test]
fn a_server_that_is_down_is_not_taken_for_a_narrow_path() {
    let mut link = Link::new(WIDE);
    link.pass(3 * SECOND);
    link.is_server_up = false;
    assert_eq!(link.pass(1000 * SECOND), []);
    assert_eq!(link.sent[2], 0);
    assert!(link.sent[0] <= 1000, "{:?}", link.sent);
}

#[test]
fn an_older_server_is_asked_ten_times_in_ten_minutes() {
    let mut link = Link::new(NARROW);
    link.is_server_new = false;
    assert_eq!(link.pass(599 * SECOND), []);
    assert_eq!(link.sent, [12, 12, 10]);
    assert_eq!(link.path.size(), BundleSize::Full);
}

#[test]
fn a_pong_that_is_repeated_or_forged_proves_nothing() {
    let mut link = Link::new(NARROW);
    let Some(Step::Pair { short, .. }) = link.path.poll(link.now) else {
        panic!("a pair is due");
    };
    for _ in 0..20 {
        assert!(link.path.handle_pong(&short, link.now));
    }
    let not_sent = (u64::from_be_bytes(short).wrapping_add(1)).to_be_bytes();
    for token in [&b""[..], b"12345678", b"0123456789abcdef", &not_sent] {
        assert!(!link.path.handle_pong(token, link.now));
    }
    assert!(matches!(link.path.state, State::Searching { .. }));
    assert!(!link.path.granted(BundleSize::Small, link.now));
    assert_eq!(link.path.size(), BundleSize::Full);
}

#[test]
fn another_size_than_that_asked_for_is_not_granted() {
    let mut link = Link::new(NARROW);
    link.path.ask(BundleSize::Small, link.now);
    assert!(!link.path.granted(BundleSize::Full, link.now));
    assert!(link.path.granted(BundleSize::Small, link.now));
    assert!(!link.path.granted(BundleSize::Small, link.now), "twice");
}

#[test]
fn pairs_are_not_sent_faster_than_a_path_may_take_them() {
    let mut link = Link::new(NARROW);
    link.round_trip = Duration::ZERO;
    link.pass(5 * PAIR_INTERVAL);
    assert_eq!(link.sent[0], 5);
}

#[test]
fn late_answers_do_not_hurry_a_search() {
    let mut link = Link::new(NARROW);
    link.round_trip = 5 * SECOND / 2;
    assert_eq!(link.pass(20 * SECOND), [BundleSize::Small]);
    // One per second until the twelfth is answered.
    assert_eq!(link.sent[0], 14);
}

#[test]
fn a_session_with_small_bundles_begins_without_a_search() {
    let mut link = Link::new(NARROW);
    link.path.begin(BundleSize::Small, link.now);
    assert_eq!(link.pass(RAISE_INTERVAL), []);
    assert_eq!(link.sent, [0; 3]);
}
