//! The operator's plane: statistics, the log, the console, and the threads.

pub mod console;
pub mod log;
pub mod stats;
pub mod supervise;
