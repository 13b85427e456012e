//! One socket with many local addresses: bound to all of them, it says with each
//! datagram from which one it goes, and is told to which one it came.
//!
//! On Linux every address of 127.0.0.0/8 is the machine's own, so one socket can
//! stand for any number of peers. Nothing here allocates but `new`.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::address::{PeerAddr, SOCKADDR_BYTES};
use super::control::{Control, Said};
use super::receive::{RECEIVE_BATCH, receive_batch};
use super::send::{EMPTY_HEADER, EMPTY_IOVEC, SEND_BATCH, send_batch};
use super::socket::set_int_of;

/// Asks the kernel to say with each datagram that comes over IPv4 which local
/// address it was sent to (`IP_PKTINFO`).
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_local_addresses(socket: impl AsFd) -> io::Result<()> {
    set_int_of(&socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
}

/// Asks the kernel to say with each datagram when it arrived (`SO_TIMESTAMPNS`).
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_arrival_stamps(socket: impl AsFd) -> io::Result<()> {
    set_int_of(&socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// One datagram to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The local address that it is sent from, to a destination that is IPv4;
    /// `None`: the socket's own, or the system's choice where it has none.
    pub from: Option<Ipv4Addr>,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Sends up to [`SEND_BATCH`] datagrams to one destination with one `sendmmsg`.
pub struct MultihomedSender {
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    controls: Box<[SourceControl]>,
}

/// One datagram that came.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Who sent it, at endpoint 0.
    pub from: PeerAddr,
    /// The local address that it was sent to, if the socket was asked for it with
    /// [`set_local_addresses`], and it came over IPv4.
    pub to: Option<Ipv4Addr>,
    /// Its bytes.
    pub payload: &'a [u8],
    /// Whether there were more than fit in a buffer, or more datagrams behind it
    /// which did not. No UDP packet is that long.
    pub is_truncated: bool,
}

/// Receives up to [`RECEIVE_BATCH`] packets with one `recvmmsg`, and cuts those
/// that the kernel has put together ([`set_gro`](super::set_gro)) into their
/// datagrams. The socket may have that option, [`set_local_addresses`] and
/// [`set_arrival_stamps`], or not.
pub struct MultihomedReceiver {
    /// One behind the other, [`BUFFER_BYTES`] each.
    buffers: Box<[u8]>,
    names: Box<[[u8; SOCKADDR_BYTES]]>,
    controls: Box<[Control]>,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// How many of the buffers the last call filled.
    received: usize,
}

/// The control message that carries `IP_PKTINFO`, as the macros of cmsg(3) lay
/// it out.
#[derive(Clone, Copy)]
#[repr(C)]
struct SourceControl {
    header: libc::cmsghdr,
    info: libc::in_pktinfo,
    padding: u32,
}

impl MultihomedSender {
    /// Space for one batch, about 30 KiB.
    pub fn new() -> Self {
        Self {
            iovecs: vec![EMPTY_IOVEC; SEND_BATCH].into(),
            headers: vec![EMPTY_HEADER; SEND_BATCH].into(),
            controls: vec![EMPTY_CONTROL; SEND_BATCH].into(),
        }
    }

    /// Sends `datagrams` to `to` through `socket`, without waiting, and returns how
    /// many of them, from the first one on, the kernel has taken. They may be fewer
    /// than were given: no more than [`SEND_BATCH`] are asked of the iterator, and
    /// the kernel stops at the first one for which it has no space or which it
    /// refuses. Handed over again as the first one, that one brings to light which
    /// it was: `Ok(0)` says that there is no space.
    ///
    /// # Errors
    /// What `sendmmsg(2)` says of the first datagram; nothing was sent then.
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) where one is to go from an IPv4
    /// address to an IPv6 destination.
    pub fn send<'a>(
        &mut self,
        socket: impl AsFd,
        to: &PeerAddr,
        datagrams: impl IntoIterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        let mut datagrams = datagrams.into_iter();
        let gathered = self.gather(to, &mut datagrams)?;
        if gathered == 0 {
            return Ok(0);
        }
        // SAFETY: gathered just now, from payloads that live as long as
        // `datagrams` may, and `to` is still borrowed.
        unsafe { self.flush(socket.as_fd(), gathered) }
    }

    /// Points the headers at the next datagrams, and returns at how many.
    fn gather<'a>(
        &mut self,
        to: &PeerAddr,
        datagrams: &mut impl Iterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        let name = to.sockaddr();
        let mut gathered = 0;
        while gathered < SEND_BATCH
            && let Some(datagram) = datagrams.next()
        {
            let iovec = &mut self.iovecs[gathered];
            iovec.iov_base = datagram.payload.as_ptr().cast_mut().cast();
            iovec.iov_len = datagram.payload.len();
            let header = &mut self.headers[gathered].msg_hdr;
            header.msg_name = name.as_ptr().cast_mut().cast();
            header.msg_namelen = name.len() as libc::socklen_t;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
            if let Some(from) = datagram.from {
                if to.is_v6() {
                    // The kernel would send it, from an address of its choice.
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                let control = &mut self.controls[gathered];
                control.info.ipi_spec_dst.s_addr = u32::from_ne_bytes(from.octets());
                header.msg_control = (&raw mut *control).cast();
                header.msg_controllen = size_of::<SourceControl>();
            } else {
                header.msg_control = std::ptr::null_mut();
                header.msg_controllen = 0;
            }
            gathered += 1;
        }
        Ok(gathered)
    }

    /// Hands the first `gathered` headers to the kernel.
    ///
    /// # Safety
    /// `gather` must have set these headers, and what its datagrams and its
    /// destination borrow must still be borrowed.
    unsafe fn flush(&mut self, socket: BorrowedFd<'_>, gathered: usize) -> io::Result<usize> {
        loop {
            // SAFETY: the names and payloads are as the caller promises; iovecs and
            // control messages are those of `self`, borrowed mutably.
            match unsafe { send_batch(socket, &mut self.headers[..gathered]) } {
                Ok(sent) => return Ok(sent),
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN | libc::ENOBUFS) => return Ok(0),
                Err(error) => return Err(io::Error::from_raw_os_error(error)),
            }
        }
    }
}

