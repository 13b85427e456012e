//! The bare kernel, for benchmarks only (feature `bare`): the fewest
//! instructions around `recvmmsg` and `sendmmsg` that still do the job. IPv4
//! only; no table, no classification, no care for failures. Arrays are filled
//! once and handed to the kernel again and again.
//!
//! What bullhorn costs is measured as a ratio to this. It is no API to build
//! on, and no server uses it.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd};

use super::receive::{BUFFER_BYTES, RECEIVE_BATCH};
use super::send::{EMPTY_CONTROL, EMPTY_HEADER, EMPTY_IOVEC, SEND_BATCH, SegmentControl};
use super::socket::set_int_of;

mod ping_loop;

pub use ping_loop::PingLoop;

/// Sends one payload to a list of addresses.
pub struct FanOut {
    headers: Vec<libc::mmsghdr>,
    store: Store,
    _control: Option<Box<SegmentControl>>,
}

/// Receives datagrams with their senders' addresses, which any program that
/// knows its peers must ask for.
pub struct Drain {
    headers: Vec<libc::mmsghdr>,
    _store: Store,
}

/// Answers every datagram with one fixed payload.
pub struct Echo {
    drain: Drain,
    /// The names point into the drain's: to send back is to change nothing.
    answers: Vec<libc::mmsghdr>,
    _store: Store,
}

/// What headers point into. `Vec`s that are never resized: their contents stay
/// where they are when the owner moves.
struct Store {
    names: Vec<libc::sockaddr_in>,
    iovecs: Vec<libc::iovec>,
    bytes: Vec<u8>,
}

impl FanOut {
    /// A fan-out of `payload` to each of `addresses`.
    pub fn new(addresses: &[SocketAddrV4], payload: &[u8]) -> Self {
        let mut store = Store {
            names: addresses.iter().map(sockaddr).collect(),
            iovecs: vec![EMPTY_IOVEC; 1],
            bytes: payload.to_vec(),
        };
        store.iovecs[0] = iovec(&mut store.bytes);
        let iovec = store.iovecs.as_mut_ptr();
        let headers = store.names.iter_mut().map(|name| header(name, iovec));
        Self {
            headers: headers.collect(),
            store,
            _control: None,
        }
    }

    /// The same with a packet of several datagrams for each address: `payload`
    /// in segments of `segment_bytes`, the last of which may be shorter.
    pub fn segmented(addresses: &[SocketAddrV4], payload: &[u8], segment_bytes: u16) -> Self {
        let mut fan_out = Self::new(addresses, payload);
        let mut control = Box::new(EMPTY_CONTROL);
        control.segment_bytes = segment_bytes;
        for header in &mut fan_out.headers {
            header.msg_hdr.msg_control = (&raw mut *control).cast();
            header.msg_hdr.msg_controllen = size_of::<SegmentControl>();
        }
        fan_out._control = Some(control);
        fan_out
    }

    /// From now on sends `payload`, of which what is longer than the first one was
    /// is left out.
    pub fn set_payload(&mut self, payload: &[u8]) {
        let len = payload.len().min(self.store.bytes.len());
        self.store.bytes[..len].copy_from_slice(&payload[..len]);
        // Both are filled anew, as the headers must lead to what they are now.
        self.store.iovecs[0] = libc::iovec {
            iov_base: self.store.bytes.as_mut_ptr().cast(),
            iov_len: len,
        };
        let iovec = self.store.iovecs.as_mut_ptr();
        for header in &mut self.headers {
            header.msg_hdr.msg_iov = iovec;
        }
    }

    /// Sends to all of them, [`SEND_BATCH`] in a call.
    ///
    /// # Errors
    /// What `sendmmsg(2)` says of the first datagram of a call.
    pub fn send(&mut self, socket: impl AsFd) -> io::Result<()> {
        for batch in self.headers.chunks_mut(SEND_BATCH) {
            send_all(&socket, batch)?;
        }
        Ok(())
    }
}

