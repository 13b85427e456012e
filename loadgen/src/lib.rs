//! loadgen: offers load to a bullhorn server, and measures what becomes of it.
//!
//! The modules, in the order in which they build on each other: [`units`],
//! [`percentiles`] and [`payload`] are how amounts are written, read and drawn; [`config`]
//! is what a run is told, and [`outcome`] what it brings to light; [`verdict`] and [`slo`]
//! judge that; `net` has the batch calls of the kernel; [`engine`] leads from the one to
//! the other, and [`plan`] says what is to be expected of it; [`limits`] searches with many
//! runs; [`output`] writes files; and
//! [`cli`] is the program's front.

#[cfg(test)]
// What tests of this crate share with those beside it calls it by its name.
extern crate self as loadgen;

mod described;

pub mod units;

pub mod percentiles;

pub mod payload;

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
