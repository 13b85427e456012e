//! Messages that are not sent to their senders, and the bundles without them.

use super::bundles::Bundler;
use super::packets::Packets;
use crate::net::PeerAddr;
use crate::wire::v2::{BundleSize, Own, ServerFrame, SessionId, parse_server};

/// The messages of a plan that are not sent to a session: that of their sender.
#[derive(Default)]
pub(super) struct OwnMessages {
    /// With the index of the message in the plan. Sorted after [`Self::sort`].
    messages: Vec<(SessionId, u16)>,
}

impl OwnMessages {
    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }

    /// Adds the message of a session with this index in the plan.
    pub(super) fn push(&mut self, session: SessionId, index: u16) {
        self.messages.push((session, index));
    }

    /// Sorts the messages. This ends the building.
    pub(super) fn sort(&mut self) {
        self.messages.sort_unstable();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The messages that are not sent to a session.
    pub(super) fn of(&self, session: Option<SessionId>) -> &[(SessionId, u16)] {
        let Some(session) = session else {
            return &[];
        };
        let rest = &self.messages[self.messages.partition_point(|own| own.0 < session)..];
        &rest[..rest.partition_point(|own| own.0 == session)]
    }
}

/// Fills `packets` with the messages in `all`, which are packets of bundles, for one session. In
/// place of the messages `own`, OWN tells it their numbers, so that it does not take them for lost.
pub(super) fn plan_without_own(
    all: &Packets,
    own: &[(SessionId, u16)],
    size: BundleSize,
    to: &PeerAddr,
    packets: &mut Packets,
) {
    packets.clear();
    let Some((session, _)) = own.first() else {
        return;
    };
    let mut bundler = Bundler::new(size, session.get(), packets);
    let mut skipped: Option<Own> = None;
    let mut own = own.iter().map(|own| own.1).peekable();
    let bundles = all.to(std::slice::from_ref(to));
    let bundles = bundles.flat_map(|packet| packet.datagrams());
    let frames = bundles.flat_map(|bundle| parse_server(bundle).into_iter().flatten());
    for (frame, index) in frames.zip(0..) {
        let ServerFrame::Message(message) = frame else {
            continue;
        };
        if own.next_if_eq(&index).is_some() {
            let skipped = skipped.get_or_insert(Own {
                room: message.room,
                stream: message.stream,
                sequence: message.sequence,
                count: 0,
            });
            skipped.count += 1;
            continue;
        }
        if let Some(own) = skipped.take() {
            bundler.push(&ServerFrame::Own(own));
        }
        bundler.push(&frame);
    }
    if let Some(own) = skipped {
        bundler.push(&ServerFrame::Own(own));
    }
    bundler.finish();
}
