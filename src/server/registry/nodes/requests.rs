//! Requests of the workers to other nodes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::net::PeerAddr;
use crate::server::ops::supervise::{Wake, lock};
use crate::sync::Mutex;
use crate::wire::cluster::{Claim, NodeId};
use crate::wire::v2::SessionId;
use crate::wire::{DisplayName, Name};

/// A request of a peer to other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The peer wants a name, which is reserved for it here.
    Name(NameRequest),
    /// A direct message to a peer of another server.
    Private {
        node: NodeId,
        from: DisplayName,
        to: DisplayName,
        text: Box<[u8]>,
    },
}

/// A name that a peer wants, and the time of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameRequest {
    pub peer: PeerAddr,
    /// `None` for a v1 peer.
    pub session: Option<SessionId>,
    pub claim: Claim,
}

/// A queue of requests, from all workers to the thread of the cluster.
pub struct RequestQueue {
    requests: Mutex<Vec<Request>>,
    /// True while other nodes can answer.
    is_open: AtomicBool,
    shed: AtomicU64,
    wake: Wake,
}

impl RequestQueue {
    /// Returns a queue that is closed. `wake` wakes the thread of the cluster.
    pub fn new(wake: Wake) -> Self {
        Self {
            requests: Mutex::default(),
            is_open: AtomicBool::new(false),
            shed: AtomicU64::new(0),
            wake,
        }
    }

    /// Opens the queue when other nodes can answer, and closes it when they cannot.
    pub fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// Takes all requests, in their order.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.requests))
    }

    /// The number of requests that had no space.
    pub fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// Adds a request. Returns false if nobody can answer it now.
    pub fn push(&self, request: Request) -> bool {
        if !self.is_open.load(Ordering::Relaxed) {
            return false;
        }
        let mut requests = lock(&self.requests);
        if requests.len() >= MAX_REQUESTS {
            self.shed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        requests.push(request);
        let is_first = requests.len() == 1;
        drop(requests);
        if is_first {
            (self.wake)();
        }
        true
    }
}

impl NameRequest {
    pub fn name(&self) -> Name {
        self.claim.name
    }
}

/// Maximum number of requests that wait, of about 1 KiB at most.
const MAX_REQUESTS: usize = 8_192;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn requests_beyond_the_bound_are_shed_until_some_are_taken() {
        let queue = RequestQueue::new(Arc::new(|| {}));
        let request = || Request::Private {
            node: "there".parse().unwrap(),
            from: "ada".parse().unwrap(),
            to: "eve".parse().unwrap(),
            text: b"hi".as_slice().into(),
        };
        assert!(!queue.push(request()), "nobody can answer it");
        queue.set_open(true);
        assert!((0..MAX_REQUESTS).all(|_| queue.push(request())));
        assert!(!queue.push(request()));
        assert_eq!(queue.shed(), 1);
        assert_eq!(queue.take().len(), MAX_REQUESTS);
        assert!(queue.push(request()));
    }
}
