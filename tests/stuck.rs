//! A server of two workers, one of which is stopped while the rest of the process goes on.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::thread;
use std::time::Duration;

use bullhorn::server::registry::MIN_SHARED_MEMBERS;
use bullhorn::wire::v2::{ClientFrame, ServerFrame, parse_server};
use common::v2_peer::{V2Peer, datagram};
use common::{Client, ServerProgram, StoppedThread};
use nix::sys::signal::Signal;

#[test]
fn the_rooms_of_a_worker_go_on_while_another_one_is_stuck() {
    let mut server = start(&[]);
    let [talker, ann] = ["talk", "den"].map(|room| peer_of(&server, 0, room));
    let eve = peer_of(&server, 1, "yard");
    // The lobby is shared by the workers.
    let members: Vec<Client> = (0..2 * MIN_SHARED_MEMBERS)
        .map(|_| server.client())
        .collect();
    for member in &members {
        member.send(b"/ping 1");
        assert_eq!(member.receive_text(), "* pong 1");
    }
    command(&talker, "/leave");

    let stopped = StoppedThread::stop(server.pid(), "worker-1");
    for number in 1..=TEXTS {
        talker.send(&[ClientFrame::Say(format!("{number}").as_bytes())]);
        talker.client.receive();
        // A small room of the same worker.
        ann.expect_intact("to myself");
    }
    for member in &members {
        // Texts that the stuck worker had to send may be missing. The others are in order.
        let mut last = 0;
        while last < TEXTS {
            let text = member.receive_text();
            let number = text.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(number > last, "{number} after {last}");
            last = number;
        }
    }
    // Nobody receives the peers of the stuck worker before it goes on.
    eve.send(&[ClientFrame::Say(b"I am back")]);
    assert!(eve.client.inbox_is_empty());
    drop(stopped);
    let datagram = eve.client.receive();
    assert!(datagram.ends_with(b"I am back"), "{datagram:02x?}");
    talker.send(&[ClientFrame::Say(b"to all")]);
    for member in &members {
        let text = member.receive_text();
        assert!(text.ends_with(" to all"), "{text}");
    }
    let printed = server.printed();
    server.type_line("");
    printed.find("deliveries shed, worker stuck: ");
}

#[test]
fn the_peers_of_a_stuck_worker_are_not_expired() {
    let mut server = start(&["--timeout", "1s", "--reap-interval", "50ms"]);
    let bob = peer_of(&server, 0, "den");
    let eve = peer_of(&server, 1, "yard");
    let stopped = StoppedThread::stop(server.pid(), "worker-1");
    let log = server.log();
    let eves_end = format!("{} is down", eve.client.address());
    let bobs_end = format!("{} is down: not heard any more", bob.client.address());
    // A peer of the other worker expires, comes back and expires again.
    for _ in 0..2 {
        // A sign of life without a reply.
        eve.client.send(&datagram(eve.number, &[]));
        bob.client.send(b"@im@");
        loop {
            let line = log.next();
            assert!(!line.contains(&eves_end), "{line}");
            if line.contains(&bobs_end) {
                break;
            }
        }
    }
    drop(stopped);
    eve.expect_intact("still here");
}

#[test]
fn a_stuck_worker_ends_the_process_after_the_time_of_the_watchdog() {
    let mut server = start(&["--watchdog", "1s"]);
    let log = server.log();
    let stopped = StoppedThread::stop(server.pid(), "worker-1");
    log.find("worker-1 has been stuck for ");
    log.find("server: thread worker-1 died: it has been stuck for ");
    stopped.expect_end();
    assert_eq!(server.exit_status().code(), Some(1));
}

#[test]
fn a_worker_that_goes_on_in_time_ends_nothing() {
    let mut server = start(&["--watchdog", "10s"]);
    let log = server.log();
    let stopped = StoppedThread::stop(server.pid(), "worker-0");
    log.find("worker-0 has been stuck for ");
    drop(stopped);
    log.find("worker-0 goes on: it was stuck for ");
    server.type_line("quit");
    server.expect_success();
}

#[test]
fn a_pause_of_the_whole_process_does_not_trigger_the_watchdog() {
    let mut server = start(&["--watchdog", "1s"]);
    let ann = server.client();
    server.expect_echo(&ann, "before");
    server.signal(Signal::SIGSTOP);
    // Longer than the watchdog waits. Nothing happens in a pause that could be waited for.
    thread::sleep(Duration::from_millis(1_500));
    server.signal(Signal::SIGCONT);
    server.expect_echo(&ann, "after");
    server.type_line("quit");
    server.expect_success();
}

fn start(arguments: &[&str]) -> ServerProgram {
    let workers = ["--workers", "2", "--no-pin"];
    ServerProgram::start(&[&workers, arguments].concat())
}

/// Returns a peer in the room `room` that `worker` receives from.
#[track_caller]
fn peer_of(server: &ServerProgram, worker: u8, room: &str) -> V2Peer {
    // The kernel chooses the worker by the address of the peer.
    for _ in 0..100 {
        let peer = V2Peer::open(server.client());
        let room = format!("/join {room}");
        command(&peer, &room);
        peer.send(&[ClientFrame::Say(b"which worker?")]);
        let datagram = peer.client.receive();
        let frame = parse_server(&datagram).unwrap().next();
        let Some(ServerFrame::Message(message)) = frame else {
            panic!("{frame:?}");
        };
        if message.stream == worker {
            return peer;
        }
        peer.send(&[ClientFrame::Bye]);
    }
    panic!("no peer of worker {worker}");
}

/// Sends a command, and waits for the reply.
#[track_caller]
fn command(peer: &V2Peer, line: &str) {
    peer.send(&[ClientFrame::Command(line.as_bytes())]);
    peer.client.receive();
}

const TEXTS: u32 = 30;
