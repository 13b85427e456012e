use super::super::tests::NoChecksums;
use super::watched::leaves;
use super::*;
use nix::sys::socket::setsockopt;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

/// Sockets of different addresses, which stand in for those of one, and a receiver.
struct Fixture {
    own: UdpSocket,
    spares: Spares,
    paths: SendPaths,
    sender: Sender,
    receiver: std::net::UdpSocket,
}

fn spares(spare: UdpSocket, apart: UdpSocket) -> Spares {
    Spares {
        spare,
        apart: Arc::new(apart),
        needs_source: false,
    }
}

impl Fixture {
    fn new() -> Self {
        let bind = || UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_nonblocking(true).unwrap();
        Self {
            own: bind(),
            spares: spares(bind(), bind()),
            paths: SendPaths::default(),
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
            spares: Some(&self.spares),
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
    let mut news = PathNews::default();
    fixture.paths.take_news(&mut news);
    assert_eq!(news.gso_stops, 0);
}

#[test]
fn a_source_that_has_gone_is_no_refusal_to_segment() {
    let mut fixture = Fixture::new();
    let peers = fixture.peers(1);
    let gone = LocalAddr::of("192.0.2.1:0".parse().unwrap());
    let packet = Packet {
        to: &peers[0],
        payload: b"aabbc",
        segment_bytes: NonZeroU16::new(2),
        deliveries: 3,
    };
    let sockets = SendSockets {
        own: &fixture.own,
        spares: None,
    };
    let (sender, paths) = (&mut fixture.sender, &mut fixture.paths);
    let tally = sender.send_by(paths, sockets, Some(gone), [packet]);
    assert_eq!((tally.refused, tally.total()), (3, 3));
    assert!(paths.segments.get_mut().is_whole());
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
struct Stuck {
    fixture: Fixture,
    /// The other ends of the own socket, of the spare, and of that for suspects.
    ends: Vec<UnixDatagram>,
}

impl Stuck {
    fn new() -> Self {
        let pairs: Vec<_> = (0..3).map(|_| UnixDatagram::pair().unwrap()).collect();
        let (sockets, ends): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let as_udp = |socket: UnixDatagram| {
            socket.set_nonblocking(true).unwrap();
            UdpSocket::from_std(std::net::UdpSocket::from(OwnedFd::from(socket)))
        };
        let mut sockets = sockets.into_iter().map(as_udp);
        for end in &ends {
            end.set_nonblocking(true).unwrap();
        }
        Self {
            fixture: Fixture {
                own: sockets.next().unwrap(),
                spares: spares(sockets.next().unwrap(), sockets.next().unwrap()),
                ..Fixture::new()
            },
            ends,
        }
    }

    /// Sends a byte to each peer, with time for `test_waits`.
    fn send(&mut self, peers: &[PeerAddr], test_waits: u32) {
        let Fixture {
            own,
            spares,
            paths,
            sender,
            ..
        } = &mut self.fixture;
        let mut packets = peers.iter().map(|to| Packet::single(to, b"x"));
        let gathered = sender.gather(&mut packets);
        for header in &mut sender.headers[..gathered] {
            header.msg_hdr.msg_namelen = 0;
        }
        let sockets = SendSockets {
            own,
            spares: Some(spares),
        };
        paths.state.refresh(sockets);
        let mut paths = Paths {
            sockets,
            state: &mut paths.state,
            segments: &paths.segments,
            may_wait: true,
            may_switch: true,
            test_waits,
            apart_is_full: false,
        };
        let mut tally = SendTally::default();
        // SAFETY: gathered just now, and the peers and the text are still borrowed.
        unsafe { sender.flush_by(&mut paths, 0..gathered, &mut tally) };
        assert_eq!((tally.sent, tally.failed()), (peers.len() as u64, 0));
    }

    /// Reads what waits in each socket, and returns the numbers of packets.
    fn received(&self) -> [usize; 3] {
        let receive =
            |end: &UnixDatagram| std::iter::from_fn(|| end.recv(&mut [0; 1]).ok()).count();
        [0, 1, 2].map(|socket| receive(&self.ends[socket]))
    }
}

#[test]
fn a_full_socket_is_replaced_and_the_rest_is_tested() {
    // Without time for a wait, nobody is tested, and nobody is taken for a suspect.
    for (test_waits, expected) in [(2, Route::Apart), (0, Route::Test)] {
        let mut stuck = Stuck::new();
        let peers = stuck.fixture.peers(3);
        while stuck.fixture.own.send(&[0; 512]).is_ok() {}
        stuck.send(&peers, test_waits);
        let state = &stuck.fixture.paths.state;
        assert!(state.is_clogged);
        for peer in &peers {
            let route = state.quarantine.route(peer, Instant::now());
            assert_eq!(route, expected);
        }
        assert_eq!(stuck.received()[1..], [3, 0]);
    }
}

#[test]
fn a_peer_is_tested_with_one_packet_at_a_time() {
    let mut stuck = Stuck::new();
    let peer = stuck.fixture.peers(1)[0];
    while stuck.fixture.own.send(&[0; 512]).is_ok() {}
    stuck.send(&[peer; 3], 2);
    // The first fails the test, so that the others go apart.
    assert_eq!(stuck.received()[1..], [1, 2]);
}

#[test]
fn a_suspect_is_tested_through_the_spare_while_that_is_idle() {
    let mut stuck = Stuck::new();
    let peers = stuck.fixture.peers(2);
    while stuck.fixture.own.send(&[0; 512]).is_ok() {}
    stuck.send(&peers, 2);
    assert_eq!(stuck.received()[1..], [2, 0]);
    let end_pauses = |stuck: &mut Stuck| {
        let quarantine = &mut stuck.fixture.paths.state.quarantine;
        quarantine.end_pauses(Instant::now());
    };
    // The own socket is empty. Of both, one is tested, which does not leave.
    end_pauses(&mut stuck);
    stuck.send(&peers, 2);
    let tested = |stuck: &Stuck| stuck.fixture.paths.state.retest.as_ref().unwrap().peer;
    let end_test = |stuck: &mut Stuck| {
        let retest = stuck.fixture.paths.state.retest.as_mut().unwrap();
        retest.sent -= 2 * MAX_LEAVE_TIME;
    };
    assert_eq!(tested(&stuck), peers[0]);
    end_test(&mut stuck);
    // Now the other is.
    stuck.send(&peers, 2);
    assert_eq!(tested(&stuck), peers[1]);
    assert_eq!(stuck.received(), [0, 2, 2]);
    // This time, it has left.
    end_test(&mut stuck);
    stuck.send(&peers, 2);
    assert_eq!(stuck.received(), [1, 0, 1]);
}
