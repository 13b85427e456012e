//! Packets for v2 peers. A datagram, called a bundle, holds many messages.

use super::backlog::{MAX_BYTES, MAX_TEXTS, RoomTexts};
use super::packets::Packets;
use crate::net::{MAX_PACKET_BYTES, MAX_SEGMENTS};
use crate::server::ops::stats::WorkerId;
use crate::wire::v2::{
    BUNDLE_BYTES, Message, ServerFrame, push_padding, push_server_frame, push_server_header,
};

pub(super) fn new_bundle_packets() -> Packets {
    let bytes = MAX_BYTES + MAX_TEXTS * 32;
    Packets::with_capacity(bytes, bytes / BUNDLE_BYTES, PASS_DATAGRAMS)
}

/// Puts the texts of a room, in their order, into bundles of at most [`BUNDLE_BYTES`]. All
/// but the last bundle of a packet are padded to exactly that length. The texts become
/// messages of the stream of `worker`, with the next numbers.
pub(super) fn plan_bundles(texts: RoomTexts<'_>, worker: WorkerId, packets: &mut Packets) {
    packets.clear();
    let room = texts.room();
    let first_sequence = room.take_sequence(worker, texts.len() as u32);
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
            if bytes.len() - bundle_start <= BUNDLE_BYTES {
                messages += 1;
                continue;
            }
            bytes.truncate(before);
            if bundles == PACKET_BUNDLES {
                packets.finish(BUNDLE_BYTES as u16, messages);
                (bundles, messages) = (0, 0);
            } else {
                push_padding(bundle_start, BUNDLE_BYTES, bytes);
            }
        }
        let bytes = packets.bytes();
        bundle_start = bytes.len();
        push_server_header(bytes);
        push_server_frame(&message, bytes);
        bundles += 1;
        messages += 1;
    }
    if bundles > 0 {
        packets.finish(BUNDLE_BYTES as u16, messages);
    }
}

/// Maximum number of bundles per packet, which is 54.
const PACKET_BUNDLES: usize = if MAX_PACKET_BYTES / BUNDLE_BYTES < MAX_SEGMENTS {
    MAX_PACKET_BYTES / BUNDLE_BYTES
} else {
    MAX_SEGMENTS
};

/// Maximum number of datagrams per pass: one packet. The kernel counts about 2.3 kB per
/// bundle in a peer's receive buffer, which holds 92 of them by default.
const PASS_DATAGRAMS: usize = PACKET_BUNDLES;

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
        ) {
            let mut backlog = Backlog::new();
            let room = Room::plain(7, 3);
            let first_sequence = u32::MAX - 3;
            room.take_sequence(WorkerId(2), first_sequence);
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
            let mut packets = new_bundle_packets();
            plan_bundles(backlog.room(0).unwrap(), WorkerId(2), &mut packets);
            prop_assert_eq!(packets.messages(), expected.len());

            let taken = room.take_sequence(WorkerId(2), 0).wrapping_sub(first_sequence);
            prop_assert_eq!(taken as usize, expected.len());

            let to = sender(9);
            let mut received = Vec::new();
            for packet in (0..packets.passes()).flat_map(|pass| packets.pass(pass, &to)) {
                prop_assert!(packet.payload.len() <= MAX_PACKET_BYTES);
                let bundles = packet.datagrams();
                prop_assert!(bundles.len() <= MAX_SEGMENTS);
                let before = received.len();
                for bundle in bundles {
                    prop_assert!(bundle.len() <= BUNDLE_BYTES);
                    let frames = parse_server(bundle).unwrap();
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
    fn passes(lens: impl IntoIterator<Item = usize>) -> Vec<Vec<Vec<usize>>> {
        let mut backlog = Backlog::new();
        let room = Room::plain(7, 1);
        for (port, len) in (1..).zip(lens) {
            backlog
                .push(&room, sender(port), None, &vec![0; len])
                .unwrap();
        }
        let mut packets = new_bundle_packets();
        plan_bundles(backlog.room(0).unwrap(), WorkerId(0), &mut packets);
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
        // The header takes 2 bytes, and each message from an IPv4 peer 19.
        assert_eq!(passes([580, 580]), [[[1200]]]);
        assert_eq!(passes([580, 581]), [[[1200, 602]]]);
    }

    #[test]
    fn packets_are_full_and_a_pass_fits_into_a_receive_buffer() {
        let passes = passes([MAX_PAYLOAD_BYTES; 150]);
        let (last, full) = passes.split_last().unwrap();
        assert_eq!((full.len(), last.concat().len()), (2, 150 - 2 * 54));
        for pass in full {
            assert_eq!((pass.len(), pass[0].len()), (1, 54));
            assert_eq!(pass[0][..53], [1200; 53]);
        }
    }
}
