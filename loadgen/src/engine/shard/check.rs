//! Asks now and then, for one client after the other, whether the server still knows it.

use bullhorn::wire;

use super::Clients;
use crate::config::{Protocol, Scenario};
use crate::engine::client::Phase;
use crate::engine::codec::{self, Say};
use crate::engine::partition;
use crate::engine::send_batch::SendBatch;
use crate::engine::stamp::Stamp;

/// The last question.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// The time of the next one.
    next_ns: u64,
    /// The client to begin with.
    next_client: u32,
    /// Clients in the room of the one that asked, when it did. There are none if it has its answer.
    members: Option<u32>,
}

impl Clients {
    /// Asks for what a client has, in the first thread: its room in version 1, and nothing in
    /// version 2, where a client that the server does not know is told so, or told its room. The
    /// answer also shows that the server is there, whatever the load is.
    pub(super) fn check_server(&mut self, batch: &mut SendBatch, now_ns: u64) {
        let elapsed_ns = self.since_start(now_ns);
        let is_over = elapsed_ns.is_none_or(|elapsed_ns| elapsed_ns >= self.run.end_ns);
        if self.thread > 0
            || now_ns < self.check.next_ns
            || is_over
            || self.run.is_cut_short()
            || self.run.config.scenario == Scenario::Greet
        {
            return;
        }
        self.check.next_ns = now_ns + INTERVAL_NS;
        let (count, next) = (self.all.len() as u32, self.check.next_client);
        let mut all = (next..count).chain(0..next);
        let Some(client) = all.find(|client| self.is_active(*client)) else {
            return;
        };
        self.check.next_client = (client + 1) % count;
        self.check.members = Some(self.run.rooms.members(self.room_of(client)));
        let (room, stamp) = (self.room_name(client), self.admission_stamp(client));
        let say = match self.run.config.protocol {
            Protocol::V1 if partition::has_rooms(&self.run.config) => Say::Join(room.as_str()),
            Protocol::V1 => Say::Join(wire::LOBBY),
            Protocol::V2 => Say::Ask(&stamp),
        };
        batch.push(self.ports.of(client), |out| {
            let session = self.all[client as usize].session;
            codec::write(self.run.config.protocol, session, say, out);
        });
        let mut asked = 1;
        batch.send(&self.ports, |_| asked = 0);
        if asked > 0 {
            self.run.pulse.asked(now_ns, asked);
        }
    }

    /// Returns true if this is the room that a client asked for in [`Self::check_server`].
    pub(super) fn checks_room(&self, client: u32, room: &wire::RoomName) -> bool {
        let config = &self.run.config;
        let is_its = match partition::has_rooms(config) {
            true => self.asks_for_room(client, room),
            false => room.as_str() == wire::LOBBY,
        };
        self.is_there(client) && is_its && config.protocol == Protocol::V1
    }

    /// Returns true if this is the answer to [`Self::check_server`] in version 2.
    pub(super) fn checks_with(&self, client: u32, stamp: &Stamp) -> bool {
        self.is_there(client)
            && self.run.config.protocol == Protocol::V2
            && *stamp == self.admission_stamp(client)
    }

    fn is_there(&self, client: u32) -> bool {
        let phase = self.all[client as usize].phase;
        matches!(phase, Phase::Active | Phase::Leaving)
    }

    /// Notes the number of members in the room of the client that asked. A new server knows only
    /// those that have sent something since its start.
    pub(super) fn note_members(&mut self, members: usize) {
        let known = self.check.members.take().unwrap_or(0) as usize;
        if known >= 2 && members * 2 <= known {
            self.run.pulse.forgotten();
        }
    }
}

/// Three of them are unanswered within the second after which a server counts as silent.
const INTERVAL_NS: u64 = 300_000_000;

#[cfg(test)]
mod tests {
    use bullhorn::wire::RoomName;
    use bullhorn::wire::v2::{Room, ServerFrame};

    use super::*;
    use crate::config::RunConfig;
    use crate::engine::shard::Shard;
    use crate::engine::shard::testing::*;
    use crate::outcome::Counts;

    /// A check of a client that is there with `others`.
    fn checked(config: RunConfig, others: u32) -> Shard {
        let mut shard = joining(config);
        let (clients, batch) = (&mut shard.clients, &mut shard.batch);
        for client in 0..=others {
            clients.enter(client);
        }
        clients.check_server(batch, START_NS);
        shard
    }

    /// Returns whether an answer says that the server has forgotten its clients.
    fn is_forgotten(shard: &mut Shard, answer: &[u8]) -> bool {
        assert_eq!(counted(shard, answer, LATER_NS), Counts::default());
        shard.clients.run.pulse.has_restarted()
    }

    #[test]
    fn a_room_with_half_of_its_members_or_fewer_is_another_servers() {
        for scenario in [Scenario::Chat, Scenario::Ping] {
            for (others, members, expected) in [(1, 2, false), (1, 1, true), (0, 1, false)] {
                let mut shard = checked(
                    RunConfig {
                        scenario,
                        ..config(Protocol::V1)
                    },
                    others,
                );
                let room = match scenario {
                    Scenario::Chat => shard.clients.room_name(0).as_str().to_owned(),
                    _ => "lobby".to_owned(),
                };
                let answer = format!("* you are in {room} ({members} here)");
                assert_eq!(is_forgotten(&mut shard, answer.as_bytes()), expected);
                // It is asked again only then.
                let again = format!("* you are in {room} (0 here)");
                assert_eq!(is_forgotten(&mut shard, again.as_bytes()), expected);
            }
        }
    }

    /// The first datagram of a session is answered by the room, and so is the first one after the
    /// server has dropped the client.
    #[test]
    fn a_client_that_is_told_its_room_with_the_answer_was_forgotten() {
        let mut shard = checked(config(Protocol::V2), 1);
        let room = ServerFrame::Room(Room {
            number: 3,
            incarnation: 1,
            name: RoomName::parse(shard.clients.room_name(0).as_str().as_bytes()).unwrap(),
        });
        let stamp = stamped("", shard.clients.admission_stamp(0));
        let pong = ServerFrame::Pong(&stamp);
        assert!(!is_forgotten(&mut shard, &frames(&[pong])));
        // The server may have answered the first datagram twice.
        assert!(!is_forgotten(&mut shard, &frames(&[room])));
        assert!(is_forgotten(&mut shard, &frames(&[room, pong])));
    }

    #[test]
    fn a_session_that_is_unknown_was_another_servers() {
        let mut shard = checked(config(Protocol::V2), 1);
        let unknown = frames(&[ServerFrame::UnknownSession]);
        assert!(is_forgotten(&mut shard, &unknown));
    }
}
