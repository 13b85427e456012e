//! The texts on their way from their senders to the members of rooms.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use bullhorn::wire::v2::Own;
use bullhorn::wire::{DisplayName, RoomName, push_text};

use crate::model::{Address, Model};

/// A text to a room, as a worker has received it.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) sender: Address,
    pub(crate) worker: usize,
    pub(crate) room: RoomName,
    /// The number of the room, which no later room has.
    pub(crate) number: u32,
    pub(crate) from: DisplayName,
    pub(crate) payload: Vec<u8>,
    /// The session that it is not sent to.
    pub(crate) not_to: Option<u64>,
}

impl Said {
    /// Texts with the same sender, room and worker are sent in order.
    fn stream(&self) -> (Address, u32, usize) {
        (self.sender, self.number, self.worker)
    }
}

/// All texts of which a server has not delivered everything.
#[derive(Default)]
pub(crate) struct Texts {
    waiting: BTreeMap<u64, Waiting>,
    /// The texts with the same bytes, in the order in which they were received.
    by_line: HashMap<Vec<u8>, Vec<u64>>,
    by_message: HashMap<(u32, usize, DisplayName, Vec<u8>), Vec<u64>>,
    last: u64,
    /// The room and the members of the plan that each worker has built in this step.
    plans: HashMap<usize, (u32, Rc<Members>)>,
    /// The last text of each sender that was begun, of those that no other text equals.
    begun: HashMap<(Address, u32, usize), u64>,
    /// The last text of each sender that each member has received, by room and worker.
    order: HashMap<(Address, Address, u32, usize), u64>,
    /// The text that has each number, by room and worker.
    numbers: HashMap<(u32, usize, u32), u64>,
    pub(crate) delivered: u64,
}

/// The members of a room that receive, with their sessions. Those of a session without echo are
/// marked.
type Members = BTreeMap<Address, (Option<u64>, bool)>;

struct Waiting {
    said: Said,
    line: Vec<u8>,
    /// Those who were members when it was sent for the first time.
    members: Option<Rc<Members>>,
    left: BTreeSet<Address>,
    /// Its speaker is a member, wants no echo, and has not been told the number.
    awaits_own: bool,
    /// Its plan has ended.
    is_over: bool,
    number: Option<u32>,
    /// It may have been shed, or there was nobody to send it to.
    may_vanish: bool,
}

impl Texts {
    /// Takes a text that a server has queued, or may have shed.
    pub(crate) fn add(&mut self, said: Said, may_vanish: bool) {
        self.last += 1;
        let (mut line, id) = (Vec::new(), self.last);
        push_text(said.from, &said.payload, &mut line);
        self.by_line.entry(line.clone()).or_default().push(id);
        let key = (said.number, said.worker, said.from, said.payload.clone());
        self.by_message.entry(key).or_default().push(id);
        let waiting = Waiting {
            said,
            line,
            members: None,
            left: BTreeSet::new(),
            awaits_own: false,
            is_over: false,
            number: None,
            may_vanish,
        };
        self.waiting.insert(id, waiting);
    }

    /// Begins a step of a worker, which may build one plan.
    pub(crate) fn begin_step(&mut self, worker: usize, model: &Model) {
        self.plans.remove(&worker);
        for waiting in self.waiting.values_mut() {
            let Said { room, number, .. } = waiting.said;
            let is_next = waiting.said.worker == worker && waiting.members.is_none();
            if is_next && receivers(model, room, number).next().is_none() {
                waiting.may_vanish = true;
            }
        }
    }

    /// Takes a delivery by `worker` in version 1. Returns the worker that has received the text.
    pub(crate) fn deliver_line(
        &mut self,
        worker: usize,
        to: Address,
        line: &[u8],
        model: &Model,
    ) -> usize {
        let ids = self.by_line.get(line).cloned().unwrap_or_default();
        let id = self.receive(worker, to, &ids, model);
        let id = id.unwrap_or_else(|| panic!("{to:?} is sent {}", line.escape_ascii()));
        let session = self.session_of(id, to);
        assert_eq!(session, None, "a session is sent {}", line.escape_ascii());
        let received_by = self.waiting[&id].said.worker;
        self.finish(id, to);
        received_by
    }

