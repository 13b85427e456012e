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
        for socket in [&self.own, &*self.spares.apart] {
            setsockopt(socket, NoChecksums, &!is_on).unwrap();
        }
    }

    /// Sends a packet of three datagrams to each peer. All must be received.
    fn send(&mut self, peers: &[PeerAddr]) -> SendTally {
        let packets = peers.iter().map(|to| Packet {
            to,
            payload: b"aabbc",
            segment_bytes: NonZeroU16::new(2),
            deliveries: 3,
            tag: None,
        });
        let sockets = SendSockets {
            own: &self.own,
            spares: Some(&self.spares),
        };
        let tally = self.sender.send_by(&mut self.paths, sockets, None, packets);
        assert_eq!((tally.sent, tally.failed()), (3 * peers.len() as u64, 0));
        tally
    }

    fn take_news(&mut self) -> PathNews {
        let mut news = PathNews::default();
        self.paths.take_news(&mut news);
        news
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
    // The machine can segment, so one that refuses next is the first.
    let segments = fixture.paths.segments.get_mut();
    assert!(!segments.is_whole() && segments.in_a_row() == 0);
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
fn the_refusal_to_segment_for_a_suspect_is_remembered() {
    let mut fixture = Fixture::new();
    let suspect = fixture.peers(1)[0];
    let quarantine = &mut fixture.paths.state.quarantine;
    quarantine.judge(&suspect, false, Instant::now() + Duration::from_secs(3600));
    fixture.set_segmenting(false);
    assert_eq!(fixture.send(&[suspect]).split_packets, 1);
    assert_eq!(fixture.send(&[suspect]).split_packets, 0);
}

#[test]
fn a_search_ends_while_packets_are_sent() {
    let mut fixture = Fixture::new();
    let [suspect, peer] = fixture.peers(2).try_into().unwrap();
    let earlier = Instant::now() - Duration::from_secs(1);
    let quarantine = &mut fixture.paths.state.quarantine;
    quarantine.search(earlier);
    quarantine.judge(&suspect, false, earlier);
    quarantine.judge(&peer, true, earlier);
    fixture.send(&[peer]);
    assert_eq!(fixture.take_news().suspects, 1);
}

#[test]
fn a_packet_that_leaves_at_once_is_a_test_that_was_passed() {
    let mut fixture = Fixture::new();
    let [suspect, peer] = fixture.peers(2).try_into().unwrap();
    let later = Instant::now() + Duration::from_secs(3600);
    fixture.paths.state.quarantine.search(later);
    fixture.send(&[peer]);
    let quarantine = &mut fixture.paths.state.quarantine;
    quarantine.judge(&suspect, false, later);
    quarantine.handle_timeout(later + Duration::from_secs(1));
    // Without one that passed, it would be the machine that is slow.
    assert_eq!(fixture.take_news().suspects, 1);
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
        tag: None,
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
fn an_icmp_message_to_a_spare_costs_no_peer_its_packet() {
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let (full, _end) = UnixDatagram::pair().unwrap();
    let full = as_udp(full);
    while full.send(&[0; 9_000]).is_ok() {}
    let mut fixture = Fixture {
        own: full,
        ..Fixture::new()
    };
    let [suspect, retested, peer] = fixture.peers(3).try_into().unwrap();
    // So that nothing ends during the test.
    let later = Instant::now() + Duration::from_secs(3600);
    for is_searching in [true, false] {
        let state = &mut fixture.paths.state;
        state.is_clogged = true;
        if is_searching {
            state.quarantine.search(later);
        } else {
            state
                .quarantine
                .handle_timeout(later + Duration::from_secs(1));
        }
        state.quarantine.judge(&retested, false, later);
        state.quarantine.end_pauses(Instant::now());
        state.quarantine.judge(&suspect, false, later);
        for (to, route) in [
            (suspect, Route::Apart),
            (retested, Route::Retest),
            (
                peer,
                if is_searching {
                    Route::Test
                } else {
                    Route::Open
                },
            ),
        ] {
            let quarantine = &fixture.paths.state.quarantine;
            assert_eq!(quarantine.route(&to, Instant::now()), route);
            for spare in [&fixture.spares.spare, &*fixture.spares.apart] {
                spare.connect(nobody).unwrap();
                // It is answered with an ICMP message before this returns. This may fail with the
                // one of the round before.
                while spare.send(b"x").is_err() {}
            }
            fixture.send(&[to]);
            assert!(fixture.paths.state.is_clogged);
        }
    }
    assert!(fixture.paths.segments.get_mut().is_whole());
}

#[test]
fn packets_leave_at_once_or_within_a_while_or_not() {
    // However late the second look is.
    let mut readings = [7, 5].into_iter();
    assert!(leaves(|| readings.next().unwrap(), 5));
    assert_eq!(readings.next(), None);
    assert!(!leaves(|| 7, 5));
}

fn as_udp(socket: UnixDatagram) -> UdpSocket {
    socket.set_nonblocking(true).unwrap();
    UdpSocket::from_std(std::net::UdpSocket::from(OwnedFd::from(socket)))
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

#[test]
fn each_wait_of_a_test_is_counted() {
    let mut stuck = Stuck::new();
    let peers = stuck.fixture.peers(2);
    let quarantine = &mut stuck.fixture.paths.state.quarantine;
    let later = Instant::now() + Duration::from_secs(3600);
    quarantine.search(later);
    while quarantine.group_size() > 1 {
        quarantine.set_group_size(false);
    }
    stuck.send(&peers, 1);
    let quarantine = &stuck.fixture.paths.state.quarantine;
    let is_untested = |peer| quarantine.route(peer, later) == Route::Test;
    assert_eq!([&peers[0], &peers[1]].map(is_untested), [false, true]);
}

#[test]
fn a_full_socket_is_used_again_when_little_waits_in_it() {
    let mut stuck = Stuck::new();
    let Fixture {
        own, spares, paths, ..
    } = &mut stuck.fixture;
    let sockets = SendSockets {
        own,
        spares: Some(spares),
    };
    let state = &mut paths.state;
    own.send(&[0; 9_000]).unwrap();
    state.is_clogged = true;
    state.refresh(sockets);
    assert!(!state.is_clogged);
    while own.send(&[0; 9_000]).is_ok() {}
    state.is_clogged = true;
    state.refresh(sockets);
    assert!(state.is_clogged && state.quarantine.is_idle());
    // Now the spare fills, too: there are more bad peers.
    while spares.spare.send(&[0; 9_000]).is_ok() {}
    state.refresh(sockets);
    assert!(state.is_clogged && !state.quarantine.is_idle());
}

#[test]
fn a_retest_has_time_before_it_is_judged() {
    let mut stuck = Stuck::new();
    let peer = stuck.fixture.peers(1)[0];
    let Fixture {
        own, spares, paths, ..
    } = &mut stuck.fixture;
    let sockets = SendSockets {
        own,
        spares: Some(spares),
    };
    for (sent, is_due) in [
        (Instant::now() + Duration::from_secs(3600), false),
        (Instant::now() - 2 * MAX_LEAVE_TIME, true),
    ] {
        paths.state.retest = Some(Retest {
            peer,
            sent,
            queued_before: 0,
        });
        paths.state.refresh(sockets);
        assert_eq!(paths.state.retest.is_none(), is_due);
    }
}

#[test]
fn of_two_full_sockets_the_emptier_one_is_used_next() {
    let mut stuck = Stuck::new();
    let peer = stuck.fixture.peers(1)[0];
    let Fixture {
        own, spares, paths, ..
    } = &mut stuck.fixture;
    let sockets = SendSockets {
        own,
        spares: Some(spares),
    };
    let retest = || Retest {
        peer,
        sent: Instant::now(),
        queued_before: 0,
    };
    let mut make_space = |is_clogged| {
        paths.state.is_clogged = is_clogged;
        paths.state.retest = Some(retest());
        let mut paths = Paths {
            sockets,
            state: &mut paths.state,
            segments: &paths.segments,
            may_wait: false,
            may_switch: true,
            test_waits: 0,
            apart_is_full: false,
        };
        let full = paths.make_space();
        // A retest means nothing among other packets.
        (full, paths.state.is_clogged, paths.state.retest.is_none())
    };
    while spares.spare.send(&[0; 9_000]).is_ok() {}
    own.send(&[0; 9_000]).unwrap();
    assert_eq!(make_space(true), (Full::Reroute, false, true));
    assert_eq!(make_space(false), (Full::Drop, false, false));
    while own.send(&[0; 9_000]).is_ok() {}
    while stuck.ends[1].recv(&mut [0; 9_000]).is_ok() {}
    assert_eq!(make_space(false), (Full::Reroute, true, true));
    assert_eq!(make_space(true), (Full::Drop, true, false));
}

#[test]
fn while_the_spare_is_in_use_a_retest_is_judged_at_once_or_waits() {
    let mut stuck = Stuck::new();
    let peer = stuck.fixture.peers(1)[0];
    while stuck.fixture.own.send(&[0; 9_000]).is_ok() {}
    let route = |stuck: &mut Stuck| {
        let state = &mut stuck.fixture.paths.state;
        state.is_clogged = true;
        state.quarantine.judge(&peer, false, Instant::now());
        state.quarantine.end_pauses(Instant::now());
        stuck.send(&[peer], 0);
        let state = &stuck.fixture.paths.state;
        assert!(state.is_clogged && state.retest.is_none());
        state.quarantine.route(&peer, Instant::now())
    };
    assert_eq!(route(&mut stuck), Route::Apart);
    assert_eq!(stuck.ends[1].recv(&mut [0; 8]).unwrap(), 1);
    // A spare with much in it holds no more tests.
    let spare = &stuck.fixture.spares.spare;
    while queued_bytes(spare.as_fd()) < MAX_QUEUED_BYTES {
        spare.send(&[0; 9_000]).unwrap();
    }
    assert_eq!(route(&mut stuck), Route::Retest);
    assert_eq!(stuck.received()[2], 1);
}
