//! What the protocol promises, as simple as it can be said: some maps and lists, through
//! which it looks from end to end.

use std::collections::{BTreeMap, HashMap};

use super::answers::cut;
use super::core::Bounds;
use super::{Action, Heard, PEERS, TIMEOUT_MS, address, worker};
use crate::wire::v2::NoticeCode;

/// The server, and what each client knows of its session.
pub(super) struct Model {
    pub(super) bounds: Bounds,
    pub(super) now_ms: u64,
    pub(super) peers: BTreeMap<usize, Peer>,
    /// In the order in which they were made, until one vanishes and the last one takes
    /// its place; the lobby is the first.
    pub(super) rooms: Vec<Room>,
    pub(super) last_room: u32,
    /// How many sessions each peer has had.
    sessions: [usize; PEERS],
    /// How many messages each worker has sent to each room.
    sequences: HashMap<(u32, usize), u32>,
    /// What each peer is to hear at the next settling.
    pub(super) outbox: Vec<Vec<(Cause, Heard)>>,
    /// How long the answer to the datagram at hand is, to a peer of v2.
    pub(super) answer_bytes: usize,
    /// How many it may tell something privately.
    pub(super) privates_left: u32,
    /// How many lists it may ask for.
    pub(super) lists_left: u32,
    /// Texts that came to peers.
    pub(super) deliveries: u64,
    /// Answers that were one too many.
    pub(super) shed: u64,
    /// How often each kind of thing has happened.
    pub(super) tally: HashMap<&'static str, u32>,
}

/// Things of one cause are heard in order; those of two may come in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// What this peer asked for.
    Asked(usize),
    /// What it said to one peer alone.
    Told(usize),
    /// What it said in the room.
    Said(usize),
    /// Who came and went.
    Presence,
}

pub(super) struct Peer {
    pub(super) name: Option<String>,
    pub(super) room: u32,
    pub(super) session: Option<usize>,
    /// Whether its first datagram had a line end, so that it gets them.
    pub(super) has_line_ends: bool,
    pub(super) seen_ms: u64,
    pub(super) wants_presence: bool,
}

