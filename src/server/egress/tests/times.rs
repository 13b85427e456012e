//! The times and the packets of plans, as they are counted.

use super::*;

/// The first text arrives in the first turn, and the second one in a turn that is `AGE` later.
fn after_two_turns() -> (Workers, Registry) {
    let (mut workers, registry) = (Workers::new(1), registry(4, 0, 1));
    let first_turn = Instant::now();
    begin_turn(&mut workers, first_turn);
    workers.push(0, &registry, 1, b"a");
    while first_turn.elapsed() < AGE {
        std::hint::spin_loop();
    }
    begin_turn(&mut workers, Instant::now());
    workers.push(0, &registry, 1, b"b");
    (workers, registry)
}

fn begin_turn(workers: &mut Workers, now: Instant) {
    workers.egresses[0].as_mut().unwrap().begin_turn(now);
}

#[test]
fn the_time_of_a_plan_begins_with_the_arrival_of_its_oldest_text() {
    let (mut workers, _registry) = after_two_turns();
    assert_eq!(workers.step(0), Progress::More);
    let info = Arc::clone(&workers.infos[0]);
    assert!(info.backlog.age_us() >= AGE_US);
    let times = info.plan_times.read();
    assert_eq!(times.count(), 1);
    assert!(times.sum_us >= AGE_US, "{times:?}");
    // Nothing waits any more.
    assert_eq!(workers.step(0), Progress::Idle);
    assert_eq!((info.backlog.age_us(), info.backlog.cost_ns()), (0, 0));
}

#[test]
fn packets_of_several_datagrams_are_counted_for_each_peer() {
    let (mut workers, registry) = after_two_turns();
    workers.drain(0);
    let gso = |workers: &Workers| {
        let counts = workers.counts();
        (counts.gso_packets, counts.gso_segments)
    };
    assert_eq!(gso(&workers), (4, 8));
    // One datagram is no packet of several.
    workers.push(0, &registry, 1, b"c");
    workers.drain(0);
    assert_eq!(gso(&workers), (4, 8));
}

/// Far more than a test takes between two texts.
const AGE: Duration = Duration::from_millis(20);
const AGE_US: u64 = 20_000;
