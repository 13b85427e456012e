//! What the protocol promises, as simple as it can be said: one table of peers,
//! from which all else is counted anew each time.

use std::collections::{BTreeMap, HashMap};

use super::core::Bounds;
use super::expected::Expected;
use super::{Action, Heard, PEERS, TIMEOUT_MS, address, worker};
use crate::wire::frame::NoticeCode;

/// The server, and what each client knows of its session.
pub(super) struct Model {
    pub(super) bounds: Bounds,
    pub(super) now_ms: u64,
    pub(super) peers: BTreeMap<usize, Peer>,
    pub(super) rooms: BTreeMap<u32, Room>,
    pub(super) last_room: u32,
    /// How many sessions each peer has had.
    sessions: [usize; PEERS],
    /// How many messages each worker has sent to each room.
    sequences: HashMap<(u32, usize), u32>,
    /// What each peer is to hear at the next settling.
    pub(super) outbox: Vec<Vec<(Cause, Expected)>>,
    /// Texts that came to peers.
    pub(super) deliveries: u64,
    /// How often each kind of thing has happened.
    pub(super) tally: HashMap<&'static str, u32>,
}

/// Things of one cause are heard in order; those of two may come in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// What this peer asked for.
    Asked(usize),
    /// What it said in the room.
    Said(usize),
    /// Who came and went.
    Presence,
}

pub(super) struct Peer {
    pub(super) name: Option<String>,
    pub(super) room: u32,
    pub(super) session: Option<usize>,
    pub(super) seen_ms: u64,
    pub(super) wants_presence: bool,
}

