//! The way out of a worker: its sockets, one for each endpoint.

use std::io;
use std::os::fd::AsFd;

use mio::net::UdpSocket;

use super::send::{Gso, Packet, PathNews, SOCKETS_PER_ENDPOINT, SendPaths, SendTally, Sender};

pub trait Transmit {
    /// Sends `packets` through the socket of `endpoint`, to which all of their
    /// peers must belong.
    fn send<'a>(
        &mut self,
        endpoint: u8,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally;
}

/// The sockets of one worker, [`SOCKETS_PER_ENDPOINT`] for each endpoint, with the batch that
/// it sends with.
pub struct WorkerSockets {
    /// Those of the first endpoint, then those of the second, and so on.
    sockets: Vec<UdpSocket>,
    /// One per endpoint.
    paths: Vec<SendPaths>,
    sender: Sender,
}

impl WorkerSockets {
    /// Takes `sockets`, [`SOCKETS_PER_ENDPOINT`] for each endpoint, in the order of the
    /// endpoints.
    pub fn new(sockets: Vec<UdpSocket>, gso: Gso) -> Self {
        let endpoints = sockets.len() / SOCKETS_PER_ENDPOINT;
        assert_eq!(endpoints * SOCKETS_PER_ENDPOINT, sockets.len());
        Self {
            sockets,
            paths: (0..endpoints).map(|_| SendPaths::new()).collect(),
            sender: Sender::new(gso),
        }
    }

    /// Returns all sockets, to receive from.
    pub fn sockets(&self) -> &[UdpSocket] {
        &self.sockets
    }

    /// Returns the endpoint of the socket with this index.
    pub fn endpoint(index: usize) -> u8 {
        (index / SOCKETS_PER_ENDPOINT) as u8
    }

    /// Returns the sockets to register them with a poll.
    pub fn sockets_mut(&mut self) -> &mut [UdpSocket] {
        &mut self.sockets
    }

    /// Returns what has changed since the last call, about peers that cannot be sent to.
    pub fn take_news(&mut self) -> PathNews {
        let mut news = PathNews::default();
        for paths in &mut self.paths {
            let PathNews {
                suspects,
                gso_stops,
            } = paths.take_news();
            news.suspects += suspects;
            news.gso_stops += gso_stops;
        }
        news
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
        let endpoint = usize::from(endpoint);
        let first = endpoint * SOCKETS_PER_ENDPOINT;
        let sockets = &self.sockets[first..first + SOCKETS_PER_ENDPOINT];
        self.sender
            .send_by(&mut self.paths[endpoint], sockets, packets)
    }
}
