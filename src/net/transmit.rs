//! The sockets of a worker, one for each endpoint, and the trait to send through them.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use mio::net::UdpSocket;

use super::address::Endpoint;
use super::local::LocalCache;
use super::receive::Receiver;
use super::send::{Gso, Packet, PathNews, SendPaths, SendSockets, SendTally, Sender};
use super::socket::{in_call, is_wildcard};
use super::spare::Spares;

/// Sends packets. The worker's sockets do, and so does what stands in for them in tests.
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
    /// One per socket, or `None` where this system has none.
    spares: Vec<Option<Spares>>,
    /// One per socket.
    paths: Vec<SendPaths>,
    sender: Sender,
    locals: LocalCache,
}

impl WorkerSockets {
    /// Takes `sockets` and `spares`, in the order of the `--bind` addresses, and the local
    /// addresses of those that are bound to all.
    pub fn new(
        sockets: Vec<UdpSocket>,
        spares: Vec<Option<Spares>>,
        gso: Gso,
        locals: LocalCache,
    ) -> Self {
        assert_eq!(sockets.len(), spares.len());
        Self {
            paths: sockets.iter().map(|_| SendPaths::default()).collect(),
            sockets,
            spares,
            sender: Sender::new(gso),
            locals,
        }
    }

    /// Returns a receiver for these sockets.
    pub fn receiver(&self) -> Receiver {
        if self.sockets.iter().any(is_wildcard) {
            Receiver::with_destinations(LocalCache::new(Arc::clone(self.locals.table())))
        } else {
            Receiver::new()
        }
    }

    /// Takes `sockets`, in the order of the endpoints, without spares.
    pub fn without_spares(sockets: Vec<UdpSocket>, gso: Gso) -> Self {
        let spares = sockets.iter().map(|_| None).collect();
        Self::new(sockets, spares, gso, LocalCache::new(Arc::default()))
    }

    pub fn sockets(&self) -> &[UdpSocket] {
        &self.sockets
    }

    /// Returns the sockets to register them with a poll.
    pub fn sockets_mut(&mut self) -> &mut [UdpSocket] {
        &mut self.sockets
    }

    /// Returns the changes since the last call, at all sockets.
    pub fn take_news(&mut self) -> PathNews {
        let mut news = PathNews::default();
        for paths in &mut self.paths {
            paths.take_news(&mut news);
        }
        news
    }

    /// Duplicates the sockets, for another thread to send with, which has spares of its own.
    ///
    /// # Errors
    /// Fails when the system has no more file descriptors.
    pub fn try_clone(&self, spares: Vec<Option<Spares>>) -> io::Result<Self> {
        let clone = |socket: &UdpSocket| {
            let socket = socket.as_fd().try_clone_to_owned();
            let socket = socket.map_err(in_call("fcntl F_DUPFD_CLOEXEC"))?;
            Ok(UdpSocket::from_std(socket.into()))
        };
        let sockets = self.sockets.iter().map(clone);
        let sockets = sockets.collect::<io::Result<_>>()?;
        let locals = LocalCache::new(Arc::clone(self.locals.table()));
        Ok(Self::new(sockets, spares, self.sender.gso(), locals))
    }
}

impl Transmit for WorkerSockets {
    fn send<'a>(
        &mut self,
        endpoint: Endpoint,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        let local = endpoint.local();
        let source = local.and_then(|local| self.locals.source(local));
        let bind = usize::from(endpoint.bind());
        let spares = self.spares[bind].as_ref();
        let sockets = SendSockets {
            own: &self.sockets[bind],
            spares: spares.filter(|spares| source.is_some() || !spares.needs_source),
        };
        let paths = &mut self.paths[bind];
        let tally = self.sender.send_by(paths, sockets, source, packets);
        if let Some(local) = local
            && tally.refused > 0
        {
            self.locals.refused(local);
        }
        tally
    }
}
