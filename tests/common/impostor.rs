//! Datagrams from the address of a server, which the server itself has not sent.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Client, TestServer};

/// A socket that sends from the address of a server.
pub(crate) struct Impostor {
    socket: Socket,
    source: Option<Ipv4Addr>,
}

/// Returns one for a server at an IPv4 address, or at all addresses.
pub(crate) fn bound_to_address_of(server: &TestServer) -> Impostor {
    let mut address = reachable(server.local_addr());
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    let mut source = None;
    if server.local_addr().ip().is_unspecified() {
        // The kernel allows it to the same user on a named interface.
        socket.bind_device(Some(b"lo")).unwrap();
        socket.set_reuse_port(true).unwrap();
    }
    if let SocketAddr::V4(v4) = address {
        // Another address with the same port, from which a datagram may have any source.
        source = Some(*v4.ip());
        let sibling = match v4.ip().is_loopback() {
            true => SIBLING,
            false => NETWORK_SIBLING,
        };
        address.set_ip(sibling.into());
    }
    socket.bind(&address.into()).unwrap();
    if source.is_none() {
        // So it receives none of the server's datagrams.
        let elsewhere = Client::connect(address).address();
        socket.connect(&elsewhere.into()).unwrap();
    }
    Impostor { socket, source }
}

impl Impostor {
    pub(crate) fn send_to(&self, datagram: &[u8], to: &SockAddr) -> io::Result<usize> {
        let Some(source) = self.source else {
            return self.socket.send_to(datagram, to);
        };
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from_ne_bytes(source.octets()),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let to = SockaddrIn::from(to.as_socket_ipv4().expect("IPv4"));
        Ok(sendmsg(
            self.socket.as_raw_fd(),
            &[io::IoSlice::new(datagram)],
            &[ControlMessage::Ipv4PacketInfo(&info)],
            MsgFlags::empty(),
            Some(&to),
        )?)
    }
}

/// Returns an address that reaches a server bound to `address`.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) if address.ip().is_unspecified() => address.set_ip([127, 0, 0, 1].into()),
        SocketAddr::V6(_) if address.ip().is_unspecified() => {
            address.set_ip(Ipv6Addr::LOCALHOST.into());
        }
        _ => {}
    }
    address
}

/// An address of the loopback interface at which no server of these tests listens.
const SIBLING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 99);

/// The same in the networks of tests, where the servers have 10.77.0.1.
const NETWORK_SIBLING: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
