//! The bare kernel in a thread of its own, on a worker's core and with the buffers of
//! its socket.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use bullhorn::net::{BufferSizes, bind_group};
use core_affinity::CoreId;

use super::Error;
use super::cpu::pin;

/// A thread that runs one bare loop until it is dropped.
pub(crate) struct BareThread {
    address: SocketAddr,
    handled: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BareThread {
    /// Runs `turn` again and again on `core`. `turn` waits for datagrams on the
    /// socket, handles a batch and returns its size.
    pub(crate) fn start(
        core: CoreId,
        buffers: BufferSizes,
        mut turn: impl FnMut(&UdpSocket) -> io::Result<usize> + Send + 'static,
    ) -> Result<Self, Error> {
        let mut group = bind_group("127.0.0.1:0".parse()?, 1, buffers)?;
        let socket: UdpSocket = group.sockets.pop().ok_or("no socket")?.into();
        socket.set_nonblocking(false)?;
        let handled = Arc::new(AtomicU64::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let (count, stop) = (Arc::clone(&handled), Arc::clone(&stopping));
        let (ready, is_ready) = mpsc::channel();
        let body = move || {
            pin(core).expect("the core was listed");
            ready.send(()).expect("the other end waits");
            let mut total = 0;
            while !stop.load(Ordering::Relaxed) {
                total += turn(&socket).expect("the kernel takes it") as u64;
                count.store(total, Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new().name(BARE.into()).spawn(body)?;
        // A thread has its name once it runs.
        is_ready.recv()?;
        Ok(Self {
            address: group.local_addr,
            handled,
            stopping,
            thread: Some(thread),
        })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams handled so far.
    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }
}

impl Drop for BareThread {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // A datagram ends its wait. Without one the thread would wait on.
        let woken =
            UdpSocket::bind("127.0.0.1:0").and_then(|waker| waker.send_to(b"", self.address));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

pub(crate) const BARE: &str = "bare";
