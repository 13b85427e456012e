//! The table of peers: signs of life, and the reaper's look.

use bullhorn::server::registry::Touch;
use bullhorn::wire::Protocol;
use gungraun::{library_benchmark, library_benchmark_group};

use crate::inputs::{Table, address, session, table};

#[library_benchmark]
#[bench::known(args = (0), setup = text_peers)]
#[bench::new(args = (PEERS), setup = text_peers)]
fn touched((table, from): (Table, u32)) -> (Table, u32) {
    let touches = (from..from + TOUCHES).map(address);
    let touches = touches.map(|peer| table.touch(&peer, Protocol::Text, 0, NOW_MS));
    let refreshed = touches.filter(|touch| *touch == Touch::Refreshed).count();
    (table, refreshed as u32)
}

#[library_benchmark]
#[bench::known(frame_peers())]
fn touched_sessions(table: Table) -> (Table, usize) {
    let touches = (0..TOUCHES).map(|peer| (address(peer), session(peer)));
    let touches = touches.map(|(peer, session)| table.touch_session(&peer, session, NOW_MS));
    let refreshed = touches.filter(|touch| *touch == Touch::Refreshed).count();
    (table, refreshed)
}

#[library_benchmark]
#[bench::none_of_10000(args = (0), setup = stale_peers)]
#[bench::tenth_of_10000(args = (PEERS / 10), setup = stale_peers)]
fn expired(table: Table) -> (Table, u32) {
    let mut expired = 0;
    table.expire(NOW_MS, TIMEOUT_MS, |_| expired += 1);
    (table, expired)
}

library_benchmark_group!(
    name = peers_group,
    benchmarks = [touched, touched_sessions, expired]
);

/// [`PEERS`] peers, and the number of the first to touch.
fn text_peers(from: u32) -> (Table, u32) {
    (table(PEERS, Protocol::Text, 0), from)
}

fn frame_peers() -> Table {
    table(PEERS, Protocol::Frames, 0)
}

/// [`PEERS`] peers, of which so many have been silent for too long.
fn stale_peers(stale: u32) -> Table {
    let table = table(PEERS, Protocol::Text, 0);
    for peer in stale..PEERS {
        table.touch(&address(peer), Protocol::Text, 0, NOW_MS);
    }
    table
}

/// As many as are in the largest room of `fanout`.
const PEERS: u32 = 10_000;

/// So that a row is well over 20,000 instructions, of which 2 % are no detail.
const TOUCHES: u32 = 1000;

/// So late that who was heard at 0 alone is gone.
const NOW_MS: u64 = 2 * TIMEOUT_MS;

/// As the server has it by itself.
const TIMEOUT_MS: u64 = 10_000;
