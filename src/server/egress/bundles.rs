//! Packets for v2 peers. A datagram, called a bundle, holds many messages.

use super::backlog::RoomTexts;
use super::packets::Packets;
use crate::net::{MAX_PACKET_BYTES, TAG};
use crate::server::ops::stats::WorkerId;
use crate::wire::v2::{
    BundleSize, HEADER_BYTES, Message, ServerFrame, push_padding, push_server_frame,
    push_server_header,
};

/// Small bundles are rare, so they have no memory until the first ones.
pub(super) fn new_bundle_packets(size: BundleSize) -> Packets {
    match size {
        BundleSize::Full => Packets::with_capacity(max_bundles(size) * size.bytes(), 1),
        BundleSize::Small => Packets::with_capacity(0, 0),
    }
}

/// Puts the texts of a room, in their order, into bundles of this size. The texts become messages of
/// the stream of `worker`, numbered from `first_sequence`. The session of the receiver is written
/// into each bundle when it is sent.
pub(super) fn plan_bundles(
    texts: RoomTexts<'_>,
    worker: WorkerId,
    first_sequence: u32,
    size: BundleSize,
    packets: &mut Packets,
) {
    packets.clear_template();
    let room = texts.room();
    let mut bundler = Bundler::new(size, TO_BE_TAGGED, packets);
    for ((from, _, payload), index) in texts.iter().zip(0_u32..) {
        bundler.push(&ServerFrame::Message(Message {
            room: room.number(),
            stream: worker.0,
            sequence: first_sequence.wrapping_add(index),
            from,
            payload,
        }));
    }
    bundler.finish();
}

/// Puts frames into bundles, in their order. All but the last bundle of a packet are padded to
/// exactly the length of a bundle. A frame that is longer alone is a packet of its own.
pub(super) struct Bundler<'a> {
    packets: &'a mut Packets,
    size: BundleSize,
    /// The session in the headers.
    receiver: u64,
    /// The start of the last bundle.
    bundle_start: usize,
    /// The numbers of bundles and of messages in the packet so far.
    bundles: usize,
    messages: u16,
}

impl<'a> Bundler<'a> {
    pub(super) fn new(size: BundleSize, receiver: u64, packets: &'a mut Packets) -> Self {
        Self {
            bundle_start: packets.bytes().len(),
            packets,
            size,
            receiver,
            bundles: 0,
            messages: 0,
        }
    }

    pub(super) fn push(&mut self, frame: &ServerFrame<'_>) {
        let messages = u16::from(matches!(frame, ServerFrame::Message(_)));
        let max_bytes = self.size.bytes();
        if self.bundles > 0 {
            let bytes = self.packets.bytes();
            let before = bytes.len();
            push_server_frame(frame, bytes);
            let end = bytes.len();
            if end - self.bundle_start <= max_bytes {
                self.messages += messages;
                return;
            }
            bytes.truncate(before);
            let last_bytes = before - self.bundle_start;
            let next_bytes = end - before + HEADER_BYTES;
            if self.bundles == max_bundles(self.size) || last_bytes.max(next_bytes) > max_bytes {
                self.finish_packet();
            } else {
                push_padding(self.bundle_start, max_bytes, bytes);
            }
        }
        let bytes = self.packets.bytes();
        self.bundle_start = bytes.len();
        push_server_header(self.receiver, bytes);
        push_server_frame(frame, bytes);
        self.bundles += 1;
        self.messages += messages;
    }

    pub(super) fn finish(mut self) {
        if self.bundles > 0 {
            self.finish_packet();
        }
    }

    fn finish_packet(&mut self) {
        let last_bytes = self.packets.bytes().len() - self.bundle_start;
        let segment_bytes = self.size.bytes().max(last_bytes);
        self.packets.finish(segment_bytes as u16, self.messages);
        (self.bundles, self.messages) = (0, 0);
    }
}

/// Returns the maximum number of bundles per plan and per packet: 54 full ones or 64 small ones. In
/// a peer's receive buffer, the kernel counts about 2.3 kB per full bundle. By default it holds 92.
pub(super) const fn max_bundles(size: BundleSize) -> usize {
    let bundles = MAX_PACKET_BYTES / size.bytes();
    if bundles < MAX_BUNDLES {
        bundles
    } else {
        MAX_BUNDLES
    }
}

/// Maximum number of segments per packet in every kernel with GSO.
const MAX_BUNDLES: usize = 64;

/// The receiver in the header of a bundle, until a sender writes the session of each in its place.
const TO_BE_TAGGED: u64 = 0;

