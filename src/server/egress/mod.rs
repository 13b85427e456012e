//! Texts to packets to destinations, in slices. No I/O: it takes texts and
//! members, and says what to send where.

mod backlog;
mod batching;
mod bundles;
pub mod exchange;
pub mod notifier;
mod packets;
mod plan;
pub mod replies;
mod texts;

use std::sync::Arc;

use crate::net::PeerAddr;
use crate::server::registry::{Members, Room};
use crate::wire::Name;

pub use backlog::{Backlog, BacklogFull, RoomTexts};
pub use batching::{Item, Limits, Regrouper};
pub use bundles::{bundle_packets, plan_bundles};
pub use packets::Packets;
pub use plan::{Job, Plan, Slice};
pub use texts::TextPlanner;

/// The fan-out of one worker. Texts gather while the ones before them are on
/// their way; then all that gathered goes out together, so that batches grow
/// with the backlog and never wait for a timer.
pub struct FanOut {
    worker: u8,
    /// Whether there are other workers, to share large rooms with.
    may_share: bool,
    gathering: Backlog,
    /// What had gathered when all before it was sent, of which the rooms from
    /// `next_room` on are still to be planned.
    sending: Backlog,
    next_room: usize,
    planner: TextPlanner,
    /// The plans of this worker; one that it, or a worker that it was handed to,
    /// has still to send is in use.
    plans: Vec<Arc<Plan>>,
    job: Option<Job>,
    /// What a plan that is not in use is for, so that it keeps no snapshot.
    nobody: Arc<Members>,
    /// Own work and that of others take turns.
    own_turn: bool,
    planned_deliveries: u64,
}

/// What to do next.
pub enum Next {
    /// To send [`FanOut::slice`]s until there is none.
    Send,
    /// To hand this to the other workers, and then the same.
    Share(Arc<Plan>),
    /// Nothing: all is sent.
    Idle,
    /// Nothing, until other workers have sent what they were handed.
    Wait,
}

impl FanOut {
    /// Nothing to send, by worker number `worker` of `workers`, on a kernel that
    /// takes `max_segments` datagrams as one packet.
    pub fn new(worker: u8, workers: usize, max_segments: usize) -> Self {
        Self {
            worker,
            may_share: workers > 1,
            gathering: Backlog::new(),
            sending: Backlog::new(),
            next_room: 0,
            planner: TextPlanner::new(max_segments),
            plans: (0..PLANS).map(|_| Arc::new(Plan::new(worker))).collect(),
            job: None,
            nobody: Arc::default(),
            own_turn: true,
            planned_deliveries: 0,
        }
    }

    /// Takes up a text of `sender`, who is called `name`, for `room`, at most
    /// [`MAX_PAYLOAD_BYTES`](crate::wire::v2::MAX_PAYLOAD_BYTES) long.
    ///
    /// # Errors
    /// [`BacklogFull`]: the sender's share of what may wait is used up.
    pub fn push(
        &mut self,
        room: &Arc<Room>,
        sender: PeerAddr,
        name: Option<Name>,
        text: &[u8],
    ) -> Result<(), BacklogFull> {
        self.gathering.push(room, sender, name, text)
    }

    /// The next part of what is being sent, if something is.
    pub fn slice(&mut self) -> Option<Slice<'_>> {
        self.job.as_mut()?.next_slice()
    }

    /// To be called when there is no [`FanOut::slice`] left: begins with what
    /// has gathered for the next room, or with a plan of another worker that
    /// `handed` gives. The room is looked at now: whoever is in it gets all that
    /// has gathered.
    pub fn begin(&mut self, handed: impl Fn() -> Option<Arc<Plan>>) -> Next {
        self.job = None;
        for plan in self.plans.iter_mut().filter_map(Arc::get_mut) {
            plan.release(&self.nobody);
        }
        self.own_turn = !self.own_turn;
        if self.own_turn {
            match self.begin_own() {
                Next::Idle | Next::Wait => {}
                begun => return begun,
            }
        }
        if let Some(plan) = handed() {
            self.start(Job::new(plan, Some(self.worker)));
            return Next::Send;
        }
        self.begin_own()
    }

    /// The plan of another worker that has just been sent, to be given back
    /// before [`FanOut::begin`].
    pub fn take_finished(&mut self) -> Option<Arc<Plan>> {
        let plan = self.job.take()?.into_plan();
        (plan.origin != self.worker).then_some(plan)
    }

    /// Deliveries that began to be sent since this was last asked.
    pub fn take_planned(&mut self) -> u64 {
        std::mem::take(&mut self.planned_deliveries)
    }

    fn begin_own(&mut self) -> Next {
        if self.next_room == self.sending.rooms() {
            self.sending.clear();
            std::mem::swap(&mut self.sending, &mut self.gathering);
            self.next_room = 0;
        }
        let Some(texts) = self.sending.room(self.next_room) else {
            return Next::Idle;
        };
        let members = texts.room().members();
        let texts = texts.up_to(PLAN_DELIVERIES / members.len().max(1));
        let count = texts.len();
        let shares = members.is_split() && self.may_share;
        let free = |plan: &Arc<Plan>| Arc::strong_count(plan) == 1;
        // What other workers have still to send of a room that was large must
        // not be overtaken by what this one sends to all of it.
        if !shares && !self.plans.iter().all(free) {
            return Next::Wait;
        }
        let Some(plan) = self.plans.iter_mut().find(|plan| free(plan)) else {
            return Next::Wait;
        };
        let Some(building) = Arc::get_mut(plan) else {
            return Next::Wait;
        };
        building.build(texts, members, &mut self.planner);
        self.sending.take(self.next_room, count);
        if self.sending.room(self.next_room).is_none() {
            self.next_room += 1;
        }
        let plan = Arc::clone(plan);
        let owner = shares.then_some(self.worker);
        self.start(Job::new(Arc::clone(&plan), owner));
        if shares {
            Next::Share(plan)
        } else {
            Next::Send
        }
    }

    fn start(&mut self, job: Job) {
        self.planned_deliveries += job.deliveries();
        self.job = Some(job);
    }
}

/// Deliveries of one plan, about: one second of them at the rate measured for
/// stock peers. A plan goes to all who were in the room when it began, so this is
/// how long someone who left may still be sent to; and in a room of 1000 it is
/// enough for full packets.
const PLAN_DELIVERIES: usize = 1_000_000;

/// Plans that a worker may have under way: one that it sends, and as many as
/// the other workers may be behind with.
pub const PLANS: usize = 4;

#[cfg(test)]
mod tests;
