//! Many datagrams in one `sendmmsg`, and several in one packet of it (GSO).

use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::address::PeerAddr;
use super::control::{Control, Source};
use super::local::LocalAddr;

mod flush;
#[cfg(feature = "server")]
mod paths;
#[cfg(feature = "server")]
mod segments;
mod tags;

use flush::OneSocket;
#[cfg(feature = "server")]
pub use paths::PathNews;
#[cfg(feature = "server")]
pub(super) use paths::{SendPaths, SendSockets};
use tags::Copies;
pub use tags::{TAG, Tag, Template, TemplateId};

/// One or more datagrams for one peer, handed to the kernel in one piece.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    pub to: &'a PeerAddr,
    /// The datagrams, one after the other.
    pub payload: &'a [u8],
    /// Length of each datagram but the last, which may be shorter. `None`: the payload
    /// is one datagram.
    pub segment_bytes: Option<NonZeroU16>,
    /// Deliveries that the packet counts as in a [`SendTally`].
    pub deliveries: u32,
    /// Bytes that the peer receives in place of others in each datagram, or `None` if it receives
    /// the payload as it is.
    pub tag: Option<Tag<'a>>,
}

/// Use of GSO by a [`Sender`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gso {
    /// The kernel gets the datagrams of a [`Packet`] in one piece.
    On,
    /// The kernel gets each datagram by itself.
    Off,
}

/// Sends up to [`SEND_BATCH`] packets with each system call.
pub struct Sender {
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    controls: Box<[Control]>,
    source: Source,
    /// The deliveries of each packet in `headers`.
    deliveries: Box<[u32]>,
    /// The payloads of packets with tags.
    copies: Copies,
    gso: Gso,
    /// The kernel refuses `sendmmsg`, but not `sendmsg`.
    is_one_by_one: bool,
}

/// The outcome of the deliveries handed to [`Sender::send`]. Each is counted in one of
/// the first three fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendTally {
    /// Deliveries that the kernel took.
    pub sent: u64,
    /// Deliveries dropped because the socket's buffer, or the kernel's memory for it,
    /// was full, and still was after one short wait.
    pub congested: u64,
    /// Deliveries that the kernel refused (no route, a firewall, too long). Those of a
    /// split packet count if any of its datagrams was refused.
    pub refused: u64,
    /// Packets that the kernel did not segment, so that their datagrams were sent one
    /// by one.
    pub split_packets: u64,
}

impl<'a> Packet<'a> {
    /// Creates a packet of one datagram that is one delivery.
    pub fn single(to: &'a PeerAddr, payload: &'a [u8]) -> Self {
        Self {
            to,
            payload,
            segment_bytes: None,
            deliveries: 1,
            tag: None,
        }
    }

    /// Returns the datagrams, at least one.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        datagrams(self.payload, self.segment_bytes)
    }

    /// Makes a packet of each datagram if `is_split`, or else returns the packet. The last
    /// datagram counts as all the deliveries.
    fn split_if(self, is_split: bool) -> impl Iterator<Item = Self> {
        let (cut, kept) = if is_split {
            (self.segment_bytes, None)
        } else {
            (None, self.segment_bytes)
        };
        let datagrams = datagrams(self.payload, cut);
        let last = datagrams.len() - 1;
        datagrams.enumerate().map(move |(index, payload)| Self {
            payload,
            segment_bytes: kept,
            deliveries: if index == last { self.deliveries } else { 0 },
            ..self
        })
    }
}

impl Sender {
    /// Allocates space for one batch, about 40 KiB. The first packet with a [`Tag`] allocates
    /// another 384 KiB.
    pub fn new(gso: Gso) -> Self {
        Self {
            iovecs: vec![EMPTY_IOVEC; SEND_BATCH].into(),
            headers: vec![EMPTY_HEADER; SEND_BATCH].into(),
            controls: vec![Control::EMPTY; SEND_BATCH].into(),
            source: Source::new(None),
            deliveries: vec![0; SEND_BATCH].into(),
            copies: Copies::default(),
            gso,
            is_one_by_one: false,
        }
    }

    pub fn gso(&self) -> Gso {
        self.gso
    }

