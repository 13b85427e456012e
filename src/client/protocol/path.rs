//! The length of the datagrams that pass the path to a server of version 2. No I/O, and no
//! clock.
//!
//! A path may drop what is longer than its MTU, and no message says so. The session finds out
//! by pairs of PINGs, as RFC 8899 probes a path: a long one, which fills a full bundle and is
//! answered by a datagram of the same length, and then a short one. A long one that is answered
//! ends the search. If only short ones are answered, often enough that chance cannot be the
//! reason, the session asks for small bundles. Later it checks if long datagrams pass again.
//!
//! These PINGs prove nothing about the liveness of the server, which has its own.

use std::time::{Duration, Instant};

use crate::wire::v2::BundleSize;

/// The path to the server, and the search for what passes it.
#[derive(Debug)]
pub(super) struct Path {
    /// The source of the tokens.
    random: fn() -> u64,
    /// The size of the bundles that the server sends.
    size: BundleSize,
    state: State,
    /// The time of the next step.
    next: Instant,
    /// The time of the next search if the path is in use.
    next_in_use: Instant,
}

/// A datagram for the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Two datagrams with a PING each, and their tokens. The first is padded to a full bundle.
    Pair { long: Token, short: Token },
    /// A HELLO that asks for bundles of this size.
    Ask(BundleSize),
}

/// The token of a PING of a pair.
pub(super) type Token = [u8; 8];

#[derive(Debug)]
enum State {
    /// The size is right, as far as is known.
    Settled,
    /// Pairs are under way. The long PING of pair `n` has the token `first + 2 * n`, and the short
    /// one the next.
    Searching {
        first: u64,
        pairs: u32,
        last_sent: Instant,
        /// The pairs whose short PING was answered, as bits.
        answered: u64,
    },
    /// The server is asked for this size.
    Asking { size: BundleSize, attempts: u32 },
}

impl Path {
    pub(super) fn new(random: fn() -> u64, now: Instant) -> Self {
        Self {
            random,
            size: BundleSize::Full,
            state: State::Settled,
            next: now,
            next_in_use: now,
        }
    }

    /// The size of the bundles that pass the path, as far as is known.
    pub(super) fn size(&self) -> BundleSize {
        self.size
    }

