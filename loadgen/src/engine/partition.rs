//! The partition of a run: its rooms, its threads and their clients, and the numbers to remember.

use std::net::SocketAddr;

use crate::config::{RunConfig, Scenario, Sockets};
use crate::engine::ports::MAX_SHARED;

/// The part of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The number of its first client among those of all threads.
    pub first: u32,
    pub clients: u32,
    /// The thread's share of the schedule, and the number of shares. Without one its clients only
    /// receive.
    pub share: Option<(usize, usize)>,
}

/// The targets of a run, and the clients of each.
#[derive(Debug, Clone)]
pub struct Targets {
    addresses: Box<[SocketAddr]>,
    /// Clients in a row that have the same target.
    block: u32,
}

impl Targets {
    /// Clients have the targets in turn. A room is a row of clients, so each has as many members
    /// at every target as it can. Rooms that are local have the targets in turn.
    pub fn of(config: &RunConfig) -> Self {
        let block = match config.local_rooms && has_rooms(config) {
            true => config.room_size,
            false => 1,
        };
        Self {
            addresses: config.targets().collect(),
            block,
        }
    }

    /// Returns the target of a client, by its place. Clients have their numbers among those of
    /// all threads.
    pub fn place_of(&self, client: u32) -> usize {
        (client / self.block) as usize % self.addresses.len()
    }

    /// Returns the first client of a target.
    pub fn first_client(&self, place: usize) -> u32 {
        place as u32 * self.block
    }

    /// Returns the addresses of all targets.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

/// Returns true if members of one room are at several targets.
pub fn has_spread_rooms(config: &RunConfig) -> bool {
    let is_lobby = config.scenario == Scenario::Lobby;
    config.has_nodes() && !config.local_rooms && (has_rooms(config) || is_lobby)
}

/// Returns the number of rooms. It is one if all are in the lobby or there are no texts.
pub fn rooms(config: &RunConfig) -> u32 {
    match has_rooms(config) {
        true => config.clients.div_ceil(config.room_size),
        false => 1,
    }
}

/// Returns true if clients join rooms of their own.
pub fn has_rooms(config: &RunConfig) -> bool {
    matches!(config.scenario, Scenario::Mixed | Scenario::Chat) && config.mix.text > 0.0
}

/// The room of a client.
pub fn room_of(config: &RunConfig, client: u32) -> u32 {
    match has_rooms(config) {
        true => client / config.room_size,
        false => 0,
    }
}

/// The threads. All members of a room are in one of them, unless it is the lobby; so
/// they are no more than there are rooms.
pub fn parts(config: &RunConfig) -> Vec<Part> {
    let unit = if has_rooms(config) {
        config.room_size
    } else {
        1
    };
    let units = config.clients.div_ceil(unit);
    let threads = u32::from(config.threads).min(units);
    let speakers = match config.scenario {
        Scenario::Lobby => 1,
        _ => threads as usize,
    };
    let bound = |thread: u32| {
        let units = u64::from(units) * u64::from(thread) / u64::from(threads);
        (units as u32).saturating_mul(unit).min(config.clients)
    };
    let part = |thread: u32| Part {
        first: bound(thread),
        clients: bound(thread + 1) - bound(thread),
        share: ((thread as usize) < speakers).then_some((thread as usize, speakers)),
    };
    (0..threads).map(part).collect()
}

/// Returns the texts that are remembered per room, a power of two.
pub fn texts_remembered(config: &RunConfig) -> u32 {
    remembered(config, config.mix.text, rooms(config))
}

/// Returns the requests that are remembered per client, a power of two.
pub fn asks_remembered(config: &RunConfig) -> u32 {
    remembered(config, config.mix.ping, config.clients)
}

/// Files that must be open for sockets, and for the threads that wait for them.
pub fn files(config: &RunConfig, threads: usize) -> u64 {
    let sockets = match config.sockets {
        Sockets::Shared => 0,
        Sockets::PerClient => u64::from(config.clients),
    };
    sockets + threads as u64 * FILES_A_THREAD
}

/// Returns the number of datagrams in [`REMEMBERED_S`] if `share` of all are dealt out evenly to
/// `count`.
fn remembered(config: &RunConfig, share: f64, count: u32) -> u32 {
    let rate = config.rate.from.max(config.rate.to);
    let mix = &config.mix;
    let share = share / (mix.ping + mix.text + mix.heartbeat);
    let numbers = rate * share / f64::from(count) * REMEMBERED_S;
    (numbers as u32)
        .next_power_of_two()
        .clamp(MIN_REMEMBERED, MAX_REMEMBERED)
}

/// Above this no datagram is waited for; it is what no queue on the way holds.
const REMEMBERED_S: f64 = 4.0;

/// One word of a bitmap.
const MIN_REMEMBERED: u32 = 64;

/// 8 KiB for each client.
const MAX_REMEMBERED: u32 = 1 << 16;

/// Shared sockets at the most, a poll, a timer, and some of the process's own.
const FILES_A_THREAD: u64 = MAX_SHARED as u64 + 12;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::config;

