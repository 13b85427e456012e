//! A worker that does not turn its loop while others wait for slices that it has claimed.

use super::*;

/// Steps worker 0, at intervals of 25 ms, until it does not wait any more. Returns the time.
fn wait(workers: &mut Workers) -> u64 {
    let start_ms = workers.now_ms;
    while workers.step(0) == Progress::Waiting {
        workers.now_ms += CHECK_INTERVAL_MS;
        assert!(workers.now_ms < start_ms + 1_000, "it waits for ever");
    }
    workers.now_ms - start_ms
}

/// Returns the texts that the peer with this port has received, in order.
fn texts(workers: &Workers, port: u16) -> Vec<&str> {
    let received = workers.received.0.iter();
    let own = received.filter(|received| received.0 == port);
    own.map(|(_, _, text)| text.as_str()).collect()
}

/// Checks that each delivery that was begun has an outcome.
#[track_caller]
fn assert_accounted(workers: &Workers) {
    let counts = workers.counts();
    let outcomes = counts.deliveries + counts.deliveries_shed;
    assert_eq!(counts.deliveries_planned, outcomes);
    assert_eq!(counts.deliveries, workers.received.0.len() as u64);
}

/// Builds a plan for 2,000 peers with worker 0, and lets worker 1 stop in the middle of its first
/// slice until `pause` returns: after the last v1 peers, and before the first v2 peers.
fn with_stuck_worker(pause: impl FnOnce(&mut Workers, &Registry) + 'static) -> Workers {
    let registry = registry(700, 1_300, 2);
    let mut workers = Workers::new(2);
    workers.push(0, &registry, OWN, b"0");
    assert_eq!(workers.step(0), Progress::More);
    workers.step_with(1, move |workers| {
        workers.drain(0);
        pause(workers, &registry);
    });
    workers
}

const OWN: u16 = 1;

#[test]
fn the_room_goes_on_without_a_stuck_worker_and_the_late_copy_is_never_sent() {
    let mut workers = with_stuck_worker(|workers, registry| {
        for number in 1..20 {
            workers.push(0, registry, OWN, format!("{number}").as_bytes());
            let waited_ms = wait(workers);
            assert_eq!(waited_ms, if number == 1 { 100 } else { 0 });
            workers.drain(0);
        }
        assert!(
            workers.counts().deliveries_shed > 0,
            "they are counted at once"
        );
    });
    let received = workers.received.0.len();
    workers.drain(1);
    assert_eq!(workers.received.0.len(), received, "nothing late");
    assert_accounted(&workers);
    let numbers = |from: usize| (from..20).map(|number| number.to_string());
    let mut lacking = 0;
    for port in (1..1_400).step_by(2).chain((2..=2_600).step_by(2)) {
        let texts = texts(&workers, port);
        lacking += usize::from(texts.len() == 19);
        assert!(texts.iter().copied().eq(numbers(20 - texts.len())));
    }
    assert_eq!(lacking as u64, workers.counts().deliveries_shed);
    // Worker 1 shares again.
    let registry = registry(2_000, 0, 2);
    let before = workers.deliveries(1);
    workers.push(0, &registry, OWN, b"again");
    workers.finish();
    assert!(workers.deliveries(1) > before);
}

#[test]
fn other_rooms_do_not_wait_for_a_stuck_worker() {
    let workers = with_stuck_worker(|workers, registry| {
        let small = registry.join(&peer(OWN), RoomName::parse(b"small").unwrap());
        workers.push_to(0, &small.unwrap().unwrap(), OWN, b"to one");
        assert_eq!(workers.step(0), Progress::More);
        assert_eq!(texts(workers, OWN).last(), Some(&"to one"));
    });
    assert_accounted(&workers);
}

#[test]
fn a_worker_that_turns_its_loop_is_waited_for_however_late_it_is() {
    let mut workers = with_stuck_worker(|workers, registry| {
        workers.push(0, registry, OWN, b"1");
        for _ in 0..1_000 {
            assert_eq!(workers.step(0), Progress::Waiting);
            workers.now_ms += CHECK_INTERVAL_MS;
            // It only receives.
            workers.infos[1].counters.turns.add(1);
        }
    });
    workers.finish();
    assert_eq!(workers.received.0.len(), 4_000);
    assert_accounted(&workers);
}

#[test]
fn a_slice_that_is_sent_and_then_revoked_is_finished_once() {
    // Each slice for so few peers is one batch. So workers stop here after the last one.
    let registry = registry(100, 0, 3);
    let mut workers = Workers::new(3);
    workers.push(0, &registry, OWN, b"0");
    assert_eq!(workers.step(0), Progress::More);
    workers.step_with(2, move |workers| {
        workers.step_with(1, move |workers| {
            workers.drain(0);
            workers.push(0, &registry, OWN, b"1");
            for _ in 0..10 {
                assert_eq!(workers.step(0), Progress::Waiting);
                // Only worker 1 is stuck.
                workers.infos[2].counters.turns.add(1);
                workers.now_ms += CHECK_INTERVAL_MS;
            }
        });
        assert_eq!(workers.step(0), Progress::Waiting, "for worker 2");
    });
    assert_eq!(workers.step(0), Progress::More);
    workers.finish();
    for port in (1..200).step_by(2) {
        assert_eq!(texts(&workers, port), ["0", "1"]);
    }
    assert_eq!(workers.counts().deliveries_shed, 0);
    assert_accounted(&workers);
}

