//! Datagrams from the address of a server, which the server itself has not sent.

use std::net::{Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use super::{Client, TestServer};

/// Returns a socket that shares the address of the server, which the kernel allows to
/// the same user on a named interface. It is connected elsewhere, so it receives none of the
/// server's datagrams.
pub(crate) fn bound_to_address_of(server: &TestServer) -> Socket {
    let address = reachable(server.local_addr());
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    socket.bind_device(Some(b"lo")).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    let elsewhere = Client::connect(address).address();
    socket.connect(&elsewhere.into()).unwrap();
    socket
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
