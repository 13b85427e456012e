//! Deficit round robin (Shreedhar and Varghese, 1995), with new flows first (RFC 8290, section 4).

use std::ops::IndexMut;

/// The order of the flows that have something to do. The current flow stays the current one until
/// it has used up its quantum, and then the next one goes on. So in the long run, all flows that
/// always have something to do get the same, however much each of their steps costs.
///
/// A flow that had nothing to do is new, and has its first quantum before all old ones. When that
/// is used up, or nothing is left to do, it becomes an old one. So no flow is new again by doing
/// one thing at a time while others wait.
///
/// When new flows have used [`MAX_AHEAD`] quanta while old ones waited, they share the time
/// evenly with the old ones from then on.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    new: List,
    old: List,
    /// See [`Self::rest`].
    resting: List,
    /// The cost of the new flows while old ones waited, less that of old ones. At least 0, and at
    /// most twice [`MAX_AHEAD`] quanta.
    ahead: i64,
    /// The old flows go first, because the new ones were ahead by the maximum.
    is_old_due: bool,
}

/// The state of one flow in a [`RoundRobin`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FlowState {
    /// It has a place in the order, or is suspended.
    is_active: bool,
    /// The cost that is left of the quantum. It may be less than zero, because a step may cost more
    /// than is left.
    deficit: i64,
    next: Option<usize>,
}

/// An entry of a table of flows. A [`RoundRobin`] refers to it by its index.
pub(super) trait Flow {
    fn state(&mut self) -> &mut FlowState;
}

/// A list of flows, linked by [`FlowState::next`].
#[derive(Debug, Default)]
struct List(Option<Ends>);

#[derive(Debug, Clone, Copy)]
struct Ends {
    first: usize,
    last: usize,
}

impl RoundRobin {
    /// Adds a flow that has something to do, if it is idle.
    pub(super) fn activate<F: Flow>(
        &mut self,
        flows: &mut impl IndexMut<usize, Output = F>,
        index: usize,
        quantum: i64,
    ) {
        let flow = flows[index].state();
        if !flow.is_active {
            flow.is_active = true;
            flow.deficit = quantum;
            self.new.push(flows, index);
        }
    }

    /// Returns the flow whose turn it is. It stays the same one until its quantum is used up,
    /// until [`Self::end`] or [`Self::suspend`], or while old ones go first.
    pub(super) fn current<F: Flow>(
        &mut self,
        flows: &mut impl IndexMut<usize, Output = F>,
        quantum: i64,
    ) -> Option<usize> {
        debug_assert!(quantum > 0);
        loop {
            let index = self.turn().0.first()?;
            if flows[index].state().deficit > 0 {
                return Some(index);
            }
            self.charge(flows, 0, quantum);
        }
    }

    /// Charges the current flow for what it did. If its quantum is used up, it becomes the last of
    /// the old ones, with another quantum.
    pub(super) fn charge<F: Flow>(
        &mut self,
        flows: &mut impl IndexMut<usize, Output = F>,
        cost: i64,
        quantum: i64,
    ) {
        let old_wait = self.old.first().is_some();
        let (list, is_old) = self.turn();
        let Some(index) = list.first() else {
            return;
        };
        let flow = flows[index].state();
        flow.deficit -= cost;
        if flow.deficit <= 0 {
            flow.deficit += quantum;
            if !(is_old && list.has_one()) {
                list.pop(flows);
                self.old.push(flows, index);
            }
        }
        let max_ahead = MAX_AHEAD * quantum;
        let change = if is_old { -cost } else { cost };
        self.ahead = if old_wait {
            (self.ahead + change).clamp(0, 2 * max_ahead)
        } else {
            0
        };
        self.is_old_due = self.ahead >= max_ahead;
    }

    /// Ends the turns of the current flow, which has nothing left to do. Returns true if it is
    /// idle now. A new one is kept as an old one until it would have its turn again.
    pub(super) fn end<F: Flow>(&mut self, flows: &mut impl IndexMut<usize, Output = F>) -> bool {
        let (list, is_old) = self.turn();
        let Some(index) = list.pop(flows) else {
            return false;
        };
        if is_old {
            flows[index].state().is_active = false;
        } else {
            self.old.push(flows, index);
        }
        is_old
    }

    /// Takes the current flow, which has nothing to do at the moment, out of the order until
    /// [`Self::end_rests`].
    pub(super) fn rest<F: Flow>(&mut self, flows: &mut impl IndexMut<usize, Output = F>) {
        if let Some(index) = self.turn().0.pop(flows) {
            self.resting.push(flows, index);
        }
    }

    /// Adds the flows that rest as the last of the old ones.
    pub(super) fn end_rests<F: Flow>(&mut self, flows: &mut impl IndexMut<usize, Output = F>) {
        self.old.append(flows, std::mem::take(&mut self.resting));
    }

    /// Removes a flow, in no order. It is idle then.
    pub(super) fn remove_any<F: Flow>(
        &mut self,
        flows: &mut impl IndexMut<usize, Output = F>,
    ) -> Option<usize> {
        let index = self.turn().0.pop(flows)?;
        flows[index].state().is_active = false;
        Some(index)
    }

