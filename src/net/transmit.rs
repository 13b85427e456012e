//! The way out of a worker: its sockets, one for each endpoint.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use mio::net::UdpSocket;

use super::address::Endpoint;
use super::local::LocalCache;
use super::receive::Receiver;
use super::send::{Gso, Packet, SendTally, Sender};
use super::socket::is_wildcard;

pub trait Transmit {
    /// Sends `packets` from `endpoint`, to which all of their peers must belong.
    fn send<'a>(
        &mut self,
        endpoint: Endpoint,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally;
}

/// The sockets of one worker, in the order of the `--bind` addresses, with the batch that it
/// sends with.
pub struct WorkerSockets {
    sockets: Vec<UdpSocket>,
    sender: Sender,
    locals: LocalCache,
}

impl WorkerSockets {
    /// Takes `sockets`, in the order of the `--bind` addresses, and the local addresses of
    /// those that are bound to all.
    pub fn new(sockets: Vec<UdpSocket>, gso: Gso, locals: LocalCache) -> Self {
        Self {
            sockets,
            sender: Sender::new(gso),
            locals,
        }
    }

    /// Returns a receiver for these sockets.
    pub fn receiver(&self) -> Receiver {
        if self.sockets.iter().any(is_wildcard) {
            Receiver::learning(LocalCache::new(Arc::clone(self.locals.table())))
        } else {
            Receiver::new()
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
        let locals = LocalCache::new(Arc::clone(self.locals.table()));
        Ok(Self::new(sockets, self.sender.gso(), locals))
    }
}

impl Transmit for WorkerSockets {
    fn send<'a>(
        &mut self,
        endpoint: Endpoint,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        let source = endpoint
            .local()
            .and_then(|local| self.locals.address(local));
        let socket = &self.sockets[usize::from(endpoint.bind())];
        self.sender.send_from(source, socket, packets)
    }
}
