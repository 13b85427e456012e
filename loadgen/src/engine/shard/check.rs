//! Asks now and then, for one client after the other, whether the server still knows it.

use bullhorn::wire;

use super::Clients;
use crate::config::{Protocol, Scenario};
use crate::engine::client::Phase;
use crate::engine::codec::{self, Say};
use crate::engine::partition::{self, Part, Targets};
use crate::engine::send_batch::SendBatch;
use crate::engine::stamp::Stamp;

/// The questions of a thread.
#[derive(Debug)]
pub(super) struct Check {
    /// The time of the next ones.
    next_ns: u64,
    /// The targets whose first client is in this thread.
    targets: Vec<TargetCheck>,
}

/// The last question to a target.
#[derive(Debug)]
struct TargetCheck {
    /// The place of the target.
    place: usize,
    /// The client to begin with.
    next_client: u32,
    /// Clients at this target in the room of the one that asked, when it did. There are none if it
    /// has its answer.
    members: Option<u32>,
}

impl Check {
    pub(super) fn new(targets: &Targets, part: Part) -> Self {
        let is_own = |place: &usize| {
            let client = targets.first_client(*place);
            (part.first..part.first + part.clients).contains(&client)
        };
        let places = (0..targets.addresses().len()).filter(is_own);
        let check = |place| TargetCheck {
            place,
            next_client: 0,
            members: None,
        };
        Self {
            next_ns: 0,
            targets: places.map(check).collect(),
        }
    }
}

impl Clients {
    /// Asks each target of the thread's check for what a client has: its room in version 1, and nothing in
    /// version 2, where a client that the server does not know is told so, or told its room. The
    /// answer also shows that the server is there, whatever the load is.
    pub(super) fn check_server(&mut self, batch: &mut SendBatch, now_ns: u64) {
        let elapsed_ns = self.since_start(now_ns);
        let is_over = elapsed_ns.is_none_or(|elapsed_ns| elapsed_ns >= self.run.end_ns);
        if now_ns < self.check.next_ns
            || is_over
            || self.run.is_cut_short()
            || self.run.config.scenario == Scenario::Greet
        {
            return;
        }
        self.check.next_ns = now_ns + INTERVAL_NS;
        for at in 0..self.check.targets.len() {
            self.check_target(at, batch, now_ns);
        }
    }

    /// Asks one target.
    fn check_target(&mut self, at: usize, batch: &mut SendBatch, now_ns: u64) {
        let TargetCheck {
            place, next_client, ..
        } = self.check.targets[at];
        let count = self.all.len() as u32;
        let mut all = (next_client..count).chain(0..next_client);
        let is_there = |client: &u32| self.ports.target_of(*client) == place;
        let Some(client) = all.find(|client| is_there(client) && self.is_active(*client)) else {
            return;
        };
        let members = self.members_at_target(client);
        let check = &mut self.check.targets[at];
        check.next_client = (client + 1) % count;
        check.members = Some(members);
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
            self.run.pulses[place].asked(now_ns, asked);
        }
    }

    /// Returns the number of clients in the room of `client` that have its target: about, if the
    /// room is spread over targets.
    fn members_at_target(&self, client: u32) -> u32 {
        let (run, room) = (&self.run, self.room_of(client));
        let is_local = run.config.local_rooms && partition::has_rooms(&run.config);
        let targets = if is_local { 1 } else { run.targets.len() };
        run.rooms.members(room) / targets as u32
    }

    /// Returns true if this is the room that a client asked for in [`Self::check_server`].
    pub(super) fn checks_room(&self, client: u32, room: &wire::RoomName) -> bool {
        let is_v1 = self.run.config.protocol == Protocol::V1;
        self.is_there(client) && self.is_in(client, room) && is_v1
    }

    /// Returns true if this is the room of a client.
    pub(super) fn is_in(&self, client: u32, room: &wire::RoomName) -> bool {
        match partition::has_rooms(&self.run.config) {
            true => self.asks_for_room(client, room),
            false => room.as_str() == wire::LOBBY,
        }
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
    /// those that have sent something since its start. One of several may know the members at
    /// others, too, so then it may pass for the old one.
    pub(super) fn note_members(&mut self, client: u32, members: usize) {
        let place = self.ports.target_of(client);
        let mut checks = self.check.targets.iter_mut();
        let check = checks.find(|check| check.place == place);
        let known = check.and_then(|check| check.members.take()).unwrap_or(0) as usize;
        if known >= 2 && members * 2 <= known {
            self.run.pulses[place].forgotten();
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

    /// The thread asks each target whose first client it has, and only that.
    #[test]
    fn each_target_is_asked_by_one_thread() {
        for (local_rooms, expected) in [(true, [vec![0], vec![1]]), (false, [vec![0, 1], vec![]])] {
            let config = RunConfig {
                clients: 4,
                threads: 2,
                local_rooms,
                ..config_of_nodes(Protocol::V1)
            };
            let targets = Targets::of(&config);
            let places = partition::parts(&config).into_iter().map(|part| {
                let check = Check::new(&targets, part);
                let places = check.targets.iter().map(|check| check.place);
                places.collect::<Vec<_>>()
            });
            assert!(places.eq(expected), "{local_rooms}");
        }
    }

    #[test]
    fn all_targets_are_asked_at_once_and_each_for_its_own_members() {
        let mut shard = checked(
            RunConfig {
                clients: 4,
                room_size: 4,
                ..config_of_nodes(Protocol::V1)
            },
            3,
        );
        let members: Vec<_> = (shard.clients.check.targets.iter())
            .map(|check| check.members)
            .collect();
        assert_eq!(members, [Some(2), Some(2)]);
        // Both are there, and know nothing of each other: none of them has forgotten anybody.
        let room = shard.clients.room_name(0).as_str().to_owned();
        let answer = |members| format!("* you are in {room} ({members} here)").into_bytes();
        assert!(!is_forgotten(&mut shard, &answer(2)));
        shard
            .clients
            .check_server(&mut shard.batch, START_NS + INTERVAL_NS);
        assert!(is_forgotten(&mut shard, &answer(1)));
        assert!(!shard.clients.run.pulses[1].has_restarted());
    }

    /// Returns whether an answer says that the server has forgotten its clients.
    fn is_forgotten(shard: &mut Shard, answer: &[u8]) -> bool {
        assert_eq!(counted(shard, answer, LATER_NS), Counts::default());
        shard.clients.run.has_restarted()
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
