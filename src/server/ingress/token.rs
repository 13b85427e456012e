//! Tokens that prove an address. Only a host that receives what is sent to it knows its token.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher24;

use crate::net::PeerAddr;
use crate::wire::ProofToken;
use crate::wire::v2::SessionId;

/// Computes and checks tokens, without storing them. A token is a keyed hash of an address, of the
/// local address that it writes to, and of the epoch. Those of this epoch and the last one are valid.
/// All workers share the key, and no lock is taken for a datagram.
pub struct Tokens {
    key: (u64, u64),
    /// The latest epoch so far. A worker may have read the clock earlier than another one, and then
    /// counts the same epochs as valid.
    epoch: AtomicU64,
}

/// The purpose of a token. A token is valid for its purpose only.
#[derive(Clone, Copy)]
enum Purpose {
    Session = 0,
    Text = 1,
}

impl Tokens {
    /// Returns tokens with a key that nobody else knows.
    pub fn new(key: (u64, u64)) -> Self {
        Self {
            key,
            epoch: AtomicU64::new(0),
        }
    }

    /// Returns the session of a newcomer.
    pub fn session(&self, address: &PeerAddr, now_ms: u64) -> SessionId {
        self.session_in(self.epoch(now_ms), address)
    }

    /// Returns true if `session` is one that this address was given in this epoch or the last one.
    pub fn is_session(&self, session: SessionId, address: &PeerAddr, now_ms: u64) -> bool {
        let mut valid = self.valid_epochs(now_ms);
        valid.any(|epoch| self.session_in(epoch, address) == session)
    }

    /// Returns the token that a v1 newcomer must say.
    pub fn text(&self, address: &PeerAddr, now_ms: u64) -> ProofToken {
        self.text_in(self.epoch(now_ms), address)
    }

    /// Returns true if `token` is one that this address was given in this epoch or the last one.
    pub fn is_text(&self, token: ProofToken, address: &PeerAddr, now_ms: u64) -> bool {
        let mut valid = self.valid_epochs(now_ms);
        valid.any(|epoch| self.text_in(epoch, address) == token)
    }

    fn session_in(&self, epoch: u64, address: &PeerAddr) -> SessionId {
        // 0 stands for no session.
        SessionId::new(self.hash(epoch, Purpose::Session, address)).unwrap_or(INSTEAD_OF_ZERO)
    }

    fn text_in(&self, epoch: u64, address: &PeerAddr) -> ProofToken {
        ProofToken::of(self.hash(epoch, Purpose::Text, address))
    }

    /// SipHash-2-4 (Aumasson and Bernstein, 2012), with which no host can compute the tokens of other
    /// addresses and epochs from its own.
    fn hash(&self, epoch: u64, purpose: Purpose, address: &PeerAddr) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
        address.hash(&mut hasher);
        hasher.write_u32(address.endpoint().number());
        hasher.write_u64(epoch);
        hasher.write_u8(purpose as u8);
        hasher.finish()
    }

    fn valid_epochs(&self, now_ms: u64) -> impl Iterator<Item = u64> {
        let epoch = self.epoch(now_ms);
        std::iter::once(epoch).chain(epoch.checked_sub(1))
    }

    fn epoch(&self, now_ms: u64) -> u64 {
        let epoch = now_ms / EPOCH_MS;
        self.epoch.fetch_max(epoch, Ordering::Relaxed).max(epoch)
    }
}

/// Length of an epoch. A newcomer has at least as much time to use its token.
const EPOCH_MS: u64 = 64_000;

