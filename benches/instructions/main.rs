//! What pieces of the server cost in instructions and allocations, counted under valgrind:
//! the same in every run of the same program. See benches/README.md.

mod fanout;
mod frames;
mod inputs;
mod peers;
mod proof;
mod wire;

use gungraun::{Callgrind, Dhat, LibraryBenchmarkConfig, main};

use fanout::fanout_group;
use frames::frames_group;
use peers::peers_group;
use proof::proof_group;
use wire::wire_group;

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]))
        .tool(Dhat::default()),
    library_benchmark_groups = [
        wire_group,
        frames_group,
        peers_group,
        proof_group,
        fanout_group
    ]
);
