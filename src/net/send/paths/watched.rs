//! Packets that are watched until they have left the machine, or have not in time.

use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::super::flush::{Full, Way, is_full};
use super::super::{SendTally, Sender};
use super::{MAX_LEAVE_TIME, Paths, Retest, queued_bytes};
use crate::net::quarantine::Route;
use crate::net::spare::Spares;

impl Sender {
    /// Sends the first datagram of each packet alone, watches which of them leave, and sends
    /// the rest accordingly. Returns the index of the first packet that is not of this group.
    ///
    /// Most leave within the call. For those that do not, this waits once. Either all of them
    /// have left then, or none has, or else the group was too large.
    ///
    /// # Safety
    /// As for `flush`.
    pub(super) unsafe fn send_tests(
        &mut self,
        paths: &mut Paths<'_>,
        spares: &Spares,
        range: Range<usize>,
        tally: &mut SendTally,
    ) -> usize {
        let now = Instant::now();
        let was_clogged = paths.state.is_clogged;
        let queued_before = queued_bytes(paths.socket());
        let (mut waiting, mut waiting_bytes) = (Vec::new(), 0);
        let mut next = range.start;
        while next < range.end && waiting.len() < paths.state.quarantine.group_size() {
            // SAFETY: these headers are as the caller promises, for all calls below, too.
            let peer = unsafe { *self.peer(next) };
            // SAFETY: as above.
            let is_same = |index: &usize| unsafe { *self.peer(*index) == peer };
            // What comes next to one peer must not pass the rest of what came before.
            if paths.route(&peer, now).map(|(route, _)| route) != Some(Route::Test)
                || waiting.iter().any(is_same)
            {
                break;
            }
            // SAFETY: as above.
            match unsafe { self.send_test(paths, next, tally) } {
                None => {}
                Some(0) => {
                    paths.state.quarantine.judge(&peer, true, now);
                    // SAFETY: as above.
                    unsafe { self.send_rest(paths, next, tally) };
                }
                Some(bytes) => {
                    waiting.push(next);
                    waiting_bytes += bytes;
                }
            }
            next += 1;
        }
        if waiting.is_empty() {
            return next;
        }
        let has_left = leaves(|| queued_bytes(paths.socket()), queued_before);
        let stuck_bytes = queued_bytes(paths.socket()).saturating_sub(queued_before);
        let is_clear = has_left || waiting.len() == 1 || stuck_bytes >= waiting_bytes;
        let is_clear = is_clear && paths.state.is_clogged == was_clogged;
        paths.state.quarantine.set_group_size(is_clear);
        paths.test_waits -= 1;
        let now = Instant::now();
        for index in waiting {
            // SAFETY: as above.
            unsafe {
                if is_clear {
                    let peer = *self.peer(index);
                    paths.state.quarantine.judge(&peer, has_left, now);
                }
                if is_clear && !has_left && !self.is_finished(index) {
                    self.send_apart(paths, spares, index, tally);
                } else {
                    self.send_rest(paths, index, tally);
                }
            }
        }
        next
    }

    /// Sends the first datagram of a packet, and returns the bytes that wait in the socket
    /// because of it, or `None` if the kernel did not take it.
    ///
    /// # Safety
    /// As for `flush`.
    unsafe fn send_test(
        &mut self,
        paths: &mut Paths<'_>,
        index: usize,
        tally: &mut SendTally,
    ) -> Option<usize> {
        loop {
            let queued_before = queued_bytes(paths.socket());
            // SAFETY: as the caller promises.
            match unsafe { self.send_first(paths.socket(), index) } {
                Ok(()) => {
                    let queued = queued_bytes(paths.socket());
                    return Some(queued.saturating_sub(queued_before));
                }
                Err(libc::EINTR) => {}
                Err(error) if is_full(error) => {
                    if paths.make_space() == Full::Drop {
                        tally.congested += u64::from(self.deliveries[index]);
                        return None;
                    }
                }
                Err(_) => {
                    tally.refused += u64::from(self.deliveries[index]);
                    return None;
                }
            }
        }
    }

    /// Sends what `send_first` has left of a packet.
    ///
    /// # Safety
    /// As for `flush`.
    unsafe fn send_rest(&mut self, paths: &mut Paths<'_>, index: usize, tally: &mut SendTally) {
        if self.is_finished(index) {
            tally.sent += u64::from(self.deliveries[index]);
            return;
        }
        // A change of the socket returns before the packet is sent, and occurs once.
        // SAFETY: as the caller promises.
        while unsafe { self.flush(paths, index..index + 1, tally) } == index {}
    }

    /// Sends the first datagram of a packet to a suspect through the spare, and the rest
    /// accordingly. If it does not leave at once, a later call looks again, or nobody does while
    /// the spare is in use.
    ///
    /// # Safety
    /// As for `flush`.
    pub(super) unsafe fn send_retest(
        &mut self,
        paths: &mut Paths<'_>,
        spares: &Spares,
        index: usize,
        tally: &mut SendTally,
    ) {
        let queued = || queued_bytes(spares.spare.as_fd());
        let queued_before = queued();
        // SAFETY: this header is as the caller promises, for all calls below, too.
        if unsafe { self.send_first(spares.spare.as_fd(), index) }.is_err() {
            // SAFETY: as above.
            return unsafe { self.send_apart(paths, spares, index, tally) };
        }
        let now = Instant::now();
        // SAFETY: as above.
        let peer = unsafe { *self.peer(index) };
        let has_left = queued() <= queued_before;
        if has_left || paths.state.is_clogged {
            paths.state.quarantine.judge(&peer, has_left, now);
        } else {
            paths.state.retest = Some(Retest {
                peer,
                sent: now,
                queued_before,
            });
        }
        // SAFETY: as above.
        unsafe {
            if has_left || self.is_finished(index) {
                self.send_rest(paths, index, tally);
            } else {
                self.send_apart(paths, spares, index, tally);
            }
        }
    }
}

/// Returns `true` once no more bytes wait in a socket than before, or `false` if they still
/// wait after [`MAX_LEAVE_TIME`].
pub(super) fn leaves(mut queued_bytes: impl FnMut() -> usize, before: usize) -> bool {
    let mut deadline = None;
    loop {
        if queued_bytes() <= before {
            return true;
        }
        let now = Instant::now();
        if now > *deadline.get_or_insert(now + MAX_LEAVE_TIME) {
            return false;
        }
        // The kernel's thread that receives on this core needs it now.
        std::thread::sleep(LEAVE_PAUSE);
    }
}

/// Time between two looks. The kernel makes about twice as much of it.
const LEAVE_PAUSE: Duration = Duration::from_micros(50);
