//! loadgen: offers load to a bullhorn server, and measures what becomes of it.

pub mod config;
pub mod client;
pub mod dialect;
pub mod mail;
pub mod outcome;
pub mod payload;
pub mod ports;
pub mod recorder;
pub mod rooms;
pub mod schedule;
pub mod stamp;
pub mod window;
