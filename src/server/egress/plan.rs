//! The packets that the members of a room are to receive, and the slices in which they are sent.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::backlog::{RoomTexts, SLICE_COST_NS};
use super::bundles::{new_bundle_packets, plan_bundles};
use super::own::{OwnMessages, plan_without_own};
use super::packets::Packets;
use super::texts::TextPlanner;
use super::worker_set::WorkerSet;
use crate::net::{Endpoint, PeerAddr, SendTally, Template, Transmit};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::{Members, Part, SendGroup};
use crate::wire::Protocol;
use crate::wire::v2::BundleSize;

/// The packets for the members of a room, built once for all of them. Any worker may claim a
/// slice of the members, and sends to them.
pub(super) struct Plan {
    origin: WorkerId,
    texts: Packets,
    lines: Packets,
    /// By their [`BundleSize`].
    bundles: [Packets; BundleSize::ALL.len()],
    own: OwnMessages,
    members: Arc<Members>,
    slices: Vec<Slice>,
    /// The slices before this one are claimed.
    next_slice: AtomicUsize,
    /// The number of slices that are not done.
    unfinished: AtomicUsize,
}

/// Some members of a plan.
struct Slice {
    members: Range<usize>,
    cost_ns: u64,
    /// [`FREE`], [`DONE`], or the worker that has claimed the slice and the next member that it
    /// has to send to, see [`held`]. The claim and each step of it are one change of this word.
    /// So a claim can be revoked at any time, and nobody sends after that.
    state: AtomicU64,
}

/// A slice that a worker has to send.
pub(super) struct Claim {
    plan: Arc<Plan>,
    index: usize,
    worker: WorkerId,
}

/// The plans of one worker.
pub(super) struct PlanPool {
    worker: WorkerId,
    free: Vec<Arc<Plan>>,
    /// Plans that are finished, but that another worker still points to. It may be stuck.
    retired: Vec<Arc<Plan>>,
    under_way: usize,
    nobody: Arc<Members>,
}

impl Plan {
    fn new(origin: WorkerId) -> Self {
        Self {
            origin,
            texts: TextPlanner::new_packets(),
            lines: TextPlanner::new_packets(),
            bundles: BundleSize::ALL.map(new_bundle_packets),
            own: OwnMessages::default(),
            members: Arc::default(),
            slices: Vec::with_capacity(TYPICAL_SLICES),
            next_slice: AtomicUsize::new(0),
            unfinished: AtomicUsize::new(0),
        }
    }

    /// Plans texts for `members`, in the protocols that they speak, and returns the cost.
    pub(super) fn build(
        &mut self,
        texts: RoomTexts<'_>,
        members: Arc<Members>,
        planner: &mut TextPlanner,
    ) -> u64 {
        self.texts.clear();
        self.lines.clear();
        self.bundles.iter_mut().for_each(Packets::clear);
        for (protocol, packets) in [
            (Protocol::Text, &mut self.texts),
            (Protocol::Lines, &mut self.lines),
        ] {
            if members.any_speaks(protocol) {
                planner.plan(texts, protocol.line_end(), packets);
            }
        }
        let mut first_sequence = None;
        for size in BundleSize::ALL {
            if members.any_speaks(Protocol::Frames(size)) {
                // The messages have the same numbers in bundles of all sizes.
                let first = *first_sequence.get_or_insert_with(|| {
                    let count = texts.len() as u32;
                    texts.room().take_sequence(self.origin, count)
                });
                let packets = &mut self.bundles[size as usize];
                plan_bundles(texts, self.origin, first, size, packets);
            }
        }
        let not_to = members.any_without_echo().then(|| texts.not_to());
        self.own.set(not_to.into_iter().flatten());
        self.members = members;
        let parts = self.members.parts(0..self.members.len());
        parts
            .map(|part| part.peers.len() as u64 * self.packets(part.group).cost_ns())
            .sum()
    }

