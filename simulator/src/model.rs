//! A simple model of the peers, rooms and names of a server, written from docs/PROTOCOL.md.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bullhorn::ServerConfig;
use bullhorn::net::PeerAddr;
use bullhorn::server::rate::{Meter, Rate};
use bullhorn::server::registry::Network;
use bullhorn::wire::reply::{Changes, MAX_NAMED_EVENTS, PresenceEvent};
use bullhorn::wire::v2::SessionOptions;
use bullhorn::wire::{DisplayName, LOBBY, Name, Protocol, Reply, RoomName};

use crate::shares::{Shares, Table};

/// The identity of a peer: its address, and the number of the `--bind` address.
pub(crate) type Address = (SocketAddr, u8);

/// The state that a server should have.
pub(crate) struct Model {
    pub(crate) config: ServerConfig,
    pub(crate) now_ms: u64,
    pub(crate) peers: BTreeMap<Address, Peer>,
    pub(crate) rooms: HashMap<RoomName, Room>,
    last_number: u32,
    /// The rooms in which a session that is moving has places.
    pub(crate) reserved: Vec<RoomName>,
    pub(crate) names: HashMap<Name, (Address, Option<Network>)>,
    /// The limits of networks: of peers, names and rooms.
    pub(crate) shares: [Shares; 3],
    debts: HashMap<Address, Budget>,
    /// The sessions and tokens of version 1, in words, that the server has given to each address.
    pub(crate) issued: HashMap<Address, Vec<(Secret, u64)>>,
    /// The time up to which each muted address is muted.
    pub(crate) muted: HashMap<SocketAddr, u64>,
    pub(crate) kicked: HashMap<SocketAddr, u64>,
    pub(crate) banned: Vec<Network>,
    /// The v1 addresses that have expired, and when.
    pub(crate) proven: HashMap<Address, u64>,
    /// The addresses whose session has ended without another HELLO since.
    pub(crate) ended: BTreeSet<Address>,
    pub(crate) hellos: HashMap<SocketAddr, Meter>,
    /// For each worker and slot, a sender without bytes, and until when.
    pub(crate) flooders: HashMap<(usize, u16), (Address, u64)>,
}

/// A number or a token that only its receiver knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    Session(u64),
    Token(Vec<u8>),
}

#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) session: Option<u64>,
    pub(crate) ends_lines: bool,
    pub(crate) options: SessionOptions,
    pub(crate) name: Option<Name>,
    /// In lower case, as all rooms here.
    pub(crate) room: RoomName,
    pub(crate) others: Vec<RoomName>,
    pub(crate) wants_presence: bool,
    pub(crate) seen_ms: u64,
    pub(crate) owner: usize,
    pub(crate) muted_until_ms: u64,
    /// The network that it is counted for. `None` if it is trusted.
    pub(crate) network: Option<Network>,
    pub(crate) budget: Option<Rc<Budget>>,
}

#[derive(Debug, Default)]
pub(crate) struct Budget {
    pub(crate) texts: Meter,
    pub(crate) bytes: Meter,
    pub(crate) work: Meter,
}

impl Budget {
    fn raise_to(&self, other: &Self) {
        self.texts.raise_to(&other.texts);
        self.bytes.raise_to(&other.bytes);
        self.work.raise_to(&other.work);
    }
}

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) number: u32,
    pub(crate) name: RoomName,
    pub(crate) members: BTreeSet<Address>,
    creator: Option<Network>,
    pub(crate) subscribers: BTreeSet<Address>,
    events: Vec<PresenceEvent>,
    members_at_event: usize,
}

