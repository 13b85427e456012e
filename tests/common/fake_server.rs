//! A socket with which a test plays a server, and the datagrams of protocol v1.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use super::{TIMEOUT, V4, V4_UNSHARED, uninterrupted, wait_for};

pub(crate) struct FakeServer {
    pub(crate) socket: UdpSocket,
}

impl FakeServer {
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_at(V4)
    }

    /// Starts at an address that no other socket uses, so its port is free after a stop.
    #[track_caller]
    pub(crate) fn start_unshared() -> Self {
        Self::start_at(V4_UNSHARED)
    }

    #[track_caller]
    pub(crate) fn start_at(address: &str) -> Self {
        match Self::bind(address.parse().expect("an address")) {
            Ok(server) => server,
            Err(error) => panic!("cannot bind {address}: {error}"),
        }
    }

    /// Starts at the address of a server that has stopped.
    #[track_caller]
    pub(crate) fn restart(address: SocketAddr) -> Self {
        wait_for("a free port", || Self::bind(address).ok())
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { socket })
    }

    /// Stops, and returns the address.
    pub(crate) fn stop(self) -> SocketAddr {
        self.address()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Receives the next datagram that does not search for the length that passes the path.
    #[track_caller]
    pub(crate) fn receive(&self) -> (Vec<u8>, SocketAddr) {
        loop {
            let (datagram, from) = self.receive_any();
            if !is_path_probe(&datagram) {
                return (datagram, from);
            }
        }
    }

    #[track_caller]
    pub(crate) fn receive_any(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        match uninterrupted(|| self.socket.recv_from(&mut buffer)) {
            Err(error) => panic!("nothing received: {error}"),
            Ok((len, from)) => {
                buffer.truncate(len);
                (buffer, from)
            }
        }
    }

    /// Receives the next datagram that is neither a heartbeat nor a ping.
    #[track_caller]
    pub(crate) fn receive_text(&self) -> Vec<u8> {
        self.receive_text_from().0
    }

    /// Receives the next datagram that is neither a heartbeat nor a ping, and its sender.
    #[track_caller]
    pub(crate) fn receive_text_from(&self) -> (Vec<u8>, SocketAddr) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let (datagram, from) = self.receive();
            if datagram != b"@im@" && !datagram.starts_with(b"/ping ") {
                return (datagram, from);
            }
            assert!(Instant::now() < deadline, "only heartbeats came");
        }
    }

    /// Receives a datagram, which must be a heartbeat, and returns its sender.
    #[track_caller]
    pub(crate) fn receive_heartbeat(&self) -> SocketAddr {
        let (datagram, from) = self.receive();
        assert_eq!(datagram, b"@im@");
        from
    }

    /// Returns `true` if no datagram waits to be received.
    pub(crate) fn inbox_is_empty(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        self.socket.recv(&mut [0; 1]).is_err()
    }

    #[track_caller]
    pub(crate) fn send(&self, datagram: &[u8], to: SocketAddr) {
        self.socket.send_to(datagram, to).unwrap();
    }
}

/// Returns true for a datagram of version 2 with a PING of 8 bytes. The pings of the session's
/// liveness are longer.
fn is_path_probe(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0xFF]) && datagram.get(10..13) == Some(&[5, 0, 8])
}