pub(super) struct Room {
    pub(super) number: u32,
    pub(super) name: String,
    /// In the order in which they came, until one goes and the last one takes its place.
    pub(super) members: Vec<usize>,
    pub(super) waiting: Vec<Text>,
    pub(super) happenings: Vec<(&'static str, String)>,
}

pub(super) struct Text {
    pub(super) sender: usize,
    pub(super) speaker: String,
    pub(super) payload: String,
}

impl Model {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            now_ms: 0,
            peers: BTreeMap::new(),
            rooms: vec![Room::new(0, "lobby")],
            last_room: 0,
            sessions: [0; PEERS],
            sequences: HashMap::new(),
            outbox: vec![Vec::new(); PEERS],
            answer_bytes: 0,
            privates_left: 0,
            lists_left: 0,
            deliveries: 0,
            shed: 0,
            tally: HashMap::new(),
        }
    }

    /// How many peers and rooms there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.peers.len(), self.rooms.len())
    }

    /// `peer` asks for a session.
    pub(super) fn hello(&mut self, peer: usize) {
        if !self.register(peer, false) {
            return;
        }
        let entry = self.peers.get_mut(&peer).expect("registered");
        if entry.session.is_none() {
            entry.session = Some(self.sessions[peer]);
            self.sessions[peer] += 1;
        }
        let (session, room) = (entry.session.expect("just given"), entry.room);
        entry.seen_ms = self.now_ms;
        self.begin();
        self.tell(peer, Heard::Welcome { session, room });
    }

    /// `peer` does something as a peer of v1 does, with a line end or without.
    pub(super) fn text(&mut self, peer: usize, action: &Action, line: &str, ends: bool) {
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
        if !self.register(peer, ends) {
            return;
        }
        self.seen(peer);
        self.begin();
        if !matches!(action, Action::Heartbeat | Action::Ping) {
            self.act(peer, action, &cut(line, MAX_PAYLOAD));
        }
    }

    /// `peer` does something as a peer of v2 does, in one datagram.
    pub(super) fn frames(&mut self, peer: usize, session: usize, actions: &[(Action, String)]) {
        if actions.iter().any(|(_, body)| body.len() > MAX_PAYLOAD) {
            return self.count("frame too long");
        }
        let known = self.peers.get(&peer).and_then(|peer| peer.session);
        if known != Some(session) {
            return self.count("frames of a session that is over");
        }
        self.seen(peer);
        self.begin();
        for (action, body) in actions {
            match action {
                Action::Heartbeat => {}
                Action::Ping => self.tell(peer, Heard::Pong(body.clone())),
                Action::Bye => return self.remove(peer, "left"),
                _ => self.act(peer, action, body),
            }
        }
    }

    /// Time passes, and whoever was silent for too long is gone, in whatever order the
    /// reaper has `found` them.
    pub(super) fn wait(&mut self, ms: u64, found: &[usize]) {
        self.now_ms += ms;
        let is_gone = |peer: &Peer| self.now_ms - peer.seen_ms > TIMEOUT_MS;
        let gone = self.peers.iter().filter(|(_, peer)| is_gone(peer));
        let gone: Vec<usize> = gone.map(|(number, _)| *number).collect();
        let mut sorted = found.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, gone, "who is silent for too long");
        for peer in found {
            if self.peers[peer].name.is_some() {
                self.count("name freed by expiry");
            }
            self.remove(*peer, "timed out");
        }
    }

    /// What each peer is to hear of all that has happened.
    pub(super) fn settle(&mut self) -> Vec<Vec<(Cause, Heard)>> {
        for index in 0..self.rooms.len() {
            let room = &mut self.rooms[index];
            let (number, members) = (room.number, room.members.clone());
            let texts = std::mem::take(&mut room.waiting);
            let happenings = std::mem::take(&mut room.happenings);
            for text in texts {
                self.deliver(number, &members, &text);
            }
            let wants = |peer: &&usize| self.peers[*peer].wants_presence;
            let hearers: Vec<usize> = members.iter().filter(wants).copied().collect();
            if happenings.is_empty() {
                continue;
            }
            let text = sentence(&happenings, members.len());
            for peer in hearers {
                let heard = self.notice(peer, NoticeCode::Presence, &text);
                self.outbox[peer].push((Cause::Presence, heard));
                self.count(if happenings.len() > 4 {
                    "presence in numbers"
                } else {
                    "presence"
                });
            }
        }
        std::mem::replace(&mut self.outbox, vec![Vec::new(); PEERS])
    }

    pub(super) fn say(&mut self, peer: usize, text: &str) {
        let (room, speaker) = (self.peers[&peer].room, self.speaker(peer));
        self.room(room).waiting.push(Text {
            sender: peer,
            speaker,
            payload: cut(text, MAX_PAYLOAD),
        });
    }

    fn deliver(&mut self, room: u32, members: &[usize], text: &Text) {
        let stream = worker(text.sender);
        let is_frames = |peer: &usize| self.peers[peer].session.is_some();
        let counts = u32::from(members.iter().any(is_frames));
        let next = self.sequences.entry((room, stream)).or_default();
        let sequence = *next;
        *next += counts;
        for peer in members {
            let heard = if self.peers[peer].session.is_some() {
                Heard::Message {
                    room,
                    stream: stream as u8,
                    sequence,
                    from: text.speaker.clone(),
                    payload: text.payload.clone(),
                }
            } else {
                self.line(*peer, &format!("{} {}", text.speaker, text.payload))
            };
            self.outbox[*peer].push((Cause::Said(text.sender), heard));
            self.deliveries += 1;
        }
    }

    /// Whether `peer` is registered, or can be.
    fn register(&mut self, peer: usize, has_line_ends: bool) -> bool {
        if self.peers.contains_key(&peer) {
            return true;
        }
        if self.peers.len() >= self.bounds.peers {
            self.count("too many peers");
            return false;
        }
        let newcomer = Peer {
            name: None,
            room: 0,
            session: None,
            has_line_ends,
            seen_ms: self.now_ms,
            wants_presence: false,
        };
        self.peers.insert(peer, newcomer);
        self.enter(peer, 0);
        true
    }

    fn remove(&mut self, peer: usize, how: &'static str) {
        self.exit(peer, how);
        self.peers.remove(&peer);
        self.count(how);
    }

    /// `peer` comes to a room.
    pub(super) fn enter(&mut self, peer: usize, room: u32) {
        self.peer(peer).room = room;
        self.room(room).members.push(peer);
        self.happened(room, "joined", format!("{} joined", self.speaker(peer)));
    }

    /// `peer` leaves the room that it is in, which vanishes if it was the last one.
    pub(super) fn exit(&mut self, peer: usize, how: &'static str) {
        let number = self.peers[&peer].room;
        let members = &mut self.room(number).members;
        members.retain_by_swapping(|member| *member != peer);
        self.happened(number, how, format!("{} {how}", self.speaker(peer)));
        let is_over = |room: &Room| room.number != 0 && room.members.is_empty();
        self.rooms.retain_by_swapping(|room| !is_over(room));
    }

    /// Something happened in a room. What nobody wants to hear is forgotten, and what
    /// had happened before, too.
    pub(super) fn happened(&mut self, room: u32, what: &'static str, text: String) {
        let is_heard = self.is_heard(room);
        let room = self.room(room);
        room.happenings.push((what, text));
        if !is_heard {
            room.happenings.clear();
        }
    }

    /// Whether anyone wants to hear what happens in a room.
    pub(super) fn is_heard(&mut self, room: u32) -> bool {
        let members = self.room(room).members.clone();
        let mut members = members.iter();
        members.any(|peer| self.peers[peer].wants_presence)
    }

    pub(super) fn room(&mut self, number: u32) -> &mut Room {
        let mut rooms = self.rooms.iter_mut();
        let room = rooms.find(|room| room.number == number);
        room.expect("one that is there")
    }

    pub(super) fn speaker(&self, peer: usize) -> String {
        let name = self.peers[&peer].name.clone();
        name.unwrap_or_else(|| address(peer).socket_addr().to_string())
    }

    pub(super) fn peer(&mut self, peer: usize) -> &mut Peer {
        self.peers.get_mut(&peer).expect("registered")
    }

    fn seen(&mut self, peer: usize) {
        self.peer(peer).seen_ms = self.now_ms;
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }
}

impl Room {
    pub(super) fn new(number: u32, name: &str) -> Self {
        Self {
            number,
            members: Vec::new(),
            name: name.to_owned(),
            waiting: Vec::new(),
            happenings: Vec::new(),
        }
    }
}

/// Removes one at most; the last one takes its place.
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

/// What is told of that which has happened in a room.
fn sentence(happenings: &[(&'static str, String)], here: usize) -> String {
    let parts: Vec<String> = if happenings.len() > 4 {
        let kinds = ["joined", "left", "timed out", "renamed"];
        let counts = kinds.map(|kind| (happenings.iter().filter(|it| it.0 == kind).count(), kind));
        let some = counts.into_iter().filter(|(count, _)| *count > 0);
        some.map(|(count, kind)| format!("{count} {kind}"))
            .collect()
    } else {
        happenings.iter().map(|(_, text)| text.clone()).collect()
    };
    format!("{} ({here} here)", parts.join(", "))
}

/// The longest payload or command of a peer of v2: what 1200 bytes leave for it behind
/// the magic and the longest header of a message.
pub(super) const MAX_PAYLOAD: usize = 1200 - 2 - (1 + 2 + 4 + 1 + 4 + 26);
