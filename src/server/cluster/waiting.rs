//! The names that peers of this node want, until the node that decides has answered.

use std::collections::BTreeMap;

use crate::server::registry::NameRequest;

/// The requests of this node that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct WaitingNames {
    /// By their numbers, in their order.
    requests: BTreeMap<u64, Waiting>,
    last_number: u64,
}

#[derive(Debug)]
struct Waiting {
    request: NameRequest,
    deadline_ms: u64,
}

impl WaitingNames {
    /// Returns no requests. Their numbers begin at the incarnation of this node. So an answer to the
    /// process before it, which had the same name, answers none of them.
    pub(super) fn new(incarnation: u64) -> Self {
        Self {
            last_number: incarnation,
            ..Self::default()
        }
    }

    /// Adds a request, and returns its number.
    pub(super) fn add(&mut self, request: NameRequest, now_ms: u64) -> u64 {
        self.last_number += 1;
        let deadline_ms = now_ms + MAX_ANSWER_MS;
        let waiting = Waiting {
            request,
            deadline_ms,
        };
        self.requests.insert(self.last_number, waiting);
        self.last_number
    }

    /// Takes the request with this number, which has its answer.
    pub(super) fn take(&mut self, number: u64) -> Option<NameRequest> {
        self.requests.remove(&number).map(|waiting| waiting.request)
    }

    /// Takes a request that has waited for too long.
    pub(super) fn take_late(&mut self, now_ms: u64) -> Option<NameRequest> {
        let (_, oldest) = self.requests.first_key_value()?;
        let is_late = now_ms >= oldest.deadline_ms;
        is_late.then(|| self.requests.pop_first().map(|(_, it)| it.request))?
    }
}

/// Time after which an answer is late. It is noticed up to a tick later, and the peer is told within 500 ms.
const MAX_ANSWER_MS: u64 = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::PeerAddr;
    use crate::wire::cluster::Claim;

    fn request(text: &str) -> NameRequest {
        NameRequest {
            session: None,
            peer: PeerAddr::new(([127, 0, 0, 1], 1).into(), 0),
            claim: Claim {
                name: text.parse().unwrap(),
                claimed_ms: 0,
            },
        }
    }

    #[test]
    fn a_request_is_answered_once_or_late() {
        let mut waiting = WaitingNames::default();
        let first = waiting.add(request("ada"), 1_000);
        let second = waiting.add(request("bob"), 1_001);
        assert_eq!(waiting.take(first), Some(request("ada")));
        assert_eq!(waiting.take(first), None);
        assert_eq!(waiting.take_late(1_400), None);
        assert_eq!(waiting.take_late(1_501), Some(request("bob")));
        assert_eq!(waiting.take(second), None);
    }
}
