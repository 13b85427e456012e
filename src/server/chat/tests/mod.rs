//! The real core against a simple model of the protocol. Random peers take random actions,
//! and each peer must receive exactly the datagrams that the model predicts.

mod actions;
mod bounds;
mod budgets;
mod commands;
mod core;
mod model;
mod moderation;
mod replies;
mod unproven;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseResult, TestRunner};

use self::actions::{Action, Step, steps};
use self::core::Core;
use self::model::{Cause, Model};
use crate::net::PeerAddr;
use crate::server::config::Proof;
use crate::server::ops::log::Log;
use crate::server::registry::RegistryLimits;
use crate::wire::v2::NoticeCode;

/// A datagram or a frame that a peer received.
#[derive(Debug, Clone, PartialEq)]
enum Received {
    /// A v1 datagram.
    Line(String),
    Welcome {
        /// The number of the session among all sessions of the peer.
        session: usize,
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
    UnknownSession,
}

impl Received {
    /// The stream, the number, and the sender and text of a message.
    fn numbered(&self) -> Option<((u32, u8), u32, String)> {
        match self {
            Self::Message {
                room,
                stream,
                sequence,
                from,
                payload,
            } => Some(((*room, *stream), *sequence, format!("{from} {payload}"))),
            _ => None,
        }
    }

    fn set_sequence(&mut self, number: u32) {
        if let Self::Message { sequence, .. } = self {
            *sequence = number;
        }
    }
}

/// The core and the model, which receive the same datagrams.
struct Pair {
    core: Core,
    model: Model,
    /// The session that each peer uses: as the core numbers it, and as the model does.
    sessions: [Option<(u64, usize)>; PEERS],
    /// The number of actions so far. It is part of each text, so no two are equal.
    actions: usize,
}

#[test]
fn the_core_agrees_with_the_model_of_the_protocol() {
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
        for (kind, count) in pair.model.tally {
            *tally.borrow_mut().entry(kind).or_default() += count;
        }
        Ok(())
    };
    if let Err(error) = TestRunner::new(config).run(&steps(), run) {
        panic!("{error}");
    }
    let tally = tally.into_inner();
    for kind in KINDS {
        let count = tally.get(kind).copied().unwrap_or_default();
        assert!(count >= MIN_COUNT, "{kind} happened only {count} times");
    }
}

impl Pair {
    fn new(log: &Log) -> Self {
        Self {
            core: Core::new(LIMITS, Proof::Never, log),
            model: Model::new(LIMITS),
            sessions: [None; PEERS],
            actions: 0,
        }
    }

    fn step(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Wait(ms) => {
                let expired = self.core.wait(ms);
                self.model.wait(ms, &expired);
            }
            Step::Hello(peer) => self.hello(peer),
            Step::Settle => self.settle()?,
            Step::Act {
                peer,
                actions,
                is_odd,
            } => self.act(peer, actions, is_odd),
        }
        let counts = (
            self.core.registry.len(),
            self.core.registry.directory().len(),
        );
        prop_assert_eq!(counts, self.model.counts(), "peers and rooms");
        Ok(())
    }

    fn hello(&mut self, peer: usize) {
        self.core.hello(peer);
        self.model.hello(peer);
    }

    /// Sends actions of a peer. It uses v2 if it has a session, and v1 otherwise. A peer
    /// that prefers v2 asks for a session first. With `is_odd` it uses the other protocol,
    /// or a wrong session.
    fn act(&mut self, peer: usize, actions: Vec<Action>, is_odd: bool) {
        let mut lines = Vec::new();
        for action in actions {
            self.actions += 1;
            let line = action.line(self.actions);
            lines.push((action, line));
        }
        match self.sessions[peer] {
            Some((session, number)) if !is_odd => {
                self.model.frames(peer, number, &lines);
                self.receive_frames(peer, session, &lines);
            }
            Some((session, _)) if lines.len() > 1 => {
                self.model.frames(peer, usize::MAX, &lines);
                self.receive_frames(peer, session ^ 1, &lines);
            }
            None if is_odd => self.receive_frames(peer, 0, &lines),
            None if prefers_v2(peer) => self.hello(peer),
            _ => {
                for (action, line) in &lines {
                    let datagram = action.datagram(line, self.actions);
                    let last = datagram.iter().rfind(|byte| **byte != 0);
                    let ends = last == Some(&b'\n');
                    self.model.text(peer, action, line, ends);
                    self.core.receive(peer, &datagram);
                }
            }
        }
    }

    fn receive_frames(&mut self, peer: usize, session: u64, lines: &[(Action, String)]) {
        let frames = lines
            .iter()
            .map(|(action, line)| action.frame(line.as_bytes()));
        self.core.receive_frames(peer, session, frames);
        let has_bye = lines.iter().any(|(action, _)| *action == Action::Bye);
        if has_bye && self.sessions[peer].is_some_and(|own| own.0 == session) {
            self.sessions[peer] = None;
        }
    }

    /// Sends everything that is due, and compares the core with the model.
    fn settle(&mut self) -> TestCaseResult {
        let mut all_received = self.core.settle();
        let all_expected = self.model.settle();
        renumber(&mut all_received, &all_expected)?;
        for (peer, (received, expected)) in all_received.into_iter().zip(all_expected).enumerate() {
            for received in &received {
                if let Received::Welcome { session, .. } = received {
                    let known = self.core.session(peer).expect("just received");
                    self.sessions[peer] = Some((known, *session));
                }
            }
            compare(peer, received, expected)?;
        }
        let counts = self.core.counts();
        prop_assert_eq!(counts.deliveries_planned, self.model.deliveries);
        prop_assert_eq!(counts.deliveries, self.model.deliveries);
        prop_assert_eq!(counts.replies_shed, self.model.shed);
        Ok(())
    }
}

