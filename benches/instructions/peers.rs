//! The registry: signs of life, and expiry.

use bullhorn::server::registry::{Registry, Touch};
use bullhorn::wire::Protocol;
use bullhorn::wire::v2::BundleSize;
use gungraun::{library_benchmark, library_benchmark_group};

use crate::inputs::{WORKER, address, registry, session};

#[library_benchmark]
#[bench::known(args = (0), setup = text_peers)]
fn touched((registry, from): (Registry, u32)) -> (Registry, u32) {
    let touches = (from..from + TOUCHES).map(address);
    let touches = touches.map(|peer| registry.touch_text(&peer, NOW_MS));
    let refreshed = touches
        .filter(|touch| matches!(touch, Touch::Refreshed(_)))
        .count();
    (registry, refreshed as u32)
}

#[library_benchmark]
#[bench::new(args = (PEERS), setup = text_peers)]
fn registered((registry, from): (Registry, u32)) -> (Registry, u32) {
    let touches = (from..from + TOUCHES).map(address);
    let touches = touches.map(|peer| registry.touch(&peer, Protocol::Text, WORKER, NOW_MS));
    let registered = touches
        .filter(|touch| matches!(touch, Touch::Registered(_)))
        .count();
    (registry, registered as u32)
}

#[library_benchmark]
#[bench::known(frame_peers())]
fn touched_sessions(registry: Registry) -> (Registry, usize) {
    let touches = (0..TOUCHES).map(|peer| (address(peer), session(peer)));
    let touches = touches.map(|(peer, session)| registry.touch_session(&peer, session, NOW_MS));
    let refreshed = touches
        .filter(|touch| matches!(touch, Touch::Refreshed(_)))
        .count();
    (registry, refreshed)
}

#[library_benchmark]
#[bench::none_of_10000(args = (0), setup = stale_peers)]
#[bench::tenth_of_10000(args = (PEERS / 10), setup = stale_peers)]
fn expired(registry: Registry) -> (Registry, u32) {
    let mut expired = 0;
    registry.expire(&[NOW_MS - TIMEOUT_MS], |_| expired += 1);
    (registry, expired)
}

library_benchmark_group!(
    name = peers_group,
    benchmarks = [touched, registered, touched_sessions, expired]
);

/// [`PEERS`] peers, and the number of the first to touch.
fn text_peers(from: u32) -> (Registry, u32) {
    (registry(PEERS, Protocol::Text, 0), from)
}

fn frame_peers() -> Registry {
    registry(PEERS, Protocol::Frames(BundleSize::Full), 0)
}

/// [`PEERS`] peers, of which so many have been silent for too long.
fn stale_peers(stale: u32) -> Registry {
    let registry = registry(PEERS, Protocol::Text, 0);
    for peer in stale..PEERS {
        registry.touch(&address(peer), Protocol::Text, WORKER, NOW_MS);
    }
    registry
}

/// As many as are in the largest room of `fanout`.
const PEERS: u32 = 10_000;

/// So that a row is well over 20,000 instructions, of which 2 % are no detail.
const TOUCHES: u32 = 1000;

/// So late that who was heard at 0 alone is gone.
const NOW_MS: u64 = 2 * TIMEOUT_MS;

/// As the server has it by itself.
const TIMEOUT_MS: u64 = 10_000;
