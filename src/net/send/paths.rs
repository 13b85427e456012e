//! Sending through several sockets of one address, so that a peer with a bad path harms no
//! other peer.

use std::cell::RefCell;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;

use super::flush::{Full, Way, wait_for_space};
use super::segments::Segments;
use super::{Gso, Packet, SendTally, Sender};
use crate::net::address::PeerAddr;
use crate::net::control::is_segmented;
use crate::net::local::LocalAddr;
use crate::net::quarantine::{Quarantine, Route};
use crate::net::spare::Spares;

mod watched;

/// The state of one thread at one endpoint: the socket in use, and the paths to its peers.
#[derive(Default)]
pub(in crate::net) struct SendPaths {
    state: State,
    /// In a cell, because it is read while packets are gathered.
    segments: RefCell<Segments>,
}

#[derive(Default)]
struct State {
    /// True while the own socket stays full, and the spare takes its place.
    is_clogged: bool,
    quarantine: Quarantine,
    retest: Option<Retest>,
}

/// A datagram to a suspect, which was sent through the spare while nothing else was.
struct Retest {
    peer: PeerAddr,
    sent: Instant,
    /// The bytes that waited in the spare before.
    queued_before: usize,
}

/// Changes that an operator should know about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathNews {
    /// Peers that have been set apart, as nothing leaves for them.
    pub suspects: u64,
    /// Times that segmenting was stopped for all peers.
    pub gso_stops: u64,
}

/// The sockets that one thread sends through at one endpoint.
#[derive(Clone, Copy)]
pub(in crate::net) struct SendSockets<'a> {
    pub(in crate::net) own: &'a UdpSocket,
    pub(in crate::net) spares: Option<&'a Spares>,
}

/// The sockets, for one call of `send`.
struct Paths<'a> {
    sockets: SendSockets<'a>,
    state: &'a mut State,
    segments: &'a RefCell<Segments>,
    may_wait: bool,
    may_switch: bool,
    /// Number of times that a test may still wait.
    test_waits: u32,
    /// True once the socket for suspects had no space in this call.
    apart_is_full: bool,
}

impl SendPaths {
    /// Adds the changes since the last call to `news`.
    pub(in crate::net) fn take_news(&mut self, news: &mut PathNews) {
        news.suspects += self.state.quarantine.take_found();
        news.gso_stops += self.segments.get_mut().take_stops();
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
        paths.state.refresh(sockets);
        let segments = &paths.segments;
        let mut paths = Paths {
            sockets,
            state: &mut paths.state,
            segments,
            may_wait: true,
            may_switch: true,
            test_waits: MAX_TEST_WAITS,
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
            // SAFETY: the headers were gathered just now, from packets whose borrows
            // outlive `packets`, or from copies, which only `gather` changes.
            unsafe { self.flush_by(paths, 0..gathered, &mut tally) };
        }
    }

    /// Sends each packet by its peer's route, if there are different ones.
    ///
    /// # Safety
    /// As for `flush`.
    unsafe fn flush_by(
        &mut self,
        paths: &mut Paths<'_>,
        mut range: Range<usize>,
        tally: &mut SendTally,
    ) {
        if paths.state.quarantine.is_idle() {
            // SAFETY: as the caller promises.
            range.start = unsafe { self.flush(paths, range.clone(), tally) };
            if range.is_empty() {
                return;
            }
        }
        paths.state.quarantine.handle_timeout(Instant::now());
        let mut next = range.start;
        while next < range.end {
            let now = Instant::now();
            // SAFETY: these headers are as the caller promises, for all calls below, too.
            let route = |index| paths.route(unsafe { self.peer(index) }, now);
            let is_open = |index: &usize| route(*index).is_none();
            let open = (next..range.end).take_while(is_open).count();
            if open > 0 {
                // SAFETY: as above.
                next = unsafe { self.flush(paths, next..next + open, tally) };
                continue;
            }
            // SAFETY: as above.
            unsafe {
                match route(next) {
                    Some((Route::Test, spares)) => {
                        next = self.send_tests(paths, spares, next..range.end, tally);
                        continue;
                    }
                    Some((Route::Retest, spares)) => self.send_retest(paths, spares, next, tally),
                    Some((_, spares)) => self.send_apart(paths, spares, next, tally),
                    None => continue,
                }
            }
            next += 1;
        }
    }

