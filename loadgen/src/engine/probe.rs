//! A socket of its own that finds out whether anything listens at an address.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use bullhorn::wire::QUIT;

use crate::config::Protocol;
use crate::engine::codec::{self, Say};

/// A socket that is connected to one address, so that the kernel reports if nothing listens
/// there.
#[derive(Debug)]
pub(crate) struct Probe {
    socket: UdpSocket,
    is_refused: Cell<bool>,
}

/// A sign of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Nothing listens there: the error `ECONNREFUSED`.
    Refused,
    /// A datagram arrived.
    Answered,
}

impl Probe {
    pub(crate) fn new(target: SocketAddr) -> io::Result<Self> {
        let any = match target {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(target)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            is_refused: Cell::new(false),
        })
    }

    /// Sends a leave of nobody, which a chat ignores.
    pub(crate) fn knock(&self) {
        self.send(QUIT);
    }

    /// Asks for a session, which a server of version 2 gives without storing it, or for a greeting.
    pub(crate) fn ask(&self) {
        let mut hello = Vec::new();
        codec::write(
            Protocol::V2,
            None,
            Say::Hello(fastrand::u64(..)),
            &mut hello,
        );
        self.send(&hello);
    }

    /// Returns the newest sign since the last call.
    pub(crate) fn sign(&self) -> Option<Sign> {
        let mut sign = self.is_refused.take().then_some(Sign::Refused);
        // Each call takes one of the datagrams or errors that the kernel holds.
        loop {
            match self.socket.recv(&mut [0; 1]) {
                Ok(_) => sign = Some(Sign::Answered),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    sign = Some(Sign::Refused);
                }
                Err(_) => return sign,
            }
        }
    }

    /// Other errors mean that nothing is known of the target.
    fn send(&self, datagram: &[u8]) {
        let sent = self.socket.send(datagram);
        if sent.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            self.is_refused.set(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bullhorn::{Server, ServerConfig};

    /// Returns the next sign, which the kernel or a server gives within moments.
    fn next_sign(probe: &Probe) -> Sign {
        loop {
            match probe.sign() {
                Some(sign) => return sign,
                None => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn a_server_is_told_from_a_port_where_nothing_listens() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let server = Server::start(ServerConfig {
                bind: vec![address.parse().unwrap()],
                no_pin: true,
                ..ServerConfig::default()
            })
            .unwrap();
            let probe = Probe::new(server.local_addr()).unwrap();
            assert_eq!(probe.sign(), None);
            probe.ask();
            assert_eq!(next_sign(&probe), Sign::Answered);
            server.stop().unwrap();
            probe.knock();
            // The goodbye may be there as well, which came earlier.
            while next_sign(&probe) == Sign::Answered {
                probe.knock();
            }
            probe.knock();
            assert_eq!(next_sign(&probe), Sign::Refused);
        }
    }
}
