//! Packets for v2 peers. A datagram, called a bundle, holds many messages.

use super::backlog::{MAX_BYTES, MAX_TEXTS, RoomTexts};
use super::packets::Packets;
use crate::net::MAX_PACKET_BYTES;
use crate::server::ops::stats::WorkerId;
use crate::wire::v2::{
    BundleSize, HEADER_BYTES, Message, ServerFrame, push_padding, push_server_frame,
    push_server_header,
};

/// Small bundles are rare, so they have no memory until the first ones.
pub(super) fn new_bundle_packets(size: BundleSize) -> Packets {
    let bytes = match size {
        BundleSize::Full => MAX_BYTES + MAX_TEXTS * 32,
        BundleSize::Small => 0,
    };
    Packets::with_capacity(bytes, bytes / size.bytes(), packet_bundles(size))
}

/// Puts the texts of a room, in their order, into bundles of this size. All but the last bundle
/// of a packet are padded to exactly that length. A text that is longer alone is a packet of its
/// own. The texts become messages of the stream of `worker`, numbered from `first_sequence`.
pub(super) fn plan_bundles(
    texts: RoomTexts<'_>,
    worker: WorkerId,
    first_sequence: u32,
    size: BundleSize,
    packets: &mut Packets,
) {
    packets.clear();
    let (max_bytes, max_bundles) = (size.bytes(), packet_bundles(size));
    let room = texts.room();
    let mut bundle_start = packets.bytes().len();
    let (mut bundles, mut messages) = (0, 0);
    for ((from, _, payload), index) in texts.iter().zip(0_u32..) {
        let message = ServerFrame::Message(Message {
            room: room.number(),
            stream: worker.0,
            sequence: first_sequence.wrapping_add(index),
            from,
            payload,
        });
        if bundles > 0 {
            let bytes = packets.bytes();
            let before = bytes.len();
            push_server_frame(&message, bytes);
            let end = bytes.len();
            if end - bundle_start <= max_bytes {
                messages += 1;
                continue;
            }
            bytes.truncate(before);
            let last_bytes = before - bundle_start;
            let next_bytes = end - before + HEADER_BYTES;
            if bundles == max_bundles || last_bytes.max(next_bytes) > max_bytes {
                packets.finish(max_bytes.max(last_bytes) as u16, messages);
                (bundles, messages) = (0, 0);
            } else {
                push_padding(bundle_start, max_bytes, bytes);
            }
        }
        let bytes = packets.bytes();
        bundle_start = bytes.len();
        push_server_header(EVERYONE, bytes);
        push_server_frame(&message, bytes);
        bundles += 1;
        messages += 1;
    }
    if bundles > 0 {
        let last_bytes = packets.bytes().len() - bundle_start;
        packets.finish(max_bytes.max(last_bytes) as u16, messages);
    }
}

/// Returns the maximum number of bundles per packet, which is 54 or 64, and of datagrams per pass,
/// which is one packet. The kernel counts about 2.3 kB per full bundle in a peer's receive buffer,
/// which holds 92 of them by default.
const fn packet_bundles(size: BundleSize) -> usize {
    let bundles = MAX_PACKET_BYTES / size.bytes();
    if bundles < MAX_BUNDLES {
        bundles
    } else {
        MAX_BUNDLES
    }
}

/// Every kernel with GSO takes so many segments.
const MAX_BUNDLES: usize = 64;

