//! Many datagrams in one `recvmmsg`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::address::{Endpoint, PeerAddr, SOCKADDR_BYTES};
use super::control::PacketInfo;
use super::local::{LocalCache, LocalIndex};
use super::send::{EMPTY_HEADER, EMPTY_IOVEC, is_call_refusal};

/// Receives up to [`RECEIVE_BATCH`] datagrams at a time into buffers of its own.
pub struct Receiver {
    buffers: Box<[[u8; RECEIVE_BUFFER_BYTES]]>,
    names: Box<[[u8; SOCKADDR_BYTES]]>,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// `None`: all sockets are bound to one address.
    destinations: Option<Destinations>,
    /// Number of buffers that the last call filled.
    received: usize,
    /// The index of the `--bind` address that the last call read from.
    bind: u8,
    /// Receives with `recvmsg`.
    is_one_by_one: bool,
}

/// The local addresses that datagrams were sent to.
struct Destinations {
    cache: LocalCache,
    controls: Box<[PacketInfo]>,
    /// One per datagram of the last batch.
    locals: Box<[Option<LocalIndex>]>,
}

/// One received datagram.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    pub from: PeerAddr,
    /// At most the first [`RECEIVE_BUFFER_BYTES`] bytes.
    pub payload: &'a [u8],
    /// The datagram was longer.
    pub is_truncated: bool,
}

impl Receiver {
    /// Allocates buffers for one batch, about 140 KiB.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// Returns a receiver that also reads the local address that each datagram was sent to, at
    /// those sockets that have `IP_PKTINFO` or `IPV6_RECVPKTINFO`.
    pub fn with_destinations(cache: LocalCache) -> Self {
        Self::with(Some(Destinations {
            cache,
            controls: vec![PacketInfo::EMPTY; RECEIVE_BATCH].into(),
            locals: vec![None; RECEIVE_BATCH].into(),
        }))
    }

    fn with(destinations: Option<Destinations>) -> Self {
        Self {
            buffers: vec![[0; RECEIVE_BUFFER_BYTES]; RECEIVE_BATCH].into(),
            names: vec![[0; SOCKADDR_BYTES]; RECEIVE_BATCH].into(),
            iovecs: vec![EMPTY_IOVEC; RECEIVE_BATCH].into(),
            headers: vec![EMPTY_HEADER; RECEIVE_BATCH].into(),
            destinations,
            received: 0,
            bind: 0,
            is_one_by_one: false,
        }
    }

    /// Receives what has come to `socket`, without waiting, and returns the number of
    /// datagrams. `bind` is the index of its `--bind` address, which becomes part of the
    /// senders' addresses. Fewer than [`RECEIVE_BATCH`] means that `socket` was empty at that
    /// moment. Another reason would be an error, but an unconnected UDP socket reports none
    /// without `IP_RECVERR`, which is not set.
    ///
    /// # Errors
    /// The error of `recvmmsg(2)`, except that an empty socket is `Ok(0)`. If the kernel does
    /// not permit this call, that of `recvmsg(2)`.
    pub fn receive(&mut self, socket: impl AsFd, bind: u8) -> io::Result<usize> {
        self.point_at_buffers();
        self.received = 0;
        self.bind = bind;
        // SAFETY: every header points at one name, one control buffer or none, one iovec
        // and through it at one buffer, with their true lengths. `self` owns them all and
        // is borrowed mutably for these calls.
        self.received = unsafe {
            if self.is_one_by_one {
                receive_one_by_one(socket.as_fd(), &mut self.headers)?
            } else {
                match receive_batch(socket.as_fd(), &mut self.headers) {
                    Err(error) if error.raw_os_error().is_some_and(is_call_refusal) => {
                        self.is_one_by_one = true;
                        receive_one_by_one(socket.as_fd(), &mut self.headers)?
                    }
                    result => result?,
                }
            }
        };
        if let Some(destinations) = &mut self.destinations {
            destinations.read(&self.headers[..self.received]);
        }
        Ok(self.received)
    }

    /// Uses `recvmsg` from now on, after `recvmmsg` has failed again and again.
    pub fn receive_one_by_one(&mut self) {
        self.is_one_by_one = true;
    }

    /// Returns the datagrams of the last [`Receiver::receive`], in the order of arrival.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        (0..self.received).map(|index| {
            let len = self.headers[index].msg_len as usize;
            let local = self.destinations.as_ref().and_then(|it| it.locals[index]);
            let endpoint = Endpoint::of(self.bind).with_local(local);
            Datagram {
                from: PeerAddr::from_kernel(&self.names[index], self.bind).at(endpoint),
                payload: &self.buffers[index][..len.min(RECEIVE_BUFFER_BYTES)],
                is_truncated: self.headers[index].msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            }
        })
    }

    /// Sets every header again. The kernel has overwritten the lengths, and pointers
    /// taken from this borrow stay valid for the call that follows.
    fn point_at_buffers(&mut self) {
        let names = self.names.iter_mut();
        let parts = self.headers.iter_mut().zip(&mut self.iovecs).zip(names);
        for (((header, iovec), name), buffer) in parts.zip(&mut self.buffers) {
            iovec.iov_base = buffer.as_mut_ptr().cast();
            iovec.iov_len = RECEIVE_BUFFER_BYTES;
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = SOCKADDR_BYTES as libc::socklen_t;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_flags = 0;
        }
        if let Some(destinations) = &mut self.destinations {
            for (header, control) in self.headers.iter_mut().zip(&mut destinations.controls) {
                header.msg_hdr.msg_control = (&raw mut *control).cast();
                header.msg_hdr.msg_controllen = size_of::<PacketInfo>();
            }
        }
    }
}

