//! The packets that the members of a room are to receive, and the slices in which they are sent.

use std::ops::Range;
use std::sync::Arc;

use super::builder::{PlanBuilder, PlanPackets};
use super::own::{OwnMessages, plan_without_own};
use super::packets::{GsoCount, Packets};
use super::texts::TextPlanner;
use crate::net::{Endpoint, PeerAddr, SendTally, Template, Transmit};
use crate::server::ops::stats::WorkerId;
use crate::server::registry::{Members, Part, Room};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::wire::Protocol;

/// The packets for the members of a room, built once for all of them. Any worker may claim a
/// slice of the members, and sends to them.
pub(super) struct Plan {
    origin: WorkerId,
    packets: PlanPackets,
    members: Arc<Members>,
    /// The time at which its oldest text arrived, see [`Exchange::time_us`].
    ///
    /// [`Exchange::time_us`]: super::Exchange::time_us
    received_us: u32,
    slices: Vec<Slice>,
    /// The slices before this one are claimed.
    next_slice: AtomicUsize,
    /// The number of slices that are not done.
    unfinished: AtomicUsize,
}

/// A plan, and the number of those who point to it. It is filled anew when that is one.
pub(super) type SharedPlan = crate::sync::Arc<Plan>;

/// Some members of a plan.
struct Slice {
    members: Range<usize>,
    cost_ns: u64,
    /// [`FREE`], [`DONE`], or the worker that has claimed the slice and the next member that it
    /// has to send to, see [`held`]. The claim and each step of it are one change of this word.
    /// So a claim can be revoked at any time, and nobody sends after that.
    state: AtomicU64,
}

/// The outcome of a claim.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) tally: SendTally,
    /// Packets of several datagrams that the kernel was handed.
    pub(super) gso: GsoCount,
    /// The slice was the last one of its plan.
    pub(super) is_last: bool,
}

/// A slice that a worker has to send.
pub(super) struct Claim {
    plan: SharedPlan,
    index: usize,
    worker: WorkerId,
}

impl Plan {
    pub(super) fn new(origin: WorkerId) -> Self {
        Self {
            origin,
            packets: PlanPackets::new(),
            members: Arc::default(),
            received_us: 0,
            slices: Vec::with_capacity(TYPICAL_SLICES),
            next_slice: AtomicUsize::new(0),
            unfinished: AtomicUsize::new(0),
        }
    }

