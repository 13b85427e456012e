use std::cell::RefCell;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use super::*;
use crate::net::PeerAddr;
use crate::server::ops::stats::WorkerId;
use crate::server::registry::*;
use crate::wire::v2::{BundleSize, Move, SessionId};
use crate::wire::{Name, Protocol, RoomName};

/// Returns the slots of networks, no two of which are the same.
fn slots<const N: usize>() -> [NetworkSlot; N] {
    std::array::from_fn(|index| NetworkSlot(NonZero::new(index as u16 + 1).unwrap()))
}

fn limit(max: u32, scope: LimitScope) -> Result<(), Limit> {
    Err(Limit { max, scope })
}

/// Takes places for networks in turn until none gets one. Returns the number of each.
fn fill(
    shares: &NetworkShares,
    used: &mut usize,
    max: usize,
    networks: &[NetworkSlot],
) -> Vec<u32> {
    let mut enter = |network: &&NetworkSlot| {
        let entered = shares.enter(Some(**network), *used, max, 0).is_ok();
        *used += usize::from(entered);
        entered
    };
    while networks.iter().filter(&mut enter).count() > 0 {}
    let counts = networks.iter().map(|network| shares.count(*network));
    counts.collect()
}

#[test]
fn one_network_has_half_of_a_table_two_have_a_third_each_and_another_gets_in() {
    let [a, b, c, d] = slots();
    for (max, networks, counts) in [
        (1_000, &[a][..], &[500][..]),
        (1_000, &[a, b], &[334, 333]),
        (1_000, &[a, b, c], &[250, 250, 250]),
        (3, &[a], &[2]),
        (2, &[a, b], &[1, 1]),
        (1, &[a, b], &[1, 0]),
    ] {
        let (shares, mut used) = (NetworkShares::default(), 0);
        assert_eq!(fill(&shares, &mut used, max, networks), counts, "{max}");
        let left = max - used;
        assert_eq!(shares.enter(Some(d), used, max, 0).is_ok(), left > 0);
        let more: Vec<_> = (used..max)
            .map(|used| shares.enter(None, used, max, 0))
            .collect();
        assert!(more.iter().all(Result::is_ok), "trusted");
        let full = limit(max as u32, LimitScope::Server);
        for network in [None, Some(a), Some(d)] {
            assert_eq!(shares.enter(network, max, max, 0), full);
            assert_eq!(shares.reached(network, max, max), full.err());
        }
    }
}

#[test]
fn a_limit_names_what_the_network_has() {
    let ([a, b], shares) = (slots(), NetworkShares::default());
    let mut used = 0;
    assert_eq!(fill(&shares, &mut used, 10, &[a]), [5]);
    let share = limit(5, LimitScope::Network);
    assert_eq!(shares.enter(Some(a), 5, 10, 0), share);
    assert_eq!(shares.reached(Some(a), 5, 10), share.err());
    assert_eq!(shares.reached(Some(b), 5, 10), None);
    assert_eq!(shares.reached(None, 5, 10), None);
    // One of others has gone.
    assert_eq!(shares.enter(Some(a), 4, 10, 0), Ok(()));
    shares.leave(Some(a));
    assert_eq!(shares.count(a), 5);
}

#[test]
fn what_is_handed_over_counts_for_the_other_network() {
    let ([a, b], shares) = (slots(), NetworkShares::default());
    let mut used = 0;
    // Five of the first, and the other has none.
    fill(&shares, &mut used, 10, &[a]);
    let hand_over = |from, to| shares.hand_over(from, to, 5, 10);
    assert_eq!(hand_over(Some(a), Some(b)), Ok(()));
    assert_eq!((shares.count(a), shares.count(b)), (4, 1));
    assert_eq!(hand_over(Some(b), Some(b)), Ok(()));
    assert_eq!(hand_over(Some(b), None), Ok(()));
    assert_eq!(hand_over(None, Some(a)), Ok(()));
    assert_eq!((shares.count(a), shares.count(b)), (5, 0));
    // In a table that is full, the place of the one that moves is left for it.
    assert_eq!(shares.hand_over(Some(a), Some(b), 10, 10), Ok(()));
    let share = limit(1, LimitScope::Network);
    assert_eq!(shares.hand_over(Some(a), Some(b), 10, 10), share);
    assert_eq!((shares.count(a), shares.count(b)), (4, 1));
}