impl Destinations {
    fn read(&mut self, headers: &[libc::mmsghdr]) {
        let messages = headers.iter().zip(&self.controls);
        for ((header, control), local) in messages.zip(&mut self.locals) {
            let address = control.parse(header.msg_hdr.msg_controllen);
            *local = address.and_then(|address| self.cache.index(address));
        }
    }
}

// SAFETY: its pointers are set and followed within one call of `receive`, and lead only
// into its own buffers.
unsafe impl Send for Receiver {}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

/// Fills `headers` with one `recvmmsg`, without waiting, and returns the number of those
/// filled, which is 0 if `socket` is empty.
///
/// # Errors
/// The error of `recvmmsg(2)` otherwise.
///
/// # Safety
/// Each header must point at a name, an iovec and through it at a buffer, and at a
/// control buffer or none. All of them must be writable and live until this returns, with
/// their true lengths.
pub unsafe fn receive_batch(
    socket: BorrowedFd<'_>,
    headers: &mut [libc::mmsghdr],
) -> io::Result<usize> {
    // SAFETY: the caller vouches for what the headers point at.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    };
    usize::try_from(received).or_else(|_| {
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => Ok(0),
            _ => Err(error),
        }
    })
}

/// Fills `headers` as [`receive_batch`] does, with one `recvmsg` for each.
///
/// # Safety
/// As for [`receive_batch`].
unsafe fn receive_one_by_one(
    socket: BorrowedFd<'_>,
    headers: &mut [libc::mmsghdr],
) -> io::Result<usize> {
    for (index, header) in headers.iter_mut().enumerate() {
        let message = &raw mut header.msg_hdr;
        // SAFETY: the caller vouches for what the header points at.
        let bytes = unsafe { libc::recvmsg(socket.as_raw_fd(), message, libc::MSG_DONTWAIT) };
        if let Ok(bytes) = libc::c_uint::try_from(bytes) {
            header.msg_len = bytes;
            continue;
        }
        let error = io::Error::last_os_error();
        // The next call reports an error that follows datagrams.
        if index > 0 || error.kind() == io::ErrorKind::WouldBlock {
            return Ok(index);
        }
        return Err(error);
    }
    Ok(headers.len())
}

/// Maximum number of datagrams per system call. Above 64 the cost per datagram falls no
/// further, and the buffers would leave the second-level cache.
pub const RECEIVE_BATCH: usize = 64;

/// More than the longest text that is delivered whole (1024 bytes). The server would cut
/// off the rest in any case.
pub const RECEIVE_BUFFER_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{LocalTable, set_packet_info};
    use std::net::{SocketAddr, UdpSocket};
    use std::sync::Arc;

    #[test]
    fn a_batch_has_every_datagram_with_its_sender_in_order() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(socket.local_addr().unwrap()).unwrap();
        let mut receiver = Receiver::new();
        assert_eq!(receiver.receive(&socket, 2).unwrap(), 0, "nothing there");
        assert_eq!(receiver.datagrams().len(), 0);

        let long = [b'x'; 4000];
        for payload in [&b"one"[..], b"", &long] {
            sender.send(payload).unwrap();
        }
        assert_eq!(receiver.receive(&socket, 2).unwrap(), 3);
        let from = PeerAddr::new(sender.local_addr().unwrap(), 2);
        let expected = [&b"one"[..], b"", &long[..RECEIVE_BUFFER_BYTES]];
        for (datagram, payload) in receiver.datagrams().zip(expected) {
            assert_eq!((datagram.from, datagram.payload), (from, payload));
            assert_eq!(datagram.is_truncated, payload.len() == RECEIVE_BUFFER_BYTES);
        }
        assert_eq!(receiver.receive(&socket, 2).unwrap(), 0, "nothing left");
    }

    #[test]
    fn a_wildcard_socket_tells_the_address_that_was_written_to() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        set_packet_info(&socket, true).unwrap();
        let port = socket.local_addr().unwrap().port();
        let fixed = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let table = Arc::new(LocalTable::default());
        let mut receiver = Receiver::with_destinations(LocalCache::new(Arc::clone(&table)));
        for last in [1, 2, 1] {
            let to = SocketAddr::from(([127, 0, 0, last], port));
            sender.send_to(b"x", to).unwrap();
        }
        assert_eq!(receiver.receive(&socket, 4).unwrap(), 3);
        let endpoints: Vec<_> = receiver.datagrams().map(|it| it.from.endpoint()).collect();
        let mut cache = LocalCache::new(table);
        for (endpoint, last) in endpoints.iter().zip([1, 2, 1]) {
            let local = cache.address(endpoint.local().unwrap()).unwrap();
            assert_eq!((local.ip, endpoint.bind()), ([127, 0, 0, last].into(), 4));
        }
        // What is left of the batch before does not count for another socket.
        sender.send_to(b"x", fixed.local_addr().unwrap()).unwrap();
        assert_eq!(receiver.receive(&fixed, 5).unwrap(), 1);
        let endpoint = receiver.datagrams().next().unwrap().from.endpoint();
        assert_eq!(endpoint, Endpoint::of(5));
    }

    #[test]
    fn more_than_a_batch_takes_another_call() {
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        let sender = UdpSocket::bind("[::1]:0").unwrap();
        sender.connect(socket.local_addr().unwrap()).unwrap();
        for _ in 0..=RECEIVE_BATCH {
            sender.send(b"x").unwrap();
        }
        let mut receiver = Receiver::new();
        assert_eq!(receiver.receive(&socket, 0).unwrap(), RECEIVE_BATCH);
        assert_eq!(receiver.receive(&socket, 0).unwrap(), 1);
    }
}