    /// Takes a delivery in version 2, by which a text has a number.
    pub(crate) fn deliver_message(
        &mut self,
        worker: usize,
        to: Address,
        session: u64,
        (number, stream, sequence): (u32, usize, u32),
        (from, payload): (DisplayName, &[u8]),
        model: &Model,
    ) {
        let key = (number, stream, from, payload.to_vec());
        let mut ids = self.by_message.get(&key).cloned().unwrap_or_default();
        if let Some(id) = self.numbers.get(&(number, stream, sequence)) {
            ids.retain(|other| other == id);
        }
        let id = self.receive(worker, to, &ids, model);
        let text = || {
            format!(
                "{number}/{stream}/{sequence} {from} {}",
                payload.escape_ascii()
            )
        };
        let id = id.unwrap_or_else(|| panic!("{to:?} is sent {}", text()));
        assert_eq!(self.session_of(id, to), Some(session), "{to:?}: {}", text());
        self.set_number(id, sequence);
        self.finish(id, to);
    }

    /// Takes the numbers of texts that a session is not sent, as they are its own.
    pub(crate) fn note_own(
        &mut self,
        worker: usize,
        to: Address,
        session: u64,
        own: &Own,
        model: &Model,
    ) {
        for index in 0..u32::from(own.count) {
            let sequence = own.sequence.wrapping_add(index);
            let (room, stream) = (own.room, usize::from(own.stream));
            let known = self.numbers.get(&(room, stream, sequence)).copied();
            let is_next = |waiting: &Waiting| {
                waiting.said.not_to == Some(session)
                    && (waiting.said.number, waiting.said.worker) == (room, stream)
                    && (waiting.awaits_own || waiting.members.is_none())
                    && waiting.number.is_none_or(|number| number == sequence)
            };
            let waiting = self.waiting.iter();
            let mut next = waiting.filter(|(_, waiting)| is_next(waiting));
            if known.is_none() && next.clone().any(|(_, waiting)| waiting.may_vanish) {
                // It may be that one, or one after it.
                continue;
            }
            let id = next.find(|(id, _)| known.is_none_or(|known| known == **id));
            let id = id
                .map(|(id, _)| *id)
                .filter(|id| self.begin(worker, *id, to, model));
            let id = id.unwrap_or_else(|| panic!("{to:?} is sent {sequence} of {own:?}"));
            self.set_number(id, sequence);
            self.waiting.get_mut(&id).expect("it waits").awaits_own = false;
            self.tidy(id);
        }
    }

    /// Checks that nothing is left but what was shed, `shed` deliveries of texts that were begun.
    pub(crate) fn check_end(&mut self, shed: u64) {
        let mut left = 0;
        for (id, waiting) in &self.waiting {
            let (said, to) = (&waiting.said, &waiting.left);
            left += to.len() as u64;
            if shed == 0 && !to.is_empty() {
                println!("text {id} was not sent to {to:?}: {said:?}");
            }
            let is_begun = waiting.members.is_some();
            assert!(
                is_begun || waiting.may_vanish,
                "text {id} was not sent: {said:?}"
            );
        }
        assert_eq!(left, shed, "deliveries that were not made");
        self.waiting.clear();
        self.by_line.clear();
        self.by_message.clear();
        self.plans.clear();
    }

    /// Returns the text among `ids` that a member receives now.
    fn receive(&mut self, worker: usize, to: Address, ids: &[u64], model: &Model) -> Option<u64> {
        let mut ids = ids.to_vec();
        // Of those that are the same, some may have been shed, and the plans of some have ended. The
        // texts of a sender are sent in order.
        ids.sort_by_key(|id| {
            let waiting = &self.waiting[id];
            let begun = self.begun.get(&waiting.said.stream());
            (
                waiting.is_over,
                waiting.members.is_none(),
                waiting.members.is_none() && begun.is_some_and(|begun| id < begun),
                waiting.may_vanish,
            )
        });
        let is_it = |texts: &mut Self, id: &u64| {
            texts.begin(worker, *id, to, model) && texts.waiting[id].left.contains(&to)
        };
        let is_certain = ids.len() == 1;
        let found = ids.into_iter().find(|id| is_it(self, id))?;
        if is_certain {
            let begun = self.begun.entry(self.waiting[&found].said.stream());
            let begun = begun.or_default();
            *begun = found.max(*begun);
        }
        Some(found)
    }

