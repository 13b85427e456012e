//! Atomics, locks, threads and shared pointers: those of the standard library and of a few crates.
//!
//! Under `--cfg loom` they are those of [loom](https://docs.rs/loom), which runs a model with every
//! interleaving, and with every value that a load may return under its ordering. `scripts/models`
//! builds that. For crates that know nothing of loom there are stand-ins. Each has the methods that
//! are used here, and says what it assumes of its crate.

#[cfg(loom)]
#[cfg(feature = "server")]
pub(crate) mod arc_swap;
#[cfg(loom)]
#[cfg(feature = "server")]
pub(crate) mod channel;
#[cfg(loom)]
#[cfg(feature = "server")]
pub(crate) mod dashmap;
#[cfg(loom)]
#[cfg(feature = "server")]
mod parker;

#[cfg(not(loom))]
#[cfg(feature = "server")]
pub(crate) use {
    ::arc_swap,
    ::dashmap,
    crossbeam::{channel, sync::Parker},
    std::{
        sync::{Arc, Mutex, MutexGuard},
        thread,
    },
};

#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

#[cfg(loom)]
#[cfg(feature = "server")]
pub(crate) use {
    loom::{
        sync::{Arc, Mutex, MutexGuard},
        thread,
    },
    parker::Parker,
};

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
