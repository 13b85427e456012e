//! The limits of the generator itself, and of a server under objectives.

pub mod calibrate;
pub mod capacity;
pub mod find_max;
pub mod null;
pub mod search;
