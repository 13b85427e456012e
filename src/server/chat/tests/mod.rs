//! The real core against a simple model of the protocol: random peers do random
//! things, and each must hear exactly what the model says.

mod actions;
mod answers;
mod bounds;
mod commands;
mod core;
mod model;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseResult, TestRunner};

use self::actions::{Action, Step, steps};
use self::core::{Bounds, Core};
use self::model::{Cause, Model};
use crate::net::PeerAddr;
use crate::server::ops::log::Log;
use crate::wire::v2::NoticeCode;

/// What a peer heard.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    /// A datagram of v1.
    Line(String),
    Welcome {
        /// Which of the sessions that the peer has had.
        session: usize,
        room: u32,
    },
    Message {
        room: u32,
        stream: u8,
        sequence: u32,
        from: String,
        payload: String,
    },
    Pong(String),
    Notice(NoticeCode, String),
    Room(u32, String),
    Private(String, String),
}

/// The core and the model, which are told the same.
struct Pair {
    core: Core,
    model: Model,
    /// The session in which each peer believes to be, as the two know it.
    sessions: [Option<(u64, usize)>; PEERS],
    /// How many things have been done: no two texts are the same.
    done: usize,
}

#[test]
fn the_core_does_what_the_model_of_the_protocol_says() {
    let (log, _writer) = Log::new();
    let tally = RefCell::new(HashMap::<&str, u32>::new());
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        // The default takes two thirds of the whole time, in a debug build.
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    };
    let run = |steps: Vec<Step>| {
        let mut pair = Pair::new(&log);
        for step in steps {
            pair.step(step)?;
        }
        pair.settle()?;
        for (what, count) in pair.model.tally {
            *tally.borrow_mut().entry(what).or_default() += count;
        }
        Ok(())
    };
    if let Err(error) = TestRunner::new(config).run(&steps(), run) {
        panic!("{error}");
    }
    let tally = tally.into_inner();
    for what in EVERYTHING {
        let count = tally.get(what).copied().unwrap_or_default();
        assert!(count >= SELDOM, "{what} happened {count} times alone");
    }
}

impl Pair {
    fn new(log: &Log) -> Self {
        Self {
            core: Core::new(BOUNDS, log),
            model: Model::new(BOUNDS),
            sessions: [None; PEERS],
            done: 0,
        }
    }

    fn step(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Wait(ms) => {
                let gone = self.core.wait(ms);
                self.model.wait(ms, &gone);
            }
            Step::Hello(peer) => self.hello(peer),
            Step::Settle => self.settle()?,
            Step::Act {
                peer,
                actions,
                is_odd,
            } => self.act(peer, actions, is_odd),
        }
        let now = (
            self.core.registry.len(),
            self.core.registry.directory().len(),
        );
        prop_assert_eq!(now, self.model.counts(), "peers and rooms");
        Ok(())
    }

    fn hello(&mut self, peer: usize) {
        self.core.hello(peer);
        self.model.hello(peer);
    }

    /// A peer speaks v2 from when it has a session, and v1 until then; every other
    /// one does nothing without a session. Oddly, it does it the other way.
    fn act(&mut self, peer: usize, actions: Vec<Action>, is_odd: bool) {
        let mut lines = Vec::new();
        for action in actions {
            self.done += 1;
            let line = action.line(self.done);
            lines.push((action, line));
        }
        match self.sessions[peer] {
            Some((session, number)) if !is_odd => {
                self.model.frames(peer, number, &lines);
                self.take_frames(peer, session, &lines);
            }
            // No session but its own counts.
            Some((session, _)) if lines.len() > 1 => {
                self.take_frames(peer, session ^ 1, &lines);
            }
            None if is_odd => self.take_frames(peer, 0, &lines),
            None if speaks_frames(peer) => self.hello(peer),
            _ => {
                for (action, line) in &lines {
                    let datagram = action.datagram(line, self.done);
                    let ends = datagram.ends_with(b"\n");
                    self.model.text(peer, action, line, ends);
                    self.core.take(peer, &datagram);
                }
            }
        }
    }

    fn take_frames(&mut self, peer: usize, session: u64, lines: &[(Action, String)]) {
        let frames = lines
            .iter()
            .map(|(action, line)| action.frame(line.as_bytes()));
        self.core.take_frames(peer, session, frames);
        let says_bye = lines.iter().any(|(action, _)| *action == Action::Bye);
        if says_bye && self.sessions[peer].is_some_and(|own| own.0 == session) {
            self.sessions[peer] = None;
        }
    }

    /// Lets both say what every peer hears, and compares.
    fn settle(&mut self) -> TestCaseResult {
        let all_heard = self.core.settle();
        let all_expected = self.model.settle();
        for (peer, (heard, expected)) in all_heard.into_iter().zip(all_expected).enumerate() {
            for heard in &heard {
                if let Heard::Welcome { session, .. } = heard {
                    let known = self.core.session(peer).expect("it was just told");
                    self.sessions[peer] = Some((known, *session));
                }
            }
            compare(peer, heard, expected)?;
        }
        let counts = self.core.counts();
        prop_assert_eq!(counts.deliveries_planned, self.model.deliveries);
        prop_assert_eq!(counts.deliveries, self.model.deliveries);
        prop_assert_eq!(counts.answers_shed, self.model.shed);
        Ok(())
    }
}

