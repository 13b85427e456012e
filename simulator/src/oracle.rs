//! The checks of everything that a server does and sends. A finding is a panic.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bullhorn::net::PeerAddr;
use bullhorn::server::registry::Registry;
use bullhorn::stats::{Counts, DropReason};
use bullhorn::wire::v2::{
    self, BUNDLE_BYTES, BundleSize, ClientFrame, SMALL_BUNDLE_BYTES, ServerFrame, parse_client,
    parse_server,
};
use bullhorn::wire::{ClientDatagram, MAX_TEXT_DATAGRAM, classify};

use crate::model::{Address, Model, Secret, address_of};
use crate::shares::Shares;
use crate::texts::Texts;

/// The sender of a datagram of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Worker(usize),
    Notifier,
}

pub(crate) struct Oracle {
    pub(crate) model: Model,
    pub(crate) texts: Texts,
    contacts: HashMap<Address, Contact>,
    /// The notices that the notifier has to send in this round.
    pub(crate) notices: Vec<(Address, Vec<u8>)>,
    /// Those of the operator, since the last round.
    pub(crate) operator: Vec<(Address, Vec<u8>)>,
    /// The addresses of which a table of fixed size has forgotten something.
    excused: HashSet<Address>,
    pub(crate) notices_sent: u64,
}

/// The bytes and numbers that the server and an address have exchanged.
#[derive(Default)]
struct Contact {
    received_bytes: usize,
    sent_bytes: usize,
    /// It was registered, and so has proven that it receives.
    is_proven: bool,
    heard_ms: u64,
    /// The last sessions and nonces in its datagrams.
    numbers: VecDeque<u64>,
    /// The last sign of life that came to the socket of its worker.
    alive_ms: u64,
    /// The last time at which its bundles may have been long.
    long_ms: u64,
}

impl Oracle {
    pub(crate) fn new(model: Model) -> Self {
        Self {
            model,
            texts: Texts::default(),
            contacts: HashMap::new(),
            notices: Vec::new(),
            operator: Vec::new(),
            excused: HashSet::new(),
            notices_sent: 0,
        }
    }

    /// Notes a datagram that waits in the socket of a worker.
    pub(crate) fn arrived(&mut self, worker: usize, from: &PeerAddr, payload: &[u8]) {
        let address = address_of(from);
        let slot = (worker, address.0.port() % 64);
        let is_flooder = self
            .model
            .flooders
            .get(&slot)
            .is_some_and(|(flooder, _)| *flooder == address);
        let Some(peer) = self.model.peers.get(&address) else {
            return;
        };
        let is_sign = match (classify(payload), peer.session) {
            (ClientDatagram::Heartbeat | ClientDatagram::Text(_), None) => true,
            (ClientDatagram::Frames(datagram), Some(session)) => parse_client(datagram)
                .is_ok_and(|(found, _)| found.is_some_and(|found| found.get() == session)),
            _ => false,
        };
        let (now_ms, seen_ms) = (self.model.now_ms, peer.seen_ms);
        let timeout_ms = self.model.config.timeout.as_millis() as u64;
        let is_owner = peer.owner == worker;
        let contact = self.contact(address);
        let is_in_time = now_ms <= seen_ms.max(contact.alive_ms) + timeout_ms;
        if is_sign && is_owner && is_in_time && !is_flooder {
            contact.alive_ms = now_ms;
        }
    }

    /// Checks how a worker has handled a datagram, by its counts before and after.
    pub(crate) fn handled(
        &mut self,
        worker: usize,
        from: &PeerAddr,
        payload: &[u8],
        (before, after): (&Counts, &Counts),
        registry: &Registry,
    ) {
        let address = address_of(from);
        let now_ms = self.model.now_ms;
        let peer = self.model.peers.get(&address);
        let is_long = peer.is_some_and(|peer| peer.options.bundle_size == BundleSize::Full);
        let contact = self.contact(address);
        if is_long {
            contact.long_ms = now_ms;
        }
        contact.received_bytes += payload.len() + from.header_bytes();
        contact.heard_ms = now_ms;
        if let Ok((session, mut frames)) = parse_client(payload) {
            let nonce = frames.find_map(|frame| match frame {
                ClientFrame::Hello(hello) => Some(hello.nonce),
                ClientFrame::Unknown(v2::Unknown::Option(_, nonce)) => Some(nonce),
                _ => None,
            });
            let numbers = session.map(v2::SessionId::get).into_iter().chain(nonce);
            contact.numbers.extend(numbers);
            while contact.numbers.len() > 1_024 {
                contact.numbers.pop_front();
            }
        }
        let seen = difference(before, after);
        let expected = self.model.handle(worker, from, payload, &seen);
        let shown = || payload[..payload.len().min(200)].escape_ascii().to_string();
        if let Some(difference) = expected.difference(&seen) {
            panic!("{from:?} sent {}: {difference}", shown());
        }
        if expected.is_excused {
            self.excused.insert(address_of(from));
        }
        let shed = after.messages_shed - before.messages_shed;
        let queued = after.messages - before.messages;
        assert_eq!(
            queued + shed,
            expected.said.len() as u64,
            "texts in {} of {from:?}",
            shown()
        );
        let all = expected.said.len() as u64;
        for said in expected.said.into_iter().filter(|_| shed < all) {
            self.texts.add(said, shed > 0);
        }
        if self.model.peers.contains_key(&address) {
            self.contact(address).is_proven = true;
        }
        self.check_peer(address, registry);
        self.check_sizes(registry);
    }

