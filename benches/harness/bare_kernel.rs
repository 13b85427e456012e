//! Tests of the bare kernel's loops, which the benchmarks compare bullhorn with. They are
//! a test target, as a benchmark runs no tests.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod bare;

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use bare::ping_loop::PingLoop;
use bare::{Drain, Echo, FanOut, set_segment_bytes};
use bullhorn::net::SEND_BATCH;

#[test]
fn a_fan_out_reaches_every_address() {
    let sockets: Vec<_> = (0..SEND_BATCH + 5).map(|_| socket()).collect();
    let addresses: Vec<_> = sockets.iter().map(|(_, address)| *address).collect();
    let mut fan_out = FanOut::new(&addresses, b"hi");
    fan_out.send(&socket().0).unwrap();
    assert!(sockets.iter().all(|(socket, _)| received(socket) == b"hi"));
}

#[test]
fn a_fan_out_sends_what_was_set_last() {
    let ((receiver, address), (sender, _)) = (socket(), socket());
    let mut fan_out = FanOut::segmented(&[address], b"one two ", 4);
    for payload in [b"tri four".as_slice(), b"five"] {
        fan_out.set_payload(payload);
        fan_out.send(&sender).unwrap();
        for datagram in payload.chunks(4) {
            assert_eq!(received(&receiver), datagram);
        }
    }
}

#[test]
fn segments_arrive_as_datagrams_in_one_batch() {
    let ((receiver, address), (sender, _)) = (socket(), socket());
    set_segment_bytes(&sender, 4).unwrap();
    let mut drain = Drain::new();
    for payload in [b"one ".as_slice(), b"one two tri "] {
        sender.send_to(payload, address).unwrap();
        assert_eq!(drain.wait(&receiver).unwrap(), payload.len() / 4);
    }
}

#[test]
fn a_round_has_as_many_answers_as_requests() {
    const BATCH: usize = 100;
    let ((server, to), (unconnected, _), (connected, _)) = (socket(), socket(), socket());
    connected.connect(to).unwrap();
    let echo = std::thread::spawn(move || {
        let mut echo = Echo::new(b"answer");
        let mut answered = 0;
        while answered < 4 * BATCH {
            answered += echo.answer(&server).unwrap();
        }
        answered
    });
    let mut one = PingLoop::new(to, b"?", BATCH);
    let mut other = PingLoop::new(to, b"?", BATCH).connected();
    for _ in 0..2 {
        assert_eq!(one.round(&unconnected).unwrap(), BATCH);
        assert_eq!(other.round(&connected).unwrap(), BATCH);
    }
    assert_eq!(echo.join().unwrap(), 4 * BATCH);
}

fn socket() -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else {
        panic!("bound to an IPv4 address");
    };
    (socket, address)
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer).unwrap();
    buffer[..len].to_vec()
}
