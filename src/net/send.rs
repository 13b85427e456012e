//! Many datagrams in one `sendmmsg`, and several in one packet of it (GSO).

use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::address::PeerAddr;
use super::control::{Control, Source, is_segmented, remove_segments};
use super::local::LocalAddr;

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
    /// Packets with several datagrams refused since the kernel took one.
    refusals: u32,
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
        }
    }

    /// Returns the datagrams, at least one.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        datagrams(self.payload, self.segment_bytes)
    }

    /// Makes a packet of each datagram. The last one counts as all the deliveries.
    fn split(self) -> impl Iterator<Item = Self> {
        let datagrams = self.datagrams();
        let last = datagrams.len() - 1;
        datagrams.enumerate().map(move |(index, payload)| Self {
            payload,
            segment_bytes: None,
            deliveries: if index == last { self.deliveries } else { 0 },
            ..self
        })
    }
}

impl Sender {
    /// Allocates space for one batch, about 40 KiB.
    pub fn new(gso: Gso) -> Self {
        Self {
            iovecs: vec![EMPTY_IOVEC; SEND_BATCH].into(),
            headers: vec![EMPTY_HEADER; SEND_BATCH].into(),
            controls: vec![Control::EMPTY; SEND_BATCH].into(),
            source: Source::new(None),
            deliveries: vec![0; SEND_BATCH].into(),
            refusals: match gso {
                Gso::On => 0,
                Gso::Off => MAX_REFUSALS,
            },
        }
    }

    /// Returns the current mode, which is off for good once the kernel has refused
    /// several packets in a row.
    pub fn gso(&self) -> Gso {
        if self.refusals < MAX_REFUSALS {
            Gso::On
        } else {
            Gso::Off
        }
    }

