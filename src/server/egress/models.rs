//! Models of the exchange of work between workers.

use loom::model::Builder;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::plan::{Plan, SharedPlan};
use super::worker_set::WorkerSet;
use super::*;
use crate::net::{Endpoint, Packet, SendTally};
use crate::server::ops::turns::WorkerHandle;
use crate::server::registry::{Recipient, Registry};
use crate::wire::v2::{BundleSize, SessionId};
use crate::wire::{Protocol, Reply};

/// Two workers, a room, and what its members have received.
#[derive(Clone)]
struct World {
    room: Arc<Room>,
    exchange: Arc<Exchange>,
    wakers: [Arc<Notify>; 2],
    received: Received,
}

/// The number of the last text that each member has received. Nothing orders these words but the
/// code under test, so a member that is sent to without an order is found with an outdated number.
#[derive(Clone)]
struct Received(Arc<[AtomicUsize]>);

impl World {
    /// Returns a room whose members are the peers with ports from 1 on. The last one speaks v2, so it
    /// is sent to in a call of its own.
    fn new(members: u16) -> Self {
        let registry = Registry::plain(2, 100);
        for port in 1..members {
            registry.touch(&peer(port), Protocol::Text, WorkerId(0), 0);
        }
        let session = SessionId::new(1).unwrap();
        registry.open_session(&peer(members), WorkerId(0), BundleSize::Full, session, 0);
        let wakers = [0, 1].map(|_| Arc::new(Notify::new()));
        let handle = |waker: &Arc<Notify>| {
            let waker = Arc::clone(waker);
            WorkerHandle {
                info: WorkerInfo::new(""),
                wake: Arc::new(move || waker.notify()),
            }
        };
        Self {
            room: Arc::clone(registry.lobby()),
            exchange: Arc::new(Exchange::new(wakers.iter().map(handle).collect())),
            wakers,
            received: Received((0..members).map(|_| AtomicUsize::new(0)).collect()),
        }
    }

    fn egress(&self, worker: u8) -> Egress {
        let backlog = Duration::from_secs(10);
        Egress::new(WorkerId(worker), Arc::clone(&self.exchange), backlog, 64)
    }

    /// Takes `count` texts for the room.
    fn push(&self, egress: &mut Egress, count: usize, text: &str) {
        for _ in 0..count {
            let pushed = egress.push(&self.room, &peer(1).into(), text.as_bytes());
            pushed.unwrap();
        }
    }

    /// Does what the loop of a worker does, until it has nothing to do.
    fn work(&mut self, egress: &mut Egress) {
        loop {
            match egress.poll(&mut self.received, 0) {
                Progress::More => {}
                Progress::Waiting => self.wakers[egress.worker.index()].wait(),
                Progress::Idle => return,
            }
        }
    }

    fn received(&self) -> Vec<usize> {
        let received = self.received.0.iter();
        let received = received.map(|last| last.load(Ordering::Relaxed));
        received.collect()
    }
}

impl Transmit for Received {
    fn send<'a>(
        &mut self,
        _endpoint: Endpoint,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        let mut tally = SendTally::default();
        let mut sent = None;
        for packet in packets {
            tally.sent += u64::from(packet.deliveries);
            let bytes = packet.datagrams().next().unwrap();
            let number = usize::from(bytes[bytes.len() - 1] - b'0');
            let last = &self.0[usize::from(packet.to.port()) - 1];
            if sent.replace((packet.to.port(), number)) != Some((packet.to.port(), number)) {
                assert_eq!(
                    last.load(Ordering::Relaxed),
                    number - 1,
                    "in order, and once"
                );
                last.store(number, Ordering::Relaxed);
            }
        }
        tally
    }
}

fn peer(port: u16) -> PeerAddr {
    PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
}

/// Runs every interleaving with up to `preemptions` switches from a thread that could go on.
fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(body);
}

#[test]
fn a_sleeper_is_woken_by_an_offer() {
    model(3, || {
        let world = World::new(1);
        let mut plan = Plan::new(WorkerId(0));
        plan.set_members(world.room.members());
        plan.cut(1, 2);
        let plan = SharedPlan::new(plan);
        let mut helper = world.egress(1);
        let waker = Arc::clone(&world.wakers[1]);
        let helper = thread::spawn(move || {
            // The plan is sent by nobody else, so without a wake this is a deadlock.
            while helper.claim(0).is_none() {
                waker.wait();
            }
        });
        world.exchange.offer(&plan, 1);
        helper.join().unwrap();
        world.exchange.withdraw(&plan);
        assert!(world.egress(1).claim(0).is_none());
    });
}

