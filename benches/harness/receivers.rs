//! Peers that only listen: any number of sockets, drained and counted by one
//! thread.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bullhorn::net::Receiver;
use core_affinity::CoreId;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Error;
use super::cpu::pin;

/// Sockets that are drained until this is dropped.
///
/// They are visited in turn, not waited for: nobody is asleep on them, so a
/// sender pays for delivery alone and not for waking.
pub(crate) struct Receivers {
    sockets: Arc<[UdpSocket]>,
    received: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receivers {
    /// Opens `count` sockets, which a thread on `core` drains.
    pub(crate) fn start(count: usize, core: CoreId) -> Result<Self, Error> {
        let sockets: Arc<[UdpSocket]> = open_sockets(count)?.into();
        let received = Arc::new(AtomicU64::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let drained = Arc::clone(&sockets);
        let (total, stop) = (Arc::clone(&received), Arc::clone(&stopping));
        let body = move || {
            pin(core).expect("the core was listed");
            let mut receiver = Receiver::new();
            while !stop.load(Ordering::Relaxed) {
                for socket in &*drained {
                    // Errors of the network (ICMP) are cleared by reading them.
                    let received = receiver.receive(socket, 0).unwrap_or(0);
                    total.fetch_add(received as u64, Ordering::Relaxed);
                }
                thread::sleep(SWEEP_PAUSE);
            }
        };
        Ok(Self {
            sockets,
            received,
            stopping,
            thread: Some(
                thread::Builder::new()
                    .name("receivers".into())
                    .spawn(body)?,
            ),
        })
    }

    /// The sockets, to send from them.
    pub(crate) fn sockets(&self) -> &[UdpSocket] {
        &self.sockets
    }

    /// Where they receive.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddrV4>, Error> {
        let address = |socket: &UdpSocket| match socket.local_addr()? {
            SocketAddr::V4(address) => Ok(address),
            SocketAddr::V6(_) => Err("the sockets were bound to IPv4".into()),
        };
        self.sockets.iter().map(address).collect()
    }

    /// Datagrams received so far, by all together.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until `total` have been received, or the time limit shows that
    /// the rest is lost, and returns how many have.
    pub(crate) fn wait_for(&self, total: u64) -> u64 {
        wait_until(|| self.received() >= total);
        self.received()
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

/// Opens `count` sockets on as many loopback addresses as their ports take,
/// and raises the limit of open files for them if needed.
pub(crate) fn open_sockets(count: usize) -> Result<Vec<UdpSocket>, Error> {
    allow_files(count)?;
    let open = |index: usize| {
        let host = u8::try_from(index / PORTS_A_HOST)?;
        Ok(UdpSocket::bind((Ipv4Addr::new(127, 0, host, 1), 0))?)
    };
    (0..count).map(open).collect()
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

/// Sees to it that `count` more files may be open.
pub(crate) fn allow_files(count: usize) -> Result<(), Error> {
    let open = fs::read_dir("/proc/self/fd")?.count();
    let files = (open + count) as u64 + OTHER_FILES;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < files {
        setrlimit(Resource::RLIMIT_NOFILE, files, hard.max(files)).map_err(|error| {
            format!("{files} files must be open, and only {hard} may (see ulimit -Hn): {error}")
        })?;
    }
    Ok(())
}

/// A thousand sockets take 0.2 ms to visit, so this leaves the core to others;
/// and no socket overflows, which holds about 250 small datagrams.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);

/// Of the 28,000 ports that Linux gives away by itself.
const PORTS_A_HOST: usize = 20_000;

/// What else may be opened meanwhile.
const OTHER_FILES: u64 = 100;

/// On loopback, what is not there after so long never comes.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// A look takes a cache line from the thread that counts: seldom enough that
/// it does not feel it.
const LOOK_INTERVAL: Duration = Duration::from_micros(200);
