//! Texts between the nodes of a cluster.

use super::super::inbox::{ITEM_BYTES, Incoming, IncomingBatch};
use super::super::outbox::OutgoingBatch;
use super::*;
use crate::wire::cluster::{
    BatchHead, CheckedBatch, NodeText, begin_batch, parse_batch, push_node_text, set_batch_len,
};

/// A node with its peers in the lobby, and the ends of its queues.
struct Node {
    registry: Registry,
    workers: Workers,
    outbox: Arc<Outbox>,
    inboxes: Vec<Arc<Inbox>>,
}

impl Node {
    /// Returns a node with this incarnation. It knows of one member of the lobby on other nodes.
    fn new(incarnation: u64, peers: u16, workers: usize) -> Self {
        let registry = registry(peers, 0, workers);
        registry.lobby().set_remote_members(1);
        let outbox = Arc::new(Outbox::new(incarnation, Arc::new(|| {})));
        outbox.set_open(true);
        let mut workers = Workers::new(workers);
        let join = |egress: &mut Option<Egress>| {
            let inbox = Arc::<Inbox>::default();
            let egress = egress.as_mut().unwrap();
            egress.join_cluster(Arc::clone(&outbox), Arc::clone(&inbox));
            inbox
        };
        let inboxes = workers.egresses.iter_mut().map(join).collect();
        Self {
            registry,
            workers,
            outbox,
            inboxes,
        }
    }

    /// Takes all batches for other nodes.
    fn published(&self) -> Vec<OutgoingBatch> {
        std::iter::from_fn(|| self.outbox.pop(Instant::now())).collect()
    }

    fn receive(&self, worker: usize, batch: &OutgoingBatch) {
        let room = Arc::clone(self.registry.lobby());
        let batch = IncomingBatch::new(room, CheckedBatch::new(batch.bytes.clone()).unwrap(), 0);
        assert!(self.inboxes[worker].push(Incoming::Texts(batch)).is_ok());
    }
}

/// Returns a batch of equal texts of a peer of a node.
fn batch(node: &Node, port: u16, texts: u16) -> OutgoingBatch {
    let mut bytes = Vec::new();
    let head = BatchHead {
        node: node.outbox.node(),
        room: node.registry.lobby().incarnation(),
        stream: 0,
        first: 0,
        texts: 0,
    };
    begin_batch(&head, &mut bytes);
    let from = DisplayName::Address(peer(port).socket_addr());
    for _ in 0..texts {
        assert!(push_node_text(&NodeText { from, text: b"x" }, &mut bytes));
    }
    set_batch_len(texts, &mut bytes);
    OutgoingBatch {
        room: "lobby".parse().unwrap(),
        bytes,
        texts,
        made: Instant::now(),
    }
}

fn texts(batch: &OutgoingBatch) -> Vec<(String, usize)> {
    let (head, texts) = parse_batch(&batch.bytes).unwrap();
    assert_eq!(head.texts, batch.texts);
    texts
        .map(|text| (text.from.to_string(), text.text.len()))
        .collect()
}

#[test]
fn the_texts_of_a_plan_are_one_batch_and_reach_the_peers_of_another_node_in_order() {
    let (mut here, mut there) = (Node::new(1, 2, 1), Node::new(2, 3, 1));
    for text in 0..5 {
        here.workers
            .push(0, &here.registry, 1, format!("{text}").as_bytes());
    }
    here.workers.drain(0);
    let batches = here.published();
    assert_eq!(batches.len(), 1);
    let sender = "127.0.0.1:1".to_owned();
    assert_eq!(texts(&batches[0]), vec![(sender.clone(), 1); 5]);

    there.receive(0, &batches[0]);
    there.workers.drain(0);
    assert_eq!(there.published(), [], "it is never published again");
    for peer in [1, 3, 5] {
        let received = there.workers.received.0.iter();
        let received = received.filter(|received| received.0 == peer);
        let expected = (0..5).map(|text| (peer, sender.clone(), text.to_string()));
        assert!(received.cloned().eq(expected));
    }
    let counts = there.workers.counts();
    assert_eq!((counts.messages_of_nodes, counts.messages_shed), (5, 0));
}

#[test]
fn batches_are_numbered_for_each_room_and_worker() {
    let mut node = Node::new(7, 2, 2);
    for (worker, texts) in [(0, 3), (1, 1), (0, 2)] {
        for _ in 0..texts {
            node.workers.push(worker, &node.registry, 1, b"x");
        }
        node.workers.finish();
    }
    let other = node.registry.join(&peer(1), "den".parse().unwrap());
    let other = other.unwrap().unwrap();
    other.set_remote_members(1);
    node.workers.push_to(0, &other, 1, b"x");
    node.workers.finish();
    let lobby = node.registry.lobby().incarnation();
    let heads = node
        .published()
        .iter()
        .map(|batch| {
            let (head, _) = parse_batch(&batch.bytes).unwrap();
            (head, batch.room.to_string())
        })
        .collect::<Vec<_>>();
    let head = |room, stream, first, texts| BatchHead {
        node: 7,
        room,
        stream,
        first,
        texts,
    };
    let expected = [
        (head(lobby, 0, 0, 3), "lobby".to_owned()),
        (head(lobby, 1, 0, 1), "lobby".to_owned()),
        (head(lobby, 0, 3, 2), "lobby".to_owned()),
        (head(other.incarnation(), 0, 0, 1), "den".to_owned()),
    ];
    assert_eq!(heads, expected);
}

