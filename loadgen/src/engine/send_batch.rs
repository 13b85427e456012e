//! Datagrams that leave together, each from its client's address.

use std::thread;
use std::time::Duration;

use bullhorn::net::PeerAddr;

use crate::engine::ports::{Port, Ports};
use crate::net::{MultihomedSender, OutboundDatagram};

/// Up to [`SEND_BATCH`] datagrams.
pub(crate) struct SendBatch {
    sender: MultihomedSender,
    /// The targets, by their places.
    targets: Box<[PeerAddr]>,
    datagrams: Vec<Outgoing>,
    written: usize,
    /// The last error of the kernel, ENOBUFS where it had no space, and the target.
    error: Option<(usize, i32)>,
}

struct Outgoing {
    port: Port,
    bytes: Vec<u8>,
}

impl SendBatch {
    /// An empty one.
    pub(crate) fn new(targets: &[PeerAddr]) -> Self {
        let datagram = || Outgoing {
            port: Port {
                socket: 0,
                from: None,
                target: 0,
            },
            bytes: Vec::with_capacity(DATAGRAM_BYTES),
        };
        Self {
            sender: MultihomedSender::new(),
            targets: targets.into(),
            datagrams: (0..SEND_BATCH).map(|_| datagram()).collect(),
            written: 0,
            error: None,
        }
    }

    /// Adds the datagram that `write` writes, and returns how long it is. There must be
    /// space for it.
    pub(crate) fn push(&mut self, port: Port, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let datagram = &mut self.datagrams[self.written];
        datagram.port = port;
        write(&mut datagram.bytes);
        self.written += 1;
        datagram.bytes.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.written == SEND_BATCH
    }

    pub(crate) fn len(&self) -> usize {
        self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// Returns the last error of the kernel since the last call, and the target of the datagram.
    pub(crate) fn take_error(&mut self) -> Option<(usize, i32)> {
        self.error.take()
    }

    /// Sends all of them, in their order, and waits a little where the kernel has no space.
    /// `refused` is called with the place of each that it does not take.
    pub(crate) fn send(&mut self, ports: &Ports, mut refused: impl FnMut(usize)) {
        let datagrams = &self.datagrams[..self.written];
        let mut start = 0;
        for group in datagrams.chunk_by(|one, other| one.port.socket == other.port.socket) {
            let socket = ports.socket(group[0].port.socket);
            let mut done = 0;
            let mut tries = 0;
            while done < group.len() {
                let rest = group[done..].iter().map(|datagram| OutboundDatagram {
                    from: datagram.port.from,
                    to: &self.targets[datagram.port.target],
                    payload: &datagram.bytes,
                });
                match self.sender.send(socket, rest) {
                    Ok(0) if tries < MAX_TRIES => {
                        tries += 1;
                        thread::sleep(FULL_PAUSE);
                    }
                    Ok(sent) if sent > 0 => done += sent,
                    result => {
                        let error = result.err().and_then(|error| error.raw_os_error());
                        let errno = error.unwrap_or(libc::ENOBUFS);
                        self.error = Some((group[done].port.target, errno));
                        // What an earlier datagram met with, told to this one, which was
                        // not sent: a connected socket is told that nobody is there.
                        if error == Some(libc::ECONNREFUSED) && tries < MAX_TRIES {
                            tries += 1;
                            continue;
                        }
                        refused(start + done);
                        done += 1;
                    }
                }
            }
            start += group.len();
        }
        self.written = 0;
    }
}

/// Datagrams in one turn at most: as many as a batch of the server's receiver. Above it
/// a datagram costs no less, and what comes meanwhile waits.
pub(crate) const SEND_BATCH: usize = 64;

/// The longest datagram of a client, and some space.
const DATAGRAM_BYTES: usize = 1500;

/// After 5 ms without space there is none: what else is due must not wait for it.
const MAX_TRIES: u32 = 100;

/// The time that a device takes to send some datagrams.
const FULL_PAUSE: Duration = Duration::from_micros(50);
