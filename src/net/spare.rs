//! Sockets that only send, from the address of a group.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use mio::net::UdpSocket;
use socket2::{SockRef, Socket};

use super::socket::{BufferSizes, bind_member, in_call, new_socket, share_with_all};

/// The sockets of one endpoint through which one thread sends what its own socket cannot take.
#[derive(Debug)]
pub struct Spares {
    /// Takes the place of the thread's own socket, if that stays full.
    pub(super) spare: UdpSocket,
    /// For peers whose packets do not leave. All threads share it.
    pub(super) apart: Arc<UdpSocket>,
    /// True if they send from a wrong address, unless each packet names its source.
    pub(super) needs_source: bool,
}

/// The way in which a spare shares its address with the group.
#[derive(Clone, Copy)]
pub(super) enum Sharing {
    /// By `SO_REUSEPORT`, with sockets of the same user.
    WithGroup,
    /// By `SO_REUSEADDR`, with sockets that have it, of any user.
    WithAll,
}

/// Returns the number of sockets in the [`Spares`] of this many threads.
pub fn spare_sockets(threads: usize) -> usize {
    threads + 1
}

/// Opens spares of `address` for each of `threads` threads.
pub(super) fn bind_spares(
    address: SocketAddr,
    threads: usize,
    wanted: BufferSizes,
    sharing: Sharing,
) -> io::Result<Vec<Socket>> {
    let sockets = (0..spare_sockets(threads)).map(|_| bind_spare(address, wanted, sharing));
    sockets.collect()
}

/// Gives each thread its spares.
pub(super) fn share_spares(address: SocketAddr, sockets: Vec<Socket>) -> Vec<Spares> {
    let mut sockets = sockets
        .into_iter()
        .map(|socket| UdpSocket::from_std(socket.into()));
    let Some(apart) = sockets.next().map(Arc::new) else {
        return Vec::new();
    };
    let spares = sockets.map(|spare| Spares {
        spare,
        apart: Arc::clone(&apart),
        needs_source: address.ip().is_unspecified(),
    });
    spares.collect()
}

/// Binds a socket to `address`, which receives nothing from the peers of the group.
///
/// It is connected to a discard port, so it receives from there alone. It still sends to
/// everyone. It is bound to all addresses first, and connecting binds it to one. That takes it
/// out of the group, in which the kernel would look at every socket for every datagram as soon
/// as one of them is connected.
fn bind_spare(address: SocketAddr, wanted: BufferSizes, sharing: Sharing) -> io::Result<Socket> {
    let all: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut discard = address;
    discard.set_port(DISCARD_PORT);
    let bind = |first: SocketAddr| {
        let socket = new_socket(address, wanted)?;
        match sharing {
            Sharing::WithGroup => bind_member(&socket, first)?,
            Sharing::WithAll => {
                share_with_all(&SockRef::from(&socket), true)?;
                socket.bind(&first.into()).map_err(in_call("bind"))?;
            }
        }
        // The kernel takes an unspecified address for the loopback address.
        let connected = socket.connect(&discard.into());
        connected.map_err(in_call("connect"))?;
        let local = socket.local_addr()?.as_socket();
        if address.ip().is_unspecified() || local.map(|local| local.ip()) == Some(address.ip()) {
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
