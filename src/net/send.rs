//! Many datagrams in one `sendmmsg`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::address::PeerAddr;

/// Sends up to [`SEND_BATCH`] datagrams with each system call.
pub struct Sender {
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

/// What became of the datagrams handed to [`Sender::send`]. Every one of them
/// is counted in exactly one field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendTally {
    /// The kernel took it.
    pub sent: u64,
    /// The socket's buffer, or the kernel's memory for it, was full, and was
    /// still full after one short wait.
    pub congested: u64,
    /// The kernel refused this destination: no route, a firewall, too long.
    pub refused: u64,
}

impl Sender {
    /// Space for one batch, about 20 KiB.
    pub fn new() -> Self {
        Self {
            iovecs: vec![EMPTY_IOVEC; SEND_BATCH].into(),
            headers: vec![EMPTY_HEADER; SEND_BATCH].into(),
        }
    }

    /// Sends each packet to its peer, through `socket`. A peer that cannot be
    /// sent to costs no other one its packet. Where the kernel has no space,
    /// this waits once for at most 1 ms, then gives up the rest of the packets
    /// that it had gathered for that system call.
    pub fn send<'a>(
        &mut self,
        socket: impl AsFd,
        packets: impl IntoIterator<Item = (&'a PeerAddr, &'a [u8])>,
    ) -> SendTally {
        let mut tally = SendTally::default();
        let mut may_wait = true;
        let mut packets = packets.into_iter();
        loop {
            let gathered = self.gather(&mut packets);
            if gathered == 0 {
                return tally;
            }
            self.flush(socket.as_fd(), gathered, &mut may_wait, &mut tally);
        }
    }

    /// Points the headers at the next packets, and returns at how many.
    fn gather<'a>(
        &mut self,
        packets: &mut impl Iterator<Item = (&'a PeerAddr, &'a [u8])>,
    ) -> usize {
        let mut gathered = 0;
        let parts = self.headers.iter_mut().zip(&mut self.iovecs);
        for ((header, iovec), (peer, payload)) in parts.zip(packets) {
            let name = peer.sockaddr();
            iovec.iov_base = payload.as_ptr().cast_mut().cast();
            iovec.iov_len = payload.len();
            header.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = name.len() as libc::socklen_t;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            gathered += 1;
        }
        gathered
    }

    /// Hands the first `gathered` headers to the kernel.
    fn flush(
        &mut self,
        socket: BorrowedFd<'_>,
        gathered: usize,
        may_wait: &mut bool,
        tally: &mut SendTally,
    ) {
        let mut done = 0;
        while done < gathered {
            let rest = &mut self.headers[done..gathered];
            // SAFETY: `gather` pointed every one of these headers at a name and
            // a payload that `send` borrows until it returns, and at an iovec of
            // `self`; the kernel reads them, and writes `msg_len` alone.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            if let Ok(sent) = usize::try_from(sent) {
                done += sent;
                tally.sent += sent as u64;
                continue;
            }
            // The error is that of the first header; those behind it were not tried.
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN | libc::ENOBUFS) if *may_wait => {
                    *may_wait = false;
                    wait_for_space(socket);
                }
                Some(libc::EAGAIN | libc::ENOBUFS) => {
                    tally.congested += (gathered - done) as u64;
                    return;
                }
                _ => {
                    tally.refused += 1;
                    done += 1;
                }
            }
        }
    }
}

// SAFETY: its pointers are set by `gather`, and followed by the kernel, within
// one call of `send`; between calls they are only numbers.
unsafe impl Send for Sender {}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}

impl SendTally {
    /// All that was handed over.
    pub fn total(&self) -> u64 {
        self.sent + self.congested + self.refused
    }
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

/// Datagrams in one call: from 64 to 256 the cost of a datagram is the same.
pub const SEND_BATCH: usize = 256;

/// As long as a full queue of a 1 Gbit/s interface (about 100 kB) takes to drain.
const MAX_WAIT_MS: libc::c_int = 1;

pub(super) const EMPTY_IOVEC: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

pub(super) const EMPTY_HEADER: libc::mmsghdr = libc::mmsghdr {
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
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    fn receiver() -> (UdpSocket, PeerAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let peer = PeerAddr::new(socket.local_addr().unwrap(), 0);
        (socket, peer)
    }

    fn heard(socket: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let len = socket.recv(&mut buffer).unwrap();
        buffer[..len].to_vec()
    }

    #[test]
    fn a_peer_that_cannot_be_sent_to_costs_no_other_one_its_packet() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (first, first_peer) = receiver();
        let (last, last_peer) = receiver();
        let nowhere = "127.0.0.1:0".parse::<SocketAddr>().unwrap();
        let nowhere = PeerAddr::new(nowhere, 0);
        let too_long = vec![0; 70_000];
        let packets = [
            (&nowhere, &b"lost"[..]),
            (&first_peer, b"one"),
            (&nowhere, b"lost"),
            (&first_peer, &too_long),
            (&last_peer, b"two"),
            (&nowhere, b"lost"),
        ];
        let tally = Sender::new().send(&socket, packets);
        assert_eq!((tally.sent, tally.refused, tally.congested), (2, 4, 0));
        assert_eq!(tally.total(), 6);
        assert_eq!(
            (heard(&first), heard(&last)),
            (b"one".to_vec(), b"two".to_vec())
        );
    }

    #[test]
    fn more_than_a_batch_goes_out_in_several_calls() {
        // To several sockets: one would overflow with more than about 250.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receivers: Vec<_> = (0..8).map(|_| receiver()).collect();
        let count = 2 * SEND_BATCH + 10;
        let payloads: Vec<_> = (0..count).map(usize::to_be_bytes).collect();
        let to = |number: usize| &receivers[number % receivers.len()];
        let packets = payloads.iter().enumerate();
        let packets = packets.map(|(number, payload)| (&to(number).1, &payload[..]));
        let tally = Sender::new().send(&socket, packets);
        assert_eq!((tally.sent, tally.total()), (count as u64, count as u64));
        for (number, payload) in payloads.iter().enumerate() {
            assert_eq!(heard(&to(number).0), payload);
        }
    }

    #[test]
    fn a_full_send_buffer_is_given_up_after_one_wait() {
        // A Unix datagram socket whose receiver does not read is the one
        // socket that is reliably full.
        let (sender, _receiver) = std::os::unix::net::UnixDatagram::pair().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.send(&[0; 512]).is_ok() {}
        let peer = PeerAddr::new("127.0.0.1:9".parse().unwrap(), 0);
        let mut headers = Sender::new();
        let mut tally = SendTally::default();
        let gathered = headers.gather(&mut [(&peer, &b"x"[..]); 3].into_iter());
        for header in &mut headers.headers[..gathered] {
            header.msg_hdr.msg_namelen = 0;
        }
        let mut may_wait = true;
        headers.flush(sender.as_fd(), gathered, &mut may_wait, &mut tally);
        assert_eq!((tally.sent, tally.congested, tally.refused), (0, 3, 0));
        assert!(!may_wait);
    }
}
