//! What a client hears, at times that the tests choose.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam::channel::bounded;

use super::*;
use crate::config::{Mix, Protocol, RunConfig};
use crate::engine::common::{Control, Run};
use crate::engine::ports::Ports;
use crate::engine::recorder::{Channel, Report};
use crate::engine::shape;
use crate::engine::shard::Shard;
use crate::engine::stamp::STAMP_BYTES;
use crate::outcome::Counts;
use crate::testing;

/// A thread whose clients are there, two in a room; its load began at [`START_NS`], and it
/// recorded from then on, for a second.
fn begun() -> Shard {
    let mut shard = shard(config(Protocol::V1));
    for client in 0..2 {
        shard.people.enter(client);
    }
    shard.people.run.start_ns.store(START_NS, Relaxed);
    shard.people.start_ns = Some(START_NS);
    shard
}

fn config(protocol: Protocol) -> RunConfig {
    RunConfig {
        clients: 2,
        scenario: Scenario::Mixed,
        mix: Mix {
            ping: 1.0,
            text: 1.0,
            heartbeat: 0.0,
        },
        room_size: 2,
        warmup: std::time::Duration::ZERO,
        protocol,
        ..testing::config()
    }
}

/// A thread whose clients have not come.
fn shard(config: RunConfig) -> Shard {
    let part = shape::parts(&config)[0];
    let ports = Ports::open(config.sockets, config.target, part.first, part.clients).unwrap();
    let channel = Channel {
        filled: bounded(1).0,
        emptied: bounded::<Box<Report>>(1).1,
    };
    let run = Arc::new(Run::new(&config, &Control::new(), 1));
    Shard::new(run, 0, part, ports, channel).unwrap()
}

/// The first client hears something, so long after the load began.
fn hear(shard: &mut Shard, datagram: &[u8], elapsed_ns: u64) -> Result<(), RunError> {
    let now_ns = START_NS + elapsed_ns;
    shard.people.hear(0, datagram, now_ns, &mut shard.admission)
}

/// What is counted when the first client hears this.
#[track_caller]
fn counted(shard: &mut Shard, datagram: &[u8], elapsed_ns: u64) -> Counts {
    let before = shard.people.recorder.counts;
    hear(shard, datagram, elapsed_ns).unwrap();
    shard.people.recorder.counts.since(&before)
}

fn stray() -> Counts {
    Counts {
        stray: 1,
        ..Counts::default()
    }
}

/// As version 1 has it behind `head`.
fn stamped(head: &str, stamp: Stamp) -> Vec<u8> {
    let mut bytes = [0; STAMP_BYTES];
    stamp.encode(&mut bytes);
    [head.as_bytes(), &bytes].concat()
}

/// Of what the first client sent first, half a millisecond late.
fn first_stamp(shard: &Shard) -> Stamp {
    Stamp {
        run: shard.people.run.id,
        client: 0,
        sequence: 0,
        due_ns: 1_000_000,
        lag_ns: 500_000,
    }
}

/// The batch was begun at this nanosecond, and nothing of it came before.
#[test]
fn what_comes_before_it_was_sent_is_stray() {
    let mut shard = begun();
    shard.people.client(0).next_ask = 1;
    shard.people.run.rooms.speak(0, None);
    let stamp = first_stamp(&shard);
    let (sent_ns, end_ns) = (stamp.sent_ns(), shard.people.run.end_ns);
    let never_due = Stamp {
        due_ns: end_ns,
        ..stamp
    };
    for head in [PONG, SAID] {
        let genuine = stamped(head, stamp);
        assert_eq!(counted(&mut shard, &genuine, sent_ns - 1), stray());
        let after_all = stamped(head, never_due);
        assert_eq!(counted(&mut shard, &after_all, 2 * end_ns), stray());
        let counts = counted(&mut shard, &genuine, sent_ns);
        assert_eq!((counts.answered + counts.delivered, counts.stray), (1, 0));
    }
    let seconds = shard.people.recorder.finish().2;
    assert_eq!((seconds[0].answered, seconds[0].delivered), (1, 1));
}

/// Neither the number nor the client, nor the run.
#[test]
fn what_nobody_sent_is_stray() {
    let mut shard = begun();
    shard.people.client(0).next_ask = 1;
    shard.people.run.rooms.speak(0, None);
    let stamp = first_stamp(&shard);
    let forged = [
        Stamp {
            sequence: 1,
            ..stamp
        },
        Stamp { client: 2, ..stamp },
        Stamp {
            run: stamp.run ^ 1,
            ..stamp
        },
    ];
    for stamp in forged {
        for head in [PONG, SAID] {
            let datagram = stamped(head, stamp);
            assert_eq!(counted(&mut shard, &datagram, 2_000_000), stray());
        }
    }
}

/// Another thread may begin sooner, and say something to all in the lobby.
#[test]
fn a_text_that_comes_before_this_thread_knows_of_the_beginning_has_its_time() {
    let mut shard = begun();
    shard.people.run.rooms.speak(0, None);
    let stamp = Stamp {
        client: 1,
        ..first_stamp(&shard)
    };
    let text = stamped(SAID, stamp);
    shard.people.run.start_ns.store(0, Relaxed);
    shard.people.start_ns = None;
    hear(&mut shard, &text, 3_000_000).unwrap();
    assert_eq!(shard.people.recorder.counts.delivered, 0, "nobody began");
    shard.people.run.start_ns.store(START_NS, Relaxed);
    hear(&mut shard, &text, 3_000_000).unwrap();
    let recorder = &mut shard.people.recorder;
    assert_eq!(recorder.counts.delivered, 1);
    let latencies = recorder.latencies();
    assert!(
        latencies
            .delivery
            .equivalent(latencies.delivery.max(), 2_000_000)
    );
    assert!(
        latencies
            .delivery_from_send
            .equivalent(latencies.delivery_from_send.max(), 1_500_000)
    );
}

/// By the run's clock.
const START_NS: u64 = 5_000_000_000;

const PONG: &str = "* pong ";

const SAID: &str = "127.0.0.1:5 ";
