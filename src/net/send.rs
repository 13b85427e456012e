//! Many datagrams in one `sendmmsg`, and several in one packet of it (GSO).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::address::PeerAddr;

/// One or more datagrams for one peer, handed to the kernel as one.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Who gets it.
    pub to: &'a PeerAddr,
    /// The datagrams, one behind the other.
    pub payload: &'a [u8],
    /// How long each datagram is, but the last, which may be shorter; a payload
    /// that is no longer is one datagram. At least 1.
    pub segment_bytes: u16,
    /// How many deliveries it stands for in the counts.
    pub deliveries: u32,
}

/// Sends up to [`SEND_BATCH`] packets with each system call.
pub struct Sender {
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    controls: Box<[SegmentControl]>,
    /// The deliveries of each packet in `headers`.
    deliveries: Box<[u32]>,
    /// Packets with several datagrams refused since the last one was taken.
    refusals: u32,
}

/// What became of the deliveries handed to [`Sender::send`]. Each is counted in
/// one of the first three fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendTally {
    /// The kernel took it.
    pub sent: u64,
    /// The socket's buffer, or the kernel's memory for it, was full, and was
    /// still full after one short wait.
    pub congested: u64,
    /// The kernel refused this destination: no route, a firewall, too long. Or it
    /// took a packet neither as one nor all of its datagrams, for whatever reason.
    pub refused: u64,
    /// Packets with several datagrams which the kernel did not take as one,
    /// and which went, or were tried, datagram by datagram.
    pub split_packets: u64,
}

/// The control message that carries `UDP_SEGMENT`, as the macros of cmsg(3)
/// lay it out.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct SegmentControl {
    header: libc::cmsghdr,
    segment_bytes: u16,
    padding: [u16; 3],
}

impl<'a> Packet<'a> {
    /// A single datagram that is one delivery.
    pub fn single(to: &'a PeerAddr, payload: &'a [u8]) -> Self {
        Self {
            to,
            payload,
            segment_bytes: u16::MAX,
            deliveries: 1,
        }
    }

    /// Its datagrams as packets of their own; the last one stands for all the
    /// deliveries.
    fn split(self) -> impl Iterator<Item = Self> {
        let segments = self.payload.chunks(usize::from(self.segment_bytes));
        let last = segments.len().saturating_sub(1);
        segments.enumerate().map(move |(index, payload)| Self {
            payload,
            deliveries: if index == last { self.deliveries } else { 0 },
            ..self
        })
    }

    fn is_single(&self) -> bool {
        self.payload.len() <= usize::from(self.segment_bytes)
    }
}

impl Sender {
    /// Space for one batch, about 30 KiB. `may_segment`: whether the kernel can
    /// take several datagrams as one packet, see
    /// [`max_segments`](super::max_segments).
    pub fn new(may_segment: bool) -> Self {
        Self {
            iovecs: vec![EMPTY_IOVEC; SEND_BATCH].into(),
            headers: vec![EMPTY_HEADER; SEND_BATCH].into(),
            controls: vec![SegmentControl::new(0); SEND_BATCH].into(),
            deliveries: vec![0; SEND_BATCH].into(),
            refusals: if may_segment { 0 } else { MAX_REFUSALS },
        }
    }

    /// Whether packets with several datagrams are handed over as one. Once the
    /// kernel has refused several in a row, they are not any more.
    pub fn segments(&self) -> bool {
        self.refusals < MAX_REFUSALS
    }

