use std::net::UdpSocket;

use nix::sys::socket::setsockopt;

use super::super::tests::{NoChecksums, received, receiver};
use super::super::{Gso, Packet, SEND_BATCH, SendPaths, SendSockets, Sender};
use super::*;
use crate::net::PeerAddr;

/// A packet of three datagrams and one of one, as they stand in a template. `X` is the place of the
/// tag.
const PACKETS: [(&[u8], u16); 2] = [
    (b"aaXXXXXXXXabbXXXXXXXXbccXXXXXXXX", 11),
    (b"ddXXXXXXXXdd", 12),
];

struct Receivers(Vec<(UdpSocket, PeerAddr)>);

impl Receivers {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| receiver()).collect())
    }

    /// Returns the packets for each peer, with its tag.
    fn packets<'a>(&'a self, template: &'a Template<'a>) -> impl Iterator<Item = Packet<'a>> {
        let first = template.bytes.split_at(PACKETS[0].0.len());
        let packets = [(first.0, PACKETS[0].1), (first.1, PACKETS[1].1)];
        (0_u64..).zip(&self.0).flat_map(move |(number, (_, to))| {
            packets.map(|(payload, segment_bytes)| Packet {
                to,
                payload,
                segment_bytes: NonZeroU16::new(segment_bytes),
                deliveries: 2,
                tag: Some(Tag {
                    template,
                    bytes: tag(number),
                }),
            })
        })
    }

    /// Checks that each peer received each datagram once, in its order and with its tag.
    #[track_caller]
    fn expect(&self, bytes: &[u8]) {
        for (number, (socket, _)) in (0..).zip(&self.0) {
            let (first, last) = bytes.split_at(PACKETS[0].0.len());
            for datagram in first.chunks(PACKETS[0].1.into()).chain([last]) {
                let mut expected = datagram.to_vec();
                expected[TAG].copy_from_slice(&tag(number));
                assert_eq!(received(socket), expected, "at peer {number}");
            }
        }
    }
}

fn tag(number: u64) -> [u8; 8] {
    (0x0102_0304_0506_0000 + number).to_be_bytes()
}

fn template(bytes: &[u8], peers: usize) -> Template<'_> {
    Template {
        id: TemplateId::new(),
        bytes,
        peers,
    }
}

fn bytes() -> Vec<u8> {
    PACKETS.map(|(bytes, _)| bytes).concat()
}

#[test]
fn each_peer_receives_its_own_tag_however_many_copies_there_are() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let receivers = Receivers::new(20);
    let mut bytes = bytes();
    for gso in [Gso::On, Gso::Off] {
        let mut sender = Sender::new(gso);
        // The kernel refuses segments without checksums, so the sender cuts the packets.
        for no_checksums in [false, true] {
            setsockopt(&socket, NoChecksums, &no_checksums).unwrap();
            let mut all_copies = Vec::new();
            for peers in [0, 1, 100] {
                // Other bytes, at the same place.
                bytes[0] += 1;
                let template = template(&bytes, peers);
                for slice in 0..2 {
                    let tally = sender.send(&socket, receivers.packets(&template));
                    assert_eq!((tally.sent, tally.total()), (80, 80));
                    let is_split = no_checksums && gso == Gso::On;
                    assert_eq!(tally.split_packets, if is_split { 20 } else { 0 });
                    receivers.expect(template.bytes);
                    assert!(sender.copies.made <= sender.copies.max, "in slice {slice}");
                }
                all_copies.push(sender.copies.max);
            }
            assert!(all_copies.is_sorted() && all_copies[..2] == [1, 19]);
        }
    }
}

#[test]
fn a_peer_that_refuses_segments_receives_its_tag_from_then_on() {
    let own = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    setsockopt(&own, NoChecksums, &true).unwrap();
    let sockets = SendSockets {
        own: &own,
        spares: None,
    };
    let (mut paths, mut sender) = (SendPaths::default(), Sender::new(Gso::On));
    let receivers = Receivers::new(10);
    let bytes = bytes();
    let template = template(&bytes, 10);
    for split_packets in [10, 0] {
        let packets = receivers.packets(&template);
        let tally = sender.send_by(&mut paths, sockets, None, packets);
        assert_eq!((tally.sent, tally.split_packets), (40, split_packets));
        receivers.expect(&bytes);
    }
}

#[test]
fn copies_are_made_once_per_template_and_fit_into_their_memory() {
    let mut copies = Copies::default();
    let bytes = vec![1; 65_000];
    for (len, peers, max) in [
        (65_000, 1000, 6),
        (65_000, 100, 5),
        (65_000, 1, 1),
        (1200, 1000, 116),
        (10, 10_000, 4047),
        (10, usize::MAX, COPIES_BYTES / 64),
    ] {
        let template = template(&bytes[..len], peers);
        let mut made = 0;
        for number in 0..2 * max as u64 {
            if number % max as u64 == 0 {
                copies.begin_batch();
            }
            let tag = Tag {
                template: &template,
                bytes: tag(number),
            };
            let tagged = copies.tagged(template.bytes, None, &tag);
            assert_eq!(tagged.bytes.as_ptr().addr() % CACHE_LINE_BYTES, 0);
            assert_eq!(tagged.bytes[TAG], tag.bytes);
            assert!(tagged.bytes[TAG.end..].iter().all(|byte| *byte == 1));
            assert_eq!(tagged.is_last, (number + 1) % max as u64 == 0);
            made = made.max(copies.made);
        }
        assert_eq!((copies.max, made), (max, max), "{len} bytes to {peers}");
        assert_eq!(copies.memory.len(), COPIES_BYTES + CACHE_LINE_BYTES);
        copies.begin_batch();
    }
}

#[test]
fn a_batch_has_no_more_packets_than_without_tags() {
    let receivers = Receivers::new(1);
    let bytes = bytes();
    let template = template(&bytes, 1_000_000);
    let mut sender = Sender::new(Gso::Off);
    let to = &receivers.0[0].1;
    let mut packets = (0..2 * SEND_BATCH as u64).map(|number| Packet {
        tag: Some(Tag {
            template: &template,
            bytes: tag(number),
        }),
        ..Packet::single(to, &bytes[..11])
    });
    assert_eq!(sender.gather(&mut packets), SEND_BATCH);
    assert_eq!(sender.gather(&mut packets), SEND_BATCH);
    assert_eq!(sender.gather(&mut packets), 0);
}
