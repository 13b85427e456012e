//! The way out of a worker: its sockets, one for each endpoint.

use std::io;
use std::os::fd::AsFd;

use mio::net::UdpSocket;

use super::send::{Gso, Packet, SendTally, Sender};

pub trait Transmit {
    /// Sends `packets` through the socket of `endpoint`, to which all of their
    /// peers must belong.
    fn send<'a>(
        &mut self,
        endpoint: u8,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally;
}

/// The sockets of one worker, in the order of the endpoints, with the batch that it
/// sends with.
pub struct WorkerSockets {
    sockets: Vec<UdpSocket>,
    sender: Sender,
}

impl WorkerSockets {
    /// Takes `sockets`, in the order of the endpoints.
    pub fn new(sockets: Vec<UdpSocket>, gso: Gso) -> Self {
        Self {
            sockets,
            sender: Sender::new(gso),
        }
    }

    pub fn sockets(&self) -> &[UdpSocket] {
        &self.sockets
    }

    /// Returns the sockets to register them with a poll.
    pub fn sockets_mut(&mut self) -> &mut [UdpSocket] {
        &mut self.sockets
    }

    /// Duplicates the sockets, for another thread to send with.
    ///
    /// # Errors
    /// Fails when the system has no more file descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = |socket: &UdpSocket| {
            let socket = socket.as_fd().try_clone_to_owned()?;
            Ok(UdpSocket::from_std(socket.into()))
        };
        let sockets = self.sockets.iter().map(clone);
        let sockets = sockets.collect::<io::Result<_>>()?;
        Ok(Self::new(sockets, self.sender.gso()))
    }
}

impl Transmit for WorkerSockets {
    fn send<'a>(
        &mut self,
        endpoint: u8,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        self.sender
            .send(&self.sockets[usize::from(endpoint)], packets)
    }
}