    /// Begins to send a text, to `to` and the other members that its room has now. Returns false if
    /// this cannot be a part of the plan that is being sent.
    fn begin(&mut self, worker: usize, id: u64, to: Address, model: &Model) -> bool {
        let waiting = &self.waiting[&id];
        let Said { room, number, .. } = waiting.said;
        if waiting.members.is_some() {
            return true;
        }
        if waiting.said.worker != worker {
            return false;
        }
        if !self.plans.contains_key(&worker) {
            let members: Members = receivers(model, room, number).collect();
            if !members.contains_key(&to) {
                return false;
            }
            self.end_plan(worker, number);
            self.plans.insert(worker, (number, Rc::new(members)));
        }
        let (planned, members) = &self.plans[&worker];
        if *planned != number {
            return false;
        }
        let waiting = self.waiting.get_mut(&id).expect("it waits");
        let not_to = waiting.said.not_to;
        for (member, (session, is_without_echo)) in &**members {
            if *is_without_echo && *session == not_to {
                waiting.awaits_own = true;
            } else {
                waiting.left.insert(*member);
            }
        }
        waiting.members = Some(Rc::clone(members));
        true
    }

    /// Notes that the plan which a worker had for a room has ended. What of it was not sent was shed,
    /// but for the batch of a worker that is stuck.
    fn end_plan(&mut self, worker: usize, number: u32) {
        let is_it = |said: &Said| (said.worker, said.number) == (worker, number);
        let mut ended = Vec::new();
        for (id, waiting) in &mut self.waiting {
            if waiting.members.is_some() && is_it(&waiting.said) {
                (waiting.is_over, waiting.awaits_own) = (true, false);
                ended.push(*id);
            }
        }
        for id in ended {
            self.tidy(id);
        }
    }

    fn session_of(&self, id: u64, to: Address) -> Option<u64> {
        let members = self.waiting[&id].members.as_ref();
        members.and_then(|members| members[&to].0)
    }

    fn set_number(&mut self, id: u64, sequence: u32) {
        let waiting = self.waiting.get_mut(&id).expect("it waits");
        let said = &waiting.said;
        let before = waiting.number.replace(sequence);
        assert!(
            before.is_none_or(|before| before == sequence),
            "{said:?} has two numbers"
        );
        let key = (said.number, said.worker, sequence);
        let other = *self.numbers.entry(key).or_insert(id);
        assert_eq!(other, id, "{said:?} has a number of another text: {key:?}");
    }

    /// Notes that a member has received a text, in the order of its sender.
    fn finish(&mut self, id: u64, to: Address) {
        let waiting = self.waiting.get_mut(&id).expect("it waits");
        waiting.left.remove(&to);
        self.delivered += 1;
        let said = &waiting.said;
        let key = (to, said.sender, said.number, said.worker);
        if !waiting.is_over && !waiting.may_vanish {
            let before = self.order.insert(key, id).unwrap_or(0);
            assert!(before < id, "{to:?} is sent {said:?} after a later one");
        }
        self.tidy(id);
    }

    /// Forgets a text that everyone has.
    fn tidy(&mut self, id: u64) {
        let waiting = &self.waiting[&id];
        if waiting.members.is_some() && waiting.left.is_empty() && !waiting.awaits_own {
            let Waiting { said, line, .. } = self.waiting.remove(&id).expect("it waits");
            let key = (said.number, said.worker, said.from, said.payload);
            remove(&mut self.by_line, &line, id);
            remove(&mut self.by_message, &key, id);
        }
    }
}

fn remove<K: std::hash::Hash + Eq>(ids: &mut HashMap<K, Vec<u64>>, key: &K, id: u64) {
    if let Some(found) = ids.get_mut(key) {
        found.retain(|other| *other != id);
        if found.is_empty() {
            ids.remove(key);
        }
    }
}

/// Returns the members of a room that receive. A room that has vanished has none.
fn receivers(
    model: &Model,
    room: RoomName,
    number: u32,
) -> impl Iterator<Item = (Address, (Option<u64>, bool))> {
    let room = model.rooms.get(&room).filter(|room| room.number == number);
    let members = room.into_iter().flat_map(|room| &room.members);
    members.filter_map(|member| {
        let peer = &model.peers[member];
        let is_without_echo = peer.session.is_some() && !peer.options.echo;
        let member = (*member, (peer.session, is_without_echo));
        peer.options.receive.then_some(member)
    })
}
