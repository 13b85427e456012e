//! loadgen: a load generator for a bullhorn server.
//!
//! The modules, in the order in which they build on each other: [`units`], [`percentiles`] and
//! [`payload`] have amounts, and [`machine`] what the system tells of itself. [`config`] has the
//! settings of a run, and [`outcome`] its result. [`verdict`] and [`slo`] judge that. `net` has
//! the batch calls of the kernel. [`engine`] runs, and [`plan`] says what to expect. [`limits`]
//! searches with many runs. [`output`] writes files. [`cli`] is the command line.

#![allow(missing_docs, reason = "a program: its library serves its own tests")]

#[cfg(test)]
// Files that unit tests share with the tests in `tests/` use the name of the crate.
extern crate self as loadgen;

mod described;

pub mod units;

pub mod percentiles;

pub mod payload;

pub mod machine;

pub mod config;

pub mod outcome;

pub mod verdict;

pub mod slo;

mod net;

pub mod engine;

pub mod plan;

pub mod limits;

pub mod output;

pub mod cli;

#[cfg(test)]
mod testing;

pub use engine::run::{Control, RunError, run};