pub(super) struct Room {
    pub(super) name: String,
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
        let lobby = Room::new("lobby");
        Self {
            bounds,
            now_ms: 0,
            peers: BTreeMap::new(),
            rooms: BTreeMap::from([(0, lobby)]),
            last_room: 0,
            sessions: [0; PEERS],
            sequences: HashMap::new(),
            outbox: vec![Vec::new(); PEERS],
            deliveries: 0,
            tally: HashMap::new(),
        }
    }

    /// How many peers and rooms there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.peers.len(), self.rooms.len())
    }

    /// `peer` asks for a session.
    pub(super) fn hello(&mut self, peer: usize) {
        if !self.register(peer) {
            return;
        }
        let entry = self.peers.get_mut(&peer).expect("registered");
        if entry.session.is_none() {
            entry.session = Some(self.sessions[peer]);
            self.sessions[peer] += 1;
        }
        let (session, room) = (entry.session.expect("just given"), entry.room);
        entry.seen_ms = self.now_ms;
        self.tell(peer, peer, Heard::Welcome { session, room });
    }

    /// `peer` does something as a peer of v1 does.
    pub(super) fn text(&mut self, peer: usize, action: &Action, line: &str) {
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
        if !self.register(peer) {
            return;
        }
        self.seen(peer);
        if !matches!(action, Action::Heartbeat | Action::Ping) {
            self.act(peer, action, line);
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
        for (action, body) in actions {
            match action {
                Action::Heartbeat => {}
                Action::Ping => self.tell(peer, peer, Heard::Pong(body.clone())),
                Action::Bye => return self.remove(peer, "left"),
                _ => self.act(peer, action, body),
            }
        }
    }

    /// Time passes, and whoever was silent for too long is gone.
    pub(super) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        let is_gone = |peer: &&Peer| self.now_ms - peer.seen_ms > TIMEOUT_MS;
        let all = self.peers.iter();
        let gone = all.filter_map(|(number, peer)| is_gone(&peer).then_some(*number));
        for peer in gone.collect::<Vec<_>>() {
            if self.peers[&peer].name.is_some() {
                self.count("name freed by expiry");
            }
            self.remove(peer, "timed out");
        }
    }

    /// What each peer is to hear of all that has happened.
    pub(super) fn settle(&mut self) -> Vec<Vec<(Cause, Expected)>> {
        for number in self.rooms.keys().copied().collect::<Vec<_>>() {
            let members = self.members(number);
            let room = self.rooms.get_mut(&number).expect("one of them");
            let texts = std::mem::take(&mut room.waiting);
            let happenings = std::mem::take(&mut room.happenings);
            for text in texts {
                self.deliver(number, &members, &text);
            }
            if !happenings.is_empty() {
                let text = sentence(&happenings, members.len());
                for peer in members {
                    if self.peers[&peer].wants_presence {
                        let heard = self.notice(peer, NoticeCode::Presence, &text);
                        let expected = Expected::Presence(heard);
                        self.outbox[peer].push((Cause::Presence, expected));
                        self.count(if happenings.len() > 4 {
                            "presence in numbers"
                        } else {
                            "presence"
                        });
                    }
                }
            }
        }
        std::mem::replace(&mut self.outbox, vec![Vec::new(); PEERS])
    }

    pub(super) fn say(&mut self, peer: usize, text: &str) {
        let (room, speaker) = (self.peers[&peer].room, self.speaker(peer));
        let room = self.rooms.get_mut(&room).expect("a peer is in a room");
        room.waiting.push(Text {
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
                line(&format!("{} {}", text.speaker, text.payload))
            };
            let expected = Expected::Exactly(heard);
            self.outbox[*peer].push((Cause::Said(text.sender), expected));
            self.deliveries += 1;
        }
    }

    /// Whether `peer` is registered, or can be.
    fn register(&mut self, peer: usize) -> bool {
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
            seen_ms: self.now_ms,
            wants_presence: false,
        };
        self.peers.insert(peer, newcomer);
        self.happened(0, "joined", format!("{} joined", self.speaker(peer)));
        true
    }

    fn remove(&mut self, peer: usize, how: &'static str) {
        let speaker = self.speaker(peer);
        let gone = self.peers.remove(&peer).expect("registered");
        self.tidy();
        self.happened(gone.room, how, format!("{speaker} {how}"));
        self.count(how);
    }

    /// Rooms that nobody is in vanish, and what nobody wants to hear is forgotten.
    pub(super) fn tidy(&mut self) {
        let (peers, rooms) = (&self.peers, &mut self.rooms);
        rooms.retain(|number, room| {
            let mut members = peers.values().filter(|peer| peer.room == *number);
            let is_empty = members.next().is_none();
            let is_heard = |peer: &Peer| peer.room == *number && peer.wants_presence;
            if !peers.values().any(is_heard) {
                room.happenings.clear();
            }
            *number == 0 || !is_empty
        });
    }

    /// Something happened in a room, if there still is one.
    pub(super) fn happened(&mut self, room: u32, what: &'static str, text: String) {
        let is_heard = |peer: &Peer| peer.room == room && peer.wants_presence;
        if self.peers.values().any(is_heard) {
            let room = self.rooms.get_mut(&room).expect("someone is in it");
            room.happenings.push((what, text));
        }
    }

    pub(super) fn members(&self, room: u32) -> Vec<usize> {
        let all = self.peers.iter();
        let members = all.filter(|(_, peer)| peer.room == room);
        members.map(|(number, _)| *number).collect()
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

    pub(super) fn done(&mut self, peer: usize, what: &'static str, text: &str) {
        self.answer(peer, what, NoticeCode::Done, text);
    }

    pub(super) fn refuse(&mut self, peer: usize, what: &'static str, text: &str) {
        self.answer(peer, what, NoticeCode::Refused, text);
    }

    pub(super) fn misuse(&mut self, peer: usize, right: &str) {
        self.answer(peer, "misuse", NoticeCode::Misuse, right);
    }

    fn answer(&mut self, peer: usize, what: &'static str, code: NoticeCode, text: &str) {
        self.count(what);
        let heard = self.notice(peer, code, text);
        self.tell(peer, peer, heard);
    }

    fn notice(&self, to: usize, code: NoticeCode, text: &str) -> Heard {
        if self.peers[&to].session.is_some() {
            Heard::Notice(code, cut(text, MAX_NOTICE))
        } else {
            line(&format!("* {text}"))
        }
    }

    pub(super) fn tell(&mut self, asked: usize, to: usize, heard: Heard) {
        let expected = Expected::Exactly(heard);
        self.outbox[to].push((Cause::Asked(asked), expected));
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }
}

impl Room {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            waiting: Vec::new(),
            happenings: Vec::new(),
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

pub(super) fn line(text: &str) -> Heard {
    Heard::Line(cut(text, MAX_LINE))
}

/// All that is said in the test is ASCII.
pub(super) fn cut(text: &str, max: usize) -> String {
    text[..text.len().min(max)].to_owned()
}

/// The longest datagram to a peer of v1.
const MAX_LINE: usize = 1024;

/// The longest payload or command of a peer of v2: what 1200 bytes leave for it behind
/// the magic and the longest header of a message.
pub(super) const MAX_PAYLOAD: usize = 1200 - 2 - (1 + 2 + 4 + 1 + 4 + 26);

/// What a notice may have in a datagram of 1200 bytes: without the magic, the kind,
/// the length and the code.
const MAX_NOTICE: usize = 1200 - 2 - 1 - 2 - 1;
