use super::*;
use crate::net::{set_arrival_stamps, set_local_addresses};
use bullhorn::net::{Gso, Packet, Sender, max_segments, set_gro};
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, SystemTime};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 1, 2, 3);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 200, 0, 255);

/// A socket with all addresses, and its port.
fn multihomed() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A socket with one address.
fn single() -> (UdpSocket, PeerAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let address = PeerAddr::new(socket.local_addr().unwrap(), 0);
    (socket, address)
}

fn outgoing<'a>(
    to: &'a PeerAddr,
    from: Option<Ipv4Addr>,
    payload: &'a [u8],
) -> OutboundDatagram<'a> {
    OutboundDatagram { from, to, payload }
}

fn received_by(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..len].to_vec(), from)
}

#[test]
fn each_datagram_leaves_from_its_address() {
    let ((socket, port), (receiver, to)) = (multihomed(), single());
    let mut sender = MultihomedSender::new();
    // In turn, so that leftovers of an earlier batch would show.
    for froms in [
        [Some(ONE), None, Some(OTHER)],
        [None, Some(OTHER), Some(ONE)],
    ] {
        let datagrams = froms.map(|from| outgoing(&to, from, b"hi"));
        assert_eq!(sender.send(&socket, datagrams).unwrap(), 3);
        for from in froms {
            let from = from.unwrap_or(Ipv4Addr::LOCALHOST);
            assert_eq!(received_by(&receiver), (b"hi".into(), (from, port).into()));
        }
    }
}

#[test]
fn no_more_than_a_batch_is_asked_for_and_sent() {
    let ((socket, _), (_receiver, to)) = (multihomed(), single());
    let mut datagrams = (0..SEND_BATCH + 2).map(|_| outgoing(&to, Some(ONE), b"x"));
    let mut sender = MultihomedSender::new();
    let sent = sender.send(&socket, &mut datagrams).unwrap();
    assert_eq!((sent, datagrams.len()), (SEND_BATCH, 2));
    assert_eq!(sender.send(&socket, &mut datagrams).unwrap(), 2);
    assert_eq!(sender.send(&socket, &mut datagrams).unwrap(), 0);
}

