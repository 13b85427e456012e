//! The limits that the server has told, which the session keeps. A server drops what is over
//! them, and tells it once.

use std::time::{Duration, Instant};

use super::Outgoing;
use super::Protocol;
use super::echoes::Said;
use super::receive::OVERTAKEN_PART;
use super::requests::Request;
use crate::client::event::Event;
use crate::wire::reply::Resource;

/// The limits of one session with the server.
#[derive(Debug, Default)]
pub(super) struct Limits {
    texts: Option<Limit>,
    bytes: Option<Limit>,
    work: Option<Limit>,
    /// Number of times that the server has told one.
    told: u32,
    /// The time at which the next thing in the queue may be sent, if it waits for that.
    resume_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    per_second: u32,
    /// The time from which something may be sent.
    open_at: Instant,
}

impl Limits {
    /// The maximum of texts per second, if the server has told one.
    pub(super) fn texts_per_second(&self) -> Option<u32> {
        self.texts.map(|limit| limit.per_second)
    }

    /// The time at which something that waits in the queue may be sent.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.resume_at
    }

    /// Forgets that time, as the queue is looked at again.
    pub(super) fn forget_timeout(&mut self) {
        self.resume_at = None;
    }

    /// Returns true if this may be sent now.
    pub(super) fn allow(&mut self, command: &Outgoing, now: Instant) -> bool {
        let is_text = is_text(command);
        let is_request = matches!(command, Outgoing::Request(_));
        let texts = self.texts.filter(|_| is_text);
        let work = self.work.filter(|_| is_request);
        let limits = [texts, self.bytes, work].into_iter().flatten();
        let open_at = limits.map(|limit| limit.open_at).max();
        self.resume_at = open_at.filter(|open_at| *open_at > now);
        self.resume_at.is_none()
    }

    /// Notes that this goes out in the next datagram.
    pub(super) fn spend(&mut self, command: &Outgoing, now: Instant) {
        if let Some(limit) = &mut self.texts
            && is_text(command)
        {
            limit.spend(1, now);
        }
        if let Some(limit) = &mut self.work
            && let Outgoing::Request(_) = command
        {
            limit.spend(MAX_WORK, now);
        }
    }

    /// Notes that a datagram of this length goes out.
    pub(super) fn spend_bytes(&mut self, bytes: usize, now: Instant) {
        if let Some(limit) = &mut self.bytes {
            limit.spend((bytes + MAX_HEADER_BYTES) as u32, now);
        }
    }

    fn reached(&mut self, resource: Resource, per_second: u32, open_at: Instant) {
        self.told = self.told.saturating_add(1);
        let limit = match resource {
            Resource::Texts => &mut self.texts,
            Resource::Bytes => &mut self.bytes,
            Resource::Work => &mut self.work,
        };
        *limit = Some(Limit {
            per_second: per_second.max(1),
            open_at,
        });
    }
}

impl Limit {
    /// Takes what the server gives in a time, and a little more, as the network may deliver
    /// datagrams with shorter distances than they were sent with.
    fn spend(&mut self, units: u32, now: Instant) {
        let from = now.checked_sub(BURST).unwrap_or(now);
        let cost = Duration::from_secs(1) * units / self.per_second;
        self.open_at = self.open_at.max(from) + cost * 10 / 9;
    }
}

impl Protocol {
    /// The server has dropped something, as the session is over a limit. It sends nothing of the
    /// kind until the server takes some again, and what was sent before has been answered.
    pub(super) fn limit_reached(&mut self, resource: Resource, per_second: u32, now: Instant) {
        let resume_at = now + self.config.answer_timeout / OVERTAKEN_PART;
        self.limits.reached(resource, per_second, resume_at);
        self.push_event(Event::Limited {
            resource,
            per_second,
        });
        if self.repeats() {
            self.texts
                .expire_all_at(resume_at, |said| said.may_be_limited = true);
        }
    }

    /// Puts texts that the server seems to have dropped at the front of the queue. Returns those
    /// that are not said again.
    pub(super) fn repeat(&mut self, texts: Vec<Said>) -> Vec<Said> {
        if !self.repeats() {
            return texts;
        }
        let own_room = self.identity.expected_room();
        let mut lost = Vec::new();
        let mut repeated = Vec::new();
        for said in texts {
            let room = said.room.map(|number| self.subscriptions.name(number));
            let is_same_room = match room {
                Some(room) => room.is_some(),
                None => said.own_room == own_room,
            };
            if said.may_be_limited && is_same_room {
                let say = Outgoing::Say {
                    room: room.flatten(),
                    payload: said.payload,
                    is_text: said.is_text,
                };
                repeated.push((say, said.responder));
            } else {
                lost.push(said);
            }
        }
        self.queue_first(repeated);
        lost
    }

    /// A server that goes on to tell limits to a session that keeps them would never end it.
    fn repeats(&self) -> bool {
        self.config.repeat_limited && (1..=MAX_TOLD).contains(&self.limits.told)
    }
}

/// Returns true for what the server counts as a text.
fn is_text(command: &Outgoing) -> bool {
    matches!(
        command,
        Outgoing::Say { .. } | Outgoing::Request(Request::Private { .. })
    )
}

/// Time whose texts may be sent at once after a pause. The server's bursts are longer.
const BURST: Duration = Duration::from_secs(1);

/// Maximum number of notices after which texts are said again.
const MAX_TOLD: u32 = 3;

/// Units of work of the request that costs most.
const MAX_WORK: u32 = 10;

/// The headers of IPv6 and UDP, which count as bytes.
const MAX_HEADER_BYTES: usize = 48;