impl Model {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let limits = &config.limits;
        let rates = [
            limits.registrations_per_network,
            limits.names_per_network,
            limits.rooms_per_network,
        ];
        let lobby = room_name(LOBBY);
        Self {
            config: config.clone(),
            now_ms: 0,
            peers: BTreeMap::new(),
            rooms: HashMap::from([(lobby, Room::new(0, lobby, None))]),
            last_number: 0,
            reserved: Vec::new(),
            names: HashMap::new(),
            shares: rates.map(|rate| Shares::new(Rate::new(rate.0, Duration::from_secs(10)))),
            debts: HashMap::new(),
            issued: HashMap::new(),
            muted: HashMap::new(),
            kicked: HashMap::new(),
            banned: Vec::new(),
            proven: HashMap::new(),
            ended: BTreeSet::new(),
            hellos: HashMap::new(),
            flooders: HashMap::new(),
        }
    }

    pub(crate) fn names_len(&self) -> usize {
        self.names.len()
    }

    /// Takes a place in a table for a network. Returns false if it may have no more.
    fn enter(&mut self, table: Table, network: Option<Network>, used: usize) -> bool {
        let (max, now_ms) = (self.max(table), self.now_ms);
        let shares = &mut self.shares[table as usize];
        used < max
            && shares.add(network, max - used)
            && (shares.take(network, now_ms) || {
                shares.leave(network);
                false
            })
    }

    /// Returns true if a network may not have one more peer.
    pub(crate) fn is_full_for(&self, network: Option<Network>) -> bool {
        let (used, max) = (self.peers.len(), self.max(Table::Peers));
        let count = |network| self.shares[0].counts.get(&network).copied().unwrap_or(0);
        used >= max || network.is_some_and(|network| count(network) >= max - used)
    }

    pub(crate) fn max(&self, table: Table) -> usize {
        let config = &self.config;
        let max = match table {
            Table::Peers => config.max_peers,
            Table::Names => config.max_names,
            Table::Rooms => config.max_rooms,
        };
        max as usize
    }

    /// Registers a newcomer in the lobby. Returns false if it cannot be registered.
    pub(crate) fn register(&mut self, address: Address, mut peer: Peer) -> bool {
        if !self.enter(Table::Peers, peer.network, self.peers.len()) {
            return false;
        }
        self.charge_debt(address, &peer);
        peer.muted_until_ms = self.muted.get(&address.0).copied().unwrap_or(0);
        self.peers.insert(address, peer);
        self.enter_room(address, room_name(LOBBY), false);
        true
    }

    pub(crate) fn charge_debt(&self, address: Address, peer: &Peer) {
        if let (Some(budget), Some(debt)) = (&peer.budget, self.debts.get(&address)) {
            budget.raise_to(debt);
        }
    }

    pub(crate) fn note_debt(&mut self, address: Address, peer: &Peer) {
        if let Some(budget) = &peer.budget {
            let debt = Budget::default();
            debt.raise_to(budget);
            self.debts.insert(address, debt);
        }
    }

    /// Removes a peer from the server.
    pub(crate) fn remove(&mut self, address: Address, is_timeout: bool) {
        let peer = self.peers.get(&address).expect("registered").clone();
        for room in peer.rooms() {
            self.leave_room(address, room, is_timeout);
        }
        self.free_name(&peer);
        self.note_debt(address, &peer);
        if peer.session.is_some() {
            self.ended.insert(address);
        }
        self.peers.remove(&address);
        self.shares[0].leave(peer.network);
    }

    pub(crate) fn free_name(&mut self, peer: &Peer) {
        if let Some(name) = peer.name
            && let Some((_, network)) = self.names.remove(&name.folded())
        {
            self.shares[1].leave(network);
        }
    }

    /// Makes a peer a member of a room that it has a place in.
    fn enter_room(&mut self, address: Address, name: RoomName, subscribes: bool) {
        let who = self.display_name(address);
        let room = self.rooms.get_mut(&name).expect("it has a place");
        room.members.insert(address);
        if subscribes {
            room.subscribers.insert(address);
        }
        room.record(PresenceEvent::Joined(who));
    }

    pub(crate) fn leave_room(&mut self, address: Address, name: RoomName, is_timeout: bool) {
        let who = self.display_name(address);
        let room = self.rooms.get_mut(&name).expect("it has members");
        room.step_out(address);
        room.record(match is_timeout {
            true => PresenceEvent::TimedOut(who),
            false => PresenceEvent::Left(who),
        });
        let is_reserved = room.number == 0 || self.reserved.contains(&name);
        if room.members.is_empty() && !is_reserved {
            let room = self.rooms.remove(&name).expect("it is there");
            self.shares[2].leave(room.creator);
        }
    }

    /// Creates a room if need be. Returns false if it cannot be created, or is full.
    fn reserve(&mut self, name: RoomName, network: Option<Network>) -> bool {
        let key = name.folded();
        if let Some(room) = self.rooms.get(&key) {
            let max = self.config.max_room_members as usize;
            return room.number == 0 || room.members.len() < max;
        }
        let is_created = self.enter(Table::Rooms, network, self.rooms.len() - 1);
        if is_created {
            self.last_number += 1;
            self.rooms
                .insert(key, Room::new(self.last_number, name, network));
        }
        is_created
    }

    pub(crate) fn join(&mut self, address: Address, name: RoomName) {
        let (key, peer) = (name.folded(), self.peers[&address].clone());
        if peer.room == key {
            return;
        }
        if let Some(at) = peer.others.iter().position(|room| *room == key) {
            self.leave_room(address, peer.room, false);
            if peer.wants_presence {
                self.room_mut(key).subscribers.insert(address);
            }
            self.peer(address).others.remove(at);
        } else if self.reserve(name, peer.network) {
            self.leave_room(address, peer.room, false);
            self.enter_room(address, key, peer.wants_presence);
        } else {
            return;
        }
        self.peer(address).room = key;
    }

    pub(crate) fn subscribe(&mut self, address: Address, name: RoomName) -> bool {
        let (key, peer) = (name.folded(), self.peers[&address].clone());
        if peer.rooms().any(|room| room == key) {
            return true;
        }
        let is_in = peer.others.len() + 1 < MAX_ROOMS && self.reserve(name, peer.network);
        if is_in {
            self.peer(address).others.push(key);
            self.enter_room(address, key, false);
        }
        is_in
    }

    pub(crate) fn unsubscribe(&mut self, address: Address, number: u32) {
        let others = self.peers[&address].others.clone();
        let is_it = |room: &RoomName| self.rooms[room].number == number;
        if let Some(at) = others.iter().position(is_it) {
            self.peer(address).others.remove(at);
            self.leave_room(address, others[at], false);
        }
    }

    pub(crate) fn rename(&mut self, address: Address, name: Name) {
        let (key, peer) = (name.folded(), self.peers[&address].clone());
        let before = peer.name.map(Name::folded);
        if before != Some(key) {
            let is_free = !self.names.contains_key(&key);
            let now_ms = self.now_ms;
            let may_take = is_free
                && match before {
                    Some(_) => self.shares[1].take(peer.network, now_ms),
                    None => self.enter(Table::Names, peer.network, self.names.len()),
                };
            if !may_take {
                return;
            }
            self.names.insert(key, (address, peer.network));
            before.map(|before| self.names.remove(&before));
        }
        let shown = self.display_name(address);
        self.peer(address).name = Some(name);
        if shown != DisplayName::Name(name) {
            self.room_mut(peer.room)
                .record(PresenceEvent::Renamed(shown, DisplayName::Name(name)));
        }
    }

    pub(crate) fn set_presence(&mut self, address: Address, is_on: bool) {
        self.peer(address).wants_presence = is_on;
        let room = self.room_mut(self.peers[&address].room);
        match is_on {
            true => _ = room.subscribers.insert(address),
            false => room.unsubscribe(address),
        }
    }

    /// Takes the notice of each room with events: its subscribers and its sentence.
    pub(crate) fn take_notices(&mut self) -> Vec<(Vec<Address>, Reply<'static>)> {
        let rooms = self.rooms.values_mut();
        let notices = rooms.filter(|room| !room.events.is_empty()).map(|room| {
            let events = std::mem::take(&mut room.events);
            let changes = if events.len() <= MAX_NAMED_EVENTS {
                Changes::Events(events)
            } else {
                let mut counts = [0; 4];
                for event in events {
                    counts[event.index()] += 1;
                }
                Changes::Counts(counts)
            };
            let members = room.members_at_event;
            let subscribers = room.subscribers.iter().copied().collect();
            (subscribers, Reply::Presence { changes, members })
        });
        notices.collect()
    }

    pub(crate) fn display_name(&self, address: Address) -> DisplayName {
        DisplayName::of(address.0, self.peers[&address].name)
    }

    pub(crate) fn peer(&mut self, address: Address) -> &mut Peer {
        self.peers.get_mut(&address).expect("registered")
    }

    pub(crate) fn room_mut(&mut self, room: RoomName) -> &mut Room {
        self.rooms.get_mut(&room).expect("it has members")
    }

    /// The units of work for the presence notices of changes in rooms.
    pub(crate) fn notices_work(&self, rooms: &[RoomName]) -> u32 {
        let rooms = rooms.iter().filter_map(|room| self.rooms.get(room));
        (rooms.map(|room| room.subscribers.len()).sum::<usize>() / 100) as u32
    }
}