const INSTEAD_OF_ZERO: SessionId = SessionId::new(1).expect("not 0");

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Barrier;

    use proptest::prelude::*;

    use super::*;
    use crate::net::LocalIndex;
    use crate::server::keys::Keys;

    fn address(ip: u32, port: u16) -> PeerAddr {
        PeerAddr::new((Ipv4Addr::from_bits(ip), port).into(), 0)
    }

    fn tokens() -> Tokens {
        Tokens::new(Keys::random().unwrap().draw())
    }

    #[test]
    fn a_token_is_valid_in_its_epoch_and_the_next_one() {
        let (tokens, peer) = (tokens(), address(1, 5000));
        let (session, text) = (tokens.session(&peer, 0), tokens.text(&peer, 0));
        for (now_ms, is_valid) in [
            (0, true),
            (EPOCH_MS - 1, true),
            (EPOCH_MS, true),
            (2 * EPOCH_MS - 1, true),
            (2 * EPOCH_MS, false),
            (3 * EPOCH_MS, false),
        ] {
            assert_eq!(
                tokens.is_session(session, &peer, now_ms),
                is_valid,
                "{now_ms}"
            );
            assert_eq!(tokens.is_text(text, &peer, now_ms), is_valid, "{now_ms}");
        }
    }

    #[test]
    fn a_worker_that_has_read_the_clock_before_another_one_knows_its_tokens() {
        let (tokens, peer) = (tokens(), address(1, 5000));
        let (session, text) = (
            tokens.session(&peer, EPOCH_MS),
            tokens.text(&peer, EPOCH_MS),
        );
        assert!(tokens.is_session(session, &peer, EPOCH_MS - 1));
        assert!(tokens.is_text(text, &peer, EPOCH_MS - 1));
    }

    #[test]
    fn after_a_time_without_newcomers_no_old_token_is_valid() {
        let (tokens, peer) = (tokens(), address(1, 5000));
        let session = tokens.session(&peer, 0);
        assert!(!tokens.is_session(session, &peer, 10 * EPOCH_MS));
        let session = tokens.session(&peer, 10 * EPOCH_MS);
        assert!(tokens.is_session(session, &peer, 11 * EPOCH_MS));
    }

    #[test]
    fn the_token_of_an_epoch_is_the_same_and_another_one_follows() {
        let (tokens, peer) = (tokens(), address(1, 5000));
        let sessions = [0, 1, EPOCH_MS - 1, EPOCH_MS, 2 * EPOCH_MS - 1];
        let sessions = sessions.map(|now_ms| tokens.session(&peer, now_ms));
        assert_eq!(sessions[0], sessions[1]);
        assert_eq!(sessions[0], sessions[2]);
        assert_ne!(sessions[0], sessions[3]);
        assert_eq!(sessions[3], sessions[4]);
    }

    #[test]
    fn a_token_is_of_no_use_elsewhere() {
        let tokens = tokens();
        let peer = address(0x0A00_0001, 5000);
        let other_local = peer.endpoint().with_local(LocalIndex::of(1));
        let v6 = |text: &str| PeerAddr::new(text.parse::<SocketAddr>().unwrap(), 0);
        let others = [
            address(0x0A00_0002, 5000),
            address(0x0A00_0001, 5001),
            PeerAddr::new(peer.socket_addr(), 1),
            peer.at(other_local),
            v6("[::ffff:10.0.0.1]:5000"),
            v6("[::a00:1]:5000"),
        ];
        let (session, text) = (tokens.session(&peer, 0), tokens.text(&peer, 0));
        for other in others {
            assert!(!tokens.is_session(session, &other, 0), "{other:?}");
            assert!(!tokens.is_text(text, &other, 0), "{other:?}");
        }
        let server = self::tokens();
        assert!(!server.is_session(session, &peer, 0), "another server");
        // That of a session is no text, and the other way round.
        assert!(!tokens.is_text(ProofToken::of(session.get()), &peer, 0));
    }

    #[test]
    fn no_forged_session_is_accepted() {
        assert_eq!(accepted(100_000), 0);
    }

    /// `cargo test --release --lib -- --ignored ten_million` takes a second.
    #[test]
    #[ignore = "takes a minute in a debug build"]
    fn none_of_ten_million_forged_sessions_is_accepted() {
        assert_eq!(accepted(10_000_000), 0);
    }

    /// Returns the number of guesses that are accepted. They are of all kinds: random numbers,
    /// what a stranger was given at other addresses or at other ports of the victim's, as it is
    /// or with one bit changed, and what the victim was given before the last two epochs.
    fn accepted(guesses: u32) -> usize {
        let (tokens, victim) = (tokens(), address(0x0A00_0001, 5000));
        let old = tokens.session(&victim, 0).get();
        let now_ms = 2 * EPOCH_MS;
        let mut random = 1_u64;
        let guess = |number: u32| {
            // xorshift64 (Marsaglia, 2003).
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let stranger = match random % 2 {
                0 => address(0x0B00_0000 + number, 5000),
                _ => address(0x0A00_0001, 6000 + (number % 50_000) as u16),
            };
            let own = tokens.session(&stranger, now_ms).get();
            let session = [random, own, own ^ 1 << (number % 64), old][number as usize % 4];
            SessionId::new(session).unwrap_or(INSTEAD_OF_ZERO)
        };
        let is_accepted = |session: &SessionId| tokens.is_session(*session, &victim, now_ms);
        (0..guesses).map(guess).filter(is_accepted).count()
    }

    #[test]
    fn threads_that_share_the_tokens_agree_in_every_epoch() {
        let (tokens, step) = (&tokens(), &Barrier::new(4));
        std::thread::scope(|scope| {
            for thread in 0..4_u16 {
                scope.spawn(move || {
                    let peer = address(7, 1024 + thread);
                    let mut last = None;
                    for now_ms in (0..100 * EPOCH_MS).step_by(EPOCH_MS as usize - 1) {
                        step.wait();
                        let is_valid = |session| tokens.is_session(session, &peer, now_ms);
                        assert!(last.is_none_or(is_valid), "{now_ms}");
                        last = Some(tokens.session(&peer, now_ms));
                    }
                });
            }
        });
    }

    proptest! {
        #[test]
        fn every_address_is_given_what_it_may_use(ip: u32, port: u16, now_ms in 0_u64..1 << 40) {
            let (tokens, peer) = (tokens(), address(ip, port));
            let later_ms = now_ms + EPOCH_MS;
            let (session, text) = (tokens.session(&peer, now_ms), tokens.text(&peer, now_ms));
            prop_assert!(tokens.is_session(session, &peer, now_ms));
            prop_assert!(tokens.is_session(session, &peer, later_ms));
            prop_assert!(tokens.is_text(text, &peer, later_ms));
        }
    }
}
