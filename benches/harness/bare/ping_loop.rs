//! A batch of requests, and the answers to it.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsFd;

use super::{Drain, EMPTY_IOVEC, Store, header, iovec, send_all, sockaddr};

/// Sends a batch of one fixed payload to one address and receives the answers: the
/// least that a load generator does. It looks at no answer, nor at its sender.
pub(crate) struct PingLoop {
    requests: Vec<libc::mmsghdr>,
    drain: Drain,
    _store: Store,
}

impl PingLoop {
    /// Creates a loop that sends `payload` to `to`, `batch` times at once. More than
    /// 1024 take more than one system call. More than the receive buffers of both
    /// sides hold are lost.
    pub(crate) fn new(to: SocketAddrV4, payload: &[u8], batch: usize) -> Self {
        let mut store = Store {
            names: vec![sockaddr(&to)],
            iovecs: vec![EMPTY_IOVEC; 1],
            controls: Vec::new(),
            bytes: payload.to_vec(),
        };
        store.iovecs[0] = iovec(&mut store.bytes);
        let request = header(&mut store.names[0], store.iovecs.as_mut_ptr());
        let mut drain = Drain::new();
        for header in &mut drain.headers {
            header.msg_hdr.msg_name = std::ptr::null_mut();
            header.msg_hdr.msg_namelen = 0;
        }
        Self {
            requests: vec![request; batch],
            drain,
            _store: store,
        }
    }

    /// Leaves out the address, which a connected socket has itself. The kernel then
    /// looks up no route.
    #[must_use]
    pub(crate) fn connected(mut self) -> Self {
        for request in &mut self.requests {
            request.msg_hdr.msg_name = std::ptr::null_mut();
            request.msg_hdr.msg_namelen = 0;
        }
        self
    }

    /// Sends the batch, sleeps until as many datagrams have come, and returns the
    /// number received. It is higher only where other datagrams than answers come.
    /// `socket` must be a blocking one with a read timeout, as an answer may be lost.
    ///
    /// # Errors
    /// The error of `sendmmsg(2)` or `recvmmsg(2)`. Answers that come after that
    /// count in the next round.
    pub(crate) fn round(&mut self, socket: impl AsFd) -> io::Result<usize> {
        // SAFETY: `new` pointed every request at the name and the iovec of
        // `self._store`, with their true lengths.
        unsafe { send_all(&socket, &mut self.requests) }?;
        let mut received = 0;
        while received < self.requests.len() {
            received += self.drain.wait(&socket)?;
        }
        Ok(received)
    }
}

// SAFETY: its headers lead only into the stores that it and its drain own.
unsafe impl Send for PingLoop {}