    /// Takes the current flow out of the order until [`Self::resume`]. It keeps what is left of
    /// its quantum.
    pub(super) fn suspend<F: Flow>(&mut self, flows: &mut impl IndexMut<usize, Output = F>) {
        self.turn().0.pop(flows);
    }

    /// Adds a suspended flow as the last of the old ones.
    pub(super) fn resume<F: Flow>(
        &mut self,
        flows: &mut impl IndexMut<usize, Output = F>,
        index: usize,
    ) {
        debug_assert!(flows[index].state().is_active);
        self.old.push(flows, index);
    }

    /// Returns the list whose first flow has its turn, and true if it is that of the old ones.
    fn turn(&mut self) -> (&mut List, bool) {
        let is_old = self.new.0.is_none() || (self.is_old_due && self.old.0.is_some());
        let list = if is_old { &mut self.old } else { &mut self.new };
        (list, is_old)
    }
}

impl List {
    fn has_one(&self) -> bool {
        self.0.is_some_and(|ends| ends.first == ends.last)
    }

    fn first(&self) -> Option<usize> {
        Some(self.0?.first)
    }

    fn push<F: Flow>(&mut self, flows: &mut impl IndexMut<usize, Output = F>, index: usize) {
        flows[index].state().next = None;
        let first = match self.0 {
            Some(Ends { first, last }) => {
                flows[last].state().next = Some(index);
                first
            }
            None => index,
        };
        self.0 = Some(Ends { first, last: index });
    }

    fn append<F: Flow>(&mut self, flows: &mut impl IndexMut<usize, Output = F>, other: Self) {
        let Some(Ends { first, last }) = other.0 else {
            return;
        };
        match &mut self.0 {
            Some(ends) => {
                flows[ends.last].state().next = Some(first);
                ends.last = last;
            }
            None => self.0 = other.0,
        }
    }

    fn pop<F: Flow>(&mut self, flows: &mut impl IndexMut<usize, Output = F>) -> Option<usize> {
        let Ends { first, last } = self.0?;
        let next = flows[first].state().next;
        self.0 = next.map(|first| Ends { first, last });
        Some(first)
    }
}

