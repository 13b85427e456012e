//! Sockets and the batch calls of the kernel: the only place with `unsafe`.
#![allow(
    unsafe_code,
    reason = "the batch calls have no safe wrapper that is as fast"
)]

mod address;
mod gro;
mod offload;
mod outbox;
mod receive;
mod send;
mod socket;

pub use address::PeerAddr;
pub use gro::{receive_gro, set_gro};
pub use offload::{MAX_SEGMENTS, max_segments};
pub use outbox::{Outbox, Outlet};
pub use receive::{Datagram, RECEIVE_BATCH, Receiver};
pub use send::{MAX_PACKET_BYTES, Packet, SEND_BATCH, SendTally, Sender};
pub use socket::{BindError, BufferSizes, MAX_ENDPOINTS, SocketGroup, bind_group, receive_drops};

// For the batches of the load generator and of the benchmarks.
pub use address::SOCKADDR_BYTES;
pub use receive::{RECEIVE_BUFFER_BYTES, receive_batch};
pub use send::{EMPTY_HEADER, EMPTY_IOVEC, SegmentControl, send_batch};