    /// Sends a packet through the socket for suspects, and never waits.
    ///
    /// # Safety
    /// As for `flush`.
    unsafe fn send_apart(
        &mut self,
        paths: &mut Paths<'_>,
        spares: &Spares,
        index: usize,
        tally: &mut SendTally,
    ) {
        if paths.apart_is_full {
            tally.congested += u64::from(self.deliveries[index]);
            return;
        }
        let mut apart = Apart {
            socket: &spares.apart,
            paths,
        };
        // SAFETY: as the caller promises.
        unsafe { self.flush(&mut apart, index..index + 1, tally) };
    }
}

impl State {
    /// Checks if the own socket has emptied, and if the packet of a retest has left.
    fn refresh(&mut self, sockets: SendSockets<'_>) {
        if self.is_clogged {
            self.is_clogged = queued_bytes(sockets.own.as_fd()) > MAX_QUEUED_BYTES;
        }
        // There are more bad peers than the last search found.
        if self.is_clogged
            && let Some(spares) = sockets.spares
            && queued_bytes(spares.spare.as_fd()) > MAX_QUEUED_BYTES
        {
            self.quarantine.search(Instant::now());
        }
        let is_due = |retest: &mut Retest| retest.sent.elapsed() > MAX_LEAVE_TIME;
        if let Some(spares) = sockets.spares
            && let Some(retest) = self.retest.take_if(is_due)
        {
            let has_left = queued_bytes(spares.spare.as_fd()) <= retest.queued_before;
            self.quarantine
                .judge(&retest.peer, has_left, Instant::now());
        }
    }
}

impl<'a> Paths<'a> {
    /// Returns the route of a packet, and its sockets, or `None` if it goes with the others.
    fn route(&self, peer: &PeerAddr, now: Instant) -> Option<(Route, &'a Spares)> {
        let spares = self.sockets.spares?;
        let route = match self.state.quarantine.route(peer, now) {
            // There is no time left for the test. If the peer is a bad one, it costs little.
            Route::Test if self.test_waits == 0 => Route::Open,
            Route::Retest if !self.may_retest(spares) => Route::Apart,
            route => route,
        };
        (route != Route::Open).then_some((route, spares))
    }

    /// Returns `true` if the spare may hold one more packet that does not leave.
    fn may_retest(&self, spares: &Spares) -> bool {
        self.state.retest.is_none() && queued_bytes(spares.spare.as_fd()) < MAX_QUEUED_BYTES
    }
}

impl Way for Paths<'_> {
    fn socket(&self) -> BorrowedFd<'_> {
        match self.sockets.spares {
            Some(spares) if self.state.is_clogged => spares.spare.as_fd(),
            _ => self.sockets.own.as_fd(),
        }
    }

    fn make_space(&mut self) -> Full {
        if std::mem::take(&mut self.may_wait) {
            wait_for_space(self.socket());
            return Full::Retry;
        }
        let may_switch = std::mem::take(&mut self.may_switch);
        let Some(spares) = self.sockets.spares.filter(|_| may_switch) else {
            return Full::Drop;
        };
        self.state.quarantine.search(Instant::now());
        let own = queued_bytes(self.sockets.own.as_fd());
        let spare = queued_bytes(spares.spare.as_fd());
        let was_clogged = std::mem::replace(&mut self.state.is_clogged, spare < own);
        if self.state.is_clogged == was_clogged {
            return Full::Drop;
        }
        // Other packets will wait in the spare, too.
        self.state.retest = None;
        Full::Reroute
    }

    fn segments_taken(&mut self, headers: &[libc::mmsghdr]) {
        self.segments
            .borrow_mut()
            .taken(|| headers.iter().any(is_segmented));
    }

    fn segments_refused(&mut self, peer: &PeerAddr) {
        self.segments.borrow_mut().refuse(peer, Instant::now());
    }
}

/// The socket for suspects.
struct Apart<'a, 'b> {
    socket: &'a UdpSocket,
    paths: &'a mut Paths<'b>,
}

impl Way for Apart<'_, '_> {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn make_space(&mut self) -> Full {
        self.paths.apart_is_full = true;
        Full::Drop
    }

    fn segments_refused(&mut self, peer: &PeerAddr) {
        self.paths.segments_refused(peer);
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

/// The time within which a network interface reports that it has sent a packet. Most do
/// within 100 µs, some group their reports over 250 µs.
const MAX_LEAVE_TIME: Duration = Duration::from_micros(500);

/// Maximum number of waits for tests in one call. They take 10 ms, two slices. The other
/// packets of the call go untested.
const MAX_TEST_WAITS: u32 = 20;

/// The bytes in the own socket below which it is used again, and in the spare below which
/// suspects are tested again. A sixth of the smallest usual buffer (208 KiB, which the kernel
/// counts twice).
const MAX_QUEUED_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;