/// Maximum cost by which new flows go before old ones, in quanta. For rooms this is 10 ms.
const MAX_AHEAD: i64 = 4;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// The costs of what a flow has to do.
    #[derive(Default)]
    struct Queue {
        state: FlowState,
        costs: VecDeque<i64>,
    }

    impl Flow for Queue {
        fn state(&mut self) -> &mut FlowState {
            &mut self.state
        }
    }

    struct Queues {
        turns: RoundRobin,
        queues: Vec<Queue>,
    }

    impl Queues {
        fn new(count: usize) -> Self {
            Self {
                turns: RoundRobin::default(),
                queues: (0..count).map(|_| Queue::default()).collect(),
            }
        }

        fn push(&mut self, index: usize, cost: i64) {
            self.queues[index].costs.push_back(cost);
            self.turns.activate(&mut self.queues, index, QUANTUM);
        }

        /// Does the next thing. Returns its flow and its cost.
        fn step(&mut self) -> Option<(usize, i64)> {
            loop {
                let index = self.turns.current(&mut self.queues, QUANTUM)?;
                if let Some(cost) = self.queues[index].costs.pop_front() {
                    self.turns.charge(&mut self.queues, cost, QUANTUM);
                    return Some((index, cost));
                }
                self.turns.end(&mut self.queues);
            }
        }

        fn order(&mut self, steps: usize) -> Vec<usize> {
            (0..steps).map_while(|_| Some(self.step()?.0)).collect()
        }
    }

    const QUANTUM: i64 = 10;
    const MAX_COST: i64 = 35;

    #[test]
    fn a_new_flow_goes_first_for_one_quantum() {
        let mut queues = Queues::new(2);
        for _ in 0..10 {
            queues.push(0, 5);
        }
        assert_eq!(queues.order(4), [0; 4]);
        for _ in 0..10 {
            queues.push(1, 5);
        }
        assert_eq!(queues.order(8), [1, 1, 0, 0, 1, 1, 0, 0]);
    }

    #[test]
    fn a_flow_that_does_one_thing_at_a_time_is_new_once() {
        let mut queues = Queues::new(3);
        for flow in [0, 1].repeat(10) {
            queues.push(flow, 10);
        }
        queues.push(2, 1);
        assert_eq!(queues.order(3), [0, 1, 2]);
        // The next look finds out that it has nothing left.
        assert_eq!(queues.order(1), [0]);
        queues.push(2, 1);
        assert_eq!(queues.order(3), [1, 2, 0]);
        // Without others it becomes idle, and then it is new again.
        queues.order(100);
        for flow in [0, 0, 2] {
            queues.push(flow, 10);
        }
        assert_eq!(queues.order(3), [0, 2, 0]);
    }

    #[test]
    fn a_suspended_flow_is_passed_and_keeps_its_debt() {
        let mut queues = Queues::new(2);
        for _ in 0..5 {
            queues.push(0, 30);
            queues.push(1, 10);
        }
        assert_eq!(queues.order(1), [0]);
        // Its first quantum is used up, so the other one is the current flow.
        assert_eq!(queues.order(1), [1]);
        let current = queues.turns.current(&mut queues.queues, QUANTUM);
        assert_eq!(current, Some(1));
        queues.turns.suspend(&mut queues.queues);
        queues.push(1, 10);
        assert_eq!(queues.order(2), [0, 0], "it is not activated");
        queues.turns.resume(&mut queues.queues, 1);
        assert_eq!(queues.order(4), [1, 1, 0, 1], "three times as cheap");
        assert_eq!(queues.order(100).len(), 10 + 1 - 8);
        assert_eq!(queues.step(), None);
    }

    #[test]
    fn no_list_saves_turns_up_while_it_is_alone() {
        let mut queues = Queues::new(11);
        for flow in 1..=10 {
            queues.push(flow, 10);
            assert_eq!(queues.order(100), [flow]);
        }
        for _ in 0..20 {
            queues.push(0, 10);
        }
        assert_eq!(queues.order(1), [0]);
        queues.push(1, 10);
        assert_eq!(queues.order(11), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for flow in 2..=9 {
            queues.push(flow, 10);
        }
        assert_eq!(queues.order(8), [2, 3, 4, 5, 0, 6, 0, 7]);
    }

    #[test]
    fn ever_new_flows_leave_half_to_old_ones() {
        const NEW: usize = 1_000;
        for cost in [1, 5, 10, 30] {
            let mut queues = Queues::new(NEW + 2);
            let mut sums = [0; 3];
            for flow in 0..NEW {
                for old in [NEW, NEW + 1] {
                    queues.push(old, 7);
                }
                queues.push(flow, cost);
                let (flow, cost) = queues.step().unwrap();
                sums[flow.saturating_sub(NEW - 1)] += cost;
            }
            let [new, old, other] = sums;
            assert!(
                (new - old - other).abs() <= 10 * QUANTUM,
                "{cost}: {sums:?}"
            );
            assert!((old - other).abs() <= 2 * QUANTUM, "{cost}: {sums:?}");
            // Those that have ended are idle, and not kept as old ones for ever.
            let is_idle = |queue: &&Queue| !queue.state.is_active;
            let idle = queues.queues.iter().filter(is_idle).count();
            let pending = queues.queues.iter().filter(|queue| !queue.costs.is_empty());
            assert!(
                NEW + 2 - idle - pending.count() <= 50,
                "{cost}: {idle} idle"
            );
        }
    }

    proptest! {
        /// Flows that always have something to do get the same, up to a quantum and the cost of
        /// one turn, whatever the others do.
        #[test]
        fn the_cost_is_shared_evenly(
            costs in prop::collection::vec(1..=MAX_COST, 2..6),
            others in prop::collection::vec((0_usize..4, 1..=MAX_COST, 0_usize..3), 0..300),
        ) {
            let busy = costs.len();
            let mut queues = Queues::new(busy + 4);
            let mut sums = vec![0; busy + 4];
            for (other, cost, steps) in others {
                queues.push(busy + other, cost);
                for _ in 0..=steps {
                    for (index, cost) in costs.iter().enumerate() {
                        if queues.queues[index].costs.is_empty() {
                            queues.push(index, *cost);
                        }
                    }
                    let (index, cost) = queues.step().unwrap();
                    sums[index] += cost;
                    let (least, most) = (sums[..busy].iter().min(), sums[..busy].iter().max());
                    let difference = most.unwrap() - least.unwrap();
                    // At the beginning, the first ones are old and the last ones are new.
                    let bound = (1 + MAX_AHEAD) * QUANTUM + 2 * MAX_COST;
                    prop_assert!(difference <= bound, "{sums:?}");
                }
            }
        }

        /// Nothing waits for longer than a round: a quantum and a turn of each other flow, and
        /// the debt of its own flow.
        #[test]
        fn no_flow_starves(
            texts in prop::collection::vec((0_usize..6, 1..=MAX_COST, 0_usize..3), 1..400),
        ) {
            let mut queues = Queues::new(6);
            let mut pushed = vec![0; 6];
            // The cost that the other flows had since this one had its turn, or was empty.
            let mut waited = [0; 6];
            let rounds = (MAX_COST / QUANTUM + 2) * 5;
            for (index, cost, steps) in texts {
                queues.push(index, cost);
                pushed[index] += 1;
                for _ in 0..steps {
                    let Some((current, cost)) = queues.step() else { break };
                    pushed[current] -= 1;
                    for (flow, waited) in waited.iter_mut().enumerate() {
                        *waited += cost;
                        if flow == current || queues.queues[flow].costs.is_empty() {
                            *waited = 0;
                        }
                        prop_assert!(*waited <= rounds * (QUANTUM + MAX_COST));
                    }
                }
            }
            while let Some((index, _)) = queues.step() {
                pushed[index] -= 1;
            }
            prop_assert_eq!(pushed, [0; 6], "everything is done");
        }
    }
}
