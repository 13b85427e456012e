use super::*;
use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

sockopt_impl!(
    /// Sends without checksums, in which case the kernel segments nothing.
    NoChecksums,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_NO_CHECK,
    bool
);

/// Sockets of different addresses, which stand in for those of one, and a receiver.
struct Fixture {
    own: UdpSocket,
    spares: Vec<UdpSocket>,
    paths: SendPaths,
    sender: Sender,
    receiver: std::net::UdpSocket,
}

impl Fixture {
    fn new() -> Self {
        let bind = || UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_nonblocking(true).unwrap();
        Self {
            own: bind(),
            spares: (0..SPARES).map(|_| bind()).collect(),
            paths: SendPaths::new(),
            sender: Sender::new(Gso::On),
            receiver,
        }
    }

    fn set_segmenting(&self, is_on: bool) {
        setsockopt(&self.own, NoChecksums, &!is_on).unwrap();
    }

    /// Sends a packet of three datagrams to each peer. All must be received.
    fn send(&mut self, peers: &[PeerAddr]) -> SendTally {
        let packets = peers.iter().map(|to| Packet {
            to,
            payload: b"aabbc",
            segment_bytes: NonZeroU16::new(2),
            deliveries: 3,
        });
        let sockets = SendSockets {
            own: &self.own,
            spares: &self.spares,
        };
        let tally = self.sender.send_by(&mut self.paths, sockets, None, packets);
        assert_eq!((tally.sent, tally.failed()), (3 * peers.len() as u64, 0));
        tally
    }

    /// Returns different addresses of the receiver.
    fn peers(&self, count: u8) -> Vec<PeerAddr> {
        let peer = |host| PeerAddr::new(([127, 1, 1, host], 9).into(), 0);
        let mut peers: Vec<_> = (1..count).map(peer).collect();
        peers.push(PeerAddr::new(self.receiver.local_addr().unwrap(), 0));
        peers
    }
}

#[test]
fn the_refusal_to_segment_concerns_one_peer() {
    let mut fixture = Fixture::new();
    let peers = fixture.peers(3);
    fixture.set_segmenting(false);
    assert_eq!(fixture.send(&peers[..1]).split_packets, 1);
    fixture.set_segmenting(true);
    assert_eq!(fixture.send(&peers[1..]).split_packets, 0);
    fixture.set_segmenting(false);
    // The first is not tried again.
    assert_eq!(fixture.send(&peers).split_packets, 2);
    assert_eq!(fixture.send(&peers).split_packets, 0);
    let mut buffer = [0; 8];
    for part in [&b"aa"[..], b"bb", b"c"].repeat(3) {
        let len = fixture.receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], part);
    }
    assert!(fixture.receiver.recv(&mut buffer).is_err());
    assert_eq!(fixture.paths.take_news().gso_stops, 0);
}

#[test]
fn a_refusal_is_forgotten_after_a_while() {
    let mut fixture = Fixture::new();
    let peers = fixture.peers(1);
    fixture.set_segmenting(false);
    fixture.send(&peers);
    let segments = fixture.paths.segments.get_mut();
    assert!(!segments.is_whole());
    for until in segments.refused.values_mut() {
        *until -= REFUSED_TIME;
    }
    assert_eq!(fixture.send(&peers).split_packets, 1);
}

#[test]
fn segmenting_stops_when_many_peers_refuse_and_none_takes_a_packet() {
    let now = Instant::now();
    let peer = |number: usize| {
        let [_, _, high, low] = (number as u32).to_be_bytes();
        PeerAddr::new(([10, 0, high, low], 9).into(), 0)
    };
    let mut paths = SendPaths::new();
    let segments = paths.segments.get_mut();
    for number in 0..MAX_REFUSED {
        segments.refuse(&peer(number), now);
    }
    assert!(segments.off_until.is_none());
    segments.in_a_row = 0;
    // A new one has no space, but another peer's packet was taken in between.
    segments.refuse(&peer(MAX_REFUSED), now);
    assert!(segments.off_until.is_none());
    assert_eq!(segments.refused.len(), MAX_REFUSED);

    segments.in_a_row = MAX_REFUSED - 1;
    segments.refuse(&peer(MAX_REFUSED), now);
    assert!(!segments.is_whole() && segments.is_refused(&peer(7777), now));
    segments.off_until = Some(Instant::now());
    assert!(segments.is_whole());
    assert_eq!(paths.take_news().gso_stops, 1);
    assert_eq!(paths.take_news(), PathNews::default());
}

#[test]
fn packets_leave_at_once_or_within_a_while_or_not() {
    let mut readings = [7, 7, 5].into_iter();
    assert!(leaves(|| readings.next().unwrap(), 5));
    assert_eq!(readings.next(), None);
    assert!(!leaves(|| 7, 5));
}

/// Unix sockets stand in for those of an interface that sends nothing: what is sent stays
/// until the other end reads it.
#[test]
fn a_full_socket_is_replaced_and_the_rest_is_tested() {
    let pairs: Vec<_> = (0..=SPARES)
        .map(|_| UnixDatagram::pair().unwrap())
        .collect();
    let (sockets, ends): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    sockets[0].set_nonblocking(true).unwrap();
    while sockets[0].send(&[0; 512]).is_ok() {}
    let as_udp = |socket: UnixDatagram| {
        UdpSocket::from_std(std::net::UdpSocket::from(OwnedFd::from(socket)))
    };
    let mut sockets = sockets.into_iter().map(as_udp);
    let mut fixture = Fixture {
        own: sockets.next().unwrap(),
        spares: sockets.collect(),
        ..Fixture::new()
    };
    let peers = fixture.peers(3);
    let packets = peers.iter().map(|to| Packet::single(to, b"x"));
    let gathered = fixture.sender.gather(&mut packets.clone());
    for header in &mut fixture.sender.headers[..gathered] {
        header.msg_hdr.msg_namelen = 0;
    }
    let SendPaths {
        is_clogged,
        quarantine,
        segments,
    } = &mut fixture.paths;
    let mut paths = Paths {
        sockets: SendSockets {
            own: &fixture.own,
            spares: &fixture.spares,
        },
        is_clogged,
        quarantine,
        segments,
        may_wait: true,
        may_switch: true,
        test_failures: 2,
        retest_failures: 0,
        apart_is_full: false,
    };
    let mut tally = SendTally::default();
    // SAFETY: gathered just now, and the peers and the text are still borrowed.
    unsafe {
        let done = fixture.sender.flush(&mut paths, 0..gathered, &mut tally);
        assert_eq!((done, *paths.is_clogged), (0, true));
        fixture
            .sender
            .flush_routed(&mut paths, 0..gathered, &mut tally);
    }
    assert_eq!((tally.sent, tally.failed()), (3, 0));
    let now = Instant::now();
    let routes = [0, 1, 2].map(|index| paths.quarantine.route(&peers[index], now));
    assert_eq!(routes, [Route::Apart, Route::Apart, Route::Test]);
    // Two by the spare, and the last, for whose test no time was left, by the socket for
    // suspects.
    let received = ends.iter().map(|end| {
        end.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| end.recv(&mut [0; 1]).ok()).count()
    });
    assert_eq!(received.skip(1).collect::<Vec<_>>(), [2, 1]);
}