impl MultihomedReceiver {
    /// Buffers for one batch: 4 MiB of address space, of which the system gives
    /// memory to the pages alone into which something was received.
    pub fn new() -> Self {
        Self {
            // Flat, as only then the zeroes are the system's, and not written.
            buffers: vec![0; RECEIVE_BATCH * BUFFER_BYTES].into(),
            names: vec![[0; SOCKADDR_BYTES]; RECEIVE_BATCH].into(),
            controls: vec![Control::EMPTY; RECEIVE_BATCH].into(),
            iovecs: vec![EMPTY_IOVEC; RECEIVE_BATCH].into(),
            headers: vec![EMPTY_HEADER; RECEIVE_BATCH].into(),
            received: 0,
        }
    }

    /// Receives what is there, at most [`RECEIVE_BATCH`] packets of one or several
    /// datagrams, without waiting, and returns how many packets. Fewer than that
    /// means that `socket` was empty at that moment.
    ///
    /// # Errors
    /// What `recvmmsg(2)` says, except that nothing was there: that is `Ok(0)`.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.point_at_buffers();
        self.received = 0;
        // SAFETY: every header points at one name, one control buffer, one iovec
        // and through it at one buffer, all owned by `self`, borrowed mutably for
        // this call, and as long as the lengths beside the pointers say.
        self.received = unsafe { receive_batch(socket.as_fd(), &mut self.headers) }?;
        Ok(self.received)
    }

    /// The datagrams of the last [`MultihomedReceiver::receive`], in the order of
    /// arrival.
    pub fn datagrams(&self) -> impl Iterator<Item = Incoming<'_>> {
        (0..self.received).flat_map(|index| self.cut(index))
    }

    /// When the first packet of the last [`MultihomedReceiver::receive`] arrived, which
    /// had waited longest, by the system's clock since 1970; none: the socket was not
    /// asked for it with [`set_arrival_stamps`], or there is no packet.
    pub fn first_arrival(&self) -> Option<Duration> {
        self.headers[..self.received].first()?;
        self.said(0).arrived
    }

    fn said(&self, index: usize) -> Said {
        self.controls[index].read(self.headers[index].msg_hdr.msg_controllen)
    }

    /// The datagrams of one packet.
    fn cut(&self, index: usize) -> impl Iterator<Item = Incoming<'_>> {
        let header = &self.headers[index];
        let from = PeerAddr::from_kernel(&self.names[index], 0);
        let said = self.said(index);
        let is_truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        let len = (header.msg_len as usize).min(BUFFER_BYTES);
        let start = index * BUFFER_BYTES;
        let segment_bytes = said.segment_bytes.unwrap_or(len).max(1);
        // `Some` at first even of an empty payload, which is a datagram, too.
        let mut rest = Some(&self.buffers[start..start + len]);
        std::iter::from_fn(move || {
            let all = rest?;
            let (payload, behind) = all.split_at(segment_bytes.min(all.len()));
            rest = (!behind.is_empty()).then_some(behind);
            Some(Incoming {
                from,
                to: said.to,
                payload,
                is_truncated: is_truncated && rest.is_none(),
            })
        })
    }

    /// Sets every header anew: the kernel overwrites the lengths, and pointers
    /// taken from this borrow stay valid for the call that follows.
    fn point_at_buffers(&mut self) {
        let names = self.names.iter_mut().zip(&mut self.controls);
        let buffers = self.buffers.chunks_exact_mut(BUFFER_BYTES).zip(names);
        let headers = self.headers.iter_mut().zip(&mut self.iovecs);
        for ((header, iovec), (buffer, (name, control))) in headers.zip(buffers) {
            iovec.iov_base = buffer.as_mut_ptr().cast();
            iovec.iov_len = BUFFER_BYTES;
            let header = &mut header.msg_hdr;
            header.msg_name = name.as_mut_ptr().cast();
            header.msg_namelen = SOCKADDR_BYTES as libc::socklen_t;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut *control).cast();
            header.msg_controllen = size_of::<Control>();
            header.msg_flags = 0;
        }
    }
}

// SAFETY: its pointers are set by `gather`, and followed by the kernel, within
// one call of `send`; between calls they are only numbers.
unsafe impl Send for MultihomedSender {}
// SAFETY: its pointers are set and followed within one call of `receive`, and
// lead only into its own buffers.
unsafe impl Send for MultihomedReceiver {}

impl Default for MultihomedSender {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for MultihomedReceiver {
    fn default() -> Self {
        Self::new()
    }
}

/// More than any UDP packet carries, so that none is ever cut off.
const BUFFER_BYTES: usize = 65_536;

const EMPTY_CONTROL: SourceControl = SourceControl {
    header: libc::cmsghdr {
        // CMSG_LEN(sizeof(struct in_pktinfo))
        cmsg_len: size_of::<libc::cmsghdr>() + size_of::<libc::in_pktinfo>(),
        cmsg_level: libc::IPPROTO_IP,
        cmsg_type: libc::IP_PKTINFO,
    },
    info: libc::in_pktinfo {
        // Whichever interface the route leads through.
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: 0 },
        ipi_addr: libc::in_addr { s_addr: 0 },
    },
    padding: 0,
};

#[cfg(test)]
#[path = "multihomed_tests.rs"]
mod tests;