#[test]
fn a_network_takes_units_evenly_after_a_burst_and_others_are_not_slower() {
    let ([a, b], shares) = (slots(), NetworkShares::new(NonZero::new(20)));
    let taken = |network, now_ms| {
        let taken = (0..1_000).map(|_| shares.enter(network, 0, 100_000, now_ms));
        taken.filter(Result::is_ok).count()
    };
    assert_eq!(taken(Some(a), 0), 200);
    assert_eq!(taken(Some(b), 0), 200);
    assert_eq!(taken(None, 0), 1_000, "trusted");
    assert_eq!(taken(Some(a), 1_000), 20);
    let slower = limit(20, LimitScope::NetworkPerSecond);
    assert_eq!(shares.enter(Some(a), 0, 100_000, 1_000), slower);
    assert_eq!(shares.take(Some(a), 1_000), slower);
    assert_eq!(shares.count(a), 220, "what was not taken is not counted");
}

#[test]
fn networks_have_slots_of_a_random_key() {
    let network = |number: u32| Network::of(Ipv4Addr::from_bits(number << 8).into());
    let slots = |hash: AddressHash| {
        let slots = (0..10_000).map(|number| NetworkSlot::of(network(number), &hash).index());
        slots.collect::<Vec<_>>()
    };
    let first = slots(AddressHash::random());
    assert_ne!(first, slots(AddressHash::random()));
    let mut different = first;
    different.sort_unstable();
    different.dedup();
    // 9,279 by chance.
    assert!((9_100..9_450).contains(&different.len()));
    assert!(different.last() < Some(&(SLOTS as u64)));
}

#[test]
fn a_move_is_a_registration() {
    let rates = NetworkRates {
        registrations: NonZero::new(1),
        ..NetworkRates::default()
    };
    let registry = Registry::plain(1, 100).with_network_rates(rates);
    registry.register(&newcomer(0, session(0), false), 0);
    let mut moved = 0;
    loop {
        let former = Move {
            session: session(moved),
            address: address(moved * 3).socket_addr(),
        };
        let newcomer = newcomer(moved * 3 + 3, session(moved + 1), false);
        let Touch::Moved(_) = registry.take_over(&newcomer, &former, 0) else {
            break;
        };
        moved += 1;
    }
    assert_eq!((moved, registry.len()), (9, 1));
}