    /// Begins a plan for the members that a room has now.
    pub(super) fn build<'a>(
        &'a mut self,
        room: &'a Room,
        planner: &'a mut TextPlanner,
    ) -> PlanBuilder<'a> {
        self.members = room.members();
        let (members, worker) = (&self.members, self.origin);
        self.packets.build(room, members, worker, planner)
    }

    pub(super) fn received_us(&self) -> u32 {
        self.received_us
    }

    pub(super) fn set_received_us(&mut self, received_us: u32) {
        self.received_us = received_us;
    }

    pub(super) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    pub(super) fn set_members(&mut self, members: Arc<Members>) {
        self.members = members;
    }

    /// The time to send the plan.
    pub(super) fn cost_ns(&self) -> u64 {
        let parts = self.members.parts(0..self.members.len());
        parts
            .map(|part| part.peers.len() as u64 * self.packets.of(part.group.protocol).cost_ns())
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
            let packets = self.packets.of(part.group.protocol);
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
        self.next_slice = AtomicUsize::new(0);
        self.unfinished = AtomicUsize::new(slices.len());
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
    pub(super) fn claim(this: &SharedPlan, worker: WorkerId) -> Option<Claim> {
        loop {
            let index = this.next_slice.load(Ordering::Relaxed);
            let slice = this.slices.get(index)?;
            let held = held(worker, slice.members.start);
            let is_claimed = slice.change(FREE, held);
            // Those who find the slice claimed move the index on, too, so they do not wait for a
            // worker that claimed it and was stopped here.
            let _ = this.next_slice.compare_exchange(
                index,
                index + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if is_claimed {
                return Some(Claim {
                    plan: SharedPlan::clone(this),
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

    /// Revokes the claims of workers that are stuck. Returns the number of deliveries that they have
    /// not begun, and never make.
    pub(super) fn revoke(&self, is_stuck: impl Fn(WorkerId) -> bool) -> u64 {
        let mut shed = 0;
        for slice in &self.slices {
            let state = slice.state();
            if let Some((holder, next)) = holder(state)
                && is_stuck(holder)
                && slice.change(state, DONE)
            {
                shed += self.deliveries_to(next..slice.members.end);
                self.finish_slice();
            }
        }
        shed
    }

    /// Counts a slice as sent or revoked. Returns true if it was the last one. This publishes what
    /// was sent to the worker that finds the plan finished, and sends the next texts (held by
    /// `models::a_worker_that_waits_for_the_last_slice_is_woken`).
    fn finish_slice(&self) -> bool {
        self.unfinished.fetch_sub(1, Ordering::Release) == 1
    }

    fn deliveries_to(&self, members: Range<usize>) -> u64 {
        let parts = self.members.parts(members);
        let deliveries = parts.map(|part| {
            let all = part.peers.len() * self.packets.of(part.group.protocol).messages();
            let own = self.packets.own(part.group).map_or(0, |own| {
                let sessions = part.sessions.iter();
                sessions.map(|session| own.of(*session).len()).sum()
            });
            all - own
        });
        deliveries.sum::<usize>() as u64
    }
}

impl Claim {
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn cost_ns(&self) -> u64 {
        self.plan.slices[self.index].cost_ns
    }

    /// Sends the slice, until the claim is revoked. `without_own` is memory for the bundles of one
    /// member.
    pub(super) fn send(&self, transmit: &mut impl Transmit, without_own: &mut Packets) -> Sent {
        let slice = &self.plan.slices[self.index];
        let mut sent = Sent::default();
        let mut next = slice.members.start;
        for part in self.plan.members.parts(slice.members.clone()) {
            let packets = self.plan.packets.of(part.group.protocol);
            let own = self.plan.packets.own(part.group);
            let template = packets.template(self.plan.members.len());
            for part in part.chunks(packets.peers_per_batch()) {
                let now = next + part.peers.len();
                if !slice.change(held(self.worker, next), held(self.worker, now)) {
                    return sent;
                }
                next = now;
                sent.gso += packets.gso() * part.peers.len() as u64;
                sent.tally += match (part.sessions, own) {
                    ([], _) => send(transmit, part.group.endpoint, part.peers, packets),
                    (_, None) => send_to_sessions(transmit, part, packets, &template),
                    (_, Some(own)) => {
                        send_without_own(transmit, part, packets, &template, own, without_own)
                    }
                };
            }
        }
        let is_done = slice.change(held(self.worker, next), DONE);
        sent.is_last = is_done && self.plan.finish_slice();
        sent
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

/// As [`send_to_sessions`], but no member is sent its own messages.
#[cold]
fn send_without_own(
    transmit: &mut impl Transmit,
    part: Part<'_>,
    packets: &Packets,
    template: &Template<'_>,
    own: &OwnMessages,
    without_own: &mut Packets,
) -> SendTally {
    let mut tally = SendTally::default();
    let Protocol::Frames(size) = part.group.protocol else {
        return tally;
    };
    let mut start = 0;
    for (index, session) in part.sessions.iter().enumerate() {
        let own = own.of(*session);
        if own.is_empty() {
            continue;
        }
        if start < index {
            tally += send_to_sessions(transmit, part.slice(start..index), packets, template);
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

impl Slice {
    fn new(start: usize) -> Self {
        Self {
            members: start..start,
            cost_ns: 0,
            state: AtomicU64::new(FREE),
        }
    }

    fn state(&self) -> u64 {
        self.state.load(Ordering::Relaxed)
    }

    /// Changes the state, if it is `from`. A worker publishes with each step what it has sent before
    /// it, and one that revokes the claim acquires that (held by
    /// `models::a_slice_that_is_revoked_is_not_sent_on`).
    fn change(&self, from: u64, to: u64) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
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

/// Number of slices for which memory is allocated at the start.
const TYPICAL_SLICES: usize = 64;

/// Maximum time to send one slice, before it is rounded to whole system calls, which makes it up to
/// twice as long. Then another room has its turn, or the worker receives. In 5 ms, 10,000 peers
/// send no more heartbeats than one receive batch holds. With 2 ms, a text to 500 peers took a
/// quarter more system calls.
pub(super) const SLICE_COST_NS: u64 = 5_000_000;

/// Minimum cost of a slice of a plan that several workers send. It is twenty times the time to
/// claim the slice, and to receive before the next one.
const MIN_SLICE_COST_NS: u64 = 100_000;