    /// Sends each packet to its peer, through `socket`. A peer that cannot be sent to
    /// costs no other peer its packet. Where the kernel has no space, this waits once,
    /// for at most 1 ms, and then drops the rest of the packets that it has gathered
    /// for that system call.
    ///
    /// # Panics
    /// If packets have tags of different templates, or if a payload is not a part of the template
    /// of its tag.
    pub fn send<'a>(
        &mut self,
        socket: impl AsFd,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        self.send_from(None, socket, packets)
    }

    /// Sends as [`Sender::send`] does, from the local address `source`, to peers of its
    /// family.
    pub fn send_from<'a>(
        &mut self,
        source: Option<LocalAddr>,
        socket: impl AsFd,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        self.set_source(source);
        let (socket, packets) = (socket.as_fd(), packets.into_iter());
        match self.gso {
            Gso::On => self.send_all(socket, packets),
            Gso::Off => self.send_all(socket, packets.flat_map(|packet| packet.split_if(true))),
        }
    }

    fn set_source(&mut self, source: Option<LocalAddr>) {
        if self.source.address != source {
            self.source = Source::new(source);
        }
    }

    fn send_all<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        mut packets: impl Iterator<Item = Packet<'a>>,
    ) -> SendTally {
        let mut tally = SendTally::default();
        let mut way = OneSocket {
            socket,
            may_wait: true,
        };
        loop {
            let gathered = self.gather(&mut packets);
            if gathered == 0 {
                return tally;
            }
            // SAFETY: the headers were gathered just now, from packets whose borrows
            // outlive `packets`, or from copies, which only `gather` changes.
            unsafe { self.flush(&mut way, 0..gathered, &mut tally) };
        }
    }

    /// Points the headers at the next packets and returns the number of packets.
    fn gather<'a>(&mut self, packets: &mut impl Iterator<Item = Packet<'a>>) -> usize {
        let (mut gathered, mut max) = (0, SEND_BATCH);
        self.copies.begin_batch();
        while gathered < max
            && let Some(packet) = packets.next()
        {
            let payload = match &packet.tag {
                None => packet.payload,
                Some(tag) => {
                    let payload = self
                        .copies
                        .tagged(packet.payload, packet.segment_bytes, tag);
                    if payload.is_last {
                        max = gathered + 1;
                    }
                    payload.bytes
                }
            };
            let name = packet.to.sockaddr();
            let iovec = &mut self.iovecs[gathered];
            iovec.iov_base = payload.as_ptr().cast_mut().cast();
            iovec.iov_len = packet.payload.len();
            let header = &mut self.headers[gathered].msg_hdr;
            // The name comes first in it.
            header.msg_name = std::ptr::from_ref(packet.to).cast_mut().cast();
            header.msg_namelen = name.len() as libc::socklen_t;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
            let several = |segment_bytes: &NonZeroU16| {
                packet.payload.len() > usize::from(segment_bytes.get())
            };
            let control = &mut self.controls[gathered];
            self.source.write(gathered, control);
            let segment_bytes = packet.segment_bytes.filter(several);
            control.attach(segment_bytes, self.source.bytes, header);
            self.deliveries[gathered] = packet.deliveries;
            gathered += 1;
        }
        gathered
    }
}

// SAFETY: its pointers are set by `gather` and followed by the kernel within one call
// of `send`. Between calls they are only numbers.
unsafe impl Send for Sender {}

impl std::ops::AddAssign for SendTally {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.congested += other.congested;
        self.refused += other.refused;
        self.split_packets += other.split_packets;
    }
}

impl SendTally {
    /// Number of deliveries handed over.
    pub fn total(&self) -> u64 {
        self.sent + self.failed()
    }

    /// Number of deliveries that the kernel did not take.
    pub fn failed(&self) -> u64 {
        self.congested + self.refused
    }
}

/// Cuts a payload into its datagrams, and returns at least one. Each is
/// `segment_bytes` long but the last, which may be shorter. `None`: it is one datagram.
pub fn datagrams(
    payload: &[u8],
    segment_bytes: Option<NonZeroU16>,
) -> impl ExactSizeIterator<Item = &[u8]> {
    let segment_bytes = segment_bytes.map_or(payload.len().max(1), |bytes| bytes.get().into());
    let count = payload.len().div_ceil(segment_bytes).max(1);
    (0..count).map(move |index| {
        let rest = &payload[index * segment_bytes..];
        &rest[..segment_bytes.min(rest.len())]
    })
}

/// Sends `headers` with one `sendmmsg`, without waiting. Returns the number of those
/// that the kernel took, or the error number of the first, after which the others were
/// not tried.
///
/// # Safety
/// Each header must point at a name, an iovec and through it at a payload, and at a
/// control message or none, all of which live until this returns, with their true
/// lengths.
pub unsafe fn send_batch(
    socket: BorrowedFd<'_>,
    headers: &mut [libc::mmsghdr],
) -> Result<usize, i32> {
    // SAFETY: the caller vouches for what the headers point at, which the kernel only
    // reads. It writes `msg_len` of at most `headers.len()` headers.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| last_error())
}

fn last_error() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Returns `true` for the errors with which a system refuses a call as such: an old kernel, or
/// a filter of calls (seccomp).
pub fn is_call_refusal(error: i32) -> bool {
    matches!(error, libc::ENOSYS | libc::EPERM | libc::EACCES)
}

/// Maximum number of packets per system call. From 64 to 256 the cost per packet is the
/// same.
pub const SEND_BATCH: usize = 256;

/// Maximum payload of one packet: that of an IPv4 packet (65,507 bytes), less space for
/// options and for the headers of tunnels.
pub const MAX_PACKET_BYTES: usize = 65_000;

pub const EMPTY_IOVEC: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

pub const EMPTY_HEADER: libc::mmsghdr = libc::mmsghdr {
    msg_hdr: libc::msghdr {
        msg_name: std::ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: std::ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: std::ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    },
    msg_len: 0,
};

#[cfg(test)]
mod tests;