#[test]
fn a_pause_of_the_whole_process_is_one_check() {
    let mut workers = with_stuck_worker(|workers, registry| {
        workers.push(0, registry, OWN, b"1");
        for _ in 0..3 {
            workers.now_ms += 15_000;
            assert_eq!(workers.step(0), Progress::Waiting);
        }
    });
    workers.finish();
    assert_eq!(workers.received.0.len(), 4_000);
    assert_accounted(&workers);
}

#[test]
fn checks_of_a_wait_that_has_ended_do_not_count_in_the_next() {
    let registry = registry(2_000, 0, 2);
    let mut workers = Workers::new(2);
    for _ in 0..5 {
        workers.push(0, &registry, OWN, b"x");
        assert_eq!(workers.step(0), Progress::More);
        // Worker 1 takes no turn between two slices.
        workers.pauses.push_back(Box::new(|workers| {
            workers.drain(0);
            for _ in 0..3 {
                workers.now_ms += CHECK_INTERVAL_MS;
                assert_eq!(workers.step(0), Progress::Waiting);
            }
        }));
        assert_eq!(workers.poll(1), Progress::More);
        workers.drain(0);
        workers.now_ms += 60_000;
    }
    assert_eq!(workers.received.0.len(), 10_000);
    assert_accounted(&workers);
}

/// A step of the property test.
#[derive(Debug, Clone)]
enum Action {
    /// A peer with this port sends a text through its worker.
    Text(u16),
    /// A peer joins, or leaves if it is there.
    Toggle(u16),
    /// A worker takes a step.
    Step(usize),
    /// A worker takes a step, and after its first batch it is stuck for this number of actions.
    Stick(usize, usize),
    /// Time goes by.
    Wait(u64),
}

fn action(workers: usize) -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (1_u16..9).prop_map(Action::Text),
        1 => (20_u16..120).prop_map(Action::Toggle),
        8 => (0..workers).prop_map(Action::Step),
        2 => (0..workers, 1_usize..40).prop_map(|(worker, actions)| Action::Stick(worker, actions)),
        2 => (1_u64..60).prop_map(Action::Wait),
    ]
}

/// The state of the property test. The next action is the last one.
struct World {
    registry: Arc<Registry>,
    actions: Vec<Action>,
    number: usize,
}

fn act(workers: &mut Workers, world: &std::rc::Rc<std::cell::RefCell<World>>) {
    let Some(action) = world.borrow_mut().actions.pop() else {
        return;
    };
    let count = workers.egresses.len();
    let registry = Arc::clone(&world.borrow().registry);
    match action {
        Action::Text(sender) => {
            let worker = usize::from(sender / 2) % count;
            if workers.egresses[worker].is_some() {
                world.borrow_mut().number += 1;
                let text = format!("{:04}", world.borrow().number);
                workers.push(worker, &registry, sender, text.as_bytes());
            }
        }
        Action::Toggle(port) => {
            let session = (port % 2 == 0).then(|| SessionId::new(port.into()).unwrap());
            if registry.leave(&peer(port), session).is_none() {
                match session {
                    Some(session) => {
                        registry.open_session(&peer(port), WorkerId(0), size_of(port), session, 0);
                    }
                    None => {
                        registry.touch(&peer(port), Protocol::Text, WorkerId(0), 0);
                    }
                }
            }
        }
        Action::Step(worker) => {
            if workers.egresses[worker].is_some() {
                workers.step(worker);
            }
        }
        Action::Stick(worker, actions) => {
            if workers.egresses[worker].is_some() {
                let world = std::rc::Rc::clone(world);
                workers.pauses.push_back(Box::new(move |workers| {
                    for _ in 0..actions {
                        act(workers, &world);
                    }
                }));
                workers.step(worker);
                workers.pauses.clear();
            }
        }
        Action::Wait(ms) => workers.now_ms += ms,
    }
}

proptest! {
    /// Peers join and leave, and workers share, stop in the middle of a slice and go on at any
    /// moment. What a peer receives of a sender is in order and not repeated, and what it does
    /// not receive is counted.
    #[test]
    fn the_order_of_a_sender_holds_whoever_sends_and_whoever_is_stuck(
        (count, actions) in (2_usize..5).prop_flat_map(|count| {
            (Just(count), prop::collection::vec(action(count), 1..400))
        }),
    ) {
        let registry = Arc::new(registry(100, 60, count));
        let mut workers = Workers::new(count);
        let world = World { registry, actions, number: 0 };
        let world = std::rc::Rc::new(std::cell::RefCell::new(world));
        while !world.borrow().actions.is_empty() {
            act(&mut workers, &world);
        }
        workers.finish();
        let mut received = HashMap::<(u16, &str), Vec<&str>>::new();
        for (to, from, text) in &workers.received.0 {
            received.entry((*to, from)).or_default().push(text);
        }
        for texts in received.values() {
            prop_assert!(texts.is_sorted_by(|before, after| before < after), "{texts:?}");
        }
        assert_accounted(&workers);
        let shed = workers.counts().deliveries_shed;
        // The members from port 121 on stay.
        for port in (121..=199_u16).step_by(2) {
            let lacking = world.borrow().number - texts(&workers, port).len();
            prop_assert!(lacking as u64 <= shed);
        }
    }
}