impl Drain {
    /// Buffers as large as the server's own, in which every datagram fits that
    /// it takes.
    pub fn new() -> Self {
        let mut store = Store {
            names: vec![NO_NAME; RECEIVE_BATCH],
            iovecs: vec![EMPTY_IOVEC; RECEIVE_BATCH],
            bytes: vec![0; RECEIVE_BATCH * BUFFER_BYTES],
        };
        let buffers = store.bytes.chunks_exact_mut(BUFFER_BYTES);
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

    /// Sleeps in `recvmmsg` until a datagram is there, and takes up to
    /// [`RECEIVE_BATCH`]. `socket` must be a blocking one. One system call for
    /// waiting and receiving, where `poll` and `recvmmsg` would be two.
    ///
    /// # Errors
    /// What `recvmmsg(2)` says.
    pub fn wait(&mut self, socket: impl AsFd) -> io::Result<usize> {
        // The kernel sets `msg_namelen` to the length of an IPv4 address, which
        // is what it was before: nothing needs to be set anew.
        //
        // SAFETY: `new` pointed every header at one name, one iovec and one
        // buffer of `self.store`, which lives as long, with their true lengths.
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

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Echo {
    /// An echo that answers with `payload`, whatever comes.
    pub fn new(payload: &[u8]) -> Self {
        let drain = Drain::new();
        let mut store = Store {
            names: Vec::new(),
            iovecs: vec![EMPTY_IOVEC; 1],
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

    /// Waits like [`Drain::wait`], answers what came, and returns how many.
    ///
    /// # Errors
    /// What `recvmmsg(2)` or `sendmmsg(2)` says.
    pub fn answer(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let received = self.drain.wait(&socket)?;
        send_all(&socket, &mut self.answers[..received])?;
        Ok(received)
    }
}

// SAFETY: the headers of each lead only into the stores that it owns itself.
unsafe impl Send for FanOut {}
// SAFETY: as above.
unsafe impl Send for Drain {}
// SAFETY: as above; its answers lead into its own drain and its own store.
unsafe impl Send for Echo {}

/// Makes `socket` cut what it sends into datagrams of `bytes` each
/// (`UDP_SEGMENT`): the cheapest way to offer load.
///
/// # Errors
/// When the kernel is older than 4.18.
pub fn set_segment_bytes(socket: impl AsFd, bytes: u16) -> io::Result<()> {
    set_int_of(
        &socket.as_fd(),
        libc::SOL_UDP,
        libc::UDP_SEGMENT,
        bytes.into(),
    )
}

/// Hands `headers` to the kernel, each of which must point at a name and an
/// iovec that live through this call; all callers keep them in a [`Store`].
fn send_all(socket: impl AsFd, headers: &mut [libc::mmsghdr]) -> io::Result<()> {
    let mut done = 0;
    while done < headers.len() {
        let rest = &mut headers[done..];
        // SAFETY: the headers are private to this module, and each is owned
        // beside the store that it was pointed into.
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

const NO_NAME: libc::sockaddr_in = libc::sockaddr_in {
    sin_family: 0,
    sin_port: 0,
    sin_addr: libc::in_addr { s_addr: 0 },
    sin_zero: [0; 8],
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    pub(super) fn socket() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else {
            panic!("bound to an IPv4 address");
        };
        (socket, address)
    }

    fn heard(socket: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 64];
        let len = socket.recv(&mut buffer).unwrap();
        buffer[..len].to_vec()
    }

    #[test]
    fn a_fan_out_reaches_every_address() {
        let sockets: Vec<_> = (0..SEND_BATCH + 5).map(|_| socket()).collect();
        let addresses: Vec<_> = sockets.iter().map(|(_, address)| *address).collect();
        let mut fan_out = FanOut::new(&addresses, b"hi");
        fan_out.send(&socket().0).unwrap();
        assert!(sockets.iter().all(|(socket, _)| heard(socket) == b"hi"));
    }

    #[test]
    fn a_fan_out_sends_what_was_set_last() {
        let ((receiver, address), (sender, _)) = (socket(), socket());
        let mut fan_out = FanOut::segmented(&[address], b"one two ", 4);
        for payload in [b"tri four".as_slice(), b"five"] {
            fan_out.set_payload(payload);
            fan_out.send(&sender).unwrap();
            for datagram in payload.chunks(4) {
                assert_eq!(heard(&receiver), datagram);
            }
        }
    }

    #[test]
    fn a_drain_takes_what_is_there_again_and_again() {
        let ((receiver, address), (sender, _)) = (socket(), socket());
        let mut drain = Drain::new();
        for round in [1, 3] {
            for _ in 0..round {
                sender.send_to(b"one", address).unwrap();
            }
            assert_eq!(drain.wait(&receiver).unwrap(), round);
        }
    }

    #[test]
    fn an_echo_answers_each_sender() {
        let ((server, address), (one, _), (other, _)) = (socket(), socket(), socket());
        let mut echo = Echo::new(b"answer");
        for _ in 0..2 {
            one.send_to(b"?", address).unwrap();
            other.send_to(b"?", address).unwrap();
            assert_eq!(echo.answer(&server).unwrap(), 2);
            assert_eq!(
                (heard(&one), heard(&other)),
                (b"answer".into(), b"answer".into())
            );
        }
    }

    #[test]
    fn segments_arrive_as_datagrams_of_their_own() {
        let ((receiver, address), (sender, _)) = (socket(), socket());
        set_segment_bytes(&sender, 4).unwrap();
        sender.send_to(b"one two ", address).unwrap();
        assert_eq!(
            (heard(&receiver), heard(&receiver)),
            (b"one ".into(), b"two ".into())
        );
    }
}
