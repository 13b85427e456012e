//! The command line: what it asks for, and what people and programs are shown.

pub mod args;
pub mod request;
pub mod target;
mod use_error;
pub mod values;

pub mod calibrate;
mod capable;
pub mod find_max;
mod find_max_lines;
pub mod front;
pub mod json_lines;
pub mod live;
pub mod summary_text;

pub mod exit;
pub mod signals;
