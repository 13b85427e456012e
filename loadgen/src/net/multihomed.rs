//! One socket with many local addresses. It is bound to all of them, and each datagram
//! carries the one that it is sent from or was sent to.
//!
//! On Linux every address of 127.0.0.0/8 is the machine's own, so one socket can serve
//! any number of clients. Only `new` allocates.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use bullhorn::net::{
    EMPTY_HEADER, EMPTY_IOVEC, PeerAddr, RECEIVE_BATCH, SEND_BATCH, SOCKADDR_BYTES, datagrams,
    receive_batch, send_batch,
};

use super::control::{Control, PacketInfo};

/// A datagram to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutboundDatagram<'a> {
    /// The local address to send from, to an IPv4 destination. `None`: the socket's own,
    /// or the system's choice where it has none.
    pub(crate) from: Option<Ipv4Addr>,
    pub(crate) to: &'a PeerAddr,
    pub(crate) payload: &'a [u8],
}

/// Sends up to [`SEND_BATCH`] datagrams with one `sendmmsg`.
pub(crate) struct MultihomedSender {
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    controls: Box<[SourceControl]>,
}

/// A received datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InboundDatagram<'a> {
    /// The sender, at endpoint 0.
    pub(crate) from: PeerAddr,
    /// The local address that it was sent to, if the socket has
    /// [`set_local_addresses`](super::set_local_addresses) and the datagram came over
    /// IPv4.
    pub(crate) to: Option<Ipv4Addr>,
    pub(crate) payload: &'a [u8],
}

/// Receives up to [`RECEIVE_BATCH`] packets with one `recvmmsg`, and cuts those that the
/// kernel has coalesced into their datagrams. The socket may have
/// [`set_gro`](bullhorn::net::set_gro),
/// [`set_local_addresses`](super::set_local_addresses) and
/// [`set_arrival_stamps`](super::set_arrival_stamps), or not.
pub(crate) struct MultihomedReceiver {
    /// One after the other, [`BUFFER_BYTES`] each.
    buffers: Box<[u8]>,
    names: Box<[[u8; SOCKADDR_BYTES]]>,
    controls: Box<[Control]>,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// Number of buffers that the last call filled.
    received: usize,
}

/// The control message that carries `IP_PKTINFO`, in the layout of cmsg(3).
#[derive(Clone, Copy)]
#[repr(C)]
struct SourceControl {
    header: libc::cmsghdr,
    info: libc::in_pktinfo,
    padding: u32,
}

impl MultihomedSender {
    /// Allocates space for one batch, about 30 KiB.
    pub(crate) fn new() -> Self {
        Self {
            iovecs: vec![EMPTY_IOVEC; SEND_BATCH].into(),
            headers: vec![EMPTY_HEADER; SEND_BATCH].into(),
            controls: vec![EMPTY_CONTROL; SEND_BATCH].into(),
        }
    }

