//! The command line: what it asks for, and what people and programs are shown.

pub mod args;
pub mod request;
mod target;
mod use_error;
mod values;

pub mod calibrate;
mod capable;
pub mod find_max;
mod find_max_lines;
pub mod front;
mod json_lines;
mod live;
mod summary_text;

pub mod exit;
mod signals;
