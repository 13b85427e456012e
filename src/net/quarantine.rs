//! The rules for peers whose packets do not leave.
//!
//! A packet counts against the buffer of its socket until it has left the machine. Packets to
//! a neighbor that does not answer, or in the queue of a slow interface, stay for seconds.
//! Few such peers fill the buffer, and then the socket takes packets for nobody. The error
//! does not say who they are. So when a buffer stays full, a *search* begins: for a while,
//! packets are sent one by one, and a peer whose packet does not leave is a *suspect*.
//! Suspects are sent to apart from the others, and tested again from time to time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::address::PeerAddr;

/// The suspects of one endpoint of one worker.
#[derive(Default)]
pub(super) struct Quarantine {
    suspects: HashMap<PeerAddr, Suspect>,
    /// Earlier suspects that have passed a test. They may have done so by chance, when a slow
    /// link had just sent something else.
    passed: HashMap<PeerAddr, Suspect>,
    search: Option<Search>,
    next_search: Option<Instant>,
    /// Minimum time from the end of the last search to the next, if that found nobody.
    search_pause: Duration,
    next_cleanup: Option<Instant>,
    /// Number of peers that have become suspects, until it is taken.
    found: u64,
}

/// The way to send a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// With the others.
    Open,
    /// Alone, and watched, as there is a search.
    Test,
    /// Alone, and watched while others are sent to, as the peer has been a suspect for long
    /// enough.
    Retest,
    /// Through the socket for suspects.
    Apart,
}

struct Suspect {
    until: Instant,
    /// Time for which it was made a suspect the last time.
    pause: Duration,
}

struct Search {
    end: Instant,
    /// Maximum number of packets that are watched at the same time.
    group_size: usize,
    passed: u32,
    failed: Vec<PeerAddr>,
}

impl Quarantine {
    /// Returns `true` if every route is [`Route::Open`].
    pub(super) fn is_idle(&self) -> bool {
        self.suspects.is_empty() && self.search.is_none()
    }

    /// Begins a search, if none is under way and the last was long enough ago. Call this
    /// when the buffer of a socket stays full.
    pub(super) fn search(&mut self, now: Instant) {
        if self.search.is_none() && self.next_search.is_none_or(|next| now >= next) {
            self.search = Some(Search {
                end: now + SEARCH_TIME,
                group_size: MAX_GROUP,
                passed: 0,
                failed: Vec::new(),
            });
        }
    }

    /// Ends a search whose time is over, and forgets the suspects that nothing is sent to.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(search) = self.search.take_if(|search| now >= search.end) {
            self.end(search, now);
        }
        if self.next_cleanup.is_none_or(|next| now >= next) {
            self.next_cleanup = Some(now + MAX_PAUSE);
            self.suspects
                .retain(|_, suspect| now < suspect.until + MAX_PAUSE);
            self.passed
                .retain(|_, suspect| now < suspect.until + MAX_PAUSE);
        }
    }

    fn end(&mut self, search: Search, now: Instant) {
        // If no packet leaves, it is the machine that is slow, and no peer of it.
        // While suspects are known, a full buffer is theirs, or of others like them.
        let is_peers = search.passed > 0 && !self.suspects.is_empty();
        if search.passed == 0 {
            for peer in &search.failed {
                self.suspects.remove(peer);
            }
        } else {
            self.found += search.failed.len() as u64;
        }
        self.search_pause = if is_peers {
            Duration::ZERO
        } else {
            longer(self.search_pause).max(MIN_SEARCH_PAUSE)
        };
        self.next_search = Some(now + self.search_pause);
    }

    /// Returns the way for the next packet to `peer`.
    pub(super) fn route(&self, peer: &PeerAddr, now: Instant) -> Route {
        match self.suspects.get(peer) {
            Some(suspect) if now < suspect.until => Route::Apart,
            Some(_) => Route::Retest,
            None if self.search.is_some() => Route::Test,
            None => Route::Open,
        }
    }

    /// Returns the maximum number of packets that are watched at the same time.
    pub(super) fn group_size(&self) -> usize {
        self.search.as_ref().map_or(1, |search| search.group_size)
    }

    /// Makes groups smaller if it was not clear which packets of the last had left, or larger.
    pub(super) fn set_group_size(&mut self, is_clear: bool) {
        if let Some(search) = &mut self.search {
            let size = search.group_size;
            let size = if is_clear { 2 * size } else { size / 4 };
            search.group_size = size.clamp(1, MAX_GROUP);
        }
    }

    /// Notes whether a packet to `peer` has left at once. If the table is full, the next packet
    /// to a new suspect is one more test.
    pub(super) fn judge(&mut self, peer: &PeerAddr, has_left: bool, now: Instant) {
        if has_left {
            self.pass(peer);
        } else {
            self.fail(peer, now);
        }
    }

    fn pass(&mut self, peer: &PeerAddr) {
        if let Some(suspect) = self.suspects.remove(peer)
            && self.passed.len() < MAX_SUSPECTS
        {
            self.passed.insert(*peer, suspect);
        }
        if let Some(search) = &mut self.search {
            search.passed += 1;
        }
    }

    fn fail(&mut self, peer: &PeerAddr, now: Instant) {
        let count = self.suspects.len();
        if let Some(suspect) = self.suspects.get_mut(peer) {
            suspect.pause = longer(suspect.pause);
            suspect.until = now + suspect.pause;
        } else if count < MAX_SUSPECTS {
            let earlier = self.passed.remove(peer);
            let pause = earlier.map_or(MIN_PAUSE, |suspect| longer(suspect.pause));
            let until = now + pause;
            self.suspects.insert(*peer, Suspect { until, pause });
            if let Some(search) = &mut self.search {
                search.failed.push(*peer);
            }
        }
    }

    /// Returns the number of peers that have become suspects since the last call.
    pub(super) fn take_found(&mut self) -> u64 {
        std::mem::take(&mut self.found)
    }
}

#[cfg(test)]
impl Quarantine {
    /// Makes all suspects due for a test.
    pub(super) fn end_pauses(&mut self, now: Instant) {
        for suspect in self.suspects.values_mut() {
            suspect.until = now;
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (2 * pause).min(MAX_PAUSE)
}

/// Time that a search takes: long enough for a text to every room of a busy server.
const SEARCH_TIME: Duration = Duration::from_millis(200);

/// Maximum number of packets that are watched together.
const MAX_GROUP: usize = 64;

/// The first time for which a peer is a suspect. It may be one by mistake, as when the machine
/// is too busy to send. A later test costs the others nothing.
const MIN_PAUSE: Duration = Duration::from_millis(250);

/// Minimum time from the end of a search that found nobody to the next.
const MIN_SEARCH_PAUSE: Duration = Duration::from_secs(1);

/// The longest time for which a peer is a suspect. One that comes back waits for it.
const MAX_PAUSE: Duration = Duration::from_secs(32);

/// Maximum number of suspects, and of those that have passed. Each of the two tables takes
/// about 300 KB.
const MAX_SUSPECTS: usize = 4096;

#[cfg(test)]
mod tests;
