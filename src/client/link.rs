//! One connected UDP socket, and what its errors mean. It knows nothing of what
//! the datagrams say.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::net::{Coalesced, receive_gro, set_gro};

/// A non-blocking socket that sends to and receives from one address only. The
/// kernel reports on it that nothing listens there.
#[derive(Debug)]
pub(crate) struct Link {
    socket: UdpSocket,
}

impl Link {
    pub(crate) fn open(peer: SocketAddr) -> io::Result<Self> {
        let socket = bind_for(peer)?;
        socket.connect(peer)?;
        socket.set_nonblocking(true)?;
        // An old kernel hands over each datagram by itself, which costs time only.
        let _ = set_gro(&socket);
        Ok(Self { socket })
    }

    /// Makes the poll report that something can be received. It forgets the
    /// link when that is dropped.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let descriptor = self.socket.as_raw_fd();
        registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Hands the datagram to the kernel, which may first report what became of
    /// an earlier one.
    pub(crate) fn send(&self, datagram: &[u8]) -> Result<Sent, SendError> {
        match self.send_once(datagram) {
            // The report took the place of the sending, so this is the first
            // try for this datagram.
            Err(SendError::Unreachable(kind)) => self.send_once(datagram).map(|()| Sent {
                earlier_refused: Some(kind),
            }),
            result => result.map(|()| Sent {
                earlier_refused: None,
            }),
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

    fn send_once(&self, datagram: &[u8]) -> Result<(), SendError> {
        match self.socket.send(datagram) {
            Ok(_) => Ok(()),
            Err(error) if is_unreachable(&error) => Err(SendError::Unreachable(error.kind())),
            Err(error) if is_full(&error) => Err(SendError::Full),
            Err(error) if is_too_long(&error) => Err(SendError::TooLong),
            Err(error) => Err(SendError::Other(error)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Sent {
    /// The network refused something that was sent before.
    pub(crate) earlier_refused: Option<ErrorKind>,
}

#[derive(Debug)]
pub(crate) enum SendError {
    /// There is no way to the peer, or nothing listens there.
    Unreachable(ErrorKind),
    /// The kernel's send buffer has no room now.
    Full,
    /// More than fits into one datagram.
    TooLong,
    Other(io::Error),
}

#[derive(Debug)]
pub(crate) enum Received {
    /// The buffer begins with these.
    Datagrams(Coalesced),
    /// The network refused something that was sent before.
    Refusal(ErrorKind),
    /// A signal came; try again.
    Again,
    /// All that came has been received.
    Nothing,
}

/// A socket on any free port, of the family that can reach the peer.
pub fn bind_for(peer: SocketAddr) -> io::Result<UdpSocket> {
    match peer {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }
}

/// True if the error is about the way to the peer, and so may pass by itself.
pub fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            // The address that we had is gone.
            | ErrorKind::AddrNotAvailable
            // A packet filter here forbids it.
            | ErrorKind::PermissionDenied
            | ErrorKind::TimedOut
    )
}

/// True if the datagram is longer than the way to the peer carries.
pub fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// The longest datagram that UDP can carry.
pub const DATAGRAM_BYTES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;

    use crate::net::{Gso, Packet, PeerAddr, Sender, max_segments};

    #[test]
    fn a_refusal_of_the_last_datagram_does_not_cost_the_next() {
        let address = UdpSocket::bind("127.0.0.80:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let link = Link::open(address).unwrap();
        // On the loopback interface the refusal is there when this returns.
        link.send(b"first").unwrap();
        let server = UdpSocket::bind(address).unwrap();
        let sent = link.send(b"second").unwrap();
        assert_eq!(sent.earlier_refused, Some(ErrorKind::ConnectionRefused));
        server.set_nonblocking(true).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(server.recv(&mut buffer).unwrap(), b"second".len());
    }

    #[test]
    fn what_was_sent_as_one_packet_is_received_at_once() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = Link::open(server.local_addr().unwrap()).unwrap();
        if set_gro(&server).is_err() || max_segments() == 1 {
            return;
        }
        let packet = Packet {
            to: &PeerAddr::new(link.local_addr().unwrap(), 0),
            payload: &[7; 25],
            segment_bytes: NonZeroU16::new(10),
            deliveries: 3,
        };
        assert_eq!(Sender::new(Gso::On).send(&server, [packet]).sent, 3);
        match link.receive(&mut [0; 100]) {
            Received::Datagrams(Coalesced {
                bytes: 25,
                segment_bytes,
            }) if segment_bytes == NonZeroU16::new(10) => {}
            other => panic!("{other:?}"),
        }
        assert!(matches!(link.receive(&mut [0; 100]), Received::Nothing));
    }
}
