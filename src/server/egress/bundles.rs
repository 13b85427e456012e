//! Packets for v2 peers. A datagram, called a bundle, holds many messages.

use super::backlog::RoomTexts;
use super::packets::Packets;
use crate::net::{MAX_PACKET_BYTES, MAX_SEGMENTS};
use crate::server::ops::stats::WorkerId;
use crate::wire::v2::{
    BUNDLE_BYTES, Message, ServerFrame, push_padding, push_server_frame, push_server_header,
};

pub(super) fn new_bundle_packets() -> Packets {
    Packets::with_capacity(PASS_BUNDLES * BUNDLE_BYTES, 1)
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

/// Maximum number of bundles per plan: one packet. The kernel counts about 2.3 kB per
/// bundle in a peer's receive buffer, which holds 92 of them by default.
pub(super) const PASS_BUNDLES: usize = PACKET_BUNDLES;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::PeerAddr;
    use crate::server::egress::backlog::Backlog;
    use crate::server::egress::pass::PassLimits;
    use crate::server::registry::Registry;
    use crate::wire::DisplayName;
    use crate::wire::v2::{MAX_PAYLOAD_BYTES, SessionId, parse_server};
    use proptest::prelude::*;

    fn sender(port: u16) -> PeerAddr {
        PeerAddr::new(([127, 0, 0, 1], port).into(), 0)
    }

    /// Returns a registry with one v2 peer in the lobby.
    fn registry() -> Registry {
        let registry = Registry::plain(3, 1);
        registry.open_session(&sender(9), WorkerId(0), SessionId::new(7).unwrap(), 0);
        registry
    }

    /// Returns the packets of each plan for the texts in a backlog.
    fn plans(backlog: &mut Backlog, worker: WorkerId) -> Vec<Packets> {
        let mut plans = Vec::new();
        while let Some(room) = backlog.current() {
            let mut packets = new_bundle_packets();
            let limits = PassLimits::new(&backlog.room(room).members());
            plan_bundles(backlog.pick(room, limits), worker, &mut packets);
            backlog.release();
            plans.push(packets);
        }
        plans
    }

    proptest! {
        #[test]
        fn bundles_hold_every_message_in_order_within_their_limit(
            lens in prop::collection::vec(0_usize..=MAX_PAYLOAD_BYTES, 1..200),
            short in any::<bool>(),
        ) {
            let registry = registry();
            let room = registry.lobby();
            let mut backlog = Backlog::new(Duration::from_secs(10));
            let first_sequence = u32::MAX - 3;
            room.take_sequence(WorkerId(2), first_sequence);
            let mut expected = Vec::new();
            for (number, len) in lens.into_iter().enumerate() {
                let len = if short { len / 20 } else { len };
                let payload = vec![number as u8; len];
                backlog.push(room, sender(9), None, &payload).unwrap();
                let sequence = first_sequence.wrapping_add(expected.len() as u32);
                expected.push((sequence, DisplayName::Address(sender(9).socket_addr()), payload));
            }
            let plans = plans(&mut backlog, WorkerId(2));
            let messages: usize = plans.iter().map(Packets::messages).sum();
            prop_assert_eq!(messages, expected.len());

            let taken = room.take_sequence(WorkerId(2), 0).wrapping_sub(first_sequence);
            prop_assert_eq!(taken as usize, expected.len());

            let to = sender(9);
            let mut received = Vec::new();
            for packets in &plans {
                let sent: Vec<_> = packets.to(&to).collect();
                prop_assert_eq!(sent.len(), 1);
                let packet = sent[0];
                prop_assert!(packet.payload.len() <= MAX_PACKET_BYTES);
                let bundles = packet.datagrams();
                prop_assert!(bundles.len() <= PASS_BUNDLES);
                let before = received.len();
                for bundle in bundles {
                    prop_assert!(bundle.len() <= BUNDLE_BYTES);
                    let frames = parse_server(bundle).unwrap();
                    for frame in frames {
                        let ServerFrame::Message(message) = frame else {
                            panic!("{frame:?}");
                        };
                        prop_assert_eq!((message.room, message.stream), (room.number(), 2));
                        received.push((message.sequence, message.from, message.payload.to_vec()));
                    }
                }
                prop_assert_eq!(received.len() - before, packet.deliveries as usize);
            }
            prop_assert_eq!(received, expected);
        }
    }

    /// Plans payloads of these lengths, and returns the lengths of the bundles of each plan.
    fn bundles(lens: impl IntoIterator<Item = usize>) -> Vec<Vec<usize>> {
        let registry = registry();
        let mut backlog = Backlog::new(Duration::from_secs(10));
        for len in lens {
            let payload = vec![0; len];
            backlog
                .push(registry.lobby(), sender(9), None, &payload)
                .unwrap();
        }
        let plans = plans(&mut backlog, WorkerId(0));
        let lens = |packets: &Packets| {
            let to = sender(9);
            let packets = packets.to(&to).collect::<Vec<_>>();
            packets[0].datagrams().map(<[u8]>::len).collect()
        };
        plans.iter().map(lens).collect()
    }

    #[test]
    fn a_bundle_is_filled_to_the_byte() {
        // The header takes 2 bytes, and each message from an IPv4 peer 19.
        assert_eq!(bundles([580, 580]), [[1200]]);
        assert_eq!(bundles([580, 581]), [[1200, 602]]);
    }

    #[test]
    fn a_plan_fits_into_a_receive_buffer() {
        let plans = bundles([MAX_PAYLOAD_BYTES; 150]);
        let (last, full) = plans.split_last().unwrap();
        assert_eq!((full.len(), last.len()), (2, 150 - 2 * 54));
        for plan in full {
            assert_eq!(plan.len(), 54);
            assert_eq!(plan[..53], [1200; 53]);
        }
    }
}
