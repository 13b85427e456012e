//! The headings of flags in the help.

pub(super) const NETWORK: &str = "Network";
pub(super) const PEERS: &str = "Peers and rooms";
pub(super) const PROOF: &str = "Proof and trust";
pub(super) const OPERATION: &str = "Operation";
pub(super) const PERFORMANCE: &str = "Performance";
pub(super) const TUTORIAL: &str = "Tutorial";
