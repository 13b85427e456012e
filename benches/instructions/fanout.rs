//! From texts to packets for each peer: what a worker does between receiving and sending.

use std::hint::black_box;
use std::sync::Arc;

use bullhorn::net::{MAX_PACKET_BYTES, MAX_SEGMENTS};
use bullhorn::server::egress::{FanOut, Item, Limits, Next, Regrouper};
use bullhorn::server::registry::Members;
use bullhorn::wire::Protocol;
use gungraun::{library_benchmark, library_benchmark_group};

use crate::inputs::{Table, WORKERS, address, numbers, table, text};

// Plans [`TEXTS`] texts, and looks at every packet for every peer, as sending does.
#[library_benchmark]
#[bench::texts_to_1(args = (1, Protocol::Text), setup = spoken)]
#[bench::texts_to_100(args = (100, Protocol::Text), setup = spoken)]
#[bench::texts_to_10000(args = (10_000, Protocol::Text), setup = spoken)]
#[bench::bundles_to_1(args = (1, Protocol::Frames), setup = spoken)]
#[bench::bundles_to_10000(args = (10_000, Protocol::Frames), setup = spoken)]
fn planned((mut fanout, table): (FanOut, Table)) -> (FanOut, Table, usize) {
    let mut bytes = 0;
    while let Next::Send = fanout.begin(|| None) {
        while let Some(slice) = fanout.slice() {
            for packet in slice.packets() {
                bytes += black_box(packet).payload.len();
            }
        }
    }
    (fanout, table, bytes)
}

// Takes up texts of one speaker: with one entry in each, the order in the maps of speakers
// and rooms, whose keys are random, can make no difference.
#[library_benchmark]
#[bench::of_one_speaker(args = (1, Protocol::Text), setup = silent)]
fn gathered((mut fanout, table): (FanOut, Table)) -> (FanOut, Table, bool) {
    let text = black_box(*b"the quick brown fox jumps over l");
    let push = |_| fanout.push(table.lobby(), address(0), None, &text);
    let all_fit = (0..TEXTS).map(push).all(|pushed| pushed.is_ok());
    (fanout, table, all_fit)
}

// A snapshot of the members, as the first fan-out after a change makes it.
#[library_benchmark]
#[bench::of_10000(args = (10_000, Protocol::Text, 0), setup = table)]
fn snapshots(table: Table) -> (Table, Arc<Members>) {
    let members = table.lobby().members();
    (table, members)
}

#[library_benchmark]
#[bench::mixed(args = (256, 32), setup = mixed)]
#[bench::equal(args = (256, 1), setup = mixed)]
fn regrouped((mut regrouper, items): (Regrouper, Vec<Item>)) -> (Regrouper, Vec<Item>, usize) {
    let mut packets = 0;
    let limits = Limits {
        messages: MAX_SEGMENTS,
        bytes: MAX_PACKET_BYTES,
    };
    regrouper.regroup(&items, SPEAKERS, limits, |packet| {
        black_box(packet);
        packets += 1;
    });
    (regrouper, items, packets)
}

library_benchmark_group!(
    name = fanout_group,
    benchmarks = [planned, gathered, snapshots, regrouped]
);

/// A fan-out, and the table of those to whom it is to send.
fn silent(peers: u32, protocol: Protocol) -> (FanOut, Table) {
    let table = table(peers, protocol, 0);
    // What a change of the members costs is `snapshots`.
    let _ = table.lobby().members();
    (FanOut::new(0, WORKERS, MAX_SEGMENTS), table)
}

/// The same, when [`TEXTS`] texts of different lengths have come.
fn spoken(peers: u32, protocol: Protocol) -> (FanOut, Table) {
    let (mut fanout, table) = silent(peers, protocol);
    for (index, length) in numbers(8).take(TEXTS).enumerate() {
        let speaker = address((index % SPEAKERS) as u32);
        let text = text(index, 32 + 4 * length);
        let pushed = fanout.push(table.lobby(), speaker, None, &text);
        assert!(pushed.is_ok());
    }
    (fanout, table)
}

/// Messages of so many different lengths, of [`SPEAKERS`] speakers.
fn mixed(count: usize, lengths: usize) -> (Regrouper, Vec<Item>) {
    let item = |(index, length)| Item {
        sender: (index % SPEAKERS) as u16,
        len: 40 + length as u16,
    };
    let items = numbers(lengths).take(count).enumerate().map(item);
    (Regrouper::with_capacity(count), items.collect())
}

/// Less than a full pass, so that a peer gets them in one go.
const TEXTS: usize = 100;

/// Fewer than texts: what one speaker says keeps its order, which regrouping has to obey.
const SPEAKERS: usize = 20;
