//! The operator's plane: statistics, log, console, signals, and the supervision of threads.

pub mod console;
pub mod log;
pub mod signals;
pub mod stats;
pub mod supervise;
pub mod turns;
pub mod watchdog;