    /// Cuts the plan, whose cost is `cost_ns`, into slices for `workers` that may all send it.
    ///
    /// For one worker they are equally long. For several, each is the share of one worker in half
    /// of what is left (guided self-scheduling, Polychronopoulos and Kuck, 1987). So there are few
    /// slices, and the last ones are short: the workers end at almost the same time, whenever each
    /// of them began.
    pub(super) fn cut(&mut self, cost_ns: u64, workers: usize) {
        let mut slices = std::mem::take(&mut self.slices);
        slices.clear();
        let mut left_ns = cost_ns;
        let limit_ns = |left_ns: u64| match workers {
            1 => cost_ns / cost_ns.div_ceil(SLICE_COST_NS).max(1),
            _ => (left_ns / (2 * workers as u64)).clamp(MIN_SLICE_COST_NS, SLICE_COST_NS),
        };
        let mut slice = Slice::new(0);
        for part in self.members.parts(0..self.members.len()) {
            let packets = self.packets(part.group);
            let (each_ns, batch) = (packets.cost_ns().max(1), packets.peers_per_batch());
            let mut count = part.peers.len();
            while count > 0 {
                let space_ns = limit_ns(left_ns).saturating_sub(slice.cost_ns);
                let fit = usize::try_from(space_ns / each_ns).unwrap_or(count);
                // No system call for a part of a batch.
                let fit = match (fit + batch / 2) / batch {
                    0 => fit,
                    batches => batches * batch,
                };
                let is_first = slice.members.is_empty();
                let taken = fit.max(usize::from(is_first)).min(count);
                slice.members.end += taken;
                slice.cost_ns += taken as u64 * each_ns;
                count -= taken;
                if count > 0 {
                    left_ns = left_ns.saturating_sub(slice.cost_ns);
                    let next = Slice::new(slice.members.end);
                    slices.push(std::mem::replace(&mut slice, next));
                }
            }
        }
        if !slice.members.is_empty() {
            slices.push(slice);
        }
        *self.next_slice.get_mut() = 0;
        *self.unfinished.get_mut() = slices.len();
        self.slices = slices;
    }

    pub(super) fn origin(&self) -> WorkerId {
        self.origin
    }

    /// The number of deliveries to all members.
    pub(super) fn deliveries(&self) -> u64 {
        self.deliveries_to(0..self.members.len())
    }

    /// Claims the next slice for `worker`, if any is left.
    pub(super) fn claim(self: &Arc<Self>, worker: WorkerId) -> Option<Claim> {
        loop {
            let index = self.next_slice.load(Ordering::Relaxed);
            let slice = self.slices.get(index)?;
            let held = held(worker, slice.members.start);
            let is_claimed = slice.change(FREE, held);
            // Those who find the slice claimed move the index on, too, so they do not wait for a
            // worker that claimed it and was stopped here.
            let _ = self.next_slice.compare_exchange(
                index,
                index + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if is_claimed {
                return Some(Claim {
                    plan: Arc::clone(self),
                    index,
                    worker,
                });
            }
        }
    }

    /// Returns true if every slice is sent or was revoked.
    pub(super) fn is_finished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire) == 0
    }

    /// The workers that have claimed slices and not sent them.
    pub(super) fn holders(&self) -> WorkerSet {
        let states = self.slices.iter().map(Slice::state);
        let holders = states.filter_map(|state| Some(holder(state)?.0));
        holders.fold(WorkerSet::EMPTY, WorkerSet::with)
    }

    /// Revokes the claims of a worker that is stuck. Returns the number of deliveries that it has
    /// not begun, and never makes.
    pub(super) fn revoke(&self, worker: WorkerId) -> u64 {
        let mut shed = 0;
        for slice in &self.slices {
            let state = slice.state();
            if let Some((holder, next)) = holder(state)
                && holder == worker
                && slice.change(state, DONE)
            {
                shed += self.deliveries_to(next..slice.members.end);
                self.finish_slice();
            }
        }
        shed
    }

    /// Counts a slice as sent or revoked. Returns true if it was the last one.
    fn finish_slice(&self) -> bool {
        self.unfinished.fetch_sub(1, Ordering::AcqRel) == 1
    }

    fn deliveries_to(&self, members: Range<usize>) -> u64 {
        let parts = self.members.parts(members);
        let deliveries = parts.map(|part| {
            let all = part.peers.len() * self.packets(part.group).messages();
            let own = match self.has_own(part.group) {
                true => part.sessions.iter().map(|to| self.own.of(*to).len()).sum(),
                false => 0,
            };
            all - own
        });
        deliveries.sum::<usize>() as u64
    }

    /// Returns true if some members of a group may not be sent some of the messages.
    fn has_own(&self, group: SendGroup) -> bool {
        !group.echo && !self.own.is_empty()
    }

    fn packets(&self, group: SendGroup) -> &Packets {
        match group.protocol {
            Protocol::Text => &self.texts,
            Protocol::Lines => &self.lines,
            Protocol::Frames(size) => &self.bundles[size as usize],
        }
    }
}

