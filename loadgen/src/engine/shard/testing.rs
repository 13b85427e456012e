//! Threads of the load at moments that tests choose, and what their clients receive.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bullhorn::wire::v2::{
    ServerFrame, ServerList, SessionId, Welcome, push_server_frame, push_server_header,
};
use crossbeam::channel::bounded;

use super::Shard;
use crate::config::{Protocol, RunConfig, Scenario};
use crate::engine::client::Phase;
use crate::engine::common::{Control, Run, RunError};
use crate::engine::partition::{self, Targets};
use crate::engine::ports::Ports;
use crate::engine::recorder::{Channel, Report};
use crate::engine::stamp::{STAMP_BYTES, Stamp};
use crate::outcome::Counts;
use crate::testing;

/// A thread whose clients are there, two in a room; its load began at [`START_NS`], and it
/// recorded from then on, for a second.
pub(super) fn begun() -> Shard {
    let mut shard = shard(config(Protocol::V1));
    for client in 0..2 {
        shard.clients.enter(client);
    }
    shard.clients.run.start_ns.store(START_NS, Relaxed);
    shard.clients.start_ns = Some(START_NS);
    shard
}

/// A thread whose load began at [`START_NS`], and that records from [`LATER_NS`] after on.
pub(super) fn warming_up() -> Shard {
    let mut shard = shard(RunConfig {
        warmup: Duration::from_nanos(LATER_NS),
        ..config(Protocol::V1)
    });
    shard.clients.enter(0);
    shard.clients.run.start_ns.store(START_NS, Relaxed);
    shard.clients.start_ns = Some(START_NS);
    shard
}

pub(super) fn config(protocol: Protocol) -> RunConfig {
    RunConfig {
        clients: 2,
        scenario: Scenario::Mixed,
        mix: testing::mix(1.0, 1.0, 0.0),
        room_size: 2,
        warmup: Duration::ZERO,
        protocol,
        ..testing::config()
    }
}

/// Two targets, which have one client each.
pub(super) fn config_of_nodes(protocol: Protocol) -> RunConfig {
    RunConfig {
        other_targets: vec![OTHER_NODE.into()],
        ..config(protocol)
    }
}

/// A thread whose first client has asked to come, while it records.
pub(super) fn joining(config: RunConfig) -> Shard {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut shard = shard(RunConfig {
        target: server.local_addr().unwrap(),
        ..config
    });
    shard.clients.run.start_ns.store(START_NS, Relaxed);
    shard.clients.start_ns = Some(START_NS);
    let (clients, batch) = (&mut shard.clients, &mut shard.batch);
    shard.registration.turn(clients, batch, START_NS).unwrap();
    if shard.clients.client(0).phase == Phase::Hello {
        welcome(&mut shard, WELCOME);
    }
    assert_eq!(shard.clients.client(0).phase, Phase::Joining);
    shard
}

/// A thread whose clients have not come.
pub(super) fn shard(config: RunConfig) -> Shard {
    let part = partition::parts(&config)[0];
    let ports = Ports::open(
        config.sockets,
        config.gro,
        &Targets::of(&config),
        part.first,
        part.clients,
    )
    .unwrap();
    let channel = Channel {
        filled: bounded(1).0,
        emptied: bounded::<Box<Report>>(1).1,
    };
    let run = Arc::new(Run::new(&config, &Control::new(), 1));
    Shard::new(run, 0, part, ports, channel).unwrap()
}

/// The first client receives something, so long after the load began.
pub(super) fn receive(shard: &mut Shard, datagram: &[u8], elapsed_ns: u64) -> Result<(), RunError> {
    let now_ns = START_NS + elapsed_ns;
    shard.clients.last_received_ns = now_ns;
    shard
        .clients
        .receive(0, datagram, now_ns, &mut shard.registration)
}

/// The server replies to the HELLO of the first client.
pub(super) fn welcome(shard: &mut Shard, welcome: Welcome<'_>) {
    let nonce = shard.clients.run.nonce(0);
    let welcome = frames_to(nonce, &[ServerFrame::Welcome(welcome)]);
    assert_eq!(counted(shard, &welcome, 0), Counts::default());
}

/// The counts when the first client receives this.
#[track_caller]
pub(super) fn counted(shard: &mut Shard, datagram: &[u8], elapsed_ns: u64) -> Counts {
    let before = shard.clients.recorder.counts;
    receive(shard, datagram, elapsed_ns).unwrap();
    shard.clients.recorder.counts.since(&before)
}

pub(super) fn stray() -> Counts {
    Counts {
        stray: 1,
        ..Counts::default()
    }
}

/// A datagram of version 2 to the first client.
pub(super) fn frames(frames: &[ServerFrame<'_>]) -> Vec<u8> {
    frames_to(WELCOME.session.get(), frames)
}

/// A datagram of version 2 with any number in its header.
pub(super) fn frames_to(number: u64, frames: &[ServerFrame<'_>]) -> Vec<u8> {
    let mut datagram = Vec::new();
    push_server_header(number, &mut datagram);
    for frame in frames {
        push_server_frame(frame, &mut datagram);
    }
    datagram
}

/// As version 1 has it behind `head`.
pub(super) fn stamped(head: &str, stamp: Stamp) -> Vec<u8> {
    let mut bytes = [0; STAMP_BYTES];
    stamp.encode(&mut bytes);
    [head.as_bytes(), &bytes].concat()
}

/// By the run's clock.
pub(super) const START_NS: u64 = 5_000_000_000;

/// The target of the second client, where there are two.
pub(super) const OTHER_NODE: ([u8; 4], u16) = ([127, 0, 0, 1], 9998);

/// While it is recorded.
pub(super) const LATER_NS: u64 = 500_000_000;

pub(super) const WELCOME: Welcome<'_> = Welcome {
    session: SessionId::new(1).unwrap(),
    timeout_ms: 10_000,
    bundle_bytes: 1200,
    address: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1)),
    servers: ServerList::EMPTY,
};

pub(super) const PONG: &str = "* pong ";

pub(super) const SAID: &str = "127.0.0.1:5 ";
