//! Sockets and the batch calls of the kernel. This is the library's only module with
//! `unsafe`.
#![allow(
    unsafe_code,
    reason = "the batch calls have no safe wrapper that is as fast"
)]

mod address;
#[cfg(feature = "server")]
mod calls;
mod control;
#[cfg(feature = "server")]
mod guard;
#[cfg(feature = "server")]
mod inherited;
mod local;
#[cfg(feature = "server")]
mod memory;
mod offload;
#[cfg(feature = "server")]
mod quarantine;
mod receive;
#[cfg(feature = "server")]
mod refused_calls;
mod send;
#[cfg(feature = "server")]
mod socket;
#[cfg(feature = "server")]
mod spare;
#[cfg(feature = "server")]
mod transmit;

pub use address::{Endpoint, PeerAddr};
#[cfg(feature = "server")]
pub use calls::check_calls;
#[cfg(feature = "server")]
pub use guard::{ClosedGroup, Guard, bind_closed_group};
#[cfg(feature = "server")]
pub use inherited::{InheritError, InheritedSockets};
pub use local::{LocalAddr, LocalCache, LocalIndex, LocalTable, OwnAddresses};
#[cfg(feature = "server")]
pub use memory::{release_free_memory, share_one_arena};
pub use offload::{Coalesced, MAX_SEGMENTS, max_segments, receive_gro, set_gro};
pub use receive::{Datagram, RECEIVE_BATCH, Receiver};
#[cfg(feature = "server")]
pub use refused_calls::{RefusedCalls, count_refused_calls, handle_refused_calls};
#[cfg(feature = "server")]
pub use send::PathNews;
pub use send::{
    Gso, MAX_PACKET_BYTES, Packet, SEND_BATCH, SendTally, Sender, TAG, Tag, Template, TemplateId,
    datagrams, is_call_refusal,
};
#[cfg(feature = "server")]
pub use socket::{
    BindError, BufferSizes, MAX_ENDPOINTS, SocketGroup, bind_group, in_call, receive_drops,
    set_packet_info,
};
#[cfg(feature = "server")]
pub use spare::{Spares, spare_sockets};
#[cfg(feature = "server")]
pub use transmit::{Transmit, WorkerSockets};

// For the batches of the load generator and of the benchmarks.
pub use address::SOCKADDR_BYTES;
pub use control::SegmentControl;
pub use receive::{RECEIVE_BUFFER_BYTES, receive_batch};
pub use send::{EMPTY_HEADER, EMPTY_IOVEC, send_batch};
