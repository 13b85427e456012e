//! Several datagrams as one packet: segmentation by the kernel on the way out (GSO),
//! and coalescing on the way in (GRO).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, cmsg_space, recvmsg, setsockopt, sockopt};

use super::address::PeerAddr;
use super::send::{Gso, Packet, Sender};

/// The datagrams that one [`receive_gro`] has put into its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coalesced {
    /// Length of all of them together. 0 is one empty datagram.
    pub bytes: usize,
    /// Length of each but the last, which may be shorter. `None`: there is only one.
    pub segment_bytes: Option<NonZeroU16>,
}

/// Returns the maximum number of datagrams that this kernel takes as one packet, found
/// by sending one to itself on loopback: 128 since Linux 6.9, 64 since 4.18
/// (`UDP_MAX_SEGMENTS`, include/linux/udp.h), 1 before.
pub fn max_segments() -> usize {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let socket = loopback
        .iter()
        .find_map(|ip| UdpSocket::bind((*ip, 0)).ok());
    let address = socket.as_ref().and_then(|socket| socket.local_addr().ok());
    let (Some(socket), Some(address)) = (socket, address) else {
        // Without a loopback address there is nothing to try. A sender notices by
        // itself if the kernel takes none.
        return SEGMENTS[1];
    };
    let to = PeerAddr::new(address, 0);
    let is_taken = |count: &usize| {
        let packet = Packet {
            to: &to,
            payload: &[0; MAX_SEGMENTS][..*count],
            segment_bytes: Some(NonZeroU16::MIN),
            deliveries: 1,
            tag: None,
        };
        Sender::new(Gso::On).send(&socket, [packet]).split_packets == 0
    };
    SEGMENTS.into_iter().find(is_taken).unwrap_or(1)
}

/// Makes the kernel hand over datagrams of one length together. After that, `socket`
/// must be read with [`receive_gro`], as nothing else shows where a datagram ends.
///
/// # Errors
/// Fails on kernels before 5.0. The socket works on without GRO, with [`receive_gro`]
/// too.
pub fn set_gro(socket: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::UdpGroSegment, &true)?)
}

/// Receives one datagram, or several that one peer sent in a row.
/// [`datagrams`](super::datagrams) cuts them apart. `buffer` should hold 65,536 bytes. More than
/// fits is lost.
///
/// # Errors
/// The error of `recvmsg(2)`, which may be that nothing has come.
pub fn receive_gro(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Coalesced> {
    let mut control = Control([0; cmsg_space::<libc::c_int>()]);
    let mut buffers = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &mut buffers,
        Some(&mut control.0),
        MsgFlags::empty(),
    )?;
    let segment_bytes = |message| match message {
        ControlMessageOwned::UdpGroSegments(bytes) => u16::try_from(bytes).ok(),
        _ => None,
    };
    let segment_bytes = message.cmsgs()?.find_map(segment_bytes);
    Ok(Coalesced {
        bytes: message.bytes,
        segment_bytes: segment_bytes.and_then(NonZeroU16::new),
    })
}

/// Space for one control message with an `int`, aligned as a `cmsghdr`.
#[repr(C, align(8))]
struct Control([u8; cmsg_space::<libc::c_int>()]);

/// Maximum number of datagrams in one packet on any kernel. See [`max_segments`].
pub const MAX_SEGMENTS: usize = 128;

/// The limits of new and old kernels.
const SEGMENTS: [usize; 2] = [MAX_SEGMENTS, 64];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::datagrams;
    use std::time::Duration;

    #[test]
    fn as_many_as_were_found_are_taken_and_not_one_more() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = PeerAddr::new(socket.local_addr().unwrap(), 0);
        let split = |count: usize| {
            let packet = Packet {
                to: &to,
                payload: &vec![0; count],
                segment_bytes: NonZeroU16::new(1),
                deliveries: 1,
                tag: None,
            };
            Sender::new(Gso::On).send(&socket, [packet]).split_packets
        };
        let most = max_segments();
        assert!(SEGMENTS.contains(&most), "{most}");
        assert_eq!((split(most), split(most + 1)), (0, 1));
    }

    #[test]
    fn a_single_datagram_is_as_long_as_it_is() {
        let (to, from, _) = pair();
        let mut buffer = [0; 100];
        for with_gro in [false, true] {
            if with_gro && set_gro(&to).is_err() {
                return;
            }
            for text in [&b"one"[..], b"", b"a longer one"] {
                from.send_to(text, to.local_addr().unwrap()).unwrap();
                let received = receive_gro(&to, &mut buffer).unwrap();
                assert_eq!(&buffer[..received.bytes], text);
                assert_eq!(received.segment_bytes, None);
            }
        }
    }

    #[test]
    fn datagrams_sent_as_one_packet_come_as_one_and_can_be_cut() {
        let (to, from, address) = pair();
        if set_gro(&to).is_err() || max_segments() == 1 {
            return;
        }
        let payload: Vec<u8> = (0..25).flat_map(|n| [n; 10]).collect();
        let packet = Packet {
            to: &address,
            payload: &payload[..244],
            segment_bytes: NonZeroU16::new(10),
            deliveries: 25,
            tag: None,
        };
        let tally = Sender::new(Gso::On).send(&from, [packet]);
        assert_eq!((tally.sent, tally.split_packets), (25, 0));
        let mut buffer = vec![0; 65_536];
        let received = receive_gro(&to, &mut buffer).unwrap();
        let expected = Coalesced {
            bytes: 244,
            segment_bytes: NonZeroU16::new(10),
        };
        assert_eq!(received, expected);
        assert_eq!(buffer[..received.bytes], payload[..244]);
    }

    #[test]
    fn an_empty_socket_is_an_error_that_says_so() {
        let (to, _, _) = pair();
        to.set_nonblocking(true).unwrap();
        let error = receive_gro(&to, &mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_payload_is_cut_into_at_least_one_datagram() {
        let cut = |payload, segment_bytes| {
            datagrams(payload, NonZeroU16::new(segment_bytes)).collect::<Vec<_>>()
        };
        assert_eq!(cut(b"aabbc", 2), [&b"aa"[..], b"bb", b"c"]);
        assert_eq!(cut(b"aabb", 2), [&b"aa"[..], b"bb"]);
        assert_eq!(cut(b"a", 2), [b"a"]);
        assert_eq!(cut(b"aabb", 0), [b"aabb"]);
        for segment_bytes in [0, 2] {
            assert_eq!(cut(b"", segment_bytes), [b""]);
        }
    }

    fn pair() -> (UdpSocket, UdpSocket, PeerAddr) {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        to.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let address = PeerAddr::new(to.local_addr().unwrap(), 0);
        (to, from, address)
    }
}
