//! Encoders and parsers for the protocols of the servers in the comparison.

pub(crate) mod mqtt;
pub(crate) mod nats;
