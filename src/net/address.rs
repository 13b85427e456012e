//! A peer's address, in the bytes that the kernel reads and writes.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::local::LocalIndex;

/// The address of a peer, and the endpoint that it sends to.
///
/// The socket address and the `--bind` address are the identity of the peer. The local address is
/// not part of it, and two values that differ only there are equal. A peer that writes to another
/// address of the machine is the same peer. Otherwise a stranger who forges one datagram to
/// another address would be heard as a second peer in its name.
///
/// A value has 32 bytes and is aligned. A snapshot of a room is an array of these, and a
/// batch of sends points the kernel straight into it.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub struct PeerAddr {
    /// A `struct sockaddr_in` or `sockaddr_in6`. The bytes after a `sockaddr_in` and
    /// the IPv6 flow information are zero, so that equal peers have equal bytes.
    sockaddr: [u8; SOCKADDR_BYTES],
    endpoint: Endpoint,
}

/// The place that a peer sends to and must be answered from: a `--bind` address, and the local
/// address that the peer wrote to. Peers of one endpoint can be sent to with one system call.
///
/// It is one word, because it is compared for each member of a room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint(u32);

impl PeerAddr {
    /// Creates the address of the peer at `address` that sends to the `--bind` address with
    /// the index `bind`.
    pub fn new(address: SocketAddr, bind: u8) -> Self {
        let mut sockaddr = [0; SOCKADDR_BYTES];
        sockaddr[PORT].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                sockaddr[FAMILY].copy_from_slice(&AF_INET.to_ne_bytes());
                sockaddr[V4_IP].copy_from_slice(&v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                sockaddr[FAMILY].copy_from_slice(&AF_INET6.to_ne_bytes());
                sockaddr[V6_IP].copy_from_slice(&v6.ip().octets());
                sockaddr[V6_SCOPE].copy_from_slice(&v6.scope_id().to_ne_bytes());
            }
        }
        Self {
            sockaddr,
            endpoint: Endpoint::of(bind),
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Returns the same peer at another local address. `endpoint` must have its `--bind` address.
    #[must_use]
    pub fn at(mut self, endpoint: Endpoint) -> Self {
        debug_assert_eq!(self.endpoint.bind(), endpoint.bind());
        self.endpoint = endpoint;
        self
    }

    pub fn socket_addr(&self) -> SocketAddr {
        let port = self.port();
        if self.is_v6() {
            let ip: [u8; 16] = self.field(V6_IP);
            let scope = u32::from_ne_bytes(self.field(V6_SCOPE));
            SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into()
        } else {
            let ip: [u8; 4] = self.field(V4_IP);
            SocketAddrV4::new(Ipv4Addr::from(ip), port).into()
        }
    }

    pub fn port(&self) -> u16 {
        u16::from_be_bytes(self.field(PORT))
    }

    /// Converts a `msg_name` that the kernel wrote. Bytes that do not belong to the
    /// address, left from an earlier one, are cleared.
    pub fn from_kernel(name: &[u8; SOCKADDR_BYTES], bind: u8) -> Self {
        let mut sockaddr = [0; SOCKADDR_BYTES];
        if name[FAMILY] == AF_INET6.to_ne_bytes() {
            sockaddr = *name;
            sockaddr[V6_FLOW].fill(0);
        } else {
            sockaddr[..V4_BYTES].copy_from_slice(&name[..V4_BYTES]);
        }
        Self {
            sockaddr,
            endpoint: Endpoint::of(bind),
        }
    }

    /// Returns the bytes for a `msg_name`.
    pub fn sockaddr(&self) -> &[u8] {
        let len = if self.is_v6() {
            SOCKADDR_BYTES
        } else {
            V4_BYTES
        };
        &self.sockaddr[..len]
    }

    /// Length of the headers of IP and UDP of a datagram to or from this address.
    pub fn header_bytes(&self) -> usize {
        if self.is_v6() { 48 } else { 28 }
    }

    pub fn is_v6(&self) -> bool {
        u16::from_ne_bytes(self.field(FAMILY)) == AF_INET6
    }

    fn field<const N: usize>(&self, range: std::ops::Range<usize>) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.sockaddr[range]);
        field
    }
}

impl PartialEq for PeerAddr {
    fn eq(&self, other: &Self) -> bool {
        self.sockaddr == other.sockaddr && self.endpoint.bind() == other.endpoint.bind()
    }
}

impl Eq for PeerAddr {}