impl Claim {
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn cost_ns(&self) -> u64 {
        self.plan.slices[self.index].cost_ns
    }

    /// Sends the slice, until the claim is revoked. Returns the outcome, and true if this was the
    /// last slice of its plan.
    /// `without_own` is memory for the bundles of one member.
    pub(super) fn send(
        &self,
        transmit: &mut impl Transmit,
        without_own: &mut Packets,
    ) -> (SendTally, bool) {
        let slice = &self.plan.slices[self.index];
        let mut tally = SendTally::default();
        let mut next = slice.members.start;
        for part in self.plan.members.parts(slice.members.clone()) {
            let packets = self.plan.packets(part.group);
            let template = packets.template(self.plan.members.len());
            for part in part.chunks(packets.peers_per_batch()) {
                let now = next + part.peers.len();
                if !slice.change(held(self.worker, next), held(self.worker, now)) {
                    return (tally, false);
                }
                next = now;
                tally += match part.sessions {
                    [] => send(transmit, part.group.endpoint, part.peers, packets),
                    _ if self.plan.has_own(part.group) => {
                        self.send_without_own(transmit, part, packets, &template, without_own)
                    }
                    _ => send_to_sessions(transmit, part, packets, &template),
                };
            }
        }
        let is_done = slice.change(held(self.worker, next), DONE);
        (tally, is_done && self.plan.finish_slice())
    }

    /// As [`send_to_sessions`], but no member is sent its own messages.
    #[cold]
    fn send_without_own(
        &self,
        transmit: &mut impl Transmit,
        part: Part<'_>,
        packets: &Packets,
        template: &Template<'_>,
        without_own: &mut Packets,
    ) -> SendTally {
        let mut tally = SendTally::default();
        let Protocol::Frames(size) = part.group.protocol else {
            return tally;
        };
        let mut start = 0;
        for (index, session) in part.sessions.iter().enumerate() {
            let own = self.plan.own.of(*session);
            if own.is_empty() {
                continue;
            }
            if start < index {
                let others = part.slice(start..index);
                tally += send_to_sessions(transmit, others, packets, template);
            }
            let peer = &part.peers[index..=index];
            plan_without_own(packets, own, size, &peer[0], without_own);
            tally += send(transmit, part.group.endpoint, peer, without_own);
            start = index + 1;
        }
        if start < part.peers.len() {
            let others = part.slice(start..part.peers.len());
            tally += send_to_sessions(transmit, others, packets, template);
        }
        tally
    }
}

