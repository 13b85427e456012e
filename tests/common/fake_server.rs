//! A server that the test plays: its socket, and what a server of v1 says.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::{LIMIT, V4, V4_ALONE, wait_for};

pub(crate) struct FakeServer {
    pub(crate) socket: UdpSocket,
}

impl FakeServer {
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_at(V4)
    }

    /// At an address where its port is free again after a stop.
    #[track_caller]
    pub(crate) fn start_alone() -> Self {
        Self::start_at(V4_ALONE)
    }

    #[track_caller]
    pub(crate) fn start_at(address: &str) -> Self {
        match Self::bind(address.parse().expect("an address")) {
            Ok(server) => server,
            Err(error) => panic!("{address} cannot be had: {error}"),
        }
    }

    /// At the address of one that has stopped.
    #[track_caller]
    pub(crate) fn restart(address: SocketAddr) -> Self {
        wait_for("a free port", || Self::bind(address).ok())
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(Self { socket })
    }

    /// Returns where it was.
    pub(crate) fn stop(self) -> SocketAddr {
        self.address()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    #[track_caller]
    pub(crate) fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("nothing was heard: {error}"),
                Ok((len, from)) => {
                    buffer.truncate(len);
                    return (buffer, from);
                }
            }
        }
    }

    /// The next datagram that is not a heartbeat.
    #[track_caller]
    pub(crate) fn receive_text(&self) -> Vec<u8> {
        loop {
            let (datagram, _) = self.receive();
            if datagram != b"@im@" {
                return datagram;
            }
        }
    }

    /// Who sends the next datagram, which must be a heartbeat.
    #[track_caller]
    pub(crate) fn client(&self) -> SocketAddr {
        let (datagram, from) = self.receive();
        assert_eq!(datagram, b"@im@");
        from
    }

    /// True if nothing has come that was not received.
    pub(crate) fn is_idle(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        self.socket.recv(&mut [0; 1]).is_err()
    }

    #[track_caller]
    pub(crate) fn send(&self, datagram: &[u8], to: SocketAddr) {
        self.socket.send_to(datagram, to).unwrap();
    }
}
