//! From texts to packets for each peer: what a worker does between receiving and sending.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bullhorn::net::{Endpoint, MAX_PACKET_BYTES, MAX_SEGMENTS, Packet, SendTally, Transmit};
use bullhorn::server::egress::Exchange;
use bullhorn::server::egress::{Batcher, Egress, Limits, Progress};
use bullhorn::server::ops::stats::WorkerInfo;
use bullhorn::server::ops::turns::WorkerHandle;
use bullhorn::server::registry::{Members, Registry};
use bullhorn::wire::Protocol;
use bullhorn::wire::v2::BundleSize;
use gungraun::{library_benchmark, library_benchmark_group};

use crate::inputs::{WORKER, address, numbers, registry, text};

// Plans [`TEXTS`] texts, and looks at every packet for every peer, as sending does.
#[library_benchmark]
#[bench::texts_to_1(args = (1, Protocol::Text), setup = spoken)]
#[bench::texts_to_100(args = (100, Protocol::Text), setup = spoken)]
#[bench::texts_to_10000(args = (10_000, Protocol::Text), setup = spoken)]
#[bench::bundles_to_1(args = (1, Protocol::Frames(BundleSize::Full)), setup = spoken)]
#[bench::bundles_to_10000(args = (10_000, Protocol::Frames(BundleSize::Full)), setup = spoken)]
fn planned((mut egress, registry): (Egress, Registry)) -> (Egress, Registry, usize) {
    let mut bytes = PayloadBytes(0);
    while egress.poll(&mut bytes, 0) == Progress::More {}
    (egress, registry, bytes.0)
}

/// Adds up the payloads of all packets.
struct PayloadBytes(usize);

impl Transmit for PayloadBytes {
    fn send<'a>(
        &mut self,
        _endpoint: Endpoint,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        for packet in packets {
            self.0 += black_box(packet).payload.len();
        }
        SendTally::default()
    }
}

// Takes up texts of one speaker: with one entry in each, the order in the maps of speakers
// and rooms, whose keys are random, can make no difference.
#[library_benchmark]
#[bench::of_one_speaker(args = (1, Protocol::Text), setup = silent)]
fn gathered((mut egress, registry): (Egress, Registry)) -> (Egress, Registry, bool) {
    let text = black_box(*b"the quick brown fox jumps over l");
    let push = |_| egress.push(registry.lobby(), &address(0).into(), &text);
    let all_fit = (0..TEXTS).map(push).all(|pushed| pushed.is_ok());
    (egress, registry, all_fit)
}

// A snapshot of the members, as the first fan-out after a change makes it.
#[library_benchmark]
#[bench::of_10000(args = (10_000, Protocol::Text, 0), setup = registry)]
fn snapshots(registry: Registry) -> (Registry, Arc<Members>) {
    let members = registry.lobby().members();
    (registry, members)
}

#[library_benchmark]
#[bench::mixed(args = (256, 32), setup = mixed)]
#[bench::equal(args = (256, 1), setup = mixed)]
fn regrouped(mut batcher: Batcher) -> (Batcher, usize) {
    let mut packets = 0;
    let limits = Limits {
        messages: MAX_SEGMENTS,
        bytes: MAX_PACKET_BYTES,
    };
    batcher.batch(0, limits, |packet, _| {
        black_box(packet);
        packets += 1;
    });
    (batcher, packets)
}

library_benchmark_group!(
    name = fanout_group,
    benchmarks = [planned, gathered, snapshots, regrouped]
);

/// Returns an egress, and the registry of the peers that it sends to.
fn silent(peers: u32, protocol: Protocol) -> (Egress, Registry) {
    let registry = registry(peers, protocol, 0);
    // What a change of the members costs is `snapshots`.
    let _ = registry.lobby().members();
    let worker = WorkerHandle {
        info: WorkerInfo::new(""),
        wake: Arc::new(|| {}),
    };
    let exchange = Arc::new(Exchange::new(vec![worker]));
    let egress = Egress::new(WORKER, exchange, BACKLOG, MAX_SEGMENTS);
    (egress, registry)
}

/// The same, when [`TEXTS`] texts of different lengths have come.
fn spoken(peers: u32, protocol: Protocol) -> (Egress, Registry) {
    let (mut egress, registry) = silent(peers, protocol);
    for (index, length) in numbers(8).take(TEXTS).enumerate() {
        let speaker = address((index % SPEAKERS) as u32);
        let text = text(index, 32 + 4 * length);
        let pushed = egress.push(registry.lobby(), &speaker.into(), &text);
        assert!(pushed.is_ok());
    }
    (egress, registry)
}

/// Messages of so many different lengths, of [`SPEAKERS`] speakers.
fn mixed(count: usize, lengths: usize) -> Batcher {
    let mut batcher = Batcher::with_capacity(count);
    for (index, length) in numbers(lengths).take(count).enumerate() {
        batcher.push(index % SPEAKERS, 40 + length as u16);
    }
    batcher
}

/// Enough for all texts.
const BACKLOG: Duration = Duration::from_secs(3600);

/// Less than a full pass, so that a peer gets them in one go.
const TEXTS: usize = 100;

/// Fewer than texts: what one speaker says keeps its order, which regrouping has to obey.
const SPEAKERS: usize = 20;
