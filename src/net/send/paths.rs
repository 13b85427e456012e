//! Sending through several sockets of one address, so that a peer with a bad path harms no
//! other peer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;

use super::flush::{Full, Way, wait_for_space};
use super::{Gso, Packet, SendTally, Sender};
use crate::net::address::PeerAddr;
use crate::net::control::is_segmented;
use crate::net::local::LocalAddr;
use crate::net::quarantine::{Quarantine, Route};

/// The roles of the sockets that a worker sends through at one endpoint, and what it knows about
/// the paths to its peers.
pub(in crate::net) struct SendPaths {
    /// The worker's own socket stays full, and the spare one takes its place.
    is_clogged: bool,
    quarantine: Quarantine,
    /// Apart from the rest, as it is read while packets are gathered.
    segments: RefCell<Segments>,
}

/// The peers to which the kernel segments no packets.
struct Segments {
    /// The time until which the datagrams of each are sent one by one.
    refused: HashMap<PeerAddr, Instant>,
    /// Different peers refused in a row, with no packet segmented in between.
    in_a_row: usize,
    /// The time until which nothing is segmented.
    off_until: Option<Instant>,
    next_cleanup: Option<Instant>,
    /// Number of times that segmenting was stopped for all, until it is taken.
    stops: u64,
}

/// Changes that an operator should know about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathNews {
    /// Peers that have been set apart, as nothing leaves for them.
    pub suspects: u64,
    /// Times that segmenting was stopped for all peers.
    pub gso_stops: u64,
}

/// The sockets that one worker sends through at one endpoint.
#[derive(Clone, Copy)]
pub(in crate::net) struct SendSockets<'a> {
    pub(in crate::net) own: &'a UdpSocket,
    /// [`SPARES`] sockets that all workers share. The first takes the place of the own one, if
    /// that stays full. The second is for suspects.
    pub(in crate::net) spares: &'a [UdpSocket],
}

/// The sockets, for one call of `send`.
struct Paths<'a> {
    sockets: SendSockets<'a>,
    is_clogged: &'a mut bool,
    quarantine: &'a mut Quarantine,
    segments: &'a RefCell<Segments>,
    may_wait: bool,
    may_switch: bool,
    /// Packets that may still fail a test in this call, in a search and without.
    test_failures: u32,
    retest_failures: u32,
    apart_is_full: bool,
}

impl SendPaths {
    pub(in crate::net) fn new() -> Self {
        Self {
            is_clogged: false,
            quarantine: Quarantine::new(),
            segments: RefCell::new(Segments {
                refused: HashMap::new(),
                in_a_row: 0,
                off_until: None,
                next_cleanup: None,
                stops: 0,
            }),
        }
    }

    /// Returns what has changed since the last call.
    pub(in crate::net) fn take_news(&mut self) -> PathNews {
        PathNews {
            suspects: self.quarantine.take_found(),
            gso_stops: std::mem::take(&mut self.segments.get_mut().stops),
        }
    }
}

