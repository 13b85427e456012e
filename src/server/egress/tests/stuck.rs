//! One worker that does not turn its loop while others have plans for it.

use super::*;

/// Steps worker 0, at intervals of 25 ms, until it does not wait any more. Returns the time.
fn wait(workers: &mut Workers) -> u64 {
    let start_ms = workers.now_ms;
    while workers.step(0) == Progress::Waiting {
        workers.now_ms += LOOK_INTERVAL_MS;
        assert!(workers.now_ms < start_ms + 1_000, "it waits for ever");
    }
    workers.now_ms - start_ms
}

/// Steps a worker until it has nothing more to do.
fn drain(workers: &mut Workers, worker: usize) {
    while workers.step(worker) == Progress::More {}
}

/// Returns the texts that the peer with this port has received, in order.
fn texts(workers: &Workers, port: u16) -> Vec<&str> {
    let received = workers.received.0.iter();
    let own = received.filter(|received| received.0 == port);
    own.map(|(_, _, text)| text.as_str()).collect()
}

/// Checks that each delivery that was begun has an outcome.
#[track_caller]
fn assert_accounted(workers: &Workers, shed: u64) {
    let counts = workers.counts();
    assert_eq!(counts.deliveries_shed, shed);
    assert_eq!(counts.deliveries_planned, counts.deliveries + shed);
    assert_eq!(counts.deliveries, workers.received.0.len() as u64);
}

/// Returns a registry of 100 v1 peers in the lobby. Worker 0 serves the ports 1, 5, 9 and so on,
/// and worker 1 the ports 3, 7, 11 and so on.
fn two_halves() -> Registry {
    registry(100, 0, 2)
}

const OWN: u16 = 1;
const OTHER: u16 = 3;

#[test]
fn a_small_room_passes_a_worker_that_has_not_taken_a_plan() {
    let registry = two_halves();
    let small = registry.join(&peer(OWN), RoomName::parse(b"small").unwrap());
    let small = small.unwrap().unwrap();
    let mut workers = Workers::new(2);
    workers.push(0, &registry, 5, b"to all");
    drain(&mut workers, 0);
    workers.egresses[0]
        .push(&small, peer(OWN), None, b"to one")
        .unwrap();
    assert_eq!(wait(&mut workers), 100);
    assert_eq!(texts(&workers, OWN), ["to one"]);
    // Worker 1 goes on, and finds nothing to do.
    drain(&mut workers, 1);
    assert_eq!(texts(&workers, OTHER), [""; 0]);
    assert_accounted(&workers, 50);
    // The next text is shared again.
    workers.push(0, &registry, 5, b"again");
    drain(&mut workers, 0);
    assert_eq!(texts(&workers, OTHER), [""; 0]);
    drain(&mut workers, 1);
    assert_eq!(texts(&workers, OTHER), ["again"]);
}

#[test]
fn a_large_room_goes_on_without_a_stuck_worker_and_the_late_copy_is_never_sent() {
    let registry = registry(6000, 0, 2);
    let mut workers = Workers::new(2);
    let text = |number: usize| format!("{number}").into_bytes();
    for number in 0..MAX_PLANS {
        workers.push(0, &registry, OWN, &text(number));
        drain(&mut workers, 0);
    }
    // Worker 1 is stuck after the first slice of the first plan.
    assert_eq!(workers.step(1), Progress::More);
    let late = workers.received.0.len() - MAX_PLANS * 3000;
    assert!((1..3000).contains(&late));
    for number in MAX_PLANS..20 {
        workers.push(0, &registry, OWN, &text(number));
        let waited_ms = wait(&mut workers);
        assert_eq!(waited_ms, if number == MAX_PLANS { 100 } else { 0 });
        drain(&mut workers, 0);
    }
    // A peer that worker 1 serves has received the first text at most, and all since.
    let expected = |from: usize| {
        (from..20)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&workers, OWN), expected(0));
    assert_eq!(texts(&workers, OTHER)[1..], expected(MAX_PLANS));
    assert_eq!(texts(&workers, 11_999), expected(MAX_PLANS));
    let received = workers.received.0.len();
    drain(&mut workers, 1);
    assert_eq!(workers.received.0.len(), received, "nothing late");
    assert_accounted(&workers, (MAX_PLANS * 3000 - late) as u64);
}

