//! Tokens that prove an address: whoever has the one of an address receives what is sent to it.

use std::hash::{Hash, Hasher};
use std::io;
use std::sync::{Mutex, TryLockError};

use arc_swap::ArcSwap;
use siphasher::sip::SipHasher24;

use crate::net::PeerAddr;
use crate::wire::ProofToken;
use crate::wire::v2::SessionId;

/// Computes and checks tokens, without storing them. A token is a hash of an address and of the
/// local address that it writes to, with a key that is renewed every [`EPOCH_MS`]. The last two
/// keys are valid. All workers share them, and no lock is taken for a datagram.
pub struct Tokens {
    keys: ArcSwap<Keys>,
    /// Held by the one that renews the keys.
    renewal: Mutex<()>,
}

#[derive(Clone, Copy)]
struct Keys {
    epoch: u64,
    current: Key,
    previous: Key,
}

type Key = (u64, u64);

/// The use of a token. Those of one use are of no use for another one.
#[derive(Clone, Copy)]
enum Purpose {
    Session = 0,
    Text = 1,
}

impl Tokens {
    /// Draws the first keys.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> io::Result<Self> {
        Ok(Self::with_keys(Keys {
            epoch: 0,
            current: random_key()?,
            previous: random_key()?,
        }))
    }

    fn with_keys(keys: Keys) -> Self {
        Self {
            keys: ArcSwap::from_pointee(keys),
            renewal: Mutex::new(()),
        }
    }

    /// Returns the session of a newcomer.
    pub fn session(&self, address: &PeerAddr, now_ms: u64) -> SessionId {
        session_of(self.keys(now_ms).current, address)
    }

    /// Returns true if `session` is one that this address was given in this epoch or the last one.
    pub fn is_session(&self, session: SessionId, address: &PeerAddr, now_ms: u64) -> bool {
        let keys = self.keys(now_ms);
        [keys.current, keys.previous]
            .into_iter()
            .any(|key| session_of(key, address) == session)
    }

    /// Returns the token that a v1 newcomer must say.
    pub fn text(&self, address: &PeerAddr, now_ms: u64) -> ProofToken {
        text_of(self.keys(now_ms).current, address)
    }

    /// Returns true if `token` is one that this address was given in this epoch or the last one.
    pub fn is_text(&self, token: ProofToken, address: &PeerAddr, now_ms: u64) -> bool {
        let keys = self.keys(now_ms);
        [keys.current, keys.previous]
            .into_iter()
            .any(|key| text_of(key, address) == token)
    }

    fn keys(&self, now_ms: u64) -> Keys {
        let keys = **self.keys.load();
        let epoch = now_ms / EPOCH_MS;
        if epoch <= keys.epoch {
            return keys;
        }
        self.renew(epoch);
        **self.keys.load()
    }

    /// The first one that notices a new epoch draws a key. The others go on with the old ones, and
    /// so does everyone if there is no random number.
    #[cold]
    fn renew(&self, epoch: u64) {
        let _renewal = match self.renewal.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let keys = **self.keys.load();
        let Ok(current) = random_key() else {
            return;
        };
        let previous = match epoch.checked_sub(keys.epoch) {
            None | Some(0) => return,
            Some(1) => keys.current,
            // Nobody came for a whole epoch.
            Some(_) => match random_key() {
                Ok(key) => key,
                Err(_) => return,
            },
        };
        self.keys.store(
            Keys {
                epoch,
                current,
                previous,
            }
            .into(),
        );
    }
}

fn session_of(key: Key, address: &PeerAddr) -> SessionId {
    // 0 stands for no session.
    SessionId::new(hash(key, Purpose::Session, address)).unwrap_or(INSTEAD_OF_ZERO)
}

fn text_of(key: Key, address: &PeerAddr) -> ProofToken {
    ProofToken::of(hash(key, Purpose::Text, address))
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012), with which nobody can compute the tokens of other
/// addresses from those of his own.
fn hash(key: Key, purpose: Purpose, address: &PeerAddr) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(key.0, key.1);
    address.hash(&mut hasher);
    hasher.write_u32(address.endpoint().number());
    hasher.write_u8(purpose as u8);
    hasher.finish()
}

fn random_key() -> io::Result<Key> {
    Ok((getrandom::u64()?, getrandom::u64()?))
}

/// Time between two keys. A newcomer has at least as much time to use its token.
const EPOCH_MS: u64 = 64_000;

const INSTEAD_OF_ZERO: SessionId = SessionId::new(1).expect("not 0");
