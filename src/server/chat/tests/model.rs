//! The protocol in its simplest form: some maps and lists, which are searched from the
//! beginning.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use super::{Action, PEERS, Received, TIMEOUT_MS, address, worker};
use crate::server::registry::RegistryLimits;
use crate::wire::v2::NoticeCode;

/// The server, and the peers' sessions.
pub(super) struct Model {
    pub(super) limits: RegistryLimits,
    pub(super) now_ms: u64,
    pub(super) peers: BTreeMap<usize, Peer>,
    /// In the order of creation, but the last room takes the place of one that vanishes.
    /// The lobby is the first.
    pub(super) rooms: Vec<Room>,
    pub(super) last_room: u32,
    /// The epochs in which each peer was given a session. Within an epoch it is the same one.
    epochs: [Vec<u64>; PEERS],
    /// The peers whose session has ended, and who have not sent a HELLO since.
    ended: BTreeSet<usize>,
    /// The time at which each address was last told that its session is unknown.
    told_unknown_ms: HashMap<SocketAddr, u64>,
    /// The number of messages that each worker has sent to each room.
    sequences: HashMap<(u32, usize), u32>,
    /// The datagrams and frames that each peer is to receive.
    pub(super) outbox: Vec<Vec<(Cause, Received)>>,
    /// The length of the reply to the datagram that is being handled, for a v2 peer.
    pub(super) reply_bytes: usize,
    /// The number of direct messages that this datagram may still send.
    pub(super) privates_left: u32,
    /// The number of lists that this datagram may still ask for.
    pub(super) lists_left: u32,
    /// Texts delivered, each to one peer.
    pub(super) deliveries: u64,
    /// Replies, direct messages and lists beyond the limits of their datagram.
    pub(super) shed: u64,
    /// The count of each kind of outcome.
    pub(super) tally: HashMap<&'static str, u32>,
}

/// The cause of something that is sent. Datagrams of one cause arrive in order, those of
/// two causes in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A request of this peer.
    Request(usize),
    /// A direct message of this peer.
    Private(usize),
    /// A text of this peer.
    Text(usize),
    /// Presence events.
    Presence,
}

pub(super) struct Peer {
    pub(super) name: Option<String>,
    pub(super) room: u32,
    pub(super) session: Option<usize>,
    /// True if its first datagram had a line end. Then it receives lines with an end.
    pub(super) has_line_ends: bool,
    pub(super) seen_ms: u64,
    pub(super) wants_presence: bool,
}

pub(super) struct Room {
    pub(super) number: u32,
    pub(super) name: String,
    /// In the order of joining, but the last member takes the place of one that leaves.
    pub(super) members: Vec<usize>,
    pub(super) waiting: Vec<Text>,
    /// The kind and the sentence of each presence event.
    pub(super) events: Vec<(&'static str, String)>,
}

pub(super) struct Text {
    pub(super) sender: usize,
    /// The sender's name or address when the text arrived.
    pub(super) display_name: String,
    pub(super) payload: String,
}

impl Model {
    pub(super) fn new(limits: RegistryLimits) -> Self {
        Self {
            limits,
            now_ms: 0,
            peers: BTreeMap::new(),
            rooms: vec![Room::new(0, "lobby")],
            last_room: 0,
            epochs: Default::default(),
            ended: BTreeSet::new(),
            told_unknown_ms: HashMap::new(),
            sequences: HashMap::new(),
            outbox: vec![Vec::new(); PEERS],
            reply_bytes: 0,
            privates_left: 0,
            lists_left: 0,
            deliveries: 0,
            shed: 0,
            tally: HashMap::new(),
        }
    }

    /// Returns the number of peers and the number of rooms.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.peers.len(), self.rooms.len())
    }

    /// Handles a HELLO.
    pub(super) fn hello(&mut self, peer: usize) {
        let known = self.peers.get(&peer);
        if known.is_some_and(|known| known.session.is_none()) {
            return self.count("hello of a v1 peer");
        }
        let session = match known {
            Some(known) => known.session.expect("it speaks v2"),
            None if self.is_full() => return self.refuse_newcomer(peer),
            None => self.give_session(peer),
        };
        self.begin();
        self.reply(peer, Received::Welcome { session });
    }

