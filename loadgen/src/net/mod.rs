//! Batches of datagrams from and to many local addresses. This is the load generator's
//! only module with `unsafe`.
#![allow(
    unsafe_code,
    reason = "the batch calls have no safe wrapper that is as fast"
)]

mod control;
mod multihomed;

pub(crate) use control::{set_arrival_stamps, set_local_addresses};
pub(crate) use multihomed::{MultihomedReceiver, MultihomedSender, OutboundDatagram};
