//! The core of a server, without sockets and threads, against an independent model.
//!
//! A world ([`world::run`]) is what one seed leads to: peers of all kinds, a network that loses,
//! repeats, delays and reorders, workers that get stuck, and a clock that jumps. The same seed leads to
//! the same datagrams. [`fuzz`] has bytes in place of a seed.
//!
//! ```text
//! world, peers, session, fuzz   what happens, and when
//!  host                   the core of the server, one step at a time
//!  oracle, texts, notices checks of what it does and sends
//!   handle, budgets       what it should do with a datagram
//!   model, moves, shares  its peers, rooms and names
//! ```

mod budgets;
pub mod fuzz;
mod handle;
pub mod host;
mod model;
mod moves;
mod notices;
mod oracle;
mod peers;
mod session;
mod shares;
mod texts;
pub mod world;
