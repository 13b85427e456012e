//! What every benchmark needs: cores and CPU time, the bare kernel in a thread,
//! peers that listen, pairs that are interleaved, and the table.
#![allow(
    dead_code,
    reason = "compiled into each benchmark, none of which uses all of it"
)]

pub(crate) mod bare;
pub(crate) mod bare_thread;
pub(crate) mod cpu;
pub(crate) mod flood;
pub(crate) mod gate;
pub(crate) mod pairs;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod receivers;
pub(crate) mod report;
pub(crate) mod stamps;
pub(crate) mod subject;

/// What went wrong, for a person to read.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