    fn check_sizes(&self, registry: &Registry) {
        let sizes = (registry.len(), registry.directory().len());
        assert_eq!(
            sizes,
            (self.model.peers.len(), self.model.rooms.len()),
            "peers and rooms"
        );
    }

    /// Compares a peer of the server with that of the model.
    fn check_peer(&self, address: Address, registry: &Registry) {
        let found = registry.get(&PeerAddr::new(address.0, address.1));
        let peer = self.model.peers.get(&address);
        let (Some(found), Some(peer)) = (&found, peer) else {
            assert_eq!(found.is_some(), peer.is_some(), "{address:?} is registered");
            return;
        };
        let room = found.room();
        let is = (
            found.session().map(v2::SessionId::get),
            found.name(),
            room.name().folded(),
        );
        assert_eq!(
            is,
            (peer.session, peer.name, peer.room),
            "session, name, room of {address:?}"
        );
        let is = (found.options(), found.is_trusted(), found.last_seen_ms());
        let should_be = (peer.options, peer.budget.is_none(), peer.seen_ms);
        assert_eq!(is, should_be, "options, trust, last sign of {address:?}");
        for name in peer.rooms() {
            let model = &self.model.rooms[&name];
            let room = found.room_of(model.number);
            let room = room.unwrap_or_else(|| panic!("{address:?} is not in {name}"));
            let is = (*room.name(), room.len(), room.presence_subscribers());
            let subscribers = model.subscribers();
            assert_eq!(is, (model.name, model.members.len(), subscribers), "{name}");
        }
    }

    /// Checks a datagram that the server has sent to `to`, and takes what it says. Returns the worker
    /// that has received the texts in it, if it has any.
    pub(crate) fn sent(&mut self, origin: Origin, to: &PeerAddr, datagram: &[u8]) -> Option<usize> {
        let (address, now_ms) = (address_of(to), self.model.now_ms);
        assert!(!datagram.is_empty(), "an empty datagram to {to:?}");
        let is_peer = self.model.peers.contains_key(&address);
        let contact = self.contact(address);
        contact.sent_bytes += datagram.len() + to.header_bytes();
        assert!(
            contact.is_proven || contact.sent_bytes <= 3 * contact.received_bytes,
            "{to:?} was sent {} bytes for {}",
            contact.sent_bytes,
            contact.received_bytes
        );
        let is_near = is_peer || now_ms <= contact.heard_ms + MAX_DELAY_MS;
        let received_by = match datagram[0] {
            0xFF => self.sent_frames(origin, to, datagram),
            _ => self.sent_line(origin, to, datagram),
        };
        if origin == Origin::Notifier {
            let is_it = |(peer, notice): &(Address, Vec<u8>)| {
                *peer == address && comparable(notice) == comparable(datagram)
            };
            let found = self.notices.iter().position(is_it);
            let found = found.unwrap_or_else(|| {
                panic!(
                    "notice {} to {to:?}: {:?}",
                    datagram.escape_ascii(),
                    self.notices
                )
            });
            self.notices.swap_remove(found);
            self.notices_sent += 1;
        } else {
            assert!(
                received_by.is_some() || is_near,
                "{} to {to:?}, a stranger",
                datagram.escape_ascii()
            );
        }
        received_by
    }

