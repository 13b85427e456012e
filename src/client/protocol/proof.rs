//! Proof of the address to a server of version 1, which asks for it with `* say /in TOKEN`.

use std::time::{Duration, Instant};

use super::identity::ATTEMPTS_V1;
use super::liveness::Mode;
use super::{Outgoing, Protocol};
use crate::wire::reply::Reply;
use crate::wire::{PROOF_VERB, ProofToken, ServerLine};

/// The last proof that was sent.
#[derive(Debug)]
pub(super) struct Proof {
    token: ProofToken,
    sent_at: Instant,
    /// True if the server has shown since that it knows the session.
    is_taken: bool,
}

impl Protocol {
    /// Takes a line of version 1. Returns false if it does not ask for a proof.
    pub(super) fn handle_challenge(&mut self, line: &[u8], now: Instant) -> bool {
        let Some(ServerLine::Notice(sentence)) = ServerLine::parse(line) else {
            return false;
        };
        let Some(Reply::Prove(token)) = Reply::parse_uncoded(sentence) else {
            return false;
        };
        if self.liveness.mode() == Mode::V1 {
            self.prove(token, now);
        }
        true
    }

    /// The server has answered something that only a registered peer may ask.
    pub(super) fn proof_taken(&mut self) {
        if let Some(proof) = &mut self.proof {
            proof.is_taken = true;
        }
    }

    fn prove(&mut self, token: ProofToken, now: Instant) {
        let is_answered = |last: &Proof| {
            let is_old = last.token == token && last.is_taken;
            is_old || now < last.sent_at + MIN_INTERVAL
        };
        if self.proof.as_ref().is_some_and(is_answered) {
            return;
        }
        self.proof = Some(Proof {
            token,
            sent_at: now,
            is_taken: false,
        });
        let mut line = PROOF_VERB.to_vec();
        line.extend_from_slice(format!(" {token}").as_bytes());
        self.due.push_back(line);
        self.identity.renew(ATTEMPTS_V1);
        if !self.liveness.is_up() {
            self.send_again();
        }
    }

    /// Sends again what was sent and not answered, as the server has dropped it.
    fn send_again(&mut self) {
        let texts = self.texts.take_all().into_iter().map(|said| {
            let say = Outgoing::Say {
                room: None,
                payload: said.payload,
                is_text: true,
            };
            (say, said.responder)
        });
        let requests = self.requests.take_all().into_iter();
        let requests =
            requests.filter_map(|asked| Some((Outgoing::Request(asked.request), asked.responder?)));
        let mut again: Vec<_> = requests.chain(texts).collect();
        // In the order of the tickets, which is that of the application.
        again.sort_by_key(|(_, responder)| responder.id);
        self.queue_first(again);
    }
}

/// Minimum time between two proofs. A server asks at most once in 15 s, and others who pretend to be
/// it cannot make the client send more.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
