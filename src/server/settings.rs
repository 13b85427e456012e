//! The settings that may change while a server runs.

use std::sync::{Arc, Weak};

use super::config::{Proof, ServerConfig, Trust};
use super::ingress::IngressShared;
use super::ingress::admission::{Admission, Rules};
use super::registry::{NetworkRates, RegistryLimits};

/// The places where a running server keeps the settings that may change. All other settings take
/// effect at the next start.
#[derive(Clone)]
pub struct Settings {
    admission: Arc<Admission>,
    /// Gone with the workers, and never there in a greeting server. It holds the log, whose thread ends
    /// when nobody holds it.
    ingress: Weak<IngressShared>,
}

impl Settings {
    pub(super) fn of_greeting(admission: &Arc<Admission>) -> Self {
        Self {
            admission: Arc::clone(admission),
            ingress: Weak::new(),
        }
    }

    pub(super) fn of_chat(ingress: &Arc<IngressShared>) -> Self {
        Self {
            admission: Arc::clone(&ingress.admission),
            ingress: Arc::downgrade(ingress),
        }
    }

    /// Applies a configuration, which has been checked. Workers see each value at their next look.
    /// Peers that are registered, and what they have, stay.
    pub fn apply(&self, config: &ServerConfig) {
        self.admission.set_rules(rules(config));
        let Some(ingress) = self.ingress.upgrade() else {
            return;
        };
        ingress.registry.set_limits(registry_limits(config));
        ingress.registry.set_network_rates(network_rates(config));
        ingress.rates.set(&config.limits.peer_rates());
        ingress.timeout.set(config.timeout);
        ingress.challenges.set_rates(
            challenge_bytes_per_second(config),
            config.limits.challenges_per_network.0,
        );
    }
}

/// Returns the rules for newcomers.
pub(super) fn rules(config: &ServerConfig) -> Rules {
    let nets = config.trust.iter().filter_map(|trust| match trust {
        Trust::Nobody => None,
        Trust::Net(net) => Some(*net),
    });
    Rules {
        asks_trusted: config.proof == Proof::Always,
        asks_others: config.proof != Proof::Never,
        trusted: (!config.trust.is_empty()).then(|| nets.collect()),
        allowed: config.allow.clone(),
        denied: config.deny.clone(),
    }
}

pub(super) fn registry_limits(config: &ServerConfig) -> RegistryLimits {
    RegistryLimits {
        max_peers: config.max_peers as usize,
        max_names: config.max_names as usize,
        max_rooms: config.max_rooms as usize,
        max_room_members: config.max_room_members,
    }
}

pub(super) fn network_rates(config: &ServerConfig) -> NetworkRates {
    NetworkRates {
        registrations: config.limits.registrations_per_network.0,
        names: config.limits.names_per_network.0,
        rooms: config.limits.rooms_per_network.0,
    }
}

/// Returns the bytes per second of requests to v1 newcomers.
pub(super) fn challenge_bytes_per_second(config: &ServerConfig) -> u32 {
    u32::try_from(config.challenge_rate.as_u64()).unwrap_or(u32::MAX)
}

/// The flags whose values [`Settings::apply`] applies.
pub const RELOADED: &[&str] = &[
    "accept-reflection-risk",
    "allow",
    "bytes-per-peer",
    "challenge-rate",
    "challenges-per-network",
    "deny",
    "max-names",
    "max-peers",
    "max-room-members",
    "max-rooms",
    "names-per-network",
    "proof",
    "registrations-per-network",
    "rooms-per-network",
    "texts-per-peer",
    "timeout",
    "trust",
    "work-per-peer",
];

#[cfg(test)]
mod tests;