impl Sender {
    /// Sends each packet to its peer, through `sockets`. A peer that cannot be sent to costs no
    /// other peer its packet. If the own socket stays full for 1 ms, the spare takes its place,
    /// and those peers are set apart whose packets do not leave. Without spares, the rest of
    /// the packets gathered for that system call is dropped.
    pub(in crate::net) fn send_by<'a>(
        &mut self,
        paths: &mut SendPaths,
        sockets: SendSockets<'_>,
        source: Option<LocalAddr>,
        packets: impl IntoIterator<Item = Packet<'a>>,
    ) -> SendTally {
        self.set_source(source);
        let packets = packets.into_iter();
        let is_whole = self.gso == Gso::On && paths.segments.get_mut().is_whole();
        if paths.is_clogged {
            let queued = queued_bytes(sockets.own.as_fd());
            paths.is_clogged = queued > MAX_RETEST_BYTES;
        }
        let segments = &paths.segments;
        let mut paths = Paths {
            sockets,
            is_clogged: &mut paths.is_clogged,
            quarantine: &mut paths.quarantine,
            segments,
            may_wait: true,
            may_switch: sockets.spares.len() == SPARES,
            test_failures: MAX_TEST_FAILURES,
            retest_failures: MAX_RETEST_FAILURES,
            apart_is_full: false,
        };
        if is_whole {
            return self.send_on(&mut paths, packets);
        }
        let (gso, now) = (self.gso, Instant::now());
        let packets = packets.flat_map(|packet| {
            packet.split_if(gso == Gso::Off || segments.borrow().is_refused(packet.to, now))
        });
        self.send_on(&mut paths, packets)
    }

    fn send_on<'a>(
        &mut self,
        paths: &mut Paths<'_>,
        mut packets: impl Iterator<Item = Packet<'a>>,
    ) -> SendTally {
        let mut tally = SendTally::default();
        loop {
            let gathered = self.gather(&mut packets);
            if gathered == 0 {
                return tally;
            }
            let mut done = 0;
            // SAFETY: the headers were gathered just now, from packets whose borrows
            // outlive `packets`.
            unsafe {
                if paths.quarantine.is_idle() {
                    done = self.flush(paths, 0..gathered, &mut tally);
                }
                if done < gathered {
                    self.flush_routed(paths, done..gathered, &mut tally);
                }
            }
        }
    }

    /// Sends each packet by its peer's route.
    ///
    /// # Safety
    /// As for `flush`.
    unsafe fn flush_routed(
        &mut self,
        paths: &mut Paths<'_>,
        range: Range<usize>,
        tally: &mut SendTally,
    ) {
        paths.quarantine.handle_timeout(Instant::now());
        let mut next = range.start;
        while next < range.end {
            let now = Instant::now();
            // SAFETY: these headers are as the caller promises.
            let route = |index| paths.route(unsafe { self.peer(index) }, now);
            let is_open = |index: &usize| route(*index) == Route::Open;
            let open = (next..range.end).take_while(is_open).count();
            if open > 0 {
                // SAFETY: as above.
                next = unsafe { self.flush(paths, next..next + open, tally) };
                continue;
            }
            let route = route(next);
            // SAFETY: as above.
            unsafe {
                if route == Route::Apart {
                    self.send_apart(paths, next, tally);
                } else {
                    self.send_watched(paths, next, tally);
                }
            }
            next += 1;
        }
    }

    /// Sends the first datagram of a packet alone, watches whether it leaves, and sends the
    /// rest accordingly.
    ///
    /// # Safety
    /// As for `flush`.
    unsafe fn send_watched(&mut self, paths: &mut Paths<'_>, index: usize, tally: &mut SendTally) {
        // SAFETY: this header is as the caller promises, for this and for all calls below.
        let peer = unsafe { *self.peer(index) };
        let whole = self.iovecs[index];
        let segment_bytes = self.segment_bytes(index).min(whole.iov_len);
        let taken = loop {
            let queued = queued_bytes(paths.socket());
            // SAFETY: as above.
            match unsafe { self.send_part(paths.socket(), index, 0..segment_bytes) } {
                Ok(()) => break Ok(queued),
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN | libc::ENOBUFS) if paths.make_space() != Full::Drop => {}
                Err(error) => break Err(error),
            }
        };
        let queued_before = match taken {
            Ok(queued) => queued,
            Err(libc::EAGAIN | libc::ENOBUFS) => {
                tally.congested += u64::from(self.deliveries[index]);
                return;
            }
            Err(_) => {
                tally.refused += u64::from(self.deliveries[index]);
                return;
            }
        };
        let has_left = leaves(|| queued_bytes(paths.socket()), queued_before);
        if has_left {
            paths.quarantine.passed(&peer);
        } else {
            paths.count_failure(&peer);
        }
        if segment_bytes == whole.iov_len {
            tally.sent += u64::from(self.deliveries[index]);
            return;
        }
        self.cut_front(index, segment_bytes);
        // SAFETY: as above.
        unsafe {
            if has_left {
                self.flush_all(paths, index, tally);
            } else {
                self.send_apart(paths, index, tally);
            }
        }
    }

    /// Sends a packet through the current socket, to the end.
    ///
    /// # Safety
    /// As for `flush`.
    unsafe fn flush_all(&mut self, paths: &mut Paths<'_>, index: usize, tally: &mut SendTally) {
        // A change of the socket returns before the packet is sent, and occurs once.
        // SAFETY: as the caller promises.
        while unsafe { self.flush(paths, index..index + 1, tally) } == index {}
    }

    /// Sends a packet through the socket for suspects, and never waits.
    ///
    /// # Safety
    /// As for `flush`.
    unsafe fn send_apart(&mut self, paths: &mut Paths<'_>, index: usize, tally: &mut SendTally) {
        let mut apart = Apart(paths);
        if apart.0.apart_is_full {
            tally.congested += u64::from(self.deliveries[index]);
            return;
        }
        // SAFETY: as the caller promises.
        unsafe { self.flush(&mut apart, index..index + 1, tally) };
    }
}

impl Paths<'_> {
    fn route(&self, peer: &PeerAddr, now: Instant) -> Route {
        match self.quarantine.route(peer, now) {
            Route::Test if self.test_failures == 0 => Route::Apart,
            Route::Retest if !self.may_retest() => Route::Apart,
            route => route,
        }
    }

    /// Returns `false` if a packet more that does not leave is too much for the socket.
    fn may_retest(&self) -> bool {
        self.retest_failures > 0 && queued_bytes(self.socket()) < MAX_RETEST_BYTES
    }

    fn count_failure(&mut self, peer: &PeerAddr) {
        let now = Instant::now();
        if self.quarantine.route(peer, now) == Route::Retest {
            self.retest_failures = self.retest_failures.saturating_sub(1);
        } else {
            self.test_failures = self.test_failures.saturating_sub(1);
        }
        self.quarantine.failed(peer, now);
    }
}

