//! Tokens that prove an address.

use bullhorn::server::ingress::token::Tokens;
use bullhorn::wire::v2::SessionId;
use gungraun::{library_benchmark, library_benchmark_group};

use crate::inputs::address;

#[library_benchmark]
#[bench::right(setup())]
fn checked_sessions((tokens, sessions): Given) -> (Given, usize) {
    let is_right =
        |(peer, session): &(u32, &SessionId)| tokens.is_session(**session, &address(*peer), NOW_MS);
    let right = (0..).zip(&sessions).filter(is_right).count();
    ((tokens, sessions), right)
}

#[library_benchmark]
#[bench::forged(setup())]
fn checked_forged_sessions((tokens, sessions): Given) -> (Given, usize) {
    // Those of the next address, for which both keys are tried.
    let is_right =
        |(peer, session): &(u32, &SessionId)| tokens.is_session(**session, &address(*peer), NOW_MS);
    let right = (1..).zip(&sessions).filter(is_right).count();
    ((tokens, sessions), right)
}

library_benchmark_group!(
    name = proof_group,
    benchmarks = [checked_sessions, checked_forged_sessions]
);

/// The tokens, and the sessions of the first addresses.
type Given = (Tokens, Vec<SessionId>);

fn setup() -> Given {
    let tokens = Tokens::new((1, 2));
    let sessions = (0..COUNT).map(|peer| tokens.session(&address(peer), NOW_MS));
    let sessions = sessions.collect();
    (tokens, sessions)
}

/// So that a row is well over 20,000 instructions.
const COUNT: u32 = 1000;

const NOW_MS: u64 = 1_000;
