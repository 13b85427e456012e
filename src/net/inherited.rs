//! Sockets that a service manager has opened for this program, such as systemd's `ListenDatagram=`.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::process;

use listenfd::ListenFd;
use socket2::{Protocol, Socket};

use super::guard::{ClosedGroup, close_inherited};
use super::socket::{
    BindError, BufferSizes, MAX_ENDPOINTS, SocketGroup, check_broadcast, explain, granted,
    new_socket, set_options, set_receive_buffer, set_send_buffer,
};

/// UDP sockets, grouped by their addresses. Every address has as many of them.
#[derive(Debug)]
pub struct InheritedSockets {
    /// In the order of the first socket of each.
    groups: Vec<(SocketAddr, Vec<Socket>)>,
}

/// The reason why sockets that a service manager has opened are not those of a server.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    #[error("LISTEN_FDS must be a number of sockets up to {MAX_SOCKETS}, not {0:?}")]
    Count(String),
    /// A TCP or Unix socket, or a file.
    #[error(
        "file descriptor {descriptor} is no UDP socket: in the socket unit, the server takes \
         ListenDatagram= with an IP address and a port, and nothing else"
    )]
    NotUdp { descriptor: usize },
    #[error(
        "a socket on {address} is connected to {peer}: the server needs one that receives from all"
    )]
    Connected {
        address: SocketAddr,
        peer: SocketAddr,
    },
    #[error(
        "a socket has no port: in the socket unit, give ListenDatagram= an IP address and a port"
    )]
    NotBound,
    /// The kernel would give all datagrams to one of the sockets.
    #[error("a socket on {0} does not share its address: set ReusePort=yes in the socket unit")]
    NotShared(SocketAddr),
    /// A peer that uses IPv4 would have an address in two forms.
    #[error(
        "a socket on {0} takes IPv4, too: set BindIPv6Only=ipv6-only in the socket unit, and add \
         ListenDatagram=0.0.0.0:{port} for IPv4",
        port = .0.port()
    )]
    TakesIpv4(SocketAddr),
    /// The numbers of sockets differ.
    #[error(
        "there are {count} sockets on {address}, and {other_count} on {other}: each address needs \
         one for each worker, so give ListenDatagram= as many times for each"
    )]
    Uneven {
        address: SocketAddr,
        count: usize,
        other: SocketAddr,
        other_count: usize,
    },
    #[error("cannot use a socket of the service manager: {0}")]
    System(#[from] io::Error),
}

impl InheritedSockets {
    /// Takes the sockets that the service manager has opened for this process (`LISTEN_FDS`).
    /// Returns `None` if there are none. A program calls this once, before it opens a file or starts
    /// a thread, as it takes file descriptors by their numbers and removes the variables.
    ///
    /// # Errors
    /// [`InheritError`].
    pub fn from_env() -> Result<Option<Self>, InheritError> {
        let [pid, count] = ["LISTEN_PID", "LISTEN_FDS"].map(|name| env::var(name).ok());
        // The crate takes the sockets of a process without a number, too. They may be others'.
        if pid.and_then(|pid| pid.parse().ok()) != Some(process::id()) {
            return Ok(None);
        }
        let count = match count {
            None => return Ok(None),
            Some(text) => {
                let count = text.parse().ok().filter(|count| *count <= MAX_SOCKETS);
                count.ok_or(InheritError::Count(text))?
            }
        };
        let mut listen_fd = ListenFd::from_env();
        let take = |index: usize| {
            let not_udp = || InheritError::NotUdp {
                descriptor: FIRST_DESCRIPTOR + index,
            };
            let socket = listen_fd.take_udp_socket(index).ok().flatten();
            let socket = Socket::from(socket.ok_or_else(not_udp)?);
            match socket.protocol() {
                Ok(Some(Protocol::UDP)) => Ok(socket),
                _ => Err(not_udp()),
            }
        };
        let sockets: Vec<Socket> = (0..count).map(take).collect::<Result<_, _>>()?;
        if sockets.is_empty() {
            return Ok(None);
        }
        Self::new(sockets).map(Some)
    }

