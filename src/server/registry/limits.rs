//! The limits of a registry, which may change while it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::Registry;

/// The limits of a registry.
#[derive(Debug, Clone, Copy)]
pub struct RegistryLimits {
    pub max_peers: usize,
    pub max_names: usize,
    /// The lobby does not count.
    pub max_rooms: usize,
    /// The lobby has no limit.
    pub max_room_members: u32,
}

/// The limits at this moment, for all parts of a registry.
///
/// These are the standard library's atomics also in models: each is a number by itself, which orders
/// nothing.
#[derive(Debug)]
pub(super) struct SharedLimits {
    max_peers: AtomicUsize,
    max_names: AtomicUsize,
    max_rooms: AtomicUsize,
    max_room_members: AtomicU32,
}

impl Registry {
    /// Changes the limits. Peers, names, rooms and members beyond them stay.
    pub fn set_limits(&self, limits: RegistryLimits) {
        self.limits.set(limits);
    }

    #[cfg(test)]
    pub fn limits(&self) -> RegistryLimits {
        RegistryLimits {
            max_peers: self.limits.max_peers(),
            max_names: self.limits.max_names(),
            max_rooms: self.limits.max_rooms(),
            max_room_members: self.limits.max_room_members(),
        }
    }
}

impl SharedLimits {
    pub(super) fn new(limits: RegistryLimits) -> Arc<Self> {
        let shared = Self {
            max_peers: AtomicUsize::default(),
            max_names: AtomicUsize::default(),
            max_rooms: AtomicUsize::default(),
            max_room_members: AtomicU32::default(),
        };
        shared.set(limits);
        Arc::new(shared)
    }

    fn set(&self, limits: RegistryLimits) {
        let RegistryLimits {
            max_peers,
            max_names,
            max_rooms,
            max_room_members,
        } = limits;
        self.max_peers.store(max_peers, Ordering::Relaxed);
        self.max_names.store(max_names, Ordering::Relaxed);
        self.max_rooms.store(max_rooms, Ordering::Relaxed);
        self.max_room_members
            .store(max_room_members, Ordering::Relaxed);
    }

    pub(super) fn max_peers(&self) -> usize {
        self.max_peers.load(Ordering::Relaxed)
    }

    pub(super) fn max_names(&self) -> usize {
        self.max_names.load(Ordering::Relaxed)
    }

    pub(super) fn max_rooms(&self) -> usize {
        self.max_rooms.load(Ordering::Relaxed)
    }

    pub(super) fn max_room_members(&self) -> u32 {
        self.max_room_members.load(Ordering::Relaxed)
    }
}