impl Peer {
    pub(crate) fn rooms(&self) -> impl Iterator<Item = RoomName> + use<> {
        std::iter::once(self.room).chain(self.others.clone())
    }

    pub(crate) fn protocol(&self) -> Protocol {
        match (self.session, self.ends_lines) {
            (Some(_), _) => Protocol::Frames(self.options.bundle_size),
            (None, true) => Protocol::Lines,
            (None, false) => Protocol::Text,
        }
    }
}

impl Room {
    fn new(number: u32, name: RoomName, creator: Option<Network>) -> Self {
        Self {
            number,
            name,
            members: BTreeSet::new(),
            creator,
            subscribers: BTreeSet::new(),
            events: Vec::new(),
            members_at_event: 0,
        }
    }

    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    fn record(&mut self, event: PresenceEvent) {
        if !self.subscribers.is_empty() {
            self.events.push(event);
            self.members_at_event = self.members.len();
        }
    }

    pub(crate) fn step_out(&mut self, address: Address) {
        assert!(self.members.remove(&address), "the model is wrong");
        self.unsubscribe(address);
    }

    fn unsubscribe(&mut self, address: Address) {
        self.subscribers.remove(&address);
        if self.subscribers.is_empty() {
            self.events.clear();
        }
    }
}

pub(crate) fn address_of(peer: &PeerAddr) -> Address {
    (peer.socket_addr(), peer.endpoint().bind())
}

pub(crate) fn room_name(text: &str) -> RoomName {
    RoomName::parse(text.as_bytes()).expect("a valid name")
}

/// Maximum number of rooms of a session.
const MAX_ROOMS: usize = 64;
