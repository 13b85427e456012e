//! Registration without admission, for tests and benchmarks.

#[cfg(test)]
use std::sync::Arc;

use super::peer::Newcomer;
#[cfg(test)]
use super::{AddressHash, RegistryLimits};
use super::{Registry, Touch};
use crate::net::PeerAddr;
use crate::server::ops::stats::WorkerId;
use crate::wire::Protocol;
use crate::wire::v2::{BundleSize, SessionId, SessionOptions};

impl Registry {
    /// Returns a registry for tests, in which only the number of peers is limited.
    #[cfg(test)]
    pub(crate) fn plain(workers: usize, max_peers: usize) -> Self {
        let limits = RegistryLimits {
            max_peers,
            max_names: max_peers,
            max_rooms: max_peers,
            max_room_members: u32::MAX,
        };
        // A model must do the same in every run.
        let hash = match cfg!(loom) {
            true => AddressHash::with_key(0, 0),
            false => AddressHash::random(),
        };
        Self::new(workers, limits, hash, Arc::new(|| {}))
    }

    /// [`Registry::touch_text`], and [`Registry::register`] for a newcomer. For tests and
    /// benchmarks, whose peers need no admission.
    #[doc(hidden)]
    pub fn touch(
        &self,
        address: &PeerAddr,
        protocol: Protocol,
        owner: WorkerId,
        now_ms: u64,
    ) -> Touch {
        match self.touch_text(address, now_ms) {
            Touch::Unknown => {
                let newcomer = Newcomer {
                    address: *address,
                    protocol,
                    session: None,
                    options: None,
                    owner,
                    is_trusted: true,
                };
                self.register(&newcomer, now_ms)
            }
            touch => touch,
        }
    }

    /// Registers a v2 peer. For tests and benchmarks, whose peers need no admission.
    #[doc(hidden)]
    pub fn open_session(
        &self,
        address: &PeerAddr,
        owner: WorkerId,
        size: BundleSize,
        session: SessionId,
        now_ms: u64,
    ) -> Touch {
        let options = SessionOptions {
            bundle_size: size,
            ..SessionOptions::default()
        };
        let newcomer = Newcomer {
            address: *address,
            protocol: Protocol::Frames(size),
            session: Some(session),
            options: Some(options),
            owner,
            is_trusted: true,
        };
        self.register(&newcomer, now_ms)
    }
}
