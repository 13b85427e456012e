//! loadgen: offers load to a bullhorn server, and measures what becomes of it.

pub mod config;
pub mod outcome;
pub mod payload;
