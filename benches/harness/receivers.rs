//! Peers that listen: their sockets, drained and counted by one thread.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bullhorn::net::{RECEIVE_BATCH, Receiver};
use core_affinity::CoreId;

use super::Error;
use super::cpu::pin;
use super::peers::Peers;

/// Peers whose sockets are drained until this is dropped.
///
/// They are visited in turn, not waited for: nobody is asleep on them, so a
/// sender pays for delivery alone and not for waking.
pub(crate) struct Receivers {
    peers: Arc<Peers>,
    received: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receivers {
    /// Starts a thread on `core` that drains the sockets of `peers`.
    pub(crate) fn start(peers: Peers, core: CoreId) -> Result<Self, Error> {
        let peers = Arc::new(peers);
        let received = Arc::new(AtomicU64::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let drained = Arc::clone(&peers);
        let (total, stop) = (Arc::clone(&received), Arc::clone(&stopping));
        let body = move || {
            pin(core).expect("the core was listed");
            let mut receiver = Receiver::new();
            // What a text brings, and no more: the others wait for their turn.
            let batches = drained.a_socket().div_ceil(RECEIVE_BATCH);
            while !stop.load(Ordering::Relaxed) {
                for socket in drained.sockets() {
                    let received = drain(socket, &mut receiver, batches);
                    total.fetch_add(received as u64, Ordering::Relaxed);
                }
                thread::sleep(SWEEP_PAUSE);
            }
        };
        Ok(Self {
            peers,
            received,
            stopping,
            thread: Some(
                thread::Builder::new()
                    .name("receivers".into())
                    .spawn(body)?,
            ),
        })
    }

    /// Who listens.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Datagrams received so far, by all together.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until `total` have been received, or so long for one more that the
    /// rest is lost, and returns how many have.
    pub(crate) fn wait_for(&self, total: u64) -> u64 {
        loop {
            let received = self.received();
            if received >= total || !wait_until(|| self.received() > received) {
                return received;
            }
        }
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Looks every 200 µs whether `done`, for a second at most.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + LOST_AFTER;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Receives up to so many batches, and returns the number of datagrams.
fn drain(socket: &UdpSocket, receiver: &mut Receiver, batches: usize) -> usize {
    // Errors of the network (ICMP) are cleared by reading them.
    let batch = |_| receiver.receive(socket, 0).unwrap_or(0);
    let batches = (0..batches).map(batch).take_while(|&received| received > 0);
    batches.sum()
}

/// A thousand sockets take 0.2 ms to visit, so this leaves the core to others;
/// and no socket overflows, which holds about 250 small datagrams, or two for
/// each of many peers.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);

/// On loopback, what is not there after so long never comes.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// A look takes a cache line from the thread that counts: seldom enough that
/// it does not feel it.
const LOOK_INTERVAL: Duration = Duration::from_micros(200);