#[test]
fn a_refused_datagram_ends_a_batch_and_is_an_error_as_the_first_one() {
    let ((socket, _), (receiver, to)) = (multihomed(), single());
    let too_long = [0; 65_508];
    let datagrams = [&b"one"[..], b"two", &too_long, b"three"];
    let mut sender = MultihomedSender::new();
    let mut send = |first: usize| {
        let datagrams = datagrams[first..].iter();
        let datagrams = datagrams.map(|payload| outgoing(&to, Some(ONE), payload));
        sender.send(&socket, datagrams)
    };
    assert_eq!(send(0).unwrap(), 2);
    assert_eq!(send(2).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    assert_eq!(send(3).unwrap(), 1);
    for text in [&b"one"[..], b"two", b"three"] {
        assert_eq!(received_by(&receiver).0, text);
    }
}

#[test]
fn an_address_that_is_not_local_or_not_of_the_destinations_kind_is_refused() {
    let ((socket, _), (_receiver, to)) = (multihomed(), single());
    let mut sender = MultihomedSender::new();
    let foreign = [outgoing(&to, Some(Ipv4Addr::new(192, 0, 2, 1)), b"x")];
    assert!(sender.send(&socket, foreign).is_err());

    let socket = UdpSocket::bind("[::1]:0").unwrap();
    let to = PeerAddr::new(socket.local_addr().unwrap(), 0);
    let error = sender.send(&socket, [outgoing(&to, Some(ONE), b"x")]);
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(
        sender.send(&socket, [outgoing(&to, None, b"x")]).unwrap(),
        1
    );
}

#[test]
fn no_space_is_no_error() {
    // A Unix datagram socket whose receiver does not read is reliably full.
    let (socket, receiver) = UnixDatagram::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.send(b"x").is_ok() {}
    let (_, to) = single();
    let mut sender = MultihomedSender::new();
    let mut flush = || {
        let datagrams = [outgoing(&to, None, b"x"); 2];
        let gathered = sender.gather(&mut datagrams.into_iter()).unwrap();
        for header in &mut sender.headers[..gathered] {
            header.msg_hdr.msg_namelen = 0;
        }
        // SAFETY: gathered just now, and `to` and the text are still borrowed.
        unsafe { sender.flush(socket.as_fd(), gathered) }
    };
    assert_eq!(flush().unwrap(), 0);
    receiver.recv(&mut [0; 1]).unwrap();
    assert_eq!(flush().unwrap(), 1, "space for one");
}

/// Returns the senders, the local addresses and the payloads of the last batch, of which
/// nothing may be cut off.
fn all(receiver: &MultihomedReceiver) -> Vec<(SocketAddr, Option<Ipv4Addr>, &[u8])> {
    assert!(!truncated(receiver).contains(&true));
    receiver
        .datagrams()
        .map(|datagram| {
            let from = datagram.from.socket_addr();
            (from, datagram.to, datagram.payload)
        })
        .collect()
}

/// Returns `true` for each packet of the last batch that the kernel has cut off.
fn truncated(receiver: &MultihomedReceiver) -> Vec<bool> {
    let headers = &receiver.headers[..receiver.received];
    let flags = headers.iter().map(|header| header.msg_hdr.msg_flags);
    flags.map(|flags| flags & libc::MSG_TRUNC != 0).collect()
}

#[test]
fn a_batch_has_every_datagram_with_both_its_addresses_in_order() {
    let ((socket, port), (one, one_address), (other, other_address)) =
        (multihomed(), single(), single());
    set_local_addresses(&socket).unwrap();
    let mut receiver = MultihomedReceiver::new();
    assert_eq!(receiver.receive(&socket).unwrap(), 0, "nothing there");
    assert_eq!(receiver.datagrams().count(), 0);

    one.send_to(b"first", (ONE, port)).unwrap();
    other.send_to(b"", (OTHER, port)).unwrap();
    one.send_to(b"a longer one", (OTHER, port)).unwrap();
    let (one, other) = (one_address.socket_addr(), other_address.socket_addr());
    let expected = [
        (one, Some(ONE), &b"first"[..]),
        (other, Some(OTHER), b""),
        (one, Some(OTHER), b"a longer one"),
    ];
    assert_eq!(receiver.receive(&socket).unwrap(), 3);
    assert_eq!(all(&receiver), expected);
    assert_eq!(receiver.receive(&socket).unwrap(), 0, "nothing left");
    assert_eq!(receiver.datagrams().count(), 0);
}

#[test]
fn without_the_option_and_over_ipv6_there_is_no_local_address() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let socket = UdpSocket::bind(address).unwrap();
        if address.starts_with('[') {
            set_local_addresses(&socket).unwrap();
        }
        let sender = UdpSocket::bind(address).unwrap();
        let mut receiver = MultihomedReceiver::new();
        for text in [&b"hi"[..], b"ho"] {
            sender.send_to(text, socket.local_addr().unwrap()).unwrap();
            assert_eq!(receiver.receive(&socket).unwrap(), 1);
            let from = sender.local_addr().unwrap();
            assert_eq!(all(&receiver), [(from, None, text)]);
        }
    }
}

#[test]
fn coalesced_packets_are_cut_and_single_datagrams_are_not() {
    if max_segments() == 1 {
        return;
    }
    let payload: Vec<u8> = (0..25).flat_map(|n| [n; 10]).collect();
    for with_gro in [false, true] {
        let ((socket, port), (from, _)) = (multihomed(), single());
        set_local_addresses(&socket).unwrap();
        if with_gro && set_gro(&socket).is_err() {
            return;
        }
        let to = PeerAddr::new((ONE, port).into(), 0);
        let packet = Packet {
            to: &to,
            payload: &payload[..244],
            segment_bytes: NonZeroU16::new(10),
            deliveries: 25,
            tag: None,
        };
        let packets = [
            packet,
            Packet::single(&to, b"alone"),
            Packet::single(&to, b""),
            packet,
        ];
        let tally = Sender::new(Gso::On).send(&from, packets);
        assert_eq!((tally.sent, tally.split_packets), (52, 0));

        let parts = || payload[..244].chunks(10);
        let between = [&b"alone"[..], b""];
        let expected = parts().chain(between).chain(parts());
        let from = from.local_addr().unwrap();
        let expected: Vec<_> = expected.map(|part| (from, Some(ONE), part)).collect();
        let mut receiver = MultihomedReceiver::new();
        let packets = if with_gro { 4 } else { 52 };
        assert_eq!(receiver.receive(&socket).unwrap(), packets);
        assert_eq!(all(&receiver), expected);
    }
}

