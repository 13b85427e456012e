//! Sentences of the operator to many peers: its own, or that the server stops.

use std::ops::RangeInclusive;
use std::time::Duration;

use humantime::format_duration;

use super::{Moderation, ModerationError};
use crate::server::ops::supervise::lock;
use crate::wire::{Reply, RoomName, push_printable};

impl Moderation {
    /// Says something to all members of a room, or without one to all peers. Returns their number.
    ///
    /// This waits while the peers before are being told, about 50,000 per second.
    ///
    /// # Errors
    /// There is no such room, or the text is not 1 to [`MAX_SAID_BYTES`] of printable text.
    pub fn say(&self, room: Option<RoomName>, text: &str) -> Result<usize, ModerationError> {
        let mut printable = Vec::new();
        push_printable(text.as_bytes(), MAX_SAID_BYTES, &mut printable);
        if text.trim().is_empty() || printable != text.as_bytes() {
            return Err(ModerationError::Text);
        }
        let (place, peers) = match room {
            None => ("all".to_owned(), self.registry.all_recipients()),
            Some(name) => {
                let room = self.registry.directory().find(name);
                let room = room.ok_or(ModerationError::NoSuchRoom(name))?;
                let peers = self.registry.recipients_in(&room);
                (room.name().to_string(), peers)
            }
        };
        let count = peers.len();
        self.log.info(format!(
            "the operator says to {place}, peers: {count}: {text}"
        ));
        let reply = Reply::Operator(text.as_bytes());
        self.notices.tell_all(&peers, &reply);
        Ok(count)
    }

    /// Tells all peers something that the operator has not said. Waits as [`Moderation::say`] does.
    #[cfg(feature = "cluster")]
    pub fn tell_everyone(&self, reply: &Reply<'_>) {
        let peers = self.registry.all_recipients();
        self.notices.tell_all(&peers, reply);
    }

    /// Refuses newcomers from now on, and tells all peers that the server stops after `time`. It
    /// stops then, or as soon as no peer is left. Until then they go on talking. A second call changes
    /// the time. Returns the number of peers that are told.
    ///
    /// # Errors
    /// The time is not one of [`DRAIN_TIMES`].
    pub fn drain(&self, time: Duration) -> Result<usize, ModerationError> {
        if !DRAIN_TIMES.contains(&time) {
            return Err(ModerationError::DrainTime);
        }
        let _one_at_a_time = lock(&self.draining);
        let stop_at_ms = self.clock.now_ms() + time.as_millis() as u64;
        let drain = self.registry.drain();
        drain.begin();
        let peers = self.registry.all_recipients();
        let count = peers.len();
        self.log.info(format!(
            "newcomers are refused, and the server stops in {}, peers: {count}",
            format_duration(time)
        ));
        let reply = Reply::Stopping(time.as_secs());
        self.notices.tell_all(&peers, &reply);
        drain.stop_at(stop_at_ms);
        self.notices.wake();
        Ok(count)
    }
}

/// Maximum length of what the operator says. With its frame it fits into the smallest datagram that
/// a v2 peer can ask for, and so does not get lost on any path.
pub const MAX_SAID_BYTES: usize = 500;

/// The times after which a server that is drained can stop.
pub const DRAIN_TIMES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v2::{self, HEADER_BYTES, SMALL_BUNDLE_BYTES};

    #[test]
    fn the_longest_sentence_fits_into_a_small_bundle() {
        let mut frame = Vec::new();
        v2::push_reply(&Reply::Operator(&[b'x'; MAX_SAID_BYTES]), &mut frame);
        assert!(HEADER_BYTES + frame.len() <= SMALL_BUNDLE_BYTES);
    }
}
