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

impl Socket {
    pub(crate) fn open(server: SocketAddr) -> io::Result<Self> {
        let socket = match server {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
        }?;
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

    /// Sends a datagram. One that the kernel does not take for a reason of its own is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if there is no space. Other errors are refusals of the
    /// network. They may be of an earlier datagram, and this one may have been sent.
    pub(crate) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self.send_once(datagram) {
            // The kernel reported an earlier datagram instead of sending this one.
            Err(refusal) if refusal.kind() != ErrorKind::WouldBlock => {
                self.send_once(datagram).and(Err(refusal))
            }
            result => result,
        }
    }

    /// Receives datagrams, with which the buffer then begins.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if there is nothing more. Other errors are refusals of
    /// something that was sent before.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Coalesced> {
        loop {
            match receive_gro(&self.socket, buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn send_once(&self, datagram: &[u8]) -> io::Result<()> {
        match self.socket.send(datagram) {
            Err(error) if is_unreachable(&error) => Err(error),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                Err(ErrorKind::WouldBlock.into())
            }
            _ => Ok(()),
        }
    }
}

/// Returns true if the error is about the way to the server, and so may pass by itself.
fn is_unreachable(error: &io::Error) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_datagram_is_sent_again_after_the_report_of_an_earlier_one() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = Socket::open(server.local_addr().unwrap()).unwrap();
        assert!(socket.send(b"one").is_ok());
        let address = server.local_addr().unwrap();
        drop(server);
        assert!(socket.send(b"refused").is_ok());
        let server = UdpSocket::bind(address).unwrap();
        let refusal = socket.send(b"two").unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::ConnectionRefused);
        let mut buffer = [0; 8];
        let len = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"two");
    }
}
