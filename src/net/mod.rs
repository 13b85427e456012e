//! Sockets and the batch calls of the kernel: the only place with `unsafe`.
#![allow(
    unsafe_code,
    reason = "the batch calls have no safe wrapper that is as fast"
)]

mod address;
mod control;
mod gro;
mod multihomed;
mod offload;
mod outbox;
mod receive;
mod send;
mod socket;

pub use address::PeerAddr;
pub use gro::{receive_gro, set_gro};
pub use multihomed::{
    Incoming, MultihomedReceiver, MultihomedSender, Outgoing, set_arrival_stamps,
    set_local_addresses,
};
pub use offload::{MAX_SEGMENTS, max_segments};
pub use outbox::{Outbox, Outlet};
pub use receive::{Datagram, RECEIVE_BATCH, Receiver};
pub use send::{MAX_PACKET_BYTES, Packet, SEND_BATCH, SendTally, Sender};
pub use socket::{BindError, BufferSizes, MAX_ENDPOINTS, SocketGroup, bind_group, receive_drops};

// For the loops of the benchmarks.
pub use receive::RECEIVE_BUFFER_BYTES;
pub use send::{EMPTY_HEADER, EMPTY_IOVEC, SegmentControl};
