//! Tokens that prove an address: what nobody may forge.

use std::net::SocketAddr;

use arbitrary::{Result, Unstructured};
use bullhorn::net::PeerAddr;
use bullhorn::server::ingress::token::Tokens;
use bullhorn::wire::ProofToken;
use bullhorn::wire::v2::SessionId;

/// Gives tokens to an address, and tries guesses, changed bits, other addresses and other times.
pub fn tokens(data: &[u8]) {
    // Too few bytes for a case are none.
    let _ = try_tokens(&mut Unstructured::new(data));
}

fn try_tokens(input: &mut Unstructured<'_>) -> Result<()> {
    let key = input.arbitrary()?;
    let tokens = Tokens::new(key);
    let peer = any_peer(input)?;
    // A server that runs for 34 years.
    let now_ms = input.int_in_range(0..=1 << 40)?;
    let (session, text) = (tokens.session(&peer, now_ms), tokens.text(&peer, now_ms));
    assert_eq!(tokens.session(&peer, now_ms), session);

    let end_ms = (now_ms / EPOCH_MS + 2) * EPOCH_MS;
    for at_ms in [now_ms, now_ms + EPOCH_MS, end_ms - 1] {
        assert!(tokens.is_session(session, &peer, at_ms));
        assert!(tokens.is_text(text, &peer, at_ms));
    }
    let late_ms = end_ms.saturating_add(input.arbitrary::<u32>()?.into());
    assert!(!tokens.is_session(session, &peer, late_ms));
    assert!(!tokens.is_text(text, &peer, late_ms));
    // Of a clock that goes back, the latest epoch counts.
    assert!(!tokens.is_session(session, &peer, now_ms));

    let tokens = Tokens::new(key);
    let bit = 1_u64 << input.int_in_range(0..=63)?;
    let guess = input.arbitrary::<u64>()?;
    for forged in [guess, session.get() ^ bit, session.get() ^ guess].map(SessionId::new) {
        let Some(forged) = forged else { continue };
        assert_eq!(
            tokens.is_session(forged, &peer, now_ms),
            forged == session || {
                // The token of the last epoch, which no guess meets but by its own.
                now_ms >= EPOCH_MS && forged == Tokens::new(key).session(&peer, now_ms - EPOCH_MS)
            }
        );
    }
    let number = ProofToken::parse(text.to_string().as_bytes());
    assert_eq!(number, Some(text));
    let forged = ProofToken::of(guess);
    if forged != text && now_ms < EPOCH_MS {
        assert!(!tokens.is_text(forged, &peer, now_ms));
    }
    // The token of one purpose is of no use for the other one.
    assert!(!tokens.is_text(ProofToken::of(session.get()), &peer, now_ms));

    let other = any_peer(input)?;
    let is_same = other == peer && other.endpoint() == peer.endpoint();
    assert_eq!(tokens.is_session(session, &other, now_ms), is_same);
    let other_key = input.arbitrary()?;
    if other_key != key {
        assert!(!Tokens::new(other_key).is_session(session, &peer, now_ms));
    }
    Ok(())
}

fn any_peer(input: &mut Unstructured<'_>) -> Result<PeerAddr> {
    let (port, bind) = input.arbitrary::<(u16, u8)>()?;
    let address = match input.arbitrary()? {
        true => SocketAddr::from((input.arbitrary::<[u8; 4]>()?, port)),
        false => SocketAddr::from((input.arbitrary::<[u8; 16]>()?, port)),
    };
    Ok(PeerAddr::new(address, bind))
}

/// The time for which the server gives the same tokens.
const EPOCH_MS: u64 = 64_000;