impl Way for Paths<'_> {
    fn socket(&self) -> BorrowedFd<'_> {
        if *self.is_clogged {
            self.sockets.spares[0].as_fd()
        } else {
            self.sockets.own.as_fd()
        }
    }

    fn make_space(&mut self) -> Full {
        if std::mem::take(&mut self.may_wait) {
            wait_for_space(self.socket());
            return Full::Retry;
        }
        if !std::mem::take(&mut self.may_switch) {
            return Full::Drop;
        }
        self.quarantine.search(Instant::now());
        let own = queued_bytes(self.sockets.own.as_fd());
        let spare = queued_bytes(self.sockets.spares[0].as_fd());
        let was_clogged = std::mem::replace(self.is_clogged, spare < own);
        if *self.is_clogged == was_clogged {
            Full::Drop
        } else {
            Full::Reroute
        }
    }

    fn segments_taken(&mut self, headers: &[libc::mmsghdr]) {
        let in_a_row = &mut self.segments.borrow_mut().in_a_row;
        if *in_a_row > 0 && headers.iter().any(is_segmented) {
            *in_a_row = 0;
        }
    }

    fn segments_refused(&mut self, peer: &PeerAddr) {
        self.segments.borrow_mut().refuse(peer, Instant::now());
    }
}

/// The socket for suspects.
struct Apart<'a, 'b>(&'a mut Paths<'b>);

impl Way for Apart<'_, '_> {
    fn socket(&self) -> BorrowedFd<'_> {
        self.0.sockets.spares[1].as_fd()
    }

    fn make_space(&mut self) -> Full {
        self.0.apart_is_full = true;
        Full::Drop
    }

    fn segments_refused(&mut self, peer: &PeerAddr) {
        self.0.segments_refused(peer);
    }
}

impl Segments {
    /// Returns `true` if packets to every peer are segmented.
    fn is_whole(&mut self) -> bool {
        if self.refused.is_empty() && self.off_until.is_none() {
            return true;
        }
        let now = Instant::now();
        self.off_until.take_if(|until| now >= *until);
        if self.next_cleanup.is_none_or(|next| now >= next) {
            self.next_cleanup = Some(now + REFUSED_TIME);
            self.refused.retain(|_, until| now < *until);
        }
        self.off_until.is_none() && self.refused.is_empty()
    }

    fn is_refused(&self, peer: &PeerAddr, now: Instant) -> bool {
        self.off_until.is_some() || self.refused.get(peer).is_some_and(|until| now < *until)
    }

    fn refuse(&mut self, peer: &PeerAddr, now: Instant) {
        self.in_a_row += 1;
        if self.refused.len() >= MAX_REFUSED {
            self.refused.retain(|_, until| now < *until);
        }
        if self.refused.len() < MAX_REFUSED {
            self.refused.insert(*peer, now + REFUSED_TIME);
        } else if self.in_a_row >= MAX_REFUSED {
            self.off_until = Some(now + REFUSED_TIME);
            self.in_a_row = 0;
            self.refused.clear();
            self.stops += 1;
        }
    }
}

/// Returns `true` once no more bytes wait in a socket than before, or `false` if they still
/// wait after [`MAX_LEAVE_TIME`].
fn leaves(mut queued_bytes: impl FnMut() -> usize, before: usize) -> bool {
    let mut deadline = None;
    loop {
        if queued_bytes() <= before {
            return true;
        }
        let now = Instant::now();
        if now > *deadline.get_or_insert(now + MAX_LEAVE_TIME) {
            return false;
        }
        std::hint::spin_loop();
    }
}

/// Returns the bytes of packets that were sent through `socket` and have not left the
/// machine, with the kernel's bookkeeping.
fn queued_bytes(socket: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one `int`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    // A kernel that refuses it shows an empty socket, so nobody is suspected.
    if result == 0 {
        usize::try_from(bytes).unwrap_or(0)
    } else {
        0
    }
}

/// Number of sockets per endpoint that only send: one to change to, and one for suspects.
/// Packets that do not leave are freed after 3 s, when the kernel gives up their neighbor. Until
/// then no more sockets fill up, as all suspects are found before.
pub const SPARES: usize = 2;

/// The time within which a network interface reports that it has sent a packet. Most do
/// within 100 µs, some group their reports over 250 µs.
const MAX_LEAVE_TIME: Duration = Duration::from_micros(500);

/// Maximum number of failed tests in one call during a search. They take 10 ms, two slices.
const MAX_TEST_FAILURES: u32 = 20;

/// Without a search, a call is delayed by one failed test at most.
const MAX_RETEST_FAILURES: u32 = 1;

/// A sixth of the smallest usual buffer (208 KiB, which the kernel counts twice). Also the bytes
/// in the worker's own socket below which it is used again.
const MAX_RETEST_BYTES: usize = 64 << 10;

/// Maximum number of peers that are remembered, because the kernel segments no packet to
/// them. If so many different ones refuse, with none taken in between, the machine cannot
/// segment. Each refusal costs a system call.
const MAX_REFUSED: usize = 1024;

/// The time after which it is tried again. A route or a device may have changed.
const REFUSED_TIME: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