    /// Sends each packet to its peer, through `socket`. A peer that cannot be
    /// sent to costs no other one its packet. Where the kernel has no space,
    /// this waits once for at most 1 ms, then gives up the rest of the packets
    /// that it had gathered for that system call.
    pub fn send<'a>(
        &mut self,
        socket: impl AsFd,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        if self.segments() {
            self.send_all(socket.as_fd(), packets.into_iter())
        } else {
            self.send_all(socket.as_fd(), packets.into_iter().flat_map(Packet::split))
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
            // SAFETY: gathered just now, from packets that live as long as
            // `packets` may.
            unsafe { self.flush(socket, gathered, &mut may_wait, &mut tally) };
        }
    }

    /// Points the headers at the next packets, and returns at how many.
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
            if packet.is_single() {
                header.msg_control = std::ptr::null_mut();
                header.msg_controllen = 0;
            } else {
                let control = &mut self.controls[gathered];
                control.segment_bytes = packet.segment_bytes;
                header.msg_control = (&raw mut *control).cast();
                header.msg_controllen = size_of::<SegmentControl>();
            }
            self.deliveries[gathered] = packet.deliveries;
            gathered += 1;
        }
        gathered
    }

    /// Hands the first `gathered` headers to the kernel.
    ///
    /// # Safety
    /// `gather` must have set these headers, and what its packets borrow must
    /// still be borrowed.
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
                    let several = !self.headers[done].msg_hdr.msg_control.is_null();
                    if several && is_segment_refusal(error) {
                        // SAFETY: this header, too.
                        unsafe { self.send_in_parts(socket, done, tally) };
                    } else {
                        tally.refused += u64::from(self.deliveries[done]);
                    }
                    done += 1;
                }
            }
        }
    }

    /// Counts refusals anew if one of the packets taken had several datagrams.
    fn forgive_refusals(&mut self, taken: std::ops::Range<usize>) {
        if self.refusals > 0 && self.segments() {
            let is_segmented = |header: &libc::mmsghdr| !header.msg_hdr.msg_control.is_null();
            if self.headers[taken].iter().any(is_segmented) {
                self.refusals = 0;
            }
        }
    }

    /// Sends the datagrams of one packet, which the kernel refused as a whole,
    /// one by one. Its deliveries are sent if all of its datagrams are.
    ///
    /// # Safety
    /// As of `flush`, and `index` must be of one of the headers gathered, with
    /// several datagrams.
    unsafe fn send_in_parts(
        &mut self,
        socket: BorrowedFd<'_>,
        index: usize,
        tally: &mut SendTally,
    ) {
        self.refusals += 1;
        tally.split_packets += 1;
        let whole = self.iovecs[index];
        let segment_bytes = usize::from(self.controls[index].segment_bytes);
        let mut header = self.headers[index];
        header.msg_hdr.msg_control = std::ptr::null_mut();
        header.msg_hdr.msg_controllen = 0;
        let mut all_sent = true;
        for start in (0..whole.iov_len).step_by(segment_bytes) {
            let mut part = libc::iovec {
                iov_base: whole.iov_base.wrapping_byte_add(start),
                iov_len: segment_bytes.min(whole.iov_len - start),
            };
            header.msg_hdr.msg_iov = &raw mut part;
            // SAFETY: the name is the packet's own, the iovec lives in this frame,
            // and leads to a part of the payload.
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

// SAFETY: its pointers are set by `gather`, and followed by the kernel, within
// one call of `send`; between calls they are only numbers.
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
    /// All that was handed over.
    pub fn total(&self) -> u64 {
        self.sent + self.congested + self.refused
    }
}

impl SegmentControl {
    pub const fn new(segment_bytes: u16) -> Self {
        Self {
            header: libc::cmsghdr {
                // CMSG_LEN(sizeof(__u16))
                cmsg_len: size_of::<libc::cmsghdr>() + size_of::<u16>(),
                cmsg_level: libc::SOL_UDP,
                cmsg_type: libc::UDP_SEGMENT,
            },
            segment_bytes,
            padding: [0; 3],
        }
    }
}

/// One `sendmmsg`: how many of `headers` were taken, or the error number of the
/// first, in which case those behind it were not tried.
///
/// # Safety
/// Each header must point at a name, an iovec and through it at a payload, and at
/// a control message or none, that live until this returns, with their true
/// lengths.
pub unsafe fn send_batch(
    socket: BorrowedFd<'_>,
    headers: &mut [libc::mmsghdr],
) -> Result<usize, i32> {
    // SAFETY: the caller vouches for what the headers point at, which the kernel
    // reads; it writes `msg_len` alone, of as many headers as there are.
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

/// What the kernel answers to a packet that it cannot cut (net/ipv4/udp.c,
/// `udp_send_skb`): no checksum offload, more or longer segments than fit.
fn is_segment_refusal(error: i32) -> bool {
    matches!(error, libc::EIO | libc::EINVAL | libc::EMSGSIZE)
}

fn sum(deliveries: &[u32]) -> u64 {
    deliveries.iter().copied().map(u64::from).sum()
}

/// Waits until `socket` can be written to, or a millisecond has passed.
fn wait_for_space(socket: BorrowedFd<'_>) {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one `pollfd`, owned by this frame. Its outcome is of no interest:
    // the next send tells whether there is space.
    unsafe { libc::poll(&raw mut poll, 1, MAX_WAIT_MS) };
}

/// Packets in one call: from 64 to 256 the cost of a packet is the same.
pub const SEND_BATCH: usize = 256;

/// The most bytes in one packet: what an IPv4 packet carries (65,507), less
/// space for options and for the headers of tunnels.
pub const MAX_PACKET_BYTES: usize = 65_000;

/// Refusals in a row after which a sender segments no more, at none of its
/// sockets. A single peer behind a narrow path must not end it for all; a machine
/// that cannot do it at all must not try for ever.
const MAX_REFUSALS: u32 = 16;

/// As long as a full queue of a 1 Gbit/s interface (about 100 kB) takes to drain.
const MAX_WAIT_MS: libc::c_int = 1;

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