/// Gives each message the number that it has in the model. The server may number those of different
/// senders in another order, with the same numbers.
fn renumber(
    all_received: &mut [Vec<Received>],
    all_expected: &[Vec<(Cause, Received)>],
) -> TestCaseResult {
    let mut expected = HashMap::new();
    for (_, message) in all_expected.iter().flatten() {
        if let Some((stream, sequence, text)) = message.numbered() {
            expected.insert((stream, text), sequence);
        }
    }
    let mut numbers = HashMap::new();
    for received in all_received {
        let mut last = HashMap::new();
        for message in received {
            let Some((stream, sequence, text)) = message.numbered() else {
                continue;
            };
            let before = last.insert(stream, sequence);
            prop_assert!(before < Some(sequence), "{message:?} after {before:?}");
            let number = expected.get(&(stream, text));
            prop_assert!(number.is_some(), "{message:?} was not sent");
            let number = *numbers
                .entry((stream, sequence))
                .or_insert(*number.unwrap());
            message.set_sequence(number);
        }
    }
    let received: BTreeSet<_> = numbers.into_keys().collect();
    let expected = expected
        .into_iter()
        .map(|((stream, _), sequence)| (stream, sequence));
    prop_assert_eq!(received, expected.collect::<BTreeSet<_>>());
    Ok(())
}

/// Checks that a peer received what was expected, in order for each cause.
fn compare(
    peer: usize,
    received: Vec<Received>,
    expected: Vec<(Cause, Received)>,
) -> TestCaseResult {
    let mut queues: Vec<(Cause, VecDeque<Received>)> = Vec::new();
    for (cause, expected) in expected {
        match queues.iter_mut().find(|queue| queue.0 == cause) {
            Some((_, queue)) => queue.push_back(expected),
            None => queues.push((cause, VecDeque::from([expected]))),
        }
    }
    for received in received {
        let is_next = |queue: &VecDeque<Received>| queue.front() == Some(&received);
        let Some((_, queue)) = queues.iter_mut().find(|(_, queue)| is_next(queue)) else {
            let fail = format!("peer {peer} received {received:?}, not one of {queues:?}");
            // Long texts would hide the rest.
            return Err(TestCaseError::fail(fail.replace(&"x".repeat(50), "~")));
        };
        queue.pop_front();
    }
    let is_left = queues.iter().any(|(_, queue)| !queue.is_empty());
    prop_assert!(!is_left, "peer {peer} did not receive {queues:?}");
    Ok(())
}

/// Returns the address of a peer, at one of two endpoints. Two peers have the same IP and
/// port as two at the other endpoint, and two have IPv6 addresses.
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

/// Returns the worker that receives from a peer.
fn worker(peer: usize) -> usize {
    peer / 2 % WORKERS
}

/// Every second peer asks for a session before anything else.
fn prefers_v2(peer: usize) -> bool {
    peer % 2 == 1
}

const PEERS: usize = 20;
const WORKERS: usize = 2;
const TIMEOUT_MS: u64 = 10_000;
const CASES: u32 = 10_000;

/// Minimum count of each kind: half of the count of the rarest one, so that chance does not
/// fail the test.
const MIN_COUNT: u32 = CASES / 200;

/// Small enough to be reached often.
const LIMITS: RegistryLimits = RegistryLimits {
    max_peers: 15,
    max_names: 3,
    max_rooms: 2,
    max_room_members: 3,
};

/// The kinds of outcomes that the test must have covered.
const KINDS: [&str; 31] = [
    "empty page",
    "frame too long",
    "frames of a closed session",
    "hello of a v1 peer",
    "help",
    "joined",
    "left",
    "list",
    "misuse",
    "name freed by expiry",
    "name taken",
    "no such peer",
    "own name in another case",
    "ping",
    "presence in numbers",
    "presence set",
    "presence",
    "private",
    "renamed",
    "reply too long",
    "room full",
    "session registered",
    "text of a peer with a session",
    "timed out",
    "too many lists",
    "too many messages",
    "too many names",
    "too many peers",
    "too many rooms",
    "unknown session",
    "unknown session again",
];