#[test]
fn the_longest_datagram_is_whole_and_more_than_a_batch_takes_another_call() {
    let ((socket, port), (sender, _)) = (multihomed(), single());
    let longest = vec![7; 65_507];
    sender.send_to(&longest, (ONE, port)).unwrap();
    for _ in 0..RECEIVE_BATCH {
        sender.send_to(b"x", (ONE, port)).unwrap();
    }
    let mut receiver = MultihomedReceiver::new();
    assert_eq!(receiver.receive(&socket).unwrap(), RECEIVE_BATCH);
    let received = all(&receiver);
    assert!(received[0].2 == longest, "the longest one");
    assert!(received[1..].iter().all(|(_, _, payload)| payload == b"x"));
    assert_eq!(receiver.receive(&socket).unwrap(), 1);
}

#[test]
fn a_packet_that_does_not_fit_is_cut_off() {
    // No UDP packet is that long, but one on a Unix socket may be.
    let (socket, sender) = UnixDatagram::pair().unwrap();
    sender.send(&vec![7; BUFFER_BYTES + 1]).unwrap();
    sender.send(b"short").unwrap();
    let mut receiver = MultihomedReceiver::new();
    assert_eq!(receiver.receive(&socket).unwrap(), 2);
    let lengths = receiver.datagrams().map(|datagram| datagram.payload.len());
    assert_eq!(lengths.collect::<Vec<_>>(), [BUFFER_BYTES, 5]);
    assert_eq!(truncated(&receiver), [true, false]);
}

#[test]
fn an_error_is_returned_and_leaves_no_datagrams() {
    let (gone, to) = single();
    drop(gone);
    let (socket, _) = single();
    socket.connect(to.socket_addr()).unwrap();
    let mut receiver = MultihomedReceiver::new();
    // On loopback the refusal comes within the call.
    socket.send(b"x").unwrap();
    let error = receiver.receive(&socket).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(receiver.datagrams().count(), 0);
}

#[test]
fn both_can_be_sent_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<MultihomedSender>();
    is_send::<MultihomedReceiver>();
}

#[test]
fn the_first_arrival_is_that_of_the_first_packet() {
    let ((socket, port), (sender, _)) = (multihomed(), single());
    let mut receiver = MultihomedReceiver::new();
    let now = || {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
    };
    let send = || sender.send_to(b"x", (Ipv4Addr::LOCALHOST, port)).unwrap();
    send();
    assert_eq!(receiver.receive(&socket).unwrap(), 1);
    assert_eq!(receiver.first_arrival(), None, "not asked for");

    set_arrival_stamps(&socket).unwrap();
    set_local_addresses(&socket).unwrap();
    // If no other socket has stamps, the kernel begins a moment later. Until then it
    // takes the time of the read.
    let deadline = now() + Duration::from_secs(10);
    loop {
        let before = now();
        send();
        let between = now();
        send();
        assert_eq!(receiver.receive(&socket).unwrap(), 2);
        let arrived = receiver.first_arrival().unwrap();
        assert!(receiver.datagrams().all(|datagram| datagram.to.is_some()));
        if (before..=between).contains(&arrived) {
            break;
        }
        assert!(between < deadline, "{arrived:?} is not of the first one");
    }
    assert_eq!(receiver.receive(&socket).unwrap(), 0);
    assert_eq!(receiver.first_arrival(), None, "nothing came");
}