/// What is heard must be what is expected, that of each cause in order.
fn compare(peer: usize, heard: Vec<Heard>, expected: Vec<(Cause, Heard)>) -> TestCaseResult {
    let mut queues: Vec<(Cause, VecDeque<Heard>)> = Vec::new();
    for (cause, expected) in expected {
        match queues.iter_mut().find(|queue| queue.0 == cause) {
            Some((_, queue)) => queue.push_back(expected),
            None => queues.push((cause, VecDeque::from([expected]))),
        }
    }
    for heard in heard {
        let is_next = |queue: &VecDeque<Heard>| queue.front() == Some(&heard);
        let Some((_, queue)) = queues.iter_mut().find(|(_, queue)| is_next(queue)) else {
            let fail = format!("peer {peer} heard {heard:?}, not one of {queues:?}");
            // Long texts would hide the rest.
            return Err(TestCaseError::fail(fail.replace(&"x".repeat(50), "~")));
        };
        queue.pop_front();
    }
    let is_left = queues.iter().any(|(_, queue)| !queue.is_empty());
    prop_assert!(!is_left, "peer {peer} did not hear {queues:?}");
    Ok(())
}

/// Where a peer is: at one of two endpoints, two with the same address at both, and
/// some with long addresses.
fn address(peer: usize) -> PeerAddr {
    let port = |peer: usize| 5000 + peer as u16;
    let v4 = |peer| SocketAddr::from((Ipv4Addr::LOCALHOST, port(peer)));
    match peer {
        0..14 => PeerAddr::new(v4(peer), 0),
        14..16 => PeerAddr::new((Ipv6Addr::LOCALHOST, port(peer)).into(), 0),
        16..18 => PeerAddr::new(v4(peer), 1),
        _ => PeerAddr::new(v4(peer - 18), 1),
    }
}

/// The worker that hears a peer.
fn worker(peer: usize) -> usize {
    peer / 2 % WORKERS
}

/// Whether a peer asks for a session before it does anything else.
fn speaks_frames(peer: usize) -> bool {
    peer % 2 == 1
}

const PEERS: usize = 20;
const WORKERS: usize = 2;
const TIMEOUT_MS: u64 = 10_000;
const CASES: u32 = 10_000;

/// Half as often as the rarest thing happens: so it is no matter of chance.
const SELDOM: u32 = CASES / 200;

/// So small that each is often reached.
const BOUNDS: Bounds = Bounds {
    peers: 15,
    names: 3,
    rooms: 2,
    members: 3,
};

/// What must happen often, for the test to be one.
const EVERYTHING: [&str; 27] = [
    "answer too long",
    "frame too long",
    "frames of a session that is over",
    "help",
    "joined",
    "left",
    "list",
    "misuse",
    "name freed by expiry",
    "name taken",
    "nobody",
    "nothing on the list",
    "own name in another case",
    "ping",
    "presence",
    "presence in numbers",
    "presence set",
    "private",
    "renamed",
    "room full",
    "text of a peer with a session",
    "timed out",
    "too many at once",
    "too many lists",
    "too many names",
    "too many peers",
    "too many rooms",
];