#[test]
fn long_texts_of_a_plan_are_several_batches() {
    let mut node = Node::new(1, 2, 1);
    for _ in 0..60 {
        node.workers.push(0, &node.registry, 1, &[b'x'; 1_100]);
    }
    node.workers.drain(0);
    let batches = node.published();
    assert!(batches.len() > 1);
    let mut next = 0;
    for batch in &batches {
        let (head, _) = parse_batch(&batch.bytes).unwrap();
        assert_eq!(head.first, next);
        next += u32::from(batch.texts);
    }
    assert_eq!(next, 60);
}

#[test]
fn nothing_is_published_while_a_room_has_no_members_on_other_nodes() {
    let mut node = Node::new(1, 2, 1);
    node.registry.lobby().set_remote_members(0);
    node.workers.push(0, &node.registry, 1, b"x");
    node.workers.drain(0);
    assert_eq!(node.published(), []);
    assert_eq!(node.workers.deliveries(0), 2);
}

#[test]
fn a_worker_does_not_sleep_while_batches_of_other_nodes_wait() {
    let (mut here, mut there) = (Node::new(1, 1, 1), Node::new(2, 0, 1));
    let batches = 3 * MAX_INCOMING_BYTES_PER_STEP / (ITEM_BYTES + 1_000);
    for _ in 0..batches {
        here.workers.push(0, &here.registry, 1, &[b'x'; 1_000]);
        here.workers.drain(0);
    }
    for batch in here.published() {
        there.receive(0, &batch);
    }
    there.workers.drain(0);
    assert!(there.inboxes[0].is_empty());
    let counts = there.workers.counts();
    assert_eq!(counts.messages_of_nodes, batches as u64);
}

#[test]
fn a_worker_that_is_busy_takes_many_short_batches_after_each_slice() {
    let (here, mut there) = (Node::new(1, 0, 1), Node::new(2, 4_000, 1));
    let taken = |node: &Node| {
        let counts = node.workers.counts();
        (counts.messages_of_nodes + counts.messages_shed) as usize
    };
    // A plan of several slices.
    for _ in 0..8 {
        there.workers.push(0, &there.registry, 1, b"x");
    }
    there.workers.step(0);
    let bytes = ITEM_BYTES + batch(&here, 1, 1).bytes.len();
    let per_step = MAX_INCOMING_BYTES_PER_STEP.div_ceil(bytes);
    assert!(per_step > 800);
    for port in 0..2 * per_step as u16 + 10 {
        there.receive(0, &batch(&here, port + 1, 1));
    }
    for steps in 1..=2 {
        assert_eq!(there.workers.step(0), Progress::More);
        assert_eq!(taken(&there), steps * per_step);
    }
    there.workers.step(0);
    assert_eq!(taken(&there), 2 * per_step + 10);
    assert!(there.inboxes[0].is_empty());
}

#[test]
fn texts_are_counted_and_numbered_while_the_bus_is_away() {
    let mut node = Node::new(1, 2, 1);
    node.outbox.set_open(false);
    for _ in 0..3 {
        node.workers.push(0, &node.registry, 1, b"x");
    }
    node.workers.drain(0);
    node.outbox.set_open(true);
    let dropped = &node.outbox.counters().dropped_away;
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
    node.workers.push(0, &node.registry, 1, b"y");
    node.workers.drain(0);
    let batches = node.published();
    assert_eq!(batches.len(), 1);
    let (head, _) = parse_batch(&batches[0].bytes).unwrap();
    assert_eq!((head.first, head.texts), (3, 1));
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}

#[test]
fn a_flooder_of_another_node_leaves_space_for_others() {
    let (here, mut there) = (Node::new(1, 0, 1), Node::new(2, 1_000, 1));
    for _ in 0..7 {
        there.receive(0, &batch(&here, 1, 1_000));
    }
    there.receive(0, &batch(&here, 2, 1));
    there.workers.step(0);
    let counts = there.workers.counts();
    assert!(counts.messages_shed > 1_000, "{counts:?}");
    there.workers.drain(0);
    let other = peer(2).socket_addr().to_string();
    let received = there.workers.received.0.iter();
    let received = received.filter(|(_, from, _)| *from == other).count();
    assert_eq!(received, 1_000);
}