    /// Returns the number of the session that a peer is given in this epoch.
    fn give_session(&mut self, peer: usize) -> usize {
        self.ended.remove(&peer);
        let (epoch, epochs) = (self.now_ms / EPOCH_MS, &mut self.epochs[peer]);
        let known = epochs.iter().position(|known| *known == epoch);
        known.unwrap_or_else(|| {
            epochs.push(epoch);
            epochs.len() - 1
        })
    }

    /// Refuses a v2 peer that is new.
    fn refuse_newcomer(&mut self, peer: usize) {
        self.count("too many peers");
        let notice = Received::Notice(NoticeCode::Refused, self.full());
        self.outbox[peer].push((Cause::Request(peer), notice));
    }

    /// Handles a v1 datagram. `has_line_end` is true if it ended with a line end.
    pub(super) fn text(&mut self, peer: usize, action: &Action, line: &str, has_line_end: bool) {
        let session = self.peers.get(&peer).map(|peer| peer.session);
        if matches!(action, Action::Bye) {
            if session == Some(None) {
                self.remove(peer, "left");
            }
            return;
        }
        if let Some(Some(_)) = session {
            return self.count("text of a peer with a session");
        }
        if session.is_none() && self.is_full() {
            self.count("too many peers");
            let end = if has_line_end { "\n" } else { "" };
            let line = Received::Line(format!("* {}{end}", self.full()));
            return self.outbox[peer].push((Cause::Request(peer), line));
        }
        if session.is_none() {
            self.register(peer, None, has_line_end);
        }
        self.refresh(peer);
        self.begin();
        if !matches!(action, Action::Heartbeat | Action::Ping) {
            self.act(peer, action, &truncate(line, MAX_PAYLOAD));
        }
    }

    /// Handles a v2 datagram.
    pub(super) fn frames(&mut self, peer: usize, session: usize, actions: &[(Action, String)]) {
        if actions.iter().any(|(_, body)| body.len() > MAX_PAYLOAD) {
            return self.count("frame too long");
        }
        let is_new = !self.peers.contains_key(&peer);
        if is_new {
            let epoch = self.epochs[peer].get(session);
            let is_valid = epoch.is_some_and(|epoch| epoch + 1 >= self.now_ms / EPOCH_MS);
            if !is_valid || self.ended.contains(&peer) {
                return self.tell_unknown(peer);
            }
            if self.is_full() {
                return self.refuse_newcomer(peer);
            }
            self.register(peer, Some(session), false);
            self.count("session registered");
        }
        if self.peers[&peer].session != Some(session) {
            return self.count("frames of a closed session");
        }
        self.refresh(peer);
        self.begin();
        if is_new {
            self.tell_room(peer);
        }
        for (action, body) in actions {
            match action {
                // It does not name a room, so it asks for it.
                Action::Heartbeat if is_new => {}
                Action::Heartbeat => self.tell_room(peer),
                Action::Ping => self.reply(peer, Received::Pong(body.clone())),
                Action::Bye => return self.remove(peer, "left"),
                _ => self.act(peer, action, body),
            }
        }
    }

    fn tell_room(&mut self, peer: usize) {
        let number = self.peers[&peer].room;
        let name = self.room(number).name.clone();
        self.reply(peer, Received::Room(number, name));
    }

    /// Tells a peer that its session is unknown, unless its address was told in the last second.
    fn tell_unknown(&mut self, peer: usize) {
        let (address, now_ms) = (address(peer).socket_addr(), self.now_ms);
        let told_ms = self.told_unknown_ms.get(&address);
        if told_ms.is_some_and(|told_ms| now_ms - told_ms < 1_000) {
            return self.count("unknown session again");
        }
        self.told_unknown_ms.insert(address, now_ms);
        self.count("unknown session");
        self.outbox[peer].push((Cause::Request(peer), Received::UnknownSession));
    }