    /// Returns the worker that has received the text, if it is one.
    fn sent_line(&mut self, origin: Origin, to: &PeerAddr, datagram: &[u8]) -> Option<usize> {
        let line = datagram.strip_suffix(b"\n").unwrap_or(datagram);
        let text = str::from_utf8(line).expect("lines are UTF-8");
        assert!((1..=MAX_TEXT_DATAGRAM).contains(&line.len()), "{text}");
        let is_control = |char: &char| char.is_control() && *char != '\t';
        assert!(!text.contains(|char| is_control(&char)), "{text:?}");
        if let Some(sentence) = text.strip_prefix("* ") {
            if let Some(token) = sentence.strip_prefix("say /in ") {
                self.issue(to, Secret::Token(token.as_bytes().to_vec()));
            }
            return None;
        }
        let Origin::Worker(worker) = origin else {
            panic!("{text} from the notifier");
        };
        let texts = &mut self.texts;
        Some(texts.deliver_line(worker, address_of(to), line, &self.model))
    }

    fn sent_frames(&mut self, origin: Origin, to: &PeerAddr, datagram: &[u8]) -> Option<usize> {
        let address = address_of(to);
        let shown = || format!("{} to {to:?}", datagram.escape_ascii());
        let frames = parse_server(datagram).unwrap_or_else(|error| panic!("{error}: {}", shown()));
        assert!(
            datagram.len() <= BUNDLE_BYTES,
            "{} bytes: {}",
            datagram.len(),
            shown()
        );
        let receiver = frames.receiver();
        let (mut messages, mut received_by) = (0, None);
        for frame in frames {
            match frame {
                ServerFrame::Welcome(welcome) => {
                    assert_eq!(welcome.address, to.socket_addr(), "{}", shown());
                    self.issue(to, Secret::Session(welcome.session.get()));
                }
                ServerFrame::Message(message) => {
                    messages += 1;
                    received_by = Some(message.stream.into());
                    let key = (message.room, message.stream.into(), message.sequence);
                    let content = (message.from, message.payload);
                    let worker = origin.worker().unwrap_or_else(|| panic!("{}", shown()));
                    self.texts.deliver_message(
                        worker,
                        address,
                        receiver,
                        key,
                        content,
                        &self.model,
                    );
                }
                ServerFrame::Own(own) => {
                    messages += 1;
                    received_by = Some(own.stream.into());
                    let worker = origin.worker().unwrap_or_else(|| panic!("{}", shown()));
                    self.texts
                        .note_own(worker, address, receiver, &own, &self.model);
                }
                ServerFrame::Room(room) | ServerFrame::Subscribed(room) => {
                    let known = self.model.rooms.get(&room.name.folded());
                    let is_known = known.is_none_or(|known| known.number >= room.number);
                    assert!(is_known, "{}", shown());
                }
                _ => {}
            }
        }
        let issued = self.model.issued.get(&address);
        let is_issued = issued.is_some_and(|issued| {
            issued
                .iter()
                .any(|(secret, _)| *secret == Secret::Session(receiver))
        });
        let (now_ms, contact) = (self.model.now_ms, &self.contacts[&address]);
        let is_own = is_issued || contact.numbers.contains(&receiver) || receiver == 0;
        assert!(is_own, "another one's session: {}", shown());
        let is_long = messages > 1 && datagram.len() > SMALL_BUNDLE_BYTES;
        let peer = self.model.peers.get(&address);
        let may_be_long = peer.is_none_or(|peer| peer.options.bundle_size == BundleSize::Full)
            || now_ms <= contact.long_ms + MAX_DELAY_MS;
        assert!(
            !is_long || may_be_long || messages == 0,
            "too long: {}",
            shown()
        );
        received_by
    }

    fn issue(&mut self, to: &PeerAddr, secret: Secret) {
        let now_ms = self.model.now_ms;
        let issued = self.model.issued.entry(address_of(to)).or_default();
        issued.retain(|(known, _)| *known != secret);
        issued.push((secret, now_ms));
    }