impl Hash for PeerAddr {
    /// Hashes one word of an IPv4 address, which holds all of it, at half the cost.
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.is_v6() {
            state.write(&self.sockaddr);
        } else {
            state.write_u64(u64::from_ne_bytes(self.field(FAMILY_PORT_V4_IP)));
        }
        state.write_u8(self.endpoint.bind());
    }
}

impl Endpoint {
    /// Returns the endpoint of the `--bind` address with this index. What is sent leaves from
    /// the address of the socket, or from the one that the routes choose if the socket has
    /// none.
    pub const fn of(bind: u8) -> Self {
        Self(bind as u32)
    }

    /// Returns the same endpoint with a local address to send from.
    #[must_use]
    pub fn with_local(self, local: Option<LocalIndex>) -> Self {
        let number = local.map_or(0, LocalIndex::number);
        Self(u32::from(self.bind()) | u32::from(number) << u8::BITS)
    }

    /// A number that no other endpoint has.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The index of the `--bind` address.
    pub fn bind(self) -> u8 {
        self.0 as u8
    }

    /// The local address to send from, see [`Endpoint::of`].
    pub fn local(self) -> Option<LocalIndex> {
        LocalIndex::of(self.0 as usize >> u8::BITS)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.bind(), self.local())
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket_addr().fmt(f)
    }
}

impl fmt::Debug for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.socket_addr(), self.endpoint.bind())
    }
}

/// `sizeof(struct sockaddr_in6)`, the larger of the two.
pub const SOCKADDR_BYTES: usize = size_of::<libc::sockaddr_in6>();
/// `sizeof(struct sockaddr_in)` with its padding.
const V4_BYTES: usize = size_of::<libc::sockaddr_in>();

const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;

// Offsets of the fields, from include/uapi/linux/in.h and in6.h.
const FAMILY: std::ops::Range<usize> = 0..2;
const PORT: std::ops::Range<usize> = 2..4;
const V4_IP: std::ops::Range<usize> = 4..8;
const FAMILY_PORT_V4_IP: std::ops::Range<usize> = 0..8;
const V6_FLOW: std::ops::Range<usize> = 4..8;
const V6_IP: std::ops::Range<usize> = 8..24;
const V6_SCOPE: std::ops::Range<usize> = 24..28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip_through_the_kernels_form() {
        for text in [
            "127.0.0.1:9999",
            "255.255.255.255:65535",
            "[::1]:1",
            "[fe80::1%7]:9",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let peer = PeerAddr::new(address, 3);
            assert_eq!(peer.socket_addr(), address);
            assert_eq!(peer.to_string(), text);
            assert_eq!(
                (peer.port(), peer.endpoint()),
                (address.port(), Endpoint::of(3))
            );
        }
        assert_eq!(size_of::<PeerAddr>(), 32);
    }

    #[test]
    fn bytes_of_an_earlier_address_make_no_other_peer() {
        let v4 = PeerAddr::new("127.0.0.1:9999".parse().unwrap(), 0);
        let mut name = v4.sockaddr;
        name[V4_BYTES..].fill(0xAA);
        assert_eq!(PeerAddr::from_kernel(&name, 0), v4);

        let v6 = PeerAddr::new("[::1]:9999".parse().unwrap(), 0);
        let mut name = v6.sockaddr;
        name[V6_FLOW].fill(0xAA);
        assert_eq!(PeerAddr::from_kernel(&name, 0), v6);
    }

    #[test]
    fn one_address_at_two_binds_is_two_peers_and_at_two_local_addresses_one() {
        let address = "127.0.0.1:9999".parse().unwrap();
        let (one, other) = (PeerAddr::new(address, 0), PeerAddr::new(address, 1));
        assert_ne!(one, other);
        let endpoint = one.endpoint().with_local(LocalIndex::of(7));
        assert_eq!((endpoint.bind(), endpoint.local()), (0, LocalIndex::of(7)));
        assert_eq!(endpoint.with_local(None), one.endpoint());
        let moved = one.at(endpoint);
        assert_eq!((moved, moved.endpoint()), (one, endpoint));
        assert_ne!(moved.endpoint(), one.endpoint());
        let hash = |peer: PeerAddr| std::hash::BuildHasher::hash_one(&HASHES, peer);
        assert_eq!(hash(moved), hash(one));
    }

    const HASHES: std::hash::BuildHasherDefault<std::hash::DefaultHasher> =
        std::hash::BuildHasherDefault::new();
}
