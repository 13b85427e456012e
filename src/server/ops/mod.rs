//! The operator's plane: statistics, log, console, admin server, service manager, signals, the sandbox, and the
//! supervision of threads.

#[cfg(feature = "admin")]
pub mod admin;
pub mod console;
pub mod histogram;
pub mod log;
pub mod manager;
pub mod operated;
pub mod sandbox;
pub mod signals;
pub mod stats;
pub mod supervise;
pub mod turns;
pub mod watchdog;