/// The queue of [`Inbox`] itself is no part of the model: a push to it and a pop are one step each.
#[test]
fn a_worker_sleeps_only_while_its_inbox_is_empty() {
    model(4, || {
        let inbox = Arc::new(Inbox::default());
        let waker = Arc::new(Notify::new());
        let (pushed, wake) = (Arc::clone(&inbox), Arc::clone(&waker));
        let cluster = thread::spawn(move || {
            for _ in 0..3 {
                let to = Recipient {
                    address: peer(1),
                    protocol: Protocol::Text,
                    session: None,
                };
                let reply = Reply::Split;
                match pushed.push(Incoming::Reply { to, reply }) {
                    Ok(true) => wake.notify(),
                    Ok(false) => {}
                    Err(_) => panic!("there is space"),
                }
            }
        });
        for _ in 0..3 {
            // Nobody else wakes the worker, so without a wake this is a deadlock.
            while inbox.pop().is_none() {
                waker.wait();
            }
        }
        cluster.join().unwrap();
        assert!(inbox.is_empty());
    });
}

#[test]
fn a_worker_is_in_a_set_until_it_is_removed_once() {
    model(4, || {
        let set = Arc::new(WorkerSet::default());
        set.insert(WorkerId(1));
        let other = Arc::clone(&set);
        let other = thread::spawn(move || {
            other.insert(WorkerId(0));
            other.remove(WorkerId(1))
        });
        let removed = set.remove(WorkerId(1));
        assert!(removed != other.join().unwrap());
        assert!(set.remove(WorkerId(0)));
    });
}

#[test]
fn a_worker_that_waits_for_the_last_slice_is_woken() {
    model(3, || {
        let mut world = World::new(2);
        let (mut own, mut helper) = (world.egress(0), world.egress(1));
        world.push(&mut own, 1, "1");
        let claim = own.claim(0).unwrap();
        let mut received = world.received.clone();
        let helper = thread::spawn(move || helper.send(&claim, &mut received));
        world.push(&mut own, 1, "2");
        world.work(&mut own);
        assert_eq!(world.received(), [2, 2]);
        helper.join().unwrap();
    });
}

#[test]
fn a_slice_that_is_revoked_is_not_sent_on() {
    model(4, || {
        let mut world = World::new(2);
        let (mut own, mut helper) = (world.egress(0), world.egress(1));
        world.push(&mut own, 1, "1");
        let claim = own.claim(0).unwrap();
        let mut received = world.received.clone();
        let helper = thread::spawn(move || helper.send(&claim, &mut received));
        assert!(own.look_for_work(0).is_none());
        let mut shed = 0;
        while own.schedule.is_waiting() {
            // Nothing is revoked if the helper goes on meanwhile.
            shed += own.schedule.revoke(|_| true);
            own.schedule.resume_rooms();
            if own.schedule.is_waiting() {
                thread::yield_now();
            }
        }
        // What was sent before the last step of the helper has come.
        let sent = world.received();
        match shed {
            0 => assert_eq!(sent[0], 1),
            1 => assert_eq!(sent[1], 0),
            _ => assert_eq!((shed, &sent[..]), (2, &[0, 0][..])),
        }
        helper.join().unwrap();
        let come = world.received().iter().sum::<usize>() as u64;
        assert_eq!(come + shed, 2, "each delivery is made or shed");
        world.work(&mut own);
    });
}

#[test]
fn every_member_receives_every_text_once_and_in_order() {
    model(1, || {
        let mut world = World::new(9);
        let (mut own, mut other) = (world.egress(0), world.egress(1));
        let is_over = Arc::new(AtomicBool::new(false));
        let helper = {
            let (mut world, is_over) = (world.clone(), Arc::clone(&is_over));
            thread::spawn(move || {
                while !is_over.load(Ordering::Acquire) {
                    world.work(&mut other);
                    world.wakers[1].wait();
                }
            })
        };
        // The first plan costs enough to be shared.
        for (count, number) in [(40, "1"), (1, "2")] {
            world.push(&mut own, count, number);
            world.work(&mut own);
        }
        assert_eq!(world.received(), [2; 9]);
        is_over.store(true, Ordering::Release);
        world.wakers[1].notify();
        helper.join().unwrap();
    });
}
