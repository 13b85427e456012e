//! The bare kernel: the fewest instructions around `recvmmsg` and `sendmmsg` that do
//! the job. IPv4 only, without a table of peers, without a look at what comes, and
//! without care for failures. Headers are filled once and handed to the kernel again
//! and again.
//!
//! The cost of bullhorn is measured as a ratio to these loops. `bare_kernel.rs` tests
//! them.
#![allow(
    unsafe_code,
    reason = "a safe wrapper would add instructions to what all else is compared with"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd};

use bullhorn::net::{
    EMPTY_HEADER, EMPTY_IOVEC, RECEIVE_BATCH, RECEIVE_BUFFER_BYTES, SEND_BATCH, SegmentControl,
};
use nix::sys::socket::{setsockopt, sockopt};

pub(crate) mod ping_loop;

/// Sends one payload to a list of addresses.
pub(crate) struct FanOut {
    headers: Vec<libc::mmsghdr>,
    store: Store,
}

/// Receives datagrams with their senders' addresses, which any program that
/// knows its peers must ask for.
pub(crate) struct Drain {
    headers: Vec<libc::mmsghdr>,
    _store: Store,
}

/// Answers every datagram with one fixed payload.
pub(crate) struct Echo {
    drain: Drain,
    /// Their names are those of the drain, so an answer goes to the sender unchanged.
    answers: Vec<libc::mmsghdr>,
    _store: Store,
}

/// The memory that headers point into. The vectors are never resized, so their
/// contents stay in place when the owner moves.
struct Store {
    names: Vec<libc::sockaddr_in>,
    iovecs: Vec<libc::iovec>,
    controls: Vec<SegmentControl>,
    bytes: Vec<u8>,
}

impl FanOut {
    /// Creates a fan-out of `payload` to each of `addresses`.
    pub(crate) fn new(addresses: &[SocketAddrV4], payload: &[u8]) -> Self {
        let mut store = Store {
            names: addresses.iter().map(sockaddr).collect(),
            iovecs: vec![EMPTY_IOVEC; 1],
            controls: Vec::new(),
            bytes: payload.to_vec(),
        };
        store.iovecs[0] = iovec(&mut store.bytes);
        let iovec = store.iovecs.as_mut_ptr();
        let headers = store.names.iter_mut().map(|name| header(name, iovec));
        Self {
            headers: headers.collect(),
            store,
        }
    }

    /// Creates a fan-out of one packet with several datagrams: `payload` in segments
    /// of `segment_bytes`, the last of which may be shorter.
    pub(crate) fn segmented(
        addresses: &[SocketAddrV4],
        payload: &[u8],
        segment_bytes: u16,
    ) -> Self {
        let mut fan_out = Self::new(addresses, payload);
        fan_out.store.controls = vec![SegmentControl::new(segment_bytes)];
        let control = fan_out.store.controls.as_mut_ptr().cast();
        for header in &mut fan_out.headers {
            header.msg_hdr.msg_control = control;
            header.msg_hdr.msg_controllen = size_of::<SegmentControl>();
        }
        fan_out
    }

    /// Replaces the payload. Bytes beyond the length of the first one are left out.
    pub(crate) fn set_payload(&mut self, payload: &[u8]) {
        let len = payload.len().min(self.store.bytes.len());
        self.store.bytes[..len].copy_from_slice(&payload[..len]);
        // The borrow above ended the validity of the earlier pointers.
        self.store.iovecs[0] = libc::iovec {
            iov_base: self.store.bytes.as_mut_ptr().cast(),
            iov_len: len,
        };
        let iovec = self.store.iovecs.as_mut_ptr();
        for header in &mut self.headers {
            header.msg_hdr.msg_iov = iovec;
        }
    }

    /// Sends to every address, [`SEND_BATCH`] per system call.
    ///
    /// # Errors
    /// The error of `sendmmsg(2)` for the first datagram of a call.
    pub(crate) fn send(&mut self, socket: impl AsFd) -> io::Result<()> {
        for batch in self.headers.chunks_mut(SEND_BATCH) {
            // SAFETY: `new`, `segmented` and `set_payload` pointed every header into
            // `self.store`, with the true lengths.
            unsafe { send_all(&socket, batch) }?;
        }
        Ok(())
    }
}