#[test]
fn a_worker_that_turns_its_loop_is_waited_for_however_late_it_is() {
    let registry = two_halves();
    let mut workers = Workers::new(2);
    for _ in 0..MAX_PLANS {
        workers.push(0, &registry, OWN, b"x");
        drain(&mut workers, 0);
    }
    workers.push(0, &registry, OWN, b"last");
    for _ in 0..1_000 {
        assert_eq!(workers.step(0), Progress::Waiting);
        workers.now_ms += LOOK_INTERVAL_MS;
        // It only receives.
        workers.infos[1].counters.turns.add(1);
    }
    workers.finish();
    assert_eq!(texts(&workers, OTHER), ["x", "x", "x", "x", "last"]);
    assert_accounted(&workers, 0);
}

#[test]
fn a_pause_of_the_whole_process_uses_up_no_patience() {
    let registry = two_halves();
    let mut workers = Workers::new(2);
    for _ in 0..MAX_PLANS + 1 {
        workers.push(0, &registry, OWN, b"x");
        drain(&mut workers, 0);
    }
    for _ in 0..3 {
        workers.now_ms += 15_000;
        assert_eq!(workers.step(0), Progress::Waiting);
    }
    workers.finish();
    assert_eq!(texts(&workers, OTHER).len(), MAX_PLANS + 1);
    assert_accounted(&workers, 0);
}

#[test]
fn a_wait_that_has_ended_uses_up_no_patience_of_the_next() {
    let registry = two_halves();
    let mut workers = Workers::new(2);
    for _ in 0..5 {
        for _ in 0..MAX_PLANS + 1 {
            workers.push(0, &registry, OWN, b"x");
            drain(&mut workers, 0);
        }
        for _ in 0..3 {
            workers.now_ms += LOOK_INTERVAL_MS;
            assert_eq!(workers.step(0), Progress::Waiting);
        }
        workers.finish();
        workers.now_ms += 60_000;
    }
    assert_accounted(&workers, 0);
}

#[test]
fn more_stuck_workers_than_plans_stop_nobody() {
    const WORKERS: usize = 2 * MAX_PLANS + 1;
    let registry = registry(64 * WORKERS as u16, 0, WORKERS);
    let mut workers = Workers::new(WORKERS);
    // Each of the others is stuck with a plan that it has begun, two with each.
    for stuck in (1..WORKERS).step_by(2) {
        workers.push(0, &registry, OWN, b"x");
        drain(&mut workers, 0);
        for holder in 1..WORKERS {
            if (stuck..stuck + 2).contains(&holder) {
                assert_eq!(workers.step(holder), Progress::More);
            } else if holder > stuck {
                drain(&mut workers, holder);
            }
        }
    }
    for _ in 0..10 {
        workers.push(0, &registry, OWN, b"y");
        wait(&mut workers);
        drain(&mut workers, 0);
    }
    let members = registry.len();
    let count = |text: &str| {
        workers
            .received
            .0
            .iter()
            .filter(|received| received.2 == text)
            .count()
    };
    assert_eq!(count("y"), 10 * members);
    workers.finish();
    let counts = workers.counts();
    assert_accounted(&workers, counts.deliveries_shed);
}

proptest! {
    /// Workers stop and go on at any moment. What a peer receives of a sender is in order and not
    /// repeated, and what it does not receive is counted.
    #[test]
    fn the_order_of_a_sender_holds_whoever_is_stuck(
        count in 2_usize..5,
        // The worker that is stuck, if there is such a worker, and the texts in that time, each
        // with its sender and the time after it.
        phases in prop::collection::vec(
            (0_usize..6, prop::collection::vec((1_u16..40, 0_u64..60), 1..20)),
            1..10,
        ),
    ) {
        let registry = registry(100, 100, count);
        let mut workers = Workers::new(count);
        let mut number = 0;
        for (stuck, texts) in phases {
            for (sender, ms) in texts {
                let owner = usize::from(sender / 2) % count;
                workers.push(owner, &registry, sender, format!("{number:04}").as_bytes());
                number += 1;
                for worker in (0..count).filter(|worker| *worker != stuck) {
                    workers.step(worker);
                }
                workers.now_ms += ms;
            }
        }
        workers.finish();
        let mut received = HashMap::<(u16, &str), Vec<&str>>::new();
        for (to, from, text) in &workers.received.0 {
            received.entry((*to, from)).or_default().push(text);
        }
        for texts in received.values() {
            prop_assert!(texts.is_sorted_by(|before, after| before < after), "{texts:?}");
        }
        let counts = workers.counts();
        prop_assert_eq!(counts.deliveries_planned as usize, registry.len() * number);
        prop_assert_eq!(counts.deliveries + counts.deliveries_shed, counts.deliveries_planned);
        prop_assert_eq!(counts.deliveries, workers.received.0.len() as u64);
    }
}
