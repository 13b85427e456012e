use super::*;

fn peer(port: u16) -> PeerAddr {
    PeerAddr::new(([10, 0, 0, 1], port).into(), 0)
}

/// A clock, and a machine on which packets to some peers do not leave.
struct Machine {
    now: Instant,
    quarantine: Quarantine,
    stuck: Vec<PeerAddr>,
}

impl Machine {
    fn new(stuck: &[u16]) -> Self {
        Self {
            now: Instant::now(),
            quarantine: Quarantine::default(),
            stuck: stuck.iter().copied().map(peer).collect(),
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.quarantine.handle_timeout(self.now);
    }

    fn clog(&mut self) {
        self.quarantine.search(self.now);
    }

    /// Sends a packet to each of these peers, and returns their routes.
    fn send(&mut self, ports: std::ops::Range<u16>) -> Vec<Route> {
        let send = |port| {
            let to = peer(port);
            let route = self.quarantine.route(&to, self.now);
            if matches!(route, Route::Test | Route::Retest) {
                let has_left = !self.stuck.contains(&to);
                self.quarantine.judge(&to, has_left, self.now);
            }
            route
        };
        ports.map(send).collect()
    }
}

#[test]
fn a_search_finds_the_peers_whose_packets_do_not_leave() {
    let mut machine = Machine::new(&[2]);
    assert!(machine.quarantine.is_idle());
    assert_eq!(machine.send(1..4), [Route::Open; 3]);
    machine.clog();
    assert!(!machine.quarantine.is_idle());
    assert_eq!(machine.send(1..4), [Route::Test; 3]);
    assert_eq!(machine.send(1..4), [Route::Test, Route::Apart, Route::Test]);
    machine.wait(SEARCH_TIME);
    assert_eq!(machine.send(1..4), [Route::Open, Route::Apart, Route::Open]);
    assert_eq!(machine.quarantine.take_found(), 1);
    assert_eq!(machine.quarantine.take_found(), 0);
}

#[test]
fn if_no_packet_leaves_there_are_no_suspects() {
    let mut machine = Machine::new(&[1, 2, 3]);
    machine.clog();
    assert_eq!(machine.send(1..4), [Route::Test; 3]);
    assert_eq!(machine.send(1..4), [Route::Apart; 3]);
    machine.wait(SEARCH_TIME);
    assert!(machine.quarantine.is_idle());
    assert_eq!(machine.quarantine.take_found(), 0);
    assert_eq!(machine.send(1..4), [Route::Open; 3]);
}

#[test]
fn a_suspect_is_tested_again_after_a_longer_time_each_time() {
    let mut machine = Machine::new(&[1]);
    machine.clog();
    machine.send(1..3);
    machine.wait(SEARCH_TIME);
    // It became a suspect at the beginning of the search.
    machine.wait(MIN_PAUSE - SEARCH_TIME);
    let mut pause = MIN_PAUSE;
    while pause < 4 * MAX_PAUSE {
        assert_eq!(machine.send(1..2), [Route::Retest]);
        pause *= 2;
        let longest = pause.min(MAX_PAUSE);
        machine.wait(longest - Duration::from_millis(1));
        assert_eq!(machine.send(1..2), [Route::Apart], "{longest:?}");
        machine.wait(Duration::from_millis(1));
    }
    let stuck = std::mem::take(&mut machine.stuck);
    assert_eq!(machine.send(1..2), [Route::Retest]);
    assert_eq!(machine.send(1..2), [Route::Open]);
    assert!(machine.quarantine.is_idle());
    // Where it passed by chance, it waits for as long as before.
    machine.stuck = stuck;
    machine.clog();
    machine.send(1..3);
    machine.wait(MAX_PAUSE - Duration::from_millis(1));
    assert_eq!(machine.send(1..2), [Route::Apart]);
}

#[test]
fn the_next_search_waits_and_for_longer_if_the_last_found_nobody() {
    let mut machine = Machine::new(&[1]);
    let next_search_after = |machine: &mut Machine| {
        machine.clog();
        assert_eq!(machine.send(2..4), [Route::Test; 2]);
        machine.send(1..2);
        machine.wait(SEARCH_TIME);
        let mut waited = Duration::ZERO;
        loop {
            machine.clog();
            if machine.quarantine.search.is_some() {
                machine.quarantine.search = None;
                return waited;
            }
            machine.wait(MIN_SEARCH_PAUSE);
            waited += MIN_SEARCH_PAUSE;
        }
    };
    assert_eq!(next_search_after(&mut machine), Duration::ZERO);
    machine.stuck.clear();
    machine.wait(MAX_PAUSE);
    machine.send(1..2);
    assert_eq!(next_search_after(&mut machine), MIN_SEARCH_PAUSE);
    machine.wait(MAX_PAUSE);
    assert_eq!(next_search_after(&mut machine), 2 * MIN_SEARCH_PAUSE);
}

#[test]
fn a_search_that_finds_only_known_suspects_is_no_reason_to_wait() {
    let mut machine = Machine::new(&[1]);
    machine.clog();
    machine.send(1..3);
    machine.wait(SEARCH_TIME);
    machine.clog();
    assert_eq!(machine.send(1..3), [Route::Apart, Route::Test]);
    machine.wait(SEARCH_TIME);
    machine.clog();
    assert_eq!(machine.send(2..3), [Route::Test]);
}

#[test]
fn a_suspect_that_nothing_is_sent_to_is_forgotten() {
    let mut machine = Machine::new(&[1]);
    machine.clog();
    machine.send(1..3);
    machine.wait(SEARCH_TIME);
    machine.wait(MAX_PAUSE);
    assert!(!machine.quarantine.is_idle());
    machine.wait(MAX_PAUSE);
    assert!(machine.quarantine.is_idle());
}

#[test]
fn one_that_has_passed_is_forgotten_too() {
    let mut machine = Machine::new(&[1]);
    machine.clog();
    machine.send(1..3);
    machine.stuck.clear();
    machine.wait(MIN_PAUSE);
    assert_eq!(machine.send(1..2), [Route::Retest]);
    machine.wait(MAX_PAUSE - SEARCH_TIME);
    assert_eq!(machine.quarantine.passed.len(), 1);
    machine.wait(2 * MAX_PAUSE);
    assert!(machine.quarantine.passed.is_empty());
}

#[test]
fn suspects_are_bounded() {
    let mut quarantine = Quarantine::default();
    let now = Instant::now();
    quarantine.search(now);
    for port in 0..=MAX_SUSPECTS as u16 {
        quarantine.judge(&peer(port), false, now);
    }
    assert_eq!(quarantine.suspects.len(), MAX_SUSPECTS);
    let one_more = peer(MAX_SUSPECTS as u16);
    assert_eq!(quarantine.route(&one_more, now), Route::Test);
    // Those that have passed are, too.
    for port in 0..=MAX_SUSPECTS as u16 {
        quarantine.judge(&peer(port), true, now);
        quarantine.judge(&peer(port + 1), false, now);
    }
    quarantine.judge(&one_more, true, now);
    assert_eq!(quarantine.passed.len(), MAX_SUSPECTS);
}

#[test]
fn groups_become_smaller_while_they_are_not_clear() {
    let mut machine = Machine::new(&[]);
    machine.clog();
    let mut sizes = Vec::new();
    for is_clear in [false, false, false, false, true, true] {
        sizes.push(machine.quarantine.group_size());
        machine.quarantine.set_group_size(is_clear);
    }
    assert_eq!(sizes, [MAX_GROUP, 16, 4, 1, 1, 2]);
    (0..10).for_each(|_| machine.quarantine.set_group_size(true));
    assert_eq!(machine.quarantine.group_size(), MAX_GROUP);
}
