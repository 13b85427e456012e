use super::*;
use crate::net::SegmentControl;
use crate::net::control::is_segmented;
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

pub(super) fn receiver() -> (UdpSocket, PeerAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let peer = PeerAddr::new(socket.local_addr().unwrap(), 0);
    (socket, peer)
}

pub(super) fn received(socket: &UdpSocket) -> Vec<u8> {
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
        tag: None,
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
        tag: None,
    };
    let mut sender = Sender::new(Gso::On);
    assert_eq!(sender.gather(&mut [packet].into_iter()), 1);
    sender.headers[0].msg_hdr.msg_namelen = 0;
    let mut tally = SendTally::default();
    // SAFETY: gathered just now, with several datagrams, from a payload that lives as
    // long as the program.
    let any_sent = unsafe { sender.send_in_parts(socket.as_fd(), 0, &mut tally) };
    assert!(any_sent);
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

#[test]
fn packets_leave_from_the_source_that_is_asked_for() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let (receiver, peer) = receiver();
    for (gso, no_checksums) in [(Gso::On, false), (Gso::On, true), (Gso::Off, false)] {
        // Without checksums, the kernel leaves it to the sender to cut the packet.
        setsockopt(&socket, NoChecksums, &no_checksums).unwrap();
        let mut sender = Sender::new(gso);
        for source in [
            Some("127.0.0.2"),
            Some("127.0.0.3"),
            None,
            Some("127.0.0.2"),
        ] {
            let packets = [
                Packet::single(&peer, b"before"),
                ten_bytes_in_threes(&peer),
                Packet::single(&peer, b"after"),
            ];
            let local = source.map(|ip| LocalAddr::of(format!("{ip}:0").parse().unwrap()));
            let tally = sender.send_from(local, &socket, packets);
            assert_eq!((tally.sent, tally.total()), (6, 6), "{source:?}");
            assert_eq!(tally.split_packets, u64::from(no_checksums));
            for part in [&b"before"[..], b"aaa", b"bbb", b"ccc", b"d", b"after"] {
                let mut buffer = [0; 16];
                let (len, from) = receiver.recv_from(&mut buffer).unwrap();
                assert_eq!(&buffer[..len], part);
                assert_eq!(from.ip().to_string(), source.unwrap_or("127.0.0.1"));
            }
        }
    }
}

#[test]
fn a_source_is_a_control_message_of_its_own_or_follows_the_segments() {
    let (_receiver, peer) = receiver();
    let source = |text: &str| Some(LocalAddr::of(text.parse().unwrap()));
    for (source, bytes) in [
        (None, 0),
        (source("127.0.0.2:0"), 32),
        (source("[::1]:0"), 40),
    ] {
        let mut sender = Sender::new(Gso::On);
        sender.source = Source::new(source);
        let packets = [Packet::single(&peer, b"x"), ten_bytes_in_threes(&peer)];
        sender.gather(&mut packets.into_iter());
        let segment_bytes = size_of::<SegmentControl>();
        for (header, (expected, has_segments)) in sender
            .headers
            .iter()
            .zip([(bytes, false), (segment_bytes + bytes, true)])
        {
            assert_eq!(header.msg_hdr.msg_controllen, expected);
            assert_eq!(header.msg_hdr.msg_control.is_null(), expected == 0);
            assert_eq!(is_segmented(header), has_segments, "{source:?}");
        }
    }
}

#[test]
fn an_ipv6_packet_leaves_from_its_source() {
    let socket = UdpSocket::bind("[::]:0").unwrap();
    let receiver = UdpSocket::bind("[::1]:0").unwrap();
    let peer = PeerAddr::new(receiver.local_addr().unwrap(), 0);
    let local = |text: &str| Some(LocalAddr::of(text.parse().unwrap()));
    let mut sender = Sender::new(Gso::On);
    let packets = || [ten_bytes_in_threes(&peer), Packet::single(&peer, b"x")];
    assert_eq!(
        sender.send_from(local("[::1]:0"), &socket, packets()).sent,
        5
    );
    for part in [&b"aaa"[..], b"bbb", b"ccc", b"d", b"x"] {
        assert_eq!(received(&receiver), part);
    }
    // The kernel looks at the source: this one belongs to no interface.
    let foreign = local("[2001:db8::1]:0");
    assert_eq!(sender.send_from(foreign, &socket, packets()).refused, 5);
}

#[test]
fn a_packet_filter_does_not_end_the_use_of_batches() {
    let (receiver, peer) = receiver();
    for (refused_len, sent) in [(Some(2), 1), (None, 2)] {
        let send = || {
            refuse_batches(refused_len)?;
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut sender = Sender::new(Gso::On);
            let tally = sender.send(&socket, [Packet::single(&peer, b"x"); 2]);
            assert_eq!((tally.sent, tally.total()), (sent, 2));
            // Only a call that is refused as such is replaced.
            assert_eq!(sender.is_one_by_one, refused_len.is_none());
            Ok::<_, io::Error>(())
        };
        // The filter stays with its thread.
        let result = std::thread::scope(|scope| scope.spawn(send).join());
        if let Err(error) = result.unwrap() {
            println!("skipped: no filter of system calls: {error}");
            return;
        }
        (0..sent).for_each(|_| drop(received(&receiver)));
    }
}

/// Refuses `sendmmsg` with this number of headers, as a firewall does for a packet, or with any.
fn refuse_batches(len: Option<u32>) -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let line = |code, if_equal, otherwise, k| libc::sock_filter {
        code,
        jt: if_equal,
        jf: otherwise,
        k,
    };
    // The number of the call, and the lower half of its third argument.
    let third = 16 + 2 * 8 + if cfg!(target_endian = "big") { 4 } else { 0 };
    let mut lines = [
        line(LOAD, 0, 0, 0),
        line(EQUAL, 0, 3, libc::SYS_sendmmsg as u32),
        line(LOAD, 0, 0, third),
        line(EQUAL, 0, u8::from(len.is_some()), len.unwrap_or(0)),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: lines.len() as u16,
        filter: lines.as_mut_ptr(),
    };
    // SAFETY: the kernel reads the program, which lives in this frame, within the call.
    let results = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ),
        ]
    };
    if results == [0, 0] {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