    /// Sends each packet to its peer, through `socket`. A peer that cannot be sent to
    /// costs no other peer its packet. Where the kernel has no space, this waits once,
    /// for at most 1 ms, and then drops the rest of the packets that it has gathered
    /// for that system call.
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
        if self.source.address != source {
            self.source = Source::new(source);
        }
        let (socket, packets) = (socket.as_fd(), packets.into_iter());
        match self.gso() {
            Gso::On => self.send_all(socket, packets),
            Gso::Off => self.send_all(socket, packets.flat_map(Packet::split)),
        }
    }

    fn send_all<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        mut packets: impl Iterator<Item = Packet<'a>>,
    ) -> SendTally {
        let mut tally = SendTally::default();
        let mut may_wait = true;
        loop {
            let gathered = self.gather(&mut packets);
            if gathered == 0 {
                return tally;
            }
            // SAFETY: the headers were gathered just now, from packets whose borrows
            // outlive `packets`.
            unsafe { self.flush(socket, gathered, &mut may_wait, &mut tally) };
        }
    }

    /// Points the headers at the next packets and returns the number of packets.
    fn gather<'a>(&mut self, packets: &mut impl Iterator<Item = Packet<'a>>) -> usize {
        let mut gathered = 0;
        while gathered < SEND_BATCH
            && let Some(packet) = packets.next()
        {
            let name = packet.to.sockaddr();
            let iovec = &mut self.iovecs[gathered];
            iovec.iov_base = packet.payload.as_ptr().cast_mut().cast();
            iovec.iov_len = packet.payload.len();
            let header = &mut self.headers[gathered].msg_hdr;
            header.msg_name = name.as_ptr().cast_mut().cast();
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

    /// Hands the first `gathered` headers to the kernel. `may_wait` is cleared by the
    /// one wait for space.
    ///
    /// # Safety
    /// `gather` must have set these headers, and the borrows of its packets must still
    /// be live.
    unsafe fn flush(
        &mut self,
        socket: BorrowedFd<'_>,
        gathered: usize,
        may_wait: &mut bool,
        tally: &mut SendTally,
    ) {
        let mut done = 0;
        while done < gathered {
            // SAFETY: these headers are as the caller promises.
            match unsafe { send_batch(socket, &mut self.headers[done..gathered]) } {
                Ok(sent) => {
                    tally.sent += sum(&self.deliveries[done..done + sent]);
                    self.forgive_refusals(done..done + sent);
                    done += sent;
                    continue;
                }
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN | libc::ENOBUFS) if *may_wait => {
                    *may_wait = false;
                    wait_for_space(socket);
                }
                Err(libc::EAGAIN | libc::ENOBUFS) => {
                    tally.congested += sum(&self.deliveries[done..gathered]);
                    return;
                }
                Err(error) => {
                    if is_segmented(&self.headers[done]) && is_segment_refusal(error) {
                        // SAFETY: this is one of these headers, with a control message.
                        unsafe { self.send_in_parts(socket, done, tally) };
                    } else {
                        tally.refused += u64::from(self.deliveries[done]);
                    }
                    done += 1;
                }
            }
        }
    }

    /// Resets the count of refusals if one of the packets taken had several datagrams.
    fn forgive_refusals(&mut self, taken: std::ops::Range<usize>) {
        if (1..MAX_REFUSALS).contains(&self.refusals)
            && self.headers[taken].iter().any(is_segmented)
        {
            self.refusals = 0;
        }
    }

    /// Sends the datagrams of one packet, which the kernel refused as a whole, one by
    /// one. Its deliveries are sent if all of its datagrams are.
    ///
    /// # Safety
    /// As for `flush`. `index` must be that of a gathered header with a control message.
    unsafe fn send_in_parts(
        &mut self,
        socket: BorrowedFd<'_>,
        index: usize,
        tally: &mut SendTally,
    ) {
        self.refusals += 1;
        tally.split_packets += 1;
        let whole = self.iovecs[index];
        let segment_bytes = usize::from(self.controls[index].segment.segment_bytes);
        let mut header = self.headers[index];
        remove_segments(&mut header.msg_hdr);
        let mut all_sent = true;
        for start in (0..whole.iov_len).step_by(segment_bytes) {
            let mut part = libc::iovec {
                iov_base: whole.iov_base.wrapping_byte_add(start),
                iov_len: segment_bytes.min(whole.iov_len - start),
            };
            header.msg_hdr.msg_iov = &raw mut part;
            // SAFETY: the name is the packet's own. The iovec lives in this frame and
            // leads to a part of the payload.
            all_sent &= unsafe { send_batch(socket, std::slice::from_mut(&mut header)).is_ok() };
        }
        let deliveries = u64::from(self.deliveries[index]);
        if all_sent {
            tally.sent += deliveries;
        } else {
            tally.refused += deliveries;
        }
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
    usize::try_from(sent).map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// Returns `true` for the errors with which the kernel refuses to segment a packet
/// (net/ipv4/udp.c, `udp_send_skb`): no checksum offload, or segments that are too many
/// or too long.
fn is_segment_refusal(error: i32) -> bool {
    matches!(error, libc::EIO | libc::EINVAL | libc::EMSGSIZE)
}

fn sum(deliveries: &[u32]) -> u64 {
    deliveries.iter().copied().map(u64::from).sum()
}

/// Waits until `socket` has space, or for [`MAX_WAIT_MS`].
fn wait_for_space(socket: BorrowedFd<'_>) {
    let mut sockets = [PollFd::new(socket, PollFlags::POLLOUT)];
    // The next send finds out whether there is space, so the result does not matter.
    let _ = poll(&mut sockets, PollTimeout::from(MAX_WAIT_MS));
}

/// Maximum number of packets per system call. From 64 to 256 the cost per packet is the
/// same.
pub const SEND_BATCH: usize = 256;

/// Maximum payload of one packet: that of an IPv4 packet (65,507 bytes), less space for
/// options and for the headers of tunnels.
pub const MAX_PACKET_BYTES: usize = 65_000;

/// Refusals in a row after which a sender stops using GSO, on all of its sockets. One
/// peer with a narrow path must not end it for all peers. A machine that cannot segment
/// at all must not try for ever.
const MAX_REFUSALS: u32 = 16;

/// The time that a full queue of a 1 Gbit/s interface (about 100 kB) takes to drain.
const MAX_WAIT_MS: u8 = 1;

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