    /// Moves the clock, and removes silent peers. The core has `expired` the same peers, in
    /// any order.
    pub(super) fn wait(&mut self, ms: u64, expired: &[usize]) {
        self.now_ms += ms;
        let is_silent = |peer: &Peer| self.now_ms - peer.seen_ms > TIMEOUT_MS;
        let silent = self.peers.iter().filter(|(_, peer)| is_silent(peer));
        let silent: Vec<usize> = silent.map(|(number, _)| *number).collect();
        let mut sorted = expired.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, silent, "peers silent for too long");
        for peer in expired {
            if self.peers[peer].name.is_some() {
                self.count("name freed by expiry");
            }
            self.remove(*peer, "timed out");
        }
    }

    /// Sends everything that is due. Returns what each peer receives.
    pub(super) fn settle(&mut self) -> Vec<Vec<(Cause, Received)>> {
        for index in 0..self.rooms.len() {
            let room = &mut self.rooms[index];
            let (number, members) = (room.number, room.members.clone());
            let texts = std::mem::take(&mut room.waiting);
            let events = std::mem::take(&mut room.events);
            for text in texts {
                self.deliver(number, &members, &text);
            }
            let wants = |peer: &&usize| self.peers[*peer].wants_presence;
            let subscribers: Vec<usize> = members.iter().filter(wants).copied().collect();
            if events.is_empty() {
                continue;
            }
            let text = presence_text(&events, members.len());
            for peer in subscribers {
                let notice = self.notice(peer, NoticeCode::Presence, &text);
                self.outbox[peer].push((Cause::Presence, notice));
                self.count(if events.len() > 4 {
                    "presence in numbers"
                } else {
                    "presence"
                });
            }
        }
        std::mem::replace(&mut self.outbox, vec![Vec::new(); PEERS])
    }

    /// Queues a text for the sender's room.
    pub(super) fn broadcast(&mut self, peer: usize, text: &str) {
        let (room, display_name) = (self.peers[&peer].room, self.display_name(peer));
        self.room(room).waiting.push(Text {
            sender: peer,
            display_name,
            payload: truncate(text, MAX_PAYLOAD),
        });
    }

    fn deliver(&mut self, room: u32, members: &[usize], text: &Text) {
        let stream = worker(text.sender);
        let is_v2 = |peer: &usize| self.peers[peer].session.is_some();
        let count = u32::from(members.iter().any(is_v2));
        let next = self.sequences.entry((room, stream)).or_default();
        let sequence = *next;
        *next += count;
        for peer in members {
            let message = if self.peers[peer].session.is_some() {
                Received::Message {
                    room,
                    stream: stream as u8,
                    sequence,
                    from: text.display_name.clone(),
                    payload: text.payload.clone(),
                }
            } else {
                self.line(*peer, &format!("{} {}", text.display_name, text.payload))
            };
            self.outbox[*peer].push((Cause::Text(text.sender), message));
            self.deliveries += 1;
        }
    }

    /// Registers a peer that is new.
    fn register(&mut self, peer: usize, session: Option<usize>, has_line_ends: bool) {
        let newcomer = Peer {
            name: None,
            room: 0,
            session,
            has_line_ends,
            seen_ms: self.now_ms,
            wants_presence: false,
        };
        self.peers.insert(peer, newcomer);
        self.enter(peer, 0);
    }

    fn is_full(&self) -> bool {
        self.peers.len() >= self.limits.max_peers
    }

    /// Returns the refusal of a newcomer.
    fn full(&self) -> String {
        format!("peer limit reached ({})", self.limits.max_peers)
    }

    fn remove(&mut self, peer: usize, reason: &'static str) {
        self.exit(peer, reason);
        let removed = self.peers.remove(&peer);
        if removed.is_some_and(|removed| removed.session.is_some()) {
            self.ended.insert(peer);
        }
        self.count(reason);
    }

    pub(super) fn enter(&mut self, peer: usize, room: u32) {
        self.peer(peer).room = room;
        self.room(room).members.push(peer);
        self.record(
            room,
            "joined",
            format!("{} joined", self.display_name(peer)),
        );
    }

    /// Removes a peer from its room, which vanishes with its last member.
    pub(super) fn exit(&mut self, peer: usize, reason: &'static str) {
        let number = self.peers[&peer].room;
        let members = &mut self.room(number).members;
        members.retain_by_swapping(|member| *member != peer);
        self.record(
            number,
            reason,
            format!("{} {reason}", self.display_name(peer)),
        );
        let is_left = |room: &Room| room.number != 0 && room.members.is_empty();
        self.rooms.retain_by_swapping(|room| !is_left(room));
    }

    /// Records a presence event. Without subscribers all events of the room are dropped.
    pub(super) fn record(&mut self, room: u32, kind: &'static str, text: String) {
        self.room(room).events.push((kind, text));
        self.drop_unwanted_events(room);
    }

    /// Drops the events of a room without subscribers.
    pub(super) fn drop_unwanted_events(&mut self, room: u32) {
        let members = self.room(room).members.clone();
        let is_subscribed = |peer: &usize| self.peers[peer].wants_presence;
        if !members.iter().any(is_subscribed) {
            self.room(room).events.clear();
        }
    }

    pub(super) fn room(&mut self, number: u32) -> &mut Room {
        let mut rooms = self.rooms.iter_mut();
        let room = rooms.find(|room| room.number == number);
        room.expect("it exists")
    }

    pub(super) fn display_name(&self, peer: usize) -> String {
        let name = self.peers[&peer].name.clone();
        name.unwrap_or_else(|| address(peer).socket_addr().to_string())
    }

    pub(super) fn peer(&mut self, peer: usize) -> &mut Peer {
        self.peers.get_mut(&peer).expect("registered")
    }

    fn refresh(&mut self, peer: usize) {
        self.peer(peer).seen_ms = self.now_ms;
    }

    pub(super) fn count(&mut self, kind: &'static str) {
        *self.tally.entry(kind).or_default() += 1;
    }
}

