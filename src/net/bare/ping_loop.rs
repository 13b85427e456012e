//! A batch of requests, and the answers to it.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsFd;

use super::{Drain, EMPTY_IOVEC, Store, header, iovec, send_all, sockaddr};

/// Sends a batch of one fixed payload to one address, and takes the answers: the
/// least that a load generator does. It looks at no answer, nor at who sent it.
pub struct PingLoop {
    requests: Vec<libc::mmsghdr>,
    drain: Drain,
    _store: Store,
}

impl PingLoop {
    /// A loop that sends `payload` to `to`, `batch` times at once. More than 1024
    /// take more than one system call, and more than the receive buffers of both
    /// sides hold are lost.
    pub fn new(to: SocketAddrV4, payload: &[u8], batch: usize) -> Self {
        let mut store = Store {
            names: vec![sockaddr(&to)],
            iovecs: vec![EMPTY_IOVEC; 1],
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

    /// Leaves the address away, which a connected socket knows itself: the kernel
    /// then looks up no route.
    #[must_use]
    pub fn connected(mut self) -> Self {
        for request in &mut self.requests {
            request.msg_hdr.msg_name = std::ptr::null_mut();
            request.msg_hdr.msg_namelen = 0;
        }
        self
    }

    /// Sends the batch, sleeps until as many datagrams have come, and returns how
    /// many did: more only where something other than answers comes. `socket` must
    /// be a blocking one, with a read timeout, as an answer may be lost.
    ///
    /// # Errors
    /// What `sendmmsg(2)` or `recvmmsg(2)` says. Answers that come after that are
    /// counted in the next round.
    pub fn round(&mut self, socket: impl AsFd) -> io::Result<usize> {
        send_all(&socket, &mut self.requests)?;
        let mut received = 0;
        while received < self.requests.len() {
            received += self.drain.wait(&socket)?;
        }
        Ok(received)
    }
}

// SAFETY: its headers lead only into its own store, and into its own drain's.
unsafe impl Send for PingLoop {}

#[cfg(test)]
mod tests {
    use super::super::{Echo, tests::socket};
    use super::*;

    #[test]
    fn a_round_has_as_many_answers_as_requests() {
        const BATCH: usize = 100;
        let ((server, to), (unconnected, _), (connected, _)) = (socket(), socket(), socket());
        connected.connect(to).unwrap();
        let echo = std::thread::spawn(move || {
            let mut echo = Echo::new(b"answer");
            let mut answered = 0;
            while answered < 4 * BATCH {
                answered += echo.answer(&server).unwrap();
            }
            answered
        });
        let mut one = PingLoop::new(to, b"?", BATCH);
        let mut other = PingLoop::new(to, b"?", BATCH).connected();
        for _ in 0..2 {
            assert_eq!(one.round(&unconnected).unwrap(), BATCH);
            assert_eq!(other.round(&connected).unwrap(), BATCH);
        }
        assert_eq!(echo.join().unwrap(), 4 * BATCH);
    }

    #[test]
    fn a_lost_answer_is_an_error_where_the_socket_has_a_timeout() {
        let ((_silent, to), (socket, _)) = (socket(), socket());
        let soon = std::time::Duration::from_millis(1);
        socket.set_read_timeout(Some(soon)).unwrap();
        let error = PingLoop::new(to, b"?", 1).round(&socket).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
