//! The command line: arguments, requests, output and exit codes.

pub mod args;
pub mod request;
mod target;
mod values;

pub mod calibrate;
pub mod find_max;
mod find_max_lines;
pub mod front;
mod json_lines;
mod live;
mod stdout;
mod summary_text;

pub mod exit;
mod signals;