    /// Sends `datagrams` through `socket`, without waiting, and returns the number that the kernel has taken, from the first one on. At most [`SEND_BATCH`]
    /// are taken from the iterator. The kernel stops at the first datagram that it
    /// refuses or has no space for. Sent again as the first one, that datagram gives the
    /// reason: `Ok(0)` for no space, or an error.
    ///
    /// # Errors
    /// The error of `sendmmsg(2)` for the first datagram, in which case nothing was sent.
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), if a datagram has an IPv4 source
    /// and an IPv6 destination.
    pub(crate) fn send<'a>(
        &mut self,
        socket: impl AsFd,
        datagrams: impl IntoIterator<Item = OutboundDatagram<'a>>,
    ) -> io::Result<usize> {
        let mut datagrams = datagrams.into_iter();
        let gathered = self.gather(&mut datagrams)?;
        if gathered == 0 {
            return Ok(0);
        }
        // SAFETY: the headers were gathered just now, from payloads and destinations whose
        // borrows outlive `datagrams`.
        unsafe { self.flush(socket.as_fd(), gathered) }
    }

    /// Points the headers at the next datagrams and returns their number.
    fn gather<'a>(
        &mut self,
        datagrams: &mut impl Iterator<Item = OutboundDatagram<'a>>,
    ) -> io::Result<usize> {
        let mut gathered = 0;
        while gathered < SEND_BATCH
            && let Some(datagram) = datagrams.next()
        {
            let iovec = &mut self.iovecs[gathered];
            iovec.iov_base = datagram.payload.as_ptr().cast_mut().cast();
            iovec.iov_len = datagram.payload.len();
            let header = &mut self.headers[gathered].msg_hdr;
            let name = datagram.to.sockaddr();
            header.msg_name = name.as_ptr().cast_mut().cast();
            header.msg_namelen = name.len() as libc::socklen_t;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
            if let Some(from) = datagram.from {
                if datagram.to.is_v6() {
                    // The kernel would send it from an address of its choice.
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
    /// `gather` must have set these headers, and the borrows of its datagrams must still be
    /// live.
    unsafe fn flush(&mut self, socket: BorrowedFd<'_>, gathered: usize) -> io::Result<usize> {
        loop {
            // SAFETY: the caller vouches for the names and the payloads. `self` owns the
            // iovecs and the control messages.
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
    /// Allocates buffers for one batch. They take 4 MiB of address space, but memory
    /// only for the pages into which something was received.
    pub(crate) fn new() -> Self {
        Self {
            // Flat, as only then the zeroes are the system's and not written.
            buffers: vec![0; RECEIVE_BATCH * BUFFER_BYTES].into(),
            names: vec![[0; SOCKADDR_BYTES]; RECEIVE_BATCH].into(),
            controls: vec![Control::EMPTY; RECEIVE_BATCH].into(),
            iovecs: vec![EMPTY_IOVEC; RECEIVE_BATCH].into(),
            headers: vec![EMPTY_HEADER; RECEIVE_BATCH].into(),
            received: 0,
        }
    }

    /// Receives what has come to `socket`, without waiting, and returns the number of
    /// packets, each of one or several datagrams. Fewer than [`RECEIVE_BATCH`] means that
    /// `socket` was empty at that moment.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.point_at_buffers();
        self.received = 0;
        // SAFETY: every header points at one name, one control buffer, one iovec and
        // through it at one buffer, with their true lengths. `self` owns them all and is
        // borrowed mutably for this call.
        self.received = unsafe { receive_batch(socket.as_fd(), &mut self.headers) }?;
        Ok(self.received)
    }

    /// Returns the datagrams of the last [`MultihomedReceiver::receive`], in the order of
    /// arrival.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = InboundDatagram<'_>> {
        (0..self.received).flat_map(|index| self.cut(index))
    }

    /// Returns the arrival, by the system's clock since 1970, of the first packet of the
    /// last [`MultihomedReceiver::receive`], which has waited longest. `None`: there is no
    /// packet, or the socket lacks [`set_arrival_stamps`](super::set_arrival_stamps).
    pub(crate) fn first_arrival(&self) -> Option<Duration> {
        self.headers[..self.received].first()?;
        self.info(0).arrived
    }

    fn info(&self, index: usize) -> PacketInfo {
        self.controls[index].parse(self.headers[index].msg_hdr.msg_controllen)
    }

    /// Returns the datagrams of one packet.
    fn cut(&self, index: usize) -> impl Iterator<Item = InboundDatagram<'_>> {
        let from = PeerAddr::from_kernel(&self.names[index], 0);
        let info = self.info(index);
        let len = (self.headers[index].msg_len as usize).min(BUFFER_BYTES);
        let start = index * BUFFER_BYTES;
        let payload = &self.buffers[start..start + len];
        datagrams(payload, info.segment_bytes).map(move |payload| InboundDatagram {
            from,
            to: info.to,
            payload,
        })
    }

    /// Sets every header again. The kernel has overwritten the lengths, and pointers
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

// SAFETY: its pointers are set by `gather` and followed by the kernel within one call
// of `send`. Between calls they are only numbers.
unsafe impl Send for MultihomedSender {}
// SAFETY: its pointers are set and followed within one call of `receive`, and lead only
// into its own buffers.
unsafe impl Send for MultihomedReceiver {}

/// More than any UDP packet carries, so none is ever cut off.
const BUFFER_BYTES: usize = 65_536;

const EMPTY_CONTROL: SourceControl = SourceControl {
    header: libc::cmsghdr {
        // CMSG_LEN(sizeof(struct in_pktinfo))
        cmsg_len: size_of::<libc::cmsghdr>() + size_of::<libc::in_pktinfo>(),
        cmsg_level: libc::IPPROTO_IP,
        cmsg_type: libc::IP_PKTINFO,
    },
    info: libc::in_pktinfo {
        // The interface that the route leads through.
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: 0 },
        ipi_addr: libc::in_addr { s_addr: 0 },
    },
    padding: 0,
};

#[cfg(test)]
mod tests;
