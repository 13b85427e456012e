//! loadgen: offers load to a bullhorn server, and measures what becomes of it.

#[cfg(test)]
// What tests of this crate share with those beside it calls it by its name.
extern crate self as loadgen;

pub mod config;
pub mod outcome;
pub mod payload;
pub mod percentiles;
pub mod units;

pub mod schedule;
pub mod stamp;
pub mod window;

pub mod rooms;
pub mod shape;

pub mod dialect;
pub mod files;
pub mod mail;
pub mod ports;
pub mod selfwatch;

pub mod client;
mod collector;
pub mod recorder;
pub mod run;
mod shard;

pub mod calibrate;
pub mod null;
pub mod search;
pub mod verdict;

pub mod slo;
pub mod target;
pub mod values;

pub mod args;
pub mod capacity;
pub mod exit;
pub mod plan;
pub mod request;
pub mod signals;

pub mod front;
pub mod json_lines;
pub mod live;
pub mod summary_text;

pub mod output;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod testing;

pub use run::{Control, RunError, run};
