//! Packets for v2 peers. A datagram, called a bundle, holds many messages.

use super::packets::Packets;
use crate::net::{MAX_PACKET_BYTES, TAG};
use crate::wire::v2::{
    BundleSize, HEADER_BYTES, ServerFrame, push_padding, push_server_frame, push_server_header,
};

/// Small bundles are rare, so they have no memory until the first ones.
pub(super) fn new_bundle_packets(size: BundleSize) -> Packets {
    match size {
        BundleSize::Full => Packets::with_capacity(max_bundles(size) * size.bytes(), 1),
        BundleSize::Small => Packets::with_capacity(0, 0),
    }
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

    /// Returns true if a plan has space for a frame of this length.
    pub(super) fn fits(&mut self, frame_bytes: usize) -> bool {
        let end = self.packets.bytes().len() + frame_bytes;
        end - self.bundle_start <= self.size.bytes()
            || self.packets.datagrams() + self.bundles < max_bundles(self.size)
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
pub(super) const TO_BE_TAGGED: u64 = 0;

/// Everything in a header but its first two bytes is the session.
const _: () = assert!(TAG.start == 2 && TAG.end == HEADER_BYTES);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::PeerAddr;
    use crate::server::egress::backlog::Backlog;
    use crate::server::egress::builder::PlanPackets;
    use crate::server::egress::texts::TextPlanner;
    use crate::server::ops::stats::WorkerId;
    use crate::server::registry::Registry;
    use crate::wire::v2::{MAX_PAYLOAD_BYTES, SessionId, parse_server};
    use crate::wire::{DisplayName, Protocol};
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

    /// Returns the packets of each plan for texts of these senders in the lobby.
    fn plans<'a>(
        registry: &Registry,
        texts: impl IntoIterator<Item = &'a (u16, Vec<u8>)>,
        first_sequence: u32,
    ) -> Vec<PlanPackets> {
        let room = registry.lobby();
        room.take_sequence(WorkerId(2), first_sequence);
        let mut backlog = Backlog::new(Duration::from_secs(10));
        let mut count = 0;
        for (port, text) in texts {
            backlog.push(room, &sender(*port).into(), text).unwrap();
            count += 1;
        }
        let mut plans = Vec::new();
        while count > 0 {
            let (mut packets, mut planner) = (PlanPackets::new(), TextPlanner::new(64));
            let mut builder = packets.build(room, &room.members(), WorkerId(2), &mut planner);
            backlog.pick(0, |picked| {
                builder.try_push(picked)?;
                count -= 1;
                Ok(())
            });
            builder.finish();
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
            let texts = (0_u32..).zip(texts).map(|(number, (port, len))| {
                let len = if short { len / 20 } else { len };
                let mut payload = vec![0; len.max(4)];
                payload[..4].copy_from_slice(&number.to_be_bytes());
                (port, payload)
            });
            let texts: Vec<_> = texts.collect();
            let to = [sender(9)];
            let mut received = Vec::new();
            let mut next_sequence = u32::MAX - 3;
            for plan in plans(&registry, &texts, next_sequence) {
                let packets = plan.of(Protocol::Frames(size));
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
                            prop_assert_eq!(ids, (registry.lobby().number(), 2, next_sequence));
                            next_sequence = next_sequence.wrapping_add(1);
                            received.push((message.from, message.payload.to_vec()));
                        }
                    }
                    prop_assert_eq!(received.len() - before, packet.deliveries as usize);
                }
            }
            let expected = texts.into_iter();
            let mut expected: Vec<_> = expected
                .map(|(port, text)| (DisplayName::Address(sender(port).socket_addr()), text))
                .collect();
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
        let texts: Vec<_> = lens.into_iter().map(|len| (9, vec![0; len])).collect();
        let to = [sender(9)];
        let plans = plans(&registry(size), &texts, 0);
        let lens = |plan: &PlanPackets| {
            let packets = plan.of(Protocol::Frames(size)).to(&to);
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
    fn a_packet_holds_no_more_bundles_than_the_kernel_takes() {
        // Without its own messages, the others of a plan may take more bundles than with them.
        let mut packets = new_bundle_packets(BundleSize::Full);
        let mut bundler = Bundler::new(BundleSize::Full, 7, &mut packets);
        for sequence in 0..60 {
            bundler.push(&ServerFrame::Message(crate::wire::v2::Message {
                room: 0,
                stream: 0,
                sequence,
                from: DisplayName::Address(sender(9).socket_addr()),
                payload: &[0; MAX_PAYLOAD_BYTES],
            }));
        }
        bundler.finish();
        let to = [sender(9)];
        let bundles = packets.to(&to).map(|packet| packet.datagrams().len());
        assert_eq!(bundles.collect::<Vec<_>>(), [54, 6]);
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
}