/// An action of a peer, or of time.
#[derive(Debug, Clone)]
enum Action {
    Register {
        peer: usize,
        is_trusted: bool,
    },
    Move {
        from: usize,
        to: usize,
        is_trusted: bool,
        has_other_session: bool,
    },
    Rename {
        peer: usize,
        name: u8,
    },
    Join {
        peer: usize,
        room: u8,
    },
    Subscribe {
        peer: usize,
        room: u8,
    },
    Unsubscribe {
        peer: usize,
        room: u8,
    },
    Leave {
        peer: usize,
    },
    Expire {
        peers: usize,
    },
    Wait {
        ms: u64,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let peer = || 0..PEERS;
    prop_oneof![
        8 => (peer(), prop::bool::weighted(0.2))
            .prop_map(|(peer, is_trusted)| Action::Register { peer, is_trusted }),
        8 => (peer(), peer(), prop::bool::weighted(0.2), prop::bool::weighted(0.1)).prop_map(
            |(from, to, is_trusted, has_other_session)| {
                Action::Move { from, to, is_trusted, has_other_session }
            }
        ),
        6 => (peer(), 0..6_u8).prop_map(|(peer, name)| Action::Rename { peer, name }),
        4 => (peer(), 0..6_u8).prop_map(|(peer, room)| Action::Join { peer, room }),
        2 => (peer(), 0..6_u8).prop_map(|(peer, room)| Action::Subscribe { peer, room }),
        1 => (peer(), 0..6_u8).prop_map(|(peer, room)| Action::Unsubscribe { peer, room }),
        4 => peer().prop_map(|peer| Action::Leave { peer }),
        1 => (1..3_usize).prop_map(|peers| Action::Expire { peers }),
        2 => (0..50_u64).prop_map(|ms| Action::Wait { ms }),
    ]
}

/// A registry, and the networks that created its rooms, by number.
struct Counted {
    registry: Arc<Registry>,
    creators: HashMap<u32, Option<NetworkSlot>>,
    now_ms: u64,
    tally: HashMap<&'static str, u32>,
}

impl Counted {
    fn new() -> Self {
        let hash = AddressHash::random();
        let registry = Registry::new(1, LIMITS, hash, Arc::new(|| {}));
        let per_second = NonZero::new(1);
        let rates = NetworkRates {
            registrations: per_second,
            names: per_second,
            rooms: per_second,
        };
        Self {
            registry: Arc::new(registry.with_network_rates(rates)),
            creators: HashMap::new(),
            now_ms: 0,
            tally: HashMap::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        let (registry, now_ms) = (Arc::clone(&self.registry), self.now_ms);
        match *action {
            Action::Register { peer, is_trusted } => {
                let newcomer = newcomer(peer, session(peer), is_trusted);
                match registry.register(&newcomer, now_ms) {
                    Touch::LimitReached(limit) => self.count_limit(limit),
                    _ => self.count("registered"),
                }
            }
            Action::Move {
                from,
                to,
                is_trusted,
                has_other_session,
            } => {
                let session_to = session(to + PEERS * usize::from(has_other_session));
                let before = registry.get(&address(from));
                let former = Move {
                    session: session_of(before.as_deref(), from),
                    address: address(from).socket_addr(),
                };
                // A peer that moves takes its budget with it.
                let before = before.map(|peer| (peer.name(), peer.network()));
                let newcomer = newcomer(to, session_to, is_trusted);
                let touch = registry.take_over(&newcomer, &former, now_ms);
                let is_gone = registry.get(&address(from)).is_none();
                match (before, touch) {
                    (Some((name, network)), Touch::Moved(peer)) => {
                        if name != peer.name() {
                            self.count("name lost in a move");
                        }
                        if network != peer.network() {
                            self.count("moved to another network");
                        }
                        if network.is_some() != peer.network().is_some() {
                            self.count("moved to or from a trusted network");
                        }
                        self.count("moved");
                    }
                    (Some(_), _) if is_gone => self.count("lost in a move"),
                    (Some(_), _) if from != to => self.count("not moved"),
                    _ => {}
                }
            }
            Action::Rename { peer, name } => {
                let name = Name::parse(&[b'a' + name]).unwrap();
                if let Some(Err(NameError::LimitReached(limit))) =
                    registry.rename(&address(peer), name)
                {
                    self.count_limit(limit);
                }
            }
            Action::Join { peer, room } => {
                let joined = registry.join(&address(peer), room_name(room));
                if let Some(Err(RoomError::LimitReached { limit, .. })) = joined {
                    self.count_limit(limit);
                }
            }
            Action::Subscribe { peer, room } => {
                let subscribed = registry.subscribe(&address(peer), room_name(room));
                if let Some(Ok(_)) = subscribed {
                    self.count("subscribed");
                }
            }
            Action::Unsubscribe { peer, room } => {
                let (rooms, _) = registry.directory().snapshot();
                if let Some((room, _)) = rooms.get(usize::from(room)) {
                    registry.unsubscribe(&address(peer), room.number());
                }
            }
            Action::Leave { peer } => {
                let session = session_of(registry.get(&address(peer)).as_deref(), peer);
                registry.leave(&address(peer), Some(session));
            }
            Action::Expire { peers } => {
                let mut seen: Vec<_> = registry
                    .peers
                    .iter()
                    .map(|peer| peer.last_seen_ms())
                    .collect();
                seen.sort_unstable();
                if let Some(oldest_ms) = seen.get(peers) {
                    registry.expire(&[*oldest_ms], |_| {});
                }
            }
            Action::Wait { ms } => self.now_ms += ms,
        }
    }

    /// Notes the creators of rooms that are new, and forgets those of rooms that are gone.
    fn note_creators(&mut self, action: &Action) {
        let (rooms, _) = self.registry.directory().snapshot();
        let rooms: Vec<_> = rooms.iter().map(|(room, _)| room.number()).collect();
        self.creators.retain(|room, _| rooms.contains(room));
        if let Action::Join { peer, .. } | Action::Subscribe { peer, .. } = action {
            let peer = self.registry.get(&address(*peer));
            let network = peer.and_then(|peer| peer.network());
            for room in rooms {
                self.creators.entry(room).or_insert(network);
            }
        }
    }

    /// Compares the counts with what the registry holds.
    fn check(&self) -> TestCaseResult {
        let registry = &self.registry;
        let (mut peers, mut names) = (Vec::new(), Vec::new());
        for entry in &registry.peers {
            let peer = entry.value();
            let network = (!peer.is_trusted()).then(|| registry.network(&entry.key().address));
            prop_assert_eq!(peer.network(), network);
            peers.push(network);
            names.extend(peer.name().map(|_| network));
        }
        prop_assert_eq!(
            (registry.len(), registry.names.len()),
            (peers.len(), names.len())
        );
        prop_assert_eq!(registry.directory.len(), 1 + self.creators.len());
        let rooms: Vec<_> = self.creators.values().copied().collect();
        for (shares, held, max) in [
            (&registry.shares, peers, LIMITS.max_peers),
            (&registry.names.shares, names, LIMITS.max_names),
            (&registry.directory.shares, rooms, LIMITS.max_rooms),
        ] {
            for network in (0..PEERS).map(|peer| registry.network(&address(peer))) {
                let count = held.iter().filter(|other| **other == Some(network)).count();
                prop_assert_eq!(shares.count(network) as usize, count);
                prop_assert!(count <= max.div_ceil(2), "{count} of {max}");
            }
        }
        Ok(())
    }

    fn count(&mut self, kind: &'static str) {
        *self.tally.entry(kind).or_default() += 1;
    }

    fn count_limit(&mut self, limit: Limit) {
        self.count(match limit.scope {
            LimitScope::Server => "limit of the server",
            LimitScope::Network => "limit of a network",
            LimitScope::NetworkPerSecond => "limit per second",
        });
    }
}

#[test]
fn networks_are_counted_exactly_and_none_has_more_than_half() {
    let tally = RefCell::new(HashMap::<_, u32>::new());
    let config = ProptestConfig {
        cases: 80,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let run = |actions: Vec<Action>| {
        let mut counted = Counted::new();
        for action in &actions {
            counted.act(action);
            counted.note_creators(action);
            counted.check()?;
        }
        counted.registry.expire(&[u64::MAX], |_| {});
        let registry = &counted.registry;
        for shares in [
            &registry.shares,
            &registry.names.shares,
            &registry.directory.shares,
        ] {
            prop_assert_eq!(shares.total(), 0, "when all have gone");
        }
        for (kind, count) in counted.tally {
            *tally.borrow_mut().entry(kind).or_default() += count;
        }
        Ok(())
    };
    let actions = prop::collection::vec(action(), 1..400);
    if let Err(error) = TestRunner::new(config).run(&actions, run) {
        panic!("{error}");
    }
    let tally = tally.into_inner();
    for kind in [
        "registered",
        "moved",
        "moved to another network",
        "moved to or from a trusted network",
        "not moved",
        "name lost in a move",
        "lost in a move",
        "subscribed",
        "limit of the server",
        "limit of a network",
        "limit per second",
    ] {
        assert!(tally.contains_key(kind), "{kind}: {tally:?}");
    }
}

/// Returns the address of a peer, in one of three networks.
fn address(peer: usize) -> PeerAddr {
    let ip = Ipv4Addr::new(10, 0, (peer % 3) as u8, 1);
    PeerAddr::new((ip, 5000 + peer as u16).into(), 0)
}

fn session(number: usize) -> SessionId {
    SessionId::new(number as u64 + 1).unwrap()
}

fn session_of(registered: Option<&Peer>, peer: usize) -> SessionId {
    registered.and_then(Peer::session).unwrap_or(session(peer))
}

fn room_name(number: u8) -> RoomName {
    RoomName::parse(&[b'a' + number]).unwrap()
}

fn newcomer(peer: usize, session: SessionId, is_trusted: bool) -> Newcomer {
    Newcomer {
        address: address(peer),
        protocol: Protocol::Frames(BundleSize::Full),
        session: Some(session),
        options: None,
        owner: WorkerId(0),
        is_trusted,
    }
}

const PEERS: usize = 12;

/// Small enough to be reached often.
const LIMITS: RegistryLimits = RegistryLimits {
    max_peers: 7,
    max_names: 2,
    max_rooms: 3,
    max_room_members: 5,
};