    /// Returns true if the server is asked for another size.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking { .. })
    }

    /// Forgets the path, as the session takes another one.
    pub(super) fn replace(&mut self, now: Instant) {
        *self = Self::new(self.random, now);
    }

    /// Begins a session in which the server sends bundles of this size. If they are full, a
    /// search is due.
    pub(super) fn begin(&mut self, size: BundleSize, now: Instant) {
        self.size = size;
        self.settle(now);
        if size == BundleSize::Full {
            self.next = now;
        }
    }

    /// Notes that the server sends bundles of this size from now on. Returns true if that was
    /// asked for.
    pub(super) fn granted(&mut self, granted: BundleSize, now: Instant) -> bool {
        let is_asked = matches!(self.state, State::Asking { size, .. } if size == granted);
        if is_asked {
            self.size = granted;
            self.settle(now);
        }
        is_asked
    }

    /// Notes that a message came, or that something was said. While nothing happens, nothing is
    /// lost, and the path is seldom checked.
    pub(super) fn used(&mut self) {
        if matches!(self.state, State::Settled) {
            self.next = self.next.min(self.next_in_use);
        }
    }

    /// Takes a PONG. Returns false if it is not the answer to a PING of a pair.
    pub(super) fn handle_pong(&mut self, token: &[u8], now: Instant) -> bool {
        let Ok(token) = Token::try_from(token).map(u64::from_be_bytes) else {
            return false;
        };
        let State::Searching {
            first,
            pairs,
            last_sent,
            answered,
        } = &mut self.state
        else {
            return false;
        };
        let number = token.wrapping_sub(*first);
        if number >= u64::from(2 * *pairs) {
            return false;
        }
        let pair = (number / 2) as u32;
        let is_long = number % 2 == 0;
        *answered |= 1 << pair;
        let lost = answered.count_ones();
        if pair + 1 == *pairs {
            self.next = now.max(*last_sent + PAIR_INTERVAL);
        }
        match (is_long, self.size) {
            (true, BundleSize::Full) => self.settle(now),
            (true, BundleSize::Small) => self.ask(BundleSize::Full, now),
            (false, BundleSize::Full) if lost == MIN_LOST => self.ask(BundleSize::Small, now),
            (false, BundleSize::Small) if lost == RAISE_PROBES => self.settle(now),
            (false, _) => {}
        }
        true
    }

    /// The time at which [`Self::poll`] has something to send.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// Returns the step that is due, if there is one.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Step> {
        if now < self.next {
            return None;
        }
        match &mut self.state {
            State::Settled => {
                self.state = State::Searching {
                    first: (self.random)(),
                    pairs: 0,
                    last_sent: now,
                    answered: 0,
                };
                self.poll(now)
            }
            State::Searching { pairs, .. } if *pairs == MAX_PAIRS => {
                self.settle(now);
                None
            }
            State::Searching {
                first,
                pairs,
                last_sent,
                ..
            } => {
                let number = first.wrapping_add(u64::from(2 * *pairs));
                *pairs += 1;
                *last_sent = now;
                self.next = now + UNANSWERED_INTERVAL;
                Some(Step::Pair {
                    long: number.to_be_bytes(),
                    short: number.wrapping_add(1).to_be_bytes(),
                })
            }
            // The server does not know small bundles.
            State::Asking { attempts: 0, .. } => {
                self.wait(RAISE_INTERVAL, RAISE_INTERVAL, now);
                None
            }
            State::Asking { size, attempts } => {
                *attempts -= 1;
                self.next = now + ASK_INTERVAL;
                Some(Step::Ask(*size))
            }
        }
    }

    /// Keeps the size, until the time for another search.
    fn settle(&mut self, now: Instant) {
        match self.size {
            BundleSize::Full => self.wait(CHECK_INTERVAL, IDLE_INTERVAL, now),
            BundleSize::Small => self.wait(RAISE_INTERVAL, RAISE_INTERVAL, now),
        }
    }

    /// Ends a search. The next one begins after one of these times, which depends on the use of
    /// the path.
    fn wait(&mut self, in_use: Duration, idle: Duration, now: Instant) {
        self.state = State::Settled;
        self.next = now + idle;
        self.next_in_use = now + in_use;
    }

    fn ask(&mut self, size: BundleSize, now: Instant) {
        self.state = State::Asking {
            size,
            attempts: MAX_ATTEMPTS,
        };
        self.next = now;
    }
}

/// Number of pairs with an answer to the short PING alone that proves that long datagrams are
/// lost. On a path that loses one datagram in five whatever its length, a search comes so far with
/// a probability of 0.26¹², one in ten million.
const MIN_LOST: u32 = 12;

/// The same number on a path that is known to lose them. It is the number of probes of RFC 8899,
/// section 5.1.2.
const RAISE_PROBES: u32 = 3;

/// Maximum number of pairs in a search. It ends without a result on a path on which few datagrams
/// pass at all.
const MAX_PAIRS: u32 = u64::BITS;

/// Minimum time between two pairs. [`MIN_LOST`] of them take two thirds of a second, or as many
/// round trips.
const PAIR_INTERVAL: Duration = Duration::from_millis(60);

/// Time after a pair without any answer, as RFC 8085 recommends it where the round trip is not
/// known (section 3.1.1).
const UNANSWERED_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two checks of a path in use. A pair has 1.3 kB in each direction.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Time between two checks of a path on which nothing is said.
const IDLE_INTERVAL: Duration = Duration::from_secs(60);

/// Time after which a path that lost long datagrams is tried again, the timer of RFC 8899,
/// section 5.1.1.
const RAISE_INTERVAL: Duration = Duration::from_secs(600);

/// Time between two HELLOs of a session.
const ASK_INTERVAL: Duration = Duration::from_millis(300);

/// Maximum number of HELLOs of a session. One of them passes any path on which anything can be
/// said.
const MAX_ATTEMPTS: u32 = 10;

#[cfg(test)]
mod tests;