    /// Groups sockets by their addresses, and checks that they are those of a server.
    ///
    /// # Errors
    /// [`InheritError`].
    fn new(sockets: Vec<Socket>) -> Result<Self, InheritError> {
        let mut groups: Vec<(SocketAddr, Vec<Socket>)> = Vec::new();
        for socket in sockets {
            let address = check(&socket)?;
            match groups.iter_mut().find(|(other, _)| *other == address) {
                Some((_, group)) => group.push(socket),
                None => groups.push((address, vec![socket])),
            }
        }
        for (address, group) in &groups {
            for socket in group {
                if group.len() > 1 && !socket.reuse_port()? {
                    return Err(InheritError::NotShared(*address));
                }
            }
        }
        let (first, rest) = groups.split_first().expect("a socket");
        if let Some(other) = rest.iter().find(|(_, group)| group.len() != first.1.len()) {
            return Err(InheritError::Uneven {
                address: first.0,
                count: first.1.len(),
                other: other.0,
                other_count: other.1.len(),
            });
        }
        Ok(Self { groups })
    }

    /// The address of each group.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.groups.iter().map(|(address, _)| *address).collect()
    }

    /// Number of sockets of each address.
    pub fn sockets_per_address(&self) -> usize {
        self.groups.first().map_or(0, |(_, group)| group.len())
    }

    /// Sets the options of a server's sockets, opens spares, and closes the groups.
    ///
    /// # Errors
    /// [`BindError`], if the system refuses an option or an address.
    pub fn into_closed_groups(self, wanted: BufferSizes) -> Result<Vec<ClosedGroup>, BindError> {
        let close = |(address, sockets)| {
            let group = group_of(address, sockets, wanted);
            let group = group.map_err(|error| explain(address, error))?;
            let group = check_broadcast(group)?;
            close_inherited(group, wanted).map_err(|error| explain(address, error))
        };
        self.groups.into_iter().map(close).collect()
    }
}

/// Checks one socket. Returns its address.
fn check(socket: &Socket) -> Result<SocketAddr, InheritError> {
    let address = socket.local_addr()?.as_socket();
    let address = address.ok_or_else(|| io::Error::other("it has no IP address"))?;
    if let Some(peer) = socket.peer_addr().ok().and_then(|peer| peer.as_socket()) {
        return Err(InheritError::Connected { address, peer });
    }
    if address.port() == 0 {
        return Err(InheritError::NotBound);
    }
    let is_wildcard = address.ip().is_unspecified();
    if address.is_ipv6() && is_wildcard && !socket.only_v6()? {
        return Err(InheritError::TakesIpv4(address));
    }
    Ok(address)
}

fn group_of(
    address: SocketAddr,
    sockets: Vec<Socket>,
    wanted: BufferSizes,
) -> io::Result<SocketGroup> {
    // The sizes that this process may set. The service manager may have set larger ones.
    let possible = granted(&new_socket(address, wanted)?)?;
    for socket in &sockets {
        set_options(socket, address)?;
        let now = granted(socket)?;
        if possible.receive_bytes > now.receive_bytes {
            set_receive_buffer(socket, wanted.receive_bytes);
        }
        if possible.send_bytes > now.send_bytes {
            set_send_buffer(socket, wanted.send_bytes);
        }
    }
    let mut group = SocketGroup::of(&sockets[0])?;
    sockets.into_iter().for_each(|socket| group.push(socket));
    Ok(group)
}

/// As many workers as a server may have, at as many addresses.
const MAX_SOCKETS: usize = 256 * MAX_ENDPOINTS;

/// The first file descriptor after those of standard input, output and errors.
const FIRST_DESCRIPTOR: usize = 3;

#[cfg(test)]
mod tests;