/// Everything in a header but its first two bytes is the session.
const _: () = assert!(TAG.start == 2 && TAG.end == HEADER_BYTES);

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

    /// Returns a registry with one v2 peer in the lobby, which is sent bundles of this size.
    fn registry(size: BundleSize) -> Registry {
        let registry = Registry::plain(3, 1);
        registry.open_session(&sender(9), WorkerId(0), size, SessionId::new(7).unwrap(), 0);
        registry
    }

    /// Returns the packets of each plan for the texts in a backlog.
    fn plans(backlog: &mut Backlog, first_sequence: u32, size: BundleSize) -> Vec<Packets> {
        let mut plans: Vec<Packets> = Vec::new();
        while let Some(room) = backlog.current() {
            let mut packets = new_bundle_packets(size);
            let limits = PassLimits::new(&backlog.room(room).members());
            let texts = backlog.pick(room, limits);
            let before = plans.iter().map(Packets::messages).sum::<usize>() as u32;
            let first = first_sequence.wrapping_add(before);
            plan_bundles(texts, WorkerId(2), first, size, &mut packets);
            backlog.release(&[]);
            plans.push(packets);
        }
        plans
    }

    proptest! {
        #[test]
        fn bundles_hold_every_message_in_its_senders_order_within_their_limit(
            texts in prop::collection::vec((1_u16..5, 0_usize..=MAX_PAYLOAD_BYTES), 1..400),
            short in any::<bool>(),
            size in prop::sample::select(&BundleSize::ALL),
        ) {
            let registry = registry(size);
            let room = registry.lobby();
            let mut backlog = Backlog::new(Duration::from_secs(10));
            let mut expected = Vec::new();
            for (number, (port, len)) in (0_u32..).zip(texts) {
                let len = if short { len / 20 } else { len };
                let mut payload = vec![0; len.max(4)];
                payload[..4].copy_from_slice(&number.to_be_bytes());
                backlog.push(room, sender(port), None, None, &payload).unwrap();
                expected.push((DisplayName::Address(sender(port).socket_addr()), payload));
            }
            let to = [sender(9)];
            let mut received = Vec::new();
            let mut next_sequence = u32::MAX - 3;
            for packets in &plans(&mut backlog, next_sequence, size) {
                let counts = packets.to(&to).map(|packet| packet.datagrams().len());
                prop_assert!(counts.sum::<usize>() <= max_bundles(size));
                for packet in packets.to(&to) {
                    prop_assert!(packet.payload.len() <= MAX_PACKET_BYTES);
                    let bundles = packet.datagrams();
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
                            let ids = (message.room, message.stream, message.sequence);
                            prop_assert_eq!(ids, (room.number(), 2, next_sequence));
                            next_sequence = next_sequence.wrapping_add(1);
                            received.push((message.from, message.payload.to_vec()));
                        }
                    }
                    prop_assert_eq!(received.len() - before, packet.deliveries as usize);
                }
            }
            for list in [&mut received, &mut expected] {
                // Stable, so the texts of one sender stay in their order.
                list.sort_by_key(|(from, _)| from.to_string());
            }
            prop_assert_eq!(received, expected);
        }
    }

    /// Plans payloads of these lengths, and returns the lengths of the bundles of each packet,
    /// plan by plan.
    fn bundles(size: BundleSize, lens: impl IntoIterator<Item = usize>) -> Vec<Vec<Vec<usize>>> {
        let registry = registry(size);
        let mut backlog = Backlog::new(Duration::from_secs(10));
        for len in lens {
            let payload = vec![0; len];
            backlog
                .push(registry.lobby(), sender(9), None, None, &payload)
                .unwrap();
        }
        let to = [sender(9)];
        let plans = plans(&mut backlog, 0, size);
        let lens = |packets: &Packets| {
            let packets = packets.to(&to);
            packets
                .map(|packet| packet.datagrams().map(<[u8]>::len).collect())
                .collect()
        };
        plans.iter().map(lens).collect()
    }

    #[test]
    fn a_bundle_is_filled_to_the_byte() {
        // The header takes 10 bytes, and each message from an IPv4 peer 19.
        let full = |lens| bundles(BundleSize::Full, lens);
        assert_eq!(full([576, 576]), [[[1200]]]);
        assert_eq!(full([576, 577]), [[[1200, 606]]]);
        let small = |lens| bundles(BundleSize::Small, lens);
        assert_eq!(small([250, 250]), [[[548]]]);
        assert_eq!(small([250, 251]), [[[548, 280]]]);
    }

    #[test]
    fn a_text_that_is_longer_than_a_bundle_is_a_packet_of_its_own() {
        let packets = bundles(BundleSize::Small, [9, 519, 520, 10, 600, 700, 8, 8]).concat();
        let expected: [&[usize]; 5] = [&[548, 548], &[549], &[39], &[629], &[729]];
        assert_eq!(packets[..5], expected);
        assert_eq!(packets[5..], [[64]]);
    }

    #[test]
    fn a_plan_fits_into_a_receive_buffer() {
        let plans = bundles(BundleSize::Full, [MAX_PAYLOAD_BYTES; 150]);
        let (last, full) = plans.split_last().unwrap();
        assert_eq!((full.len(), last.concat().len()), (2, 150 - 2 * 54));
        for plan in full {
            assert_eq!((plan.len(), plan[0].len()), (1, 54));
            assert_eq!(plan[0][..53], [1200; 53]);
        }
    }

    /// In the order of arrival, each long text and a short one take a bundle, and would be twice
    /// as many.
    #[test]
    fn a_plan_fits_into_a_receive_buffer_in_whatever_order_texts_of_all_lengths_arrive() {
        let registry = registry(BundleSize::Full);
        let mut backlog = Backlog::new(Duration::from_secs(10));
        for _ in 0..300 {
            for (port, len) in [(1, 580), (2, 1)] {
                let payload = vec![0; len];
                let room = registry.lobby();
                backlog
                    .push(room, sender(port), None, None, &payload)
                    .unwrap();
            }
        }
        let to = [sender(9)];
        for packets in plans(&mut backlog, 0, BundleSize::Full) {
            let bundles = packets.to(&to).map(|packet| packet.datagrams().len());
            assert!(bundles.sum::<usize>() <= 54);
        }
    }
}