/// The receiver in the header of a bundle. All members of a room receive the same bytes.
const EVERYONE: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::PeerAddr;
    use crate::server::egress::backlog::Backlog;
    use crate::server::registry::Room;
    use crate::wire::DisplayName;
    use crate::wire::v2::{MAX_PAYLOAD_BYTES, parse_server};
    use proptest::prelude::*;

    fn sender(port: u16) -> PeerAddr {
        PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
    }

    proptest! {
        #[test]
        fn bundles_hold_every_message_in_order_within_their_limit(
            lens in prop::collection::vec(0_usize..=MAX_PAYLOAD_BYTES, 1..200),
            short in any::<bool>(),
            size in prop::sample::select(&BundleSize::ALL),
        ) {
            let mut backlog = Backlog::new();
            let room = Room::plain(7, 3);
            let first_sequence = u32::MAX - 3;
            let mut expected = Vec::new();
            for (number, len) in lens.into_iter().enumerate() {
                let len = if short { len / 20 } else { len };
                let payload = vec![number as u8; len];
                let from = sender(number as u16 + 1);
                if backlog.push(&room, from, None, &payload).is_ok() {
                    let sequence = first_sequence.wrapping_add(expected.len() as u32);
                    expected.push((sequence, DisplayName::Address(from.socket_addr()), payload));
                }
            }
            let mut packets = new_bundle_packets(size);
            let texts = backlog.room(0).unwrap();
            plan_bundles(texts, WorkerId(2), first_sequence, size, &mut packets);
            prop_assert_eq!(packets.messages(), expected.len());

            let to = sender(9);
            let mut received = Vec::new();
            for packet in (0..packets.passes()).flat_map(|pass| packets.pass(pass, &to)) {
                prop_assert!(packet.payload.len() <= MAX_PACKET_BYTES);
                let bundles = packet.datagrams();
                prop_assert!(bundles.len() <= MAX_BUNDLES);
                let before = received.len();
                let is_alone = bundles.len() == 1;
                for bundle in bundles {
                    let frames: Vec<_> = parse_server(bundle).unwrap().collect();
                    let is_one_message = is_alone && frames.len() == 1;
                    prop_assert!(bundle.len() <= size.bytes() || is_one_message);
                    prop_assert!(bundle.len() <= BundleSize::Full.bytes());
                    for frame in frames {
                        let ServerFrame::Message(message) = frame else {
                            panic!("{frame:?}");
                        };
                        prop_assert_eq!((message.room, message.stream), (7, 2));
                        received.push((message.sequence, message.from, message.payload.to_vec()));
                    }
                }
                prop_assert_eq!(received.len() - before, packet.deliveries as usize);
            }
            prop_assert_eq!(received, expected);
        }
    }

    /// Plans payloads of these lengths, and returns the lengths of the bundles of each
    /// packet, pass by pass.
    fn passes(size: BundleSize, lens: impl IntoIterator<Item = usize>) -> Vec<Vec<Vec<usize>>> {
        let mut backlog = Backlog::new();
        let room = Room::plain(7, 1);
        for (port, len) in (1..).zip(lens) {
            backlog
                .push(&room, sender(port), None, &vec![0; len])
                .unwrap();
        }
        let mut packets = new_bundle_packets(size);
        let texts = backlog.room(0).unwrap();
        plan_bundles(texts, WorkerId(0), 0, size, &mut packets);
        let to = sender(9);
        let bundles = |packet: crate::net::Packet<'_>| {
            let bundles = packet.datagrams();
            bundles.map(<[u8]>::len).collect()
        };
        let passes = 0..packets.passes();
        passes
            .map(|pass| packets.pass(pass, &to).map(bundles).collect())
            .collect()
    }

    #[test]
    fn a_bundle_is_filled_to_the_byte() {
        // The header takes 10 bytes, and each message from an IPv4 peer 19.
        let full = |lens| passes(BundleSize::Full, lens);
        assert_eq!(full([576, 576]), [[[1200]]]);
        assert_eq!(full([576, 577]), [[[1200, 606]]]);
        let small = |lens| passes(BundleSize::Small, lens);
        assert_eq!(small([250, 250]), [[[548]]]);
        assert_eq!(small([250, 251]), [[[548, 280]]]);
    }

    #[test]
    fn a_text_that_is_longer_than_a_bundle_is_a_packet_of_its_own() {
        let packets = passes(BundleSize::Small, [9, 519, 520, 10, 600, 700, 8, 8]).concat();
        let expected: [&[usize]; 5] = [&[548, 548], &[549], &[39], &[629], &[729]];
        assert_eq!(packets[..5], expected);
        assert_eq!(packets[5..], [[64]]);
    }

    #[test]
    fn packets_are_full_and_a_pass_fits_into_a_receive_buffer() {
        let passes = passes(BundleSize::Full, [MAX_PAYLOAD_BYTES; 150]);
        let (last, full) = passes.split_last().unwrap();
        assert_eq!((full.len(), last.concat().len()), (2, 150 - 2 * 54));
        for pass in full {
            assert_eq!((pass.len(), pass[0].len()), (1, 54));
            assert_eq!(pass[0][..53], [1200; 53]);
        }
    }
}
