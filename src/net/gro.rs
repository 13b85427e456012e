//! Several datagrams in one `recvmsg` (GRO): what one peer has sent in a row
//! comes as one buffer.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, cmsg_space, recvmsg};

use super::socket::set_int_of;

/// Asks the kernel to hand over datagrams of one length together. From then on
/// `socket` must be read with [`receive_gro`], as nothing else tells where a
/// datagram ends.
///
/// # Errors
/// What `setsockopt(2)` says: kernels before 5.0 do not know the option. The
/// socket works on without it, with [`receive_gro`] too.
pub fn set_gro(socket: impl AsFd) -> io::Result<()> {
    set_int_of(&socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Receives one datagram, or several that came one behind the other, and returns
/// how many bytes they are and how long each is: all but the last one, which may
/// be shorter. `buffer` should hold 65,536 bytes; what does not fit is lost.
///
/// A single datagram has the length of the whole. An empty one is `(0, 1)`, so
/// that the second figure is always fit to divide by.
///
/// # Errors
/// What `recvmsg(2)` says, which includes that nothing is there.
pub fn receive_gro(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
    let mut control = Control([0; cmsg_space::<libc::c_int>()]);
    let mut buffers = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &mut buffers,
        Some(&mut control.0),
        MsgFlags::empty(),
    )?;
    let segment_bytes = |message| match message {
        ControlMessageOwned::UdpGroSegments(bytes) => usize::try_from(bytes).ok(),
        _ => None,
    };
    let (len, segment_bytes) = (message.bytes, message.cmsgs()?.find_map(segment_bytes));
    Ok((len, segment_bytes.unwrap_or(len).clamp(1, len.max(1))))
}

/// Space for one control message with an `int`, aligned as a `cmsghdr`.
#[repr(C, align(8))]
struct Control([u8; cmsg_space::<libc::c_int>()]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Packet, PeerAddr, Sender, max_segments};
    use std::net::UdpSocket;

    fn pair() -> (UdpSocket, UdpSocket, PeerAddr) {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        to.set_read_timeout(Some(std::time::Duration::from_secs(30)))
            .unwrap();
        let address = PeerAddr::new(to.local_addr().unwrap(), 0);
        (to, from, address)
    }

    #[test]
    fn a_datagram_alone_is_as_long_as_it_is() {
        let (to, from, _) = pair();
        let mut buffer = [0; 100];
        for with_gro in [false, true] {
            if with_gro && set_gro(&to).is_err() {
                return;
            }
            for text in [&b"one"[..], b"", b"a longer one"] {
                from.send_to(text, to.local_addr().unwrap()).unwrap();
                let (len, segment_bytes) = receive_gro(&to, &mut buffer).unwrap();
                assert_eq!(&buffer[..len], text);
                assert_eq!(segment_bytes, text.len().max(1));
            }
        }
    }

    #[test]
    fn what_was_sent_as_one_packet_comes_as_one_and_can_be_cut() {
        let (to, from, address) = pair();
        if set_gro(&to).is_err() || max_segments() == 1 {
            return;
        }
        let payload: Vec<u8> = (0..25).flat_map(|n| [n; 10]).collect();
        let packet = Packet {
            to: &address,
            payload: &payload[..244],
            segment_bytes: 10,
            deliveries: 25,
        };
        let tally = Sender::new(true).send(&from, [packet]);
        assert_eq!((tally.sent, tally.split_packets), (25, 0));
        let mut buffer = vec![0; 65_536];
        let (len, segment_bytes) = receive_gro(&to, &mut buffer).unwrap();
        assert_eq!((len, segment_bytes), (244, 10));
        assert_eq!(buffer[..len], payload[..244]);
    }

    #[test]
    fn nothing_there_is_an_error_that_says_so() {
        let (to, _, _) = pair();
        to.set_nonblocking(true).unwrap();
        let error = receive_gro(&to, &mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