/// Sends all packets to each of `peers`. On its own, the loop has all registers for itself. In
/// [`Claim::send`] it takes a tenth more instructions.
#[inline(never)]
fn send(
    transmit: &mut impl Transmit,
    endpoint: Endpoint,
    peers: &[PeerAddr],
    packets: &Packets,
) -> SendTally {
    transmit.send(endpoint, packets.to(peers))
}

/// As [`send`], to peers with these sessions.
#[inline(never)]
fn send_to_sessions(
    transmit: &mut impl Transmit,
    part: Part<'_>,
    packets: &Packets,
    template: &Template<'_>,
) -> SendTally {
    let packets = packets.to_sessions(part.peers, part.sessions, template);
    transmit.send(part.group.endpoint, packets)
}

impl Slice {
    fn new(start: usize) -> Self {
        Self {
            members: start..start,
            cost_ns: 0,
            state: AtomicU64::new(FREE),
        }
    }

    fn state(&self) -> u64 {
        self.state.load(Ordering::Acquire)
    }

    /// Changes the state, if it is `from`.
    fn change(&self, from: u64, to: u64) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

impl PlanPool {
    pub(super) fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            free: (0..TYPICAL_PLANS)
                .map(|_| Arc::new(Plan::new(worker)))
                .collect(),
            retired: Vec::with_capacity(TYPICAL_PLANS),
            under_way: 0,
            nobody: Arc::default(),
        }
    }

    /// Returns true if one more plan may be under way. The last ones are for short plans, so
    /// that small rooms do not wait for large ones.
    pub(super) fn has_free(&self, is_long: bool) -> bool {
        let reserved = if is_long { MAX_PLANS / 4 } else { 0 };
        self.under_way < MAX_PLANS - reserved
    }

    /// Returns a plan that nobody else points to, after `fill`.
    pub(super) fn take(&mut self, fill: impl FnOnce(&mut Plan)) -> Arc<Plan> {
        self.under_way += 1;
        for index in (0..self.retired.len()).rev() {
            if Arc::get_mut(&mut self.retired[index]).is_some() {
                let plan = self.retired.swap_remove(index);
                self.put(plan);
            }
        }
        let new = || Arc::new(Plan::new(self.worker));
        let mut plan = self.free.pop().unwrap_or_else(new);
        fill(Arc::get_mut(&mut plan).expect("a free plan has no other owner"));
        plan
    }

    /// Takes a plan back that is finished.
    pub(super) fn release(&mut self, plan: Arc<Plan>) {
        debug_assert!(plan.is_finished());
        self.under_way -= 1;
        self.put(plan);
    }

    fn put(&mut self, mut plan: Arc<Plan>) {
        match Arc::get_mut(&mut plan) {
            Some(free) => {
                free.members = Arc::clone(&self.nobody);
                self.free.push(plan);
            }
            None => self.retired.push(plan),
        }
    }
}

/// The state of a slice that `worker` has claimed, and of which it has to send to the members
/// from `next` on.
fn held(worker: WorkerId, next: usize) -> u64 {
    (u64::from(worker.0) + 1) << 32 | next as u64
}

/// The inverse of [`held`].
fn holder(state: u64) -> Option<(WorkerId, usize)> {
    let worker = u8::try_from((state >> 32).checked_sub(1)?).ok()?;
    Some((WorkerId(worker), state as u32 as usize))
}

/// State of a slice that nobody has claimed.
const FREE: u64 = 0;
/// State of a slice that is sent, or was revoked.
const DONE: u64 = u64::MAX;

/// Numbers of slices and plans for which memory is allocated at the start.
const TYPICAL_SLICES: usize = 64;
const TYPICAL_PLANS: usize = 4;

/// Minimum cost of a slice of a plan that several workers send. It is twenty times the time to
/// claim the slice, and to receive before the next one.
const MIN_SLICE_COST_NS: u64 = 100_000;

/// Maximum number of plans of one worker that are under way, each for another room. A plan
/// takes up to 400 KiB of memory.
pub(super) const MAX_PLANS: usize = 32;