    #[test]
    fn every_client_is_in_one_part_and_no_room_in_two() {
        for (clients, room_size, threads) in [(1, 1, 1), (10, 3, 4), (10_000, 10, 7), (5, 10, 8)] {
            let config = RunConfig {
                clients,
                room_size,
                threads,
                scenario: Scenario::Mixed,
                ..config()
            };
            let parts = parts(&config);
            let mut next = 0;
            for part in &parts {
                assert_eq!(part.first, next);
                assert!(part.clients > 0 && part.first % room_size == 0);
                next += part.clients;
            }
            assert_eq!(next, clients);
            assert_eq!(room_of(&config, clients - 1) + 1, rooms(&config));
            let shares = parts.len();
            let shared = parts.iter().enumerate();
            assert!(
                shared
                    .clone()
                    .all(|(index, part)| part.share == Some((index, shares)))
            );
        }
    }

    /// Returns the clients of each target in each room.
    fn placed(config: &RunConfig) -> BTreeMap<u32, Vec<u32>> {
        let targets = Targets::of(config);
        let mut rooms = BTreeMap::new();
        for client in 0..config.clients {
            let room = rooms.entry(room_of(config, client));
            let places = room.or_insert_with(|| vec![0; targets.addresses().len()]);
            places[targets.place_of(client)] += 1;
        }
        rooms
    }

    fn config_of(targets: u16, clients: u32, room_size: u32) -> RunConfig {
        let other = |port| ([127, 0, 0, 1], port).into();
        RunConfig {
            other_targets: (1..targets).map(other).collect(),
            clients,
            room_size,
            scenario: Scenario::Mixed,
            ..config()
        }
    }

    /// Also where rooms, their members and targets have a common divisor.
    #[test]
    fn each_room_is_spread_over_all_targets() {
        for (targets, clients, room_size) in [
            (3, 30_000, 30),
            (2, 40, 10),
            (4, 64, 6),
            (3, 100, 7),
            (2, 9, 1),
        ] {
            let config = config_of(targets, clients, room_size);
            let rooms = placed(&config);
            for (room, places) in &rooms {
                let (least, most) = (places.iter().min(), places.iter().max());
                assert!(most.unwrap() - least.unwrap() <= 1, "{room}: {places:?}");
            }
            let sums: Vec<u32> = (0..usize::from(targets))
                .map(|place| rooms.values().map(|places| places[place]).sum())
                .collect();
            let (least, most) = (sums.iter().min(), sums.iter().max());
            assert!(most.unwrap() - least.unwrap() <= 1, "{sums:?}");
        }
    }

    #[test]
    fn each_local_room_is_at_one_target_and_each_target_has_its_share() {
        for (targets, clients, room_size) in [(3, 90, 10), (2, 45, 10), (3, 12, 1)] {
            let config = RunConfig {
                local_rooms: true,
                ..config_of(targets, clients, room_size)
            };
            let mut rooms_at = vec![0; usize::from(targets)];
            for places in placed(&config).values() {
                let is_there = |clients: &&u32| **clients > 0;
                assert_eq!(places.iter().filter(is_there).count(), 1, "{places:?}");
                let at = places.iter().position(|clients| *clients > 0).unwrap();
                rooms_at[at] += 1;
            }
            let (least, most) = (rooms_at.iter().min(), rooms_at.iter().max());
            assert!(most.unwrap() - least.unwrap() <= 1, "{rooms_at:?}");
        }
    }

    #[test]
    fn the_first_client_of_a_target_is_the_least() {
        for local_rooms in [false, true] {
            let config = RunConfig {
                local_rooms,
                ..config_of(3, 30, 5)
            };
            let targets = Targets::of(&config);
            for place in 0..3 {
                let least = (0..30).find(|client| targets.place_of(*client) == place);
                assert_eq!(Some(targets.first_client(place)), least);
            }
        }
    }

    #[test]
    fn in_the_lobby_one_thread_speaks_for_all() {
        let config = RunConfig {
            clients: 100,
            threads: 3,
            scenario: Scenario::Lobby,
            ..config()
        };
        let shares: Vec<_> = parts(&config).iter().map(|part| part.share).collect();
        assert_eq!(shares, [Some((0, 1)), None, None]);
        assert_eq!((rooms(&config), room_of(&config, 99)), (1, 0));
    }
}
