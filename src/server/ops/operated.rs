//! The server, as its operator sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::stats::{LimitInForce, Stats};
use super::turns::Turns;
use crate::server::moderation::Moderation;

/// A server that the console and the admin server operate.
pub trait Operated {
    /// The statistics at this moment.
    fn stats(&self) -> Stats;

    /// The addresses that it listens on, in the order of `--bind`.
    fn local_addrs(&self) -> &[SocketAddr];

    /// The turns of its workers. No worker is asked.
    fn turns(&self) -> Turns;

    /// The limits that are in force.
    fn limits(&self) -> Arc<Vec<LimitInForce>>;

    /// The hold on its peers, or `None` for a server without peers.
    fn moderation(&self) -> Option<&Moderation>;

    /// Returns true if the server admits no newcomers any more, and is about to stop.
    fn is_draining(&self) -> bool;

    /// Returns true if the server needs the bus of its cluster, and the bus is away.
    fn lacks_bus(&self) -> bool;

    /// Asks the server to stop.
    fn stop(&self);
}
