//! Many datagrams in one `recvmmsg`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::address::{PeerAddr, SOCKADDR_BYTES};
use super::send::{EMPTY_HEADER, EMPTY_IOVEC};

/// Receives up to [`RECEIVE_BATCH`] datagrams at a time into buffers of its own.
pub struct Receiver {
    buffers: Box<[[u8; RECEIVE_BUFFER_BYTES]]>,
    names: Box<[[u8; SOCKADDR_BYTES]]>,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// How many of the buffers the last call filled.
    received: usize,
    /// The endpoint that the last call read from.
    endpoint: u8,
}

/// One datagram that was received.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: PeerAddr,
    /// Its bytes; of one longer than the buffer (2048 bytes) the beginning.
    pub payload: &'a [u8],
    /// Whether there were more.
    pub is_truncated: bool,
}

impl Receiver {
    /// Buffers for one batch, about 140 KiB.
    pub fn new() -> Self {
        Self {
            buffers: vec![[0; RECEIVE_BUFFER_BYTES]; RECEIVE_BATCH].into(),
            names: vec![[0; SOCKADDR_BYTES]; RECEIVE_BATCH].into(),
            iovecs: vec![EMPTY_IOVEC; RECEIVE_BATCH].into(),
            headers: vec![EMPTY_HEADER; RECEIVE_BATCH].into(),
            received: 0,
            endpoint: 0,
        }
    }

    /// Receives what is there, at most [`RECEIVE_BATCH`] datagrams, without
    /// waiting, and returns how many. Fewer than asked for means that `socket`
    /// was empty at that moment: the other thing that ends a batch early, an
    /// error, comes on an unconnected UDP socket only with `IP_RECVERR`, which is
    /// not set.
    ///
    /// # Errors
    /// What `recvmmsg(2)` says, except that nothing was there: that is `Ok(0)`.
    pub fn receive(&mut self, socket: impl AsFd, endpoint: u8) -> io::Result<usize> {
        self.point_at_buffers();
        self.received = 0;
        self.endpoint = endpoint;
        // SAFETY: every header points at one name, one iovec and through it at
        // one buffer, all owned by `self`, borrowed mutably for this call, and
        // as long as the lengths beside the pointers say.
        self.received = unsafe { receive_batch(socket.as_fd(), &mut self.headers) }?;
        Ok(self.received)
    }

    /// The datagrams of the last [`Receiver::receive`], in the order of arrival.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        (0..self.received).map(|index| {
            let len = self.headers[index].msg_len as usize;
            Datagram {
                from: PeerAddr::from_kernel(&self.names[index], self.endpoint),
                payload: &self.buffers[index][..len.min(RECEIVE_BUFFER_BYTES)],
                is_truncated: self.headers[index].msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            }
        })
    }

    /// Sets every header anew: the kernel overwrites the lengths, and pointers
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
    }
}

// SAFETY: its pointers are set and followed within one call of `receive`, and
// lead only into its own buffers.
unsafe impl Send for Receiver {}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

/// One `recvmmsg`, without waiting: how many of `headers` were filled, 0 if nothing was
/// there.
///
/// # Safety
/// Each header must point at a name, an iovec and, if it says so, a control buffer, and
/// through the iovec at a buffer, all of which the caller may write to, as long as the
/// lengths beside the pointers say, until this returns.
pub unsafe fn receive_batch(
    socket: BorrowedFd<'_>,
    headers: &mut [libc::mmsghdr],
) -> io::Result<usize> {
    // SAFETY: what the headers point at is as the caller says.
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

/// Datagrams in one call. Above 64 the cost of a datagram falls no further,
/// and the buffers would leave the second-level cache.
pub const RECEIVE_BATCH: usize = 64;

/// Longer than any text that is delivered whole (1024 bytes); what a datagram
/// has beyond it would be cut away in any case.
pub const RECEIVE_BUFFER_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

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
