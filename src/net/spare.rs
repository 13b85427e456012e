//! Sockets that only send, from the address of a group.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::Socket;

use super::socket::{BufferSizes, bind_member, in_call, new_socket};

/// Binds a socket to `address`, which receives nothing from the peers of the group.
///
/// It is connected to a discard port, so it receives from there alone. It still sends to
/// everyone. It is bound to all addresses first, and connecting binds it to one. That takes it
/// out of the group, in which the kernel would look at every socket for every datagram as soon
/// as one of them is connected.
pub(super) fn bind_spare(address: SocketAddr, wanted: BufferSizes) -> io::Result<Socket> {
    let all: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut discard = address;
    discard.set_port(DISCARD_PORT);
    let bind = |first: SocketAddr| {
        let socket = new_socket(address, wanted)?;
        bind_member(&socket, first)?;
        socket
            .connect(&discard.into())
            .map_err(in_call("connect"))?;
        let local = socket.local_addr()?.as_socket();
        if local.map(|local| local.ip()) == Some(discard.ip()) {
            Ok(socket)
        } else {
            Err(io::Error::other("the kernel chose another source"))
        }
    };
    // Other sockets may have the port at other addresses.
    bind(SocketAddr::new(all, address.port())).or_else(|_| bind(address))
}

/// The discard service (RFC 863), which answers nothing.
const DISCARD_PORT: u16 = 9;