impl Room {
    pub(super) fn new(number: u32, name: &str) -> Self {
        Self {
            number,
            members: Vec::new(),
            name: name.to_owned(),
            waiting: Vec::new(),
            events: Vec::new(),
        }
    }
}

/// Removes at most one item. The last item takes its place.
trait RetainBySwapping<T> {
    fn retain_by_swapping(&mut self, keeps: impl Fn(&T) -> bool);
}

impl<T> RetainBySwapping<T> for Vec<T> {
    fn retain_by_swapping(&mut self, keeps: impl Fn(&T) -> bool) {
        if let Some(at) = self.iter().position(|item| !keeps(item)) {
            self.swap_remove(at);
        }
    }
}

/// Returns the notice of presence events in a room with this many members.
fn presence_text(events: &[(&'static str, String)], members: usize) -> String {
    let parts: Vec<String> = if events.len() > 4 {
        let kinds = ["joined", "left", "timed out", "renamed"];
        let counts =
            kinds.map(|kind| (events.iter().filter(|event| event.0 == kind).count(), kind));
        let some = counts.into_iter().filter(|(count, _)| *count > 0);
        some.map(|(count, kind)| format!("{count} {kind}"))
            .collect()
    } else {
        events.iter().map(|(_, text)| text.clone()).collect()
    };
    format!("{} ({members} here)", parts.join(", "))
}

/// Truncates a text, which is ASCII.
pub(super) fn truncate(text: &str, max: usize) -> String {
    text[..text.len().min(max)].to_owned()
}

/// Time in which an address is given the same session.
pub(super) const EPOCH_MS: u64 = 64_000;

/// Maximum length of a text or a command of a v2 peer. With the magic and the longest header
/// of a message it is 1200 bytes long.
pub(super) const MAX_PAYLOAD: usize = 1200 - 10 - (1 + 2 + 4 + 1 + 4 + 26);
