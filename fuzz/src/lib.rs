//! The bodies of the fuzz targets. Each takes any bytes, and panics if a property does not hold.
//! `fuzz_targets/` hands them what libFuzzer invents, and `tests/corpora.rs` the committed corpora.

mod batches;
mod client;
mod client_v1;
mod commands;
mod frames;
mod options;
mod printable;
mod replies;
mod requests;
mod tokens;

pub use batches::batches;
pub use client::client;
pub use client_v1::decode_client_v1;
pub use commands::commands;
pub use frames::{decode_client_v2, decode_server_v2};
pub use options::options;
pub use replies::replies;
pub use simulator::fuzz::run as server;
pub use tokens::tokens;
