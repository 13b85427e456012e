use super::*;
use nix::sys::socket::{setsockopt, sockopt};
use nix::{setsockopt_impl, sockopt_impl};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

sockopt_impl!(
    /// Sends without checksums, in which case the kernel segments nothing.
    NoChecksums,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_NO_CHECK,
    bool
);

fn receiver() -> (UdpSocket, PeerAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let peer = PeerAddr::new(socket.local_addr().unwrap(), 0);
    (socket, peer)
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

#[test]
fn a_peer_that_cannot_be_sent_to_costs_no_other_its_packet() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (first, first_peer) = receiver();
    let (last, last_peer) = receiver();
    let nowhere = "127.0.0.1:0".parse::<SocketAddr>().unwrap();
    let nowhere = PeerAddr::new(nowhere, 0);
    let too_long = vec![0; 65_535];
    let packets = [
        (&nowhere, &b"lost"[..]),
        (&first_peer, b"one"),
        (&nowhere, b"lost"),
        (&first_peer, &too_long),
        (&last_peer, b"two"),
        (&nowhere, b"lost"),
    ];
    let packets = packets.map(|(to, payload)| Packet::single(to, payload));
    let tally = Sender::new(Gso::On).send(&socket, packets);
    assert_eq!((tally.sent, tally.refused, tally.congested), (2, 4, 0));
    assert_eq!(tally.total(), 6);
    assert_eq!(
        (received(&first), received(&last)),
        (b"one".to_vec(), b"two".to_vec())
    );
}

#[test]
fn more_than_a_batch_goes_out_in_several_calls() {
    // To several sockets: one would overflow with more than about 250.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let receivers: Vec<_> = (0..8).map(|_| receiver()).collect();
    let count = 2 * SEND_BATCH + 10;
    let payloads: Vec<_> = (0..count).map(usize::to_be_bytes).collect();
    let to = |number: usize| &receivers[number % receivers.len()];
    let packets = payloads.iter().enumerate();
    let packets = packets.map(|(number, payload)| Packet::single(&to(number).1, payload));
    let tally = Sender::new(Gso::On).send(&socket, packets);
    assert_eq!((tally.sent, tally.total()), (count as u64, count as u64));
    for (number, payload) in payloads.iter().enumerate() {
        assert_eq!(received(&to(number).0), payload);
    }
}

fn ten_bytes_in_threes(to: &PeerAddr) -> Packet<'_> {
    Packet {
        to,
        payload: b"aaabbbcccd",
        segment_bytes: NonZeroU16::new(3),
        deliveries: 4,
    }
}

#[test]
fn a_packet_arrives_as_its_datagrams_with_and_without_segmentation() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (receiver, peer) = receiver();
    for gso in [Gso::On, Gso::Off] {
        let mut sender = Sender::new(gso);
        let tally = sender.send(&socket, [ten_bytes_in_threes(&peer)]);
        assert_eq!((tally.sent, tally.total(), tally.split_packets), (4, 4, 0));
        for part in [&b"aaa"[..], b"bbb", b"ccc", b"d"] {
            assert_eq!(received(&receiver), part);
        }
    }
}

#[test]
fn an_empty_packet_arrives_with_and_without_segmentation() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (receiver, peer) = receiver();
    for gso in [Gso::On, Gso::Off] {
        let tally = Sender::new(gso).send(&socket, [Packet::single(&peer, b"")]);
        assert_eq!((tally.sent, tally.total()), (1, 1));
        assert_eq!(received(&receiver), b"");
    }
}

#[test]
fn a_packet_that_the_kernel_does_not_segment_is_sent_datagram_by_datagram() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    setsockopt(&socket, NoChecksums, &true).unwrap();
    let (receiver, peer) = receiver();
    let mut sender = Sender::new(Gso::On);
    let before = Packet::single(&peer, b"before");
    let after = Packet::single(&peer, b"after");
    let tally = sender.send(&socket, [before, ten_bytes_in_threes(&peer), after]);
    assert_eq!((tally.sent, tally.total(), tally.split_packets), (6, 6, 1));
    for part in [&b"before"[..], b"aaa", b"bbb", b"ccc", b"d", b"after"] {
        assert_eq!(received(&receiver), part);
    }
}

#[test]
fn a_packet_of_which_no_datagram_is_taken_is_refused() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nowhere = PeerAddr::new("127.0.0.1:0".parse().unwrap(), 0);
    let tally = Sender::new(Gso::On).send(&socket, [ten_bytes_in_threes(&nowhere)]);
    let expected = SendTally {
        refused: 4,
        split_packets: 1,
        ..SendTally::default()
    };
    assert_eq!(tally, expected);
}

#[test]
fn a_packet_of_which_one_datagram_is_refused_is_refused() {
    // A Unix datagram socket refuses what is longer than its buffer, which is at
    // least 4608 bytes.
    let (socket, receiver) = std::os::unix::net::UnixDatagram::pair().unwrap();
    setsockopt(&socket, sockopt::SndBuf, &1).unwrap();
    let peer = PeerAddr::new("127.0.0.1:9".parse().unwrap(), 0);
    let packet = Packet {
        to: &peer,
        payload: &[0; 9001],
        segment_bytes: NonZeroU16::new(9000),
        deliveries: 2,
    };
    let mut sender = Sender::new(Gso::On);
    assert_eq!(sender.gather(&mut [packet].into_iter()), 1);
    sender.headers[0].msg_hdr.msg_namelen = 0;
    let mut tally = SendTally::default();
    // SAFETY: gathered just now, with several datagrams, from a payload that lives as
    // long as the program.
    unsafe { sender.send_in_parts(socket.as_fd(), 0, &mut tally) };
    assert_eq!((tally.sent, tally.refused, tally.split_packets), (0, 2, 1));
    assert_eq!(receiver.recv(&mut [0; 2]).unwrap(), 1, "the other one");
}

#[test]
fn a_full_send_buffer_is_given_up_after_one_wait() {
    // A Unix datagram socket whose receiver does not read is reliably full.
    let (sender, _receiver) = std::os::unix::net::UnixDatagram::pair().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send(&[0; 512]).is_ok() {}
    let peer = PeerAddr::new("127.0.0.1:9".parse().unwrap(), 0);
    let mut headers = Sender::new(Gso::On);
    let mut tally = SendTally::default();
    let gathered = headers.gather(&mut [Packet::single(&peer, b"x"); 3].into_iter());
    for header in &mut headers.headers[..gathered] {
        header.msg_hdr.msg_namelen = 0;
    }
    let mut way = OneSocket {
        socket: sender.as_fd(),
        may_wait: true,
    };
    // SAFETY: gathered just now, and `peer` and the text are still borrowed.
    unsafe { headers.flush(&mut way, 0..gathered, &mut tally) };
    assert_eq!((tally.sent, tally.congested, tally.refused), (0, 3, 0));
    assert!(!way.may_wait);
}
