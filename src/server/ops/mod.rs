//! The operator's plane: statistics, log, console, signals, the sandbox, and the supervision of
//! threads.

pub mod console;
pub mod log;
pub mod sandbox;
pub mod signals;
pub mod stats;
pub mod supervise;
pub mod turns;
pub mod watchdog;
