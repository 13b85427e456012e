//! The chat and fan-out server.
fn main() {}
