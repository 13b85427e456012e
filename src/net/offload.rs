//! How many datagrams the kernel takes as one packet (GSO).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::address::PeerAddr;
use super::send::{Packet, Sender};

/// The most datagrams that this kernel takes as one packet, found out by sending
/// one to itself on loopback: 128 since Linux 6.9, 64 since 4.18 (`UDP_MAX_SEGMENTS`,
/// include/linux/udp.h), 1 before.
pub fn max_segments() -> usize {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let socket = loopback
        .iter()
        .find_map(|ip| UdpSocket::bind((*ip, 0)).ok());
    let address = socket.as_ref().and_then(|socket| socket.local_addr().ok());
    let (Some(socket), Some(address)) = (socket, address) else {
        // Nowhere to try it. If the kernel takes none, it will say so.
        return SEGMENTS[1];
    };
    let to = PeerAddr::new(address, 0);
    let is_taken = |count: &usize| {
        let packet = Packet {
            to: &to,
            payload: &[0; MAX_SEGMENTS][..*count],
            segment_bytes: 1,
            deliveries: 1,
        };
        Sender::new(true).send(&socket, [packet]).split_packets == 0
    };
    SEGMENTS.into_iter().find(is_taken).unwrap_or(1)
}

/// The most datagrams in one packet that any kernel takes; see [`max_segments`].
pub const MAX_SEGMENTS: usize = 128;

/// What kernels take, new and old.
const SEGMENTS: [usize; 2] = [MAX_SEGMENTS, 64];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_were_found_are_taken_and_not_one_more() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = PeerAddr::new(socket.local_addr().unwrap(), 0);
        let split = |count: usize| {
            let packet = Packet {
                to: &to,
                payload: &vec![0; count],
                segment_bytes: 1,
                deliveries: 1,
            };
            Sender::new(true).send(&socket, [packet]).split_packets
        };
        let most = max_segments();
        assert!(SEGMENTS.contains(&most), "{most}");
        assert_eq!((split(most), split(most + 1)), (0, 1));
    }
}