impl Drain {
    /// Creates buffers as long as the server's own, in which every datagram fits that
    /// the server takes.
    pub(crate) fn new() -> Self {
        let mut store = Store {
            names: vec![sockaddr(&NOWHERE); RECEIVE_BATCH],
            iovecs: vec![EMPTY_IOVEC; RECEIVE_BATCH],
            controls: Vec::new(),
            bytes: vec![0; RECEIVE_BATCH * RECEIVE_BUFFER_BYTES],
        };
        let buffers = store.bytes.chunks_exact_mut(RECEIVE_BUFFER_BYTES);
        for (slot, buffer) in store.iovecs.iter_mut().zip(buffers) {
            *slot = iovec(buffer);
        }
        let slots = store.names.iter_mut().zip(&mut store.iovecs);
        let headers = slots.map(|(name, iovec)| header(name, iovec));
        Self {
            headers: headers.collect(),
            _store: store,
        }
    }

    /// Sleeps in `recvmmsg` until a datagram comes, receives up to [`RECEIVE_BATCH`],
    /// and returns the number. `socket` must be a blocking one. This is one system
    /// call for waiting and receiving, where `poll` and `recvmmsg` would be two.
    ///
    /// # Errors
    /// The error of `recvmmsg(2)`.
    pub(crate) fn wait(&mut self, socket: impl AsFd) -> io::Result<usize> {
        // The kernel sets `msg_namelen` to the length of an IPv4 address, which is
        // its value already, so no header has to be set again.
        //
        // SAFETY: `new` pointed every header at one name, one iovec and one buffer of
        // `self._store`, with their true lengths. A ping loop may have taken away
        // the name.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }
}

impl Echo {
    /// Creates an echo that answers with `payload`, whatever comes.
    pub(crate) fn new(payload: &[u8]) -> Self {
        let drain = Drain::new();
        let mut store = Store {
            names: Vec::new(),
            iovecs: vec![EMPTY_IOVEC; 1],
            controls: Vec::new(),
            bytes: payload.to_vec(),
        };
        store.iovecs[0] = iovec(&mut store.bytes);
        let iovec = store.iovecs.as_mut_ptr();
        let answer = |received: &libc::mmsghdr| {
            let mut answer = *received;
            answer.msg_hdr.msg_iov = iovec;
            answer
        };
        Self {
            answers: drain.headers.iter().map(answer).collect(),
            drain,
            _store: store,
        }
    }

    /// Waits like [`Drain::wait`], answers every datagram received, and returns
    /// their number.
    ///
    /// # Errors
    /// The error of `recvmmsg(2)` or `sendmmsg(2)`.
    pub(crate) fn answer(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let received = self.drain.wait(&socket)?;
        // SAFETY: `new` pointed every answer at a name of `self.drain` and at the
        // iovec of `self._store`, with their true lengths.
        unsafe { send_all(&socket, &mut self.answers[..received]) }?;
        Ok(received)
    }
}

// SAFETY: the headers lead only into the store that it owns.
unsafe impl Send for FanOut {}
// SAFETY: the headers lead only into the store that it owns.
unsafe impl Send for Drain {}
// SAFETY: the answers lead only into the drain and the store that it owns.
unsafe impl Send for Echo {}

/// Makes `socket` cut what it sends into datagrams of `bytes` each (`UDP_SEGMENT`),
/// the cheapest way to offer load.
///
/// # Errors
/// Fails on kernels older than 4.18.
pub(crate) fn set_segment_bytes(socket: impl AsFd, bytes: u16) -> io::Result<()> {
    let bytes = i32::from(bytes);
    Ok(setsockopt(&socket, sockopt::UdpGsoSegment, &bytes)?)
}

/// Sends all of `headers`, in as many system calls as that takes.
///
/// # Safety
/// Each header must point at a name, an iovec and through it at a payload, and at a
/// control message or none, all of which live until this returns, with their true
/// lengths.
unsafe fn send_all(socket: impl AsFd, headers: &mut [libc::mmsghdr]) -> io::Result<()> {
    let mut done = 0;
    while done < headers.len() {
        let rest = &mut headers[done..];
        // SAFETY: the caller vouches for what the headers point at. The kernel writes
        // `msg_len` of at most `rest.len()` headers.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_fd().as_raw_fd(),
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                0,
            )
        };
        done += usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
    }
    Ok(())
}

fn header(name: &mut libc::sockaddr_in, iovec: *mut libc::iovec) -> libc::mmsghdr {
    let mut header = EMPTY_HEADER;
    header.msg_hdr.msg_name = (&raw mut *name).cast();
    header.msg_hdr.msg_namelen = size_of_val(name) as libc::socklen_t;
    header.msg_hdr.msg_iov = iovec;
    header.msg_hdr.msg_iovlen = 1;
    header
}

fn iovec(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

fn sockaddr(address: &SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
