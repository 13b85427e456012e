//! A connected UDP socket, and the meaning of its errors.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::net::{Coalesced, receive_gro, set_gro};

/// A non-blocking socket that sends to one address, and receives from it only. The kernel
/// reports if nothing listens there.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: UdpSocket,
}

/// The outcome of sending a datagram.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The kernel took it.
    Taken,
    /// The kernel took it, and the network had refused an earlier one.
    TakenAfterRefusal(ErrorKind),
    /// There is no way to the server, or nothing listens there.
    Refused(ErrorKind),
    /// The send buffer of the socket has no space.
    Blocked,
    /// The kernel will not take this datagram.
    Failed,
}

/// The outcome of receiving.
#[derive(Debug)]
pub(crate) enum Received {
    /// The buffer begins with these datagrams.
    Datagrams(Coalesced),
    /// The network refused something that was sent before.
    Refusal(ErrorKind),
    /// A signal came first.
    Again,
    /// There is nothing more.
    Nothing,
}

impl Socket {
    pub(crate) fn open(server: SocketAddr) -> io::Result<Self> {
        let socket = bind_for(server)?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        // An old kernel hands over each datagram by itself, which only costs time.
        let _ = set_gro(&socket);
        Ok(Self { socket })
    }

    /// Opens a socket to the first address that one can be connected to, and returns the
    /// index of the address.
    pub(crate) fn open_first(addresses: &[SocketAddr]) -> io::Result<(Self, usize)> {
        let mut last_error = ErrorKind::AddrNotAvailable.into();
        for (index, address) in addresses.iter().enumerate() {
            match Self::open(*address) {
                Ok(socket) => return Ok((socket, index)),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    /// Registers the socket with a poll, edge-triggered. The poll forgets it when it is
    /// dropped.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let descriptor = self.socket.as_raw_fd();
        let interests = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&descriptor), token, interests)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn send(&self, datagram: &[u8]) -> Sent {
        match self.send_once(datagram) {
            // The kernel reported an earlier datagram instead of sending this one.
            Sent::Refused(kind) => match self.send_once(datagram) {
                Sent::Taken => Sent::TakenAfterRefusal(kind),
                outcome => outcome,
            },
            outcome => outcome,
        }
    }

    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Received {
        match receive_gro(&self.socket, buffer) {
            Ok(received) => Received::Datagrams(received),
            Err(error) if error.kind() == ErrorKind::Interrupted => Received::Again,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Received::Nothing,
            Err(error) => Received::Refusal(error.kind()),
        }
    }

    fn send_once(&self, datagram: &[u8]) -> Sent {
        match self.socket.send(datagram) {
            Ok(_) => Sent::Taken,
            Err(error) if is_unreachable(&error) => Sent::Refused(error.kind()),
            Err(error) if is_full(&error) => Sent::Blocked,
            Err(_) => Sent::Failed,
        }
    }
}

/// Returns a socket on a free port, of the address family of `server`.
///
/// # Errors
/// The system has no socket, or no address of this family.
pub fn bind_for(server: SocketAddr) -> io::Result<UdpSocket> {
    match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }
}

/// Returns true if the error is about the way to the server, and so may pass by itself.
pub fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            // The own address is gone.
            | ErrorKind::AddrNotAvailable
            // A packet filter on this machine forbids it.
            | ErrorKind::PermissionDenied
            | ErrorKind::TimedOut
    )
}

/// Returns true if the datagram is longer than the way to the server carries.
pub fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Space for the longest UDP datagram.
pub const MAX_DATAGRAM_BYTES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_datagram_is_sent_again_after_the_report_of_an_earlier_one() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = Socket::open(server.local_addr().unwrap()).unwrap();
        assert!(matches!(socket.send(b"one"), Sent::Taken));
        let address = server.local_addr().unwrap();
        drop(server);
        assert!(matches!(socket.send(b"refused"), Sent::Taken));
        let server = UdpSocket::bind(address).unwrap();
        let refused = Sent::TakenAfterRefusal(ErrorKind::ConnectionRefused);
        let sent = socket.send(b"two");
        assert_eq!(format!("{sent:?}"), format!("{refused:?}"));
        let mut buffer = [0; 8];
        let len = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"two");
    }
}