    /// Checks a round of the reaper. `is_calm` tells if a worker has turned in each of the last
    /// rounds, and has dropped nothing since a time, so that a peer that is silent must be gone.
    pub(crate) fn reaped(&mut self, registry: &Registry, is_calm: impl Fn(usize, u64) -> bool) {
        let (now_ms, config) = (self.model.now_ms, &self.model.config);
        let timeout_ms = config.timeout.as_millis() as u64;
        let latest_ms = timeout_ms + 3 * config.reap_interval.as_millis() as u64;
        let addresses: Vec<_> = self.model.peers.keys().copied().collect();
        for address in addresses {
            let peer = &self.model.peers[&address];
            let (seen_ms, is_v1, is_asked) =
                (peer.seen_ms, peer.session.is_none(), peer.budget.is_some());
            let silent_ms = now_ms - seen_ms;
            if registry.get(&PeerAddr::new(address.0, address.1)).is_some() {
                let may_stay = silent_ms <= latest_ms || !is_calm(peer.owner, seen_ms);
                assert!(may_stay, "{address:?} stays after {silent_ms} ms");
                continue;
            }
            let alive_ms = seen_ms.max(self.contact(address).alive_ms);
            let silent_ms = now_ms - alive_ms;
            assert!(
                silent_ms > timeout_ms,
                "{address:?} expired after {silent_ms} ms"
            );
            self.model.remove(address, true);
            if is_v1 && is_asked {
                self.model.proven.insert(address, now_ms);
            }
        }
        let addresses: Vec<_> = self.model.peers.keys().copied().collect();
        for address in addresses {
            self.check_peer(address, registry);
        }
        self.check_sizes(registry);
    }

    /// Checks a server that has nothing left to do, and whose peers have all left or expired.
    /// `received` and `drops` are the datagrams that it was given, and those that its sockets
    /// dropped.
    pub(crate) fn check_end(
        &mut self,
        counts: &Counts,
        registry: &Registry,
        (received, drops): (u64, u64),
    ) {
        let handled = counts.texts
            + counts.heartbeats
            + counts.leaves
            + counts.commands
            + counts.frames
            + counts.dropped_total();
        assert_eq!(
            (counts.datagrams_in, handled),
            (received, received),
            "datagrams"
        );
        assert_eq!(counts.kernel_drops, drops, "drops of the kernel");
        let outcomes = counts.deliveries
            + counts.deliveries_congested
            + counts.deliveries_refused
            + counts.deliveries_shed;
        assert_eq!(
            counts.deliveries_planned, outcomes,
            "deliveries: {counts:?}"
        );
        let delivered = outcomes - counts.deliveries_shed;
        assert_eq!(self.texts.delivered, delivered, "deliveries: {counts:?}");
        self.texts.check_end(counts.deliveries_shed);
        self.check_sizes(registry);
        assert!(self.model.peers.is_empty(), "{:?}", self.model.peers.keys());
        assert_eq!(self.model.names_len(), 0, "names");
        assert_eq!(registry.network_totals(), [0; 3], "counts of networks");
        assert!(self.model.shares.iter().all(Shares::is_empty));
        assert!(
            self.excused.len() <= 2 + self.contacts.len() / 50,
            "{} of {} addresses have been forgotten",
            self.excused.len(),
            self.contacts.len()
        );
    }

    fn contact(&mut self, address: Address) -> &mut Contact {
        self.contacts.entry(address).or_default()
    }
}

impl Origin {
    fn worker(self) -> Option<usize> {
        match self {
            Self::Worker(worker) => Some(worker),
            Self::Notifier => None,
        }
    }
}

/// Returns the counts that a datagram may change.
fn named(counts: &Counts) -> impl Iterator<Item = (&'static str, u64)> {
    let drops = DropReason::ALL.map(|reason| (reason.name(), counts.dropped(reason)));
    let others = [
        ("texts", counts.texts),
        ("heartbeats", counts.heartbeats),
        ("leaves", counts.leaves),
        ("commands", counts.commands),
        ("frames", counts.frames),
        ("frames_unknown", counts.frames_unknown),
        ("frames_limited", counts.frames_limited),
        ("greetings", counts.greetings),
        ("registered", counts.registered),
        ("moved", counts.moved),
        ("messages_muted", counts.messages_muted),
        ("commands_expired", counts.commands_expired),
    ];
    others.into_iter().chain(drops)
}

/// Returns the counts that have grown.
fn difference(before: &Counts, after: &Counts) -> BTreeMap<&'static str, u64> {
    let grown = named(before).zip(named(after));
    let grown = grown.map(|((name, before), (_, after))| (name, after - before));
    grown.filter(|(_, count)| *count > 0).collect()
}

/// Returns what two notices have in common which differ in the order of the peers that have expired
/// in one round.
fn comparable(notice: &[u8]) -> Vec<u8> {
    let mut bytes = notice.to_vec();
    bytes.sort_unstable();
    bytes
}

/// Maximum time from a datagram to the reply: the worker is stuck for 8 s in between, and the process
/// pauses for 30 s.
const MAX_DELAY_MS: u64 = 40_000;
