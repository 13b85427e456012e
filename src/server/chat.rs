//! The chat server: workers, expiry and presence notifier over one registry.

use std::io;
use std::sync::Arc;

use super::assembly::Assembly;
use super::config::{Proof, ServerConfig, Switch, Trust};
use super::egress::notifier::{Notifier, NotifierCounters, OperatorNotices};
use super::egress::{Egress, Exchange, Progress, send_goodbyes};
use super::ingress::admission::Admission;
use super::ingress::bans::Bans;
use super::ingress::challenges::Challenges;
use super::ingress::token::Tokens;
use super::ingress::{HelloLimit, Ingress, IngressShared, REJECTION_INTERVAL_MS, ReplyLimit};
use super::moderation::{Ban, BanFile, Moderation};
use super::ops::stats::WorkerId;
use super::ops::supervise::{Wake, wake};
use super::ops::turns::Turns;
use super::registry::expiry::Reaper;
use super::registry::{AddressHash, NetworkMeters, NetworkRates, Registry, RegistryLimits};
use super::worker::Service;
use crate::net::{Datagram, OwnAddresses, Transmit, in_call};
use crate::sync::Parker;

/// The state of a chat server that other threads may use.
#[derive(Clone)]
pub(super) struct ChatServer {
    pub(super) registry: Arc<Registry>,
    pub(super) notifier: Arc<NotifierCounters>,
    pub(super) moderation: Arc<Moderation>,
}

/// The bans that the server starts with, and the file that they are from.
pub(super) type KeptBans = (Option<BanFile>, Vec<Ban>);

pub(super) struct Chat {
    worker: WorkerId,
    registry: Arc<Registry>,
    ingress: Ingress,
    egress: Egress,
}

impl ChatServer {
    pub(super) fn start(
        config: &ServerConfig,
        (ban_file, kept_bans): KeptBans,
        mut assembly: Assembly<'_>,
    ) -> io::Result<Self> {
        let (reaper_parker, notifier_parker) = (Parker::new(), Parker::new());
        let registry = registry(config, assembly.seats.len(), wake(&notifier_parker));
        let registry = Arc::new(registry);
        let bans = Arc::<Bans>::default();
        bans.replace(&kept_bans);
        let (notices, operator) = OperatorNotices::new(wake(&notifier_parker));
        let moderation = Moderation::new(
            Arc::clone(&registry),
            Arc::clone(&bans),
            ban_file,
            notices,
            assembly.shared.clock.clone(),
            assembly.log.downgrade(),
        );
        let server = Self {
            registry,
            notifier: Arc::default(),
            moderation: Arc::new(moderation),
        };
        let reaper = Reaper {
            registry: Arc::clone(&server.registry),
            turns: Turns::asked(assembly.worker_handles()),
            clock: assembly.shared.clock.clone(),
            timeout: config.timeout,
            interval: config.reap_interval,
            log: assembly.log.clone(),
            parker: reaper_parker,
        };
        let spares = std::mem::take(&mut assembly.spares);
        let notifier = Notifier {
            registry: Arc::clone(&server.registry),
            sockets: assembly.seats[0].sockets.try_clone(spares)?,
            counters: Arc::clone(&server.notifier),
            operator,
            parker: notifier_parker,
        };
        let ingress = Arc::new(IngressShared {
            registry: Arc::clone(&server.registry),
            log: assembly.log.clone(),
            timeout_ms: u32::try_from(config.timeout.as_millis()).unwrap_or(u32::MAX),
            has_commands: config.commands == Switch::On,
            own_addresses: Arc::clone(&assembly.shared.own_addresses),
            rates: config.limits.peer_rates(),
            admission: admission(config, bans, Arc::clone(&assembly.shared.own_addresses)),
            tokens: Tokens::new().map_err(in_call("getrandom"))?,
            hellos: HelloLimit::new(),
            rejections: ReplyLimit::new(REJECTION_INTERVAL_MS),
            challenges: challenges(config),
        });
        let exchange = Arc::new(Exchange::new(assembly.worker_handles()));
        let max_segments = assembly.max_segments;
        assembly.spawn_workers(|worker, seat| {
            let exchange = Arc::clone(&exchange);
            Chat {
                worker,
                registry: Arc::clone(&server.registry),
                ingress: Ingress::new(worker, Arc::clone(&ingress), Arc::clone(&seat.info)),
                egress: Egress::new(worker, exchange, config.backlog, max_segments),
            }
        })?;
        let (unpark_reaper, unpark_notifier) = (wake(&reaper.parker), wake(&notifier.parker));
        let supervisor = assembly.supervisor;
        supervisor.spawn("reaper".into(), unpark_reaper, move |stop| reaper.run(stop))?;
        supervisor.spawn("notifier".into(), unpark_notifier, move |stop| {
            notifier.run(stop)
        })?;
        Ok(server)
    }
}

impl Service for Chat {
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now_ms: u64) {
        self.ingress.handle(datagram, now_ms, &mut self.egress);
    }

    fn poll_transmit(&mut self, transmit: &mut impl Transmit, now_ms: u64) -> Progress {
        self.egress.poll(transmit, now_ms)
    }

    fn stop(&mut self, transmit: &mut impl Transmit) {
        send_goodbyes(&self.registry, self.worker, transmit);
    }
}

/// Returns the rules for newcomers.
pub(super) fn admission(
    config: &ServerConfig,
    bans: Arc<Bans>,
    own_addresses: Arc<OwnAddresses>,
) -> Admission {
    let nets = config.trust.iter().filter_map(|trust| match trust {
        Trust::Nobody => None,
        Trust::Net(net) => Some(*net),
    });
    Admission {
        asks_trusted: config.proof == Proof::Always,
        asks_others: config.proof != Proof::Never,
        trusted: (!config.trust.is_empty()).then(|| nets.collect()),
        allowed: config.allow.clone(),
        denied: config.deny.clone(),
        bans,
        own_addresses,
    }
}

fn challenges(config: &ServerConfig) -> Challenges {
    let bytes_per_second = u32::try_from(config.challenge_rate.as_u64()).unwrap_or(u32::MAX);
    let per_network = NetworkMeters::new(config.limits.challenges_per_network.0);
    Challenges::new(bytes_per_second, per_network)
}

fn registry(config: &ServerConfig, workers: usize, wake_notifier: Wake) -> Registry {
    let limits = RegistryLimits {
        max_peers: config.max_peers as usize,
        max_names: config.max_names as usize,
        max_rooms: config.max_rooms as usize,
        max_room_members: config.max_room_members,
    };
    let rates = NetworkRates {
        registrations: config.limits.registrations_per_network.0,
        names: config.limits.names_per_network.0,
        rooms: config.limits.rooms_per_network.0,
    };
    Registry::new(workers, limits, AddressHash::random(), wake_notifier).with_network_rates(rates)
}

#[cfg(test)]
mod tests;
