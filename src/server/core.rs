//! The core of a chat server: all of it but the sockets, the threads and the time. [`Server`] runs
//! it on threads, and the simulator step by step.
//!
//! [`Server`]: crate::Server

use std::sync::Arc;
use std::time::Instant;

use super::clock::Clock;
use super::config::{ServerConfig, Switch};
use super::egress::notifier::{Notifier, NotifierCounters, OperatorNotices};
use super::egress::{Egress, Exchange, Progress, send_goodbyes};
use super::ingress::admission::Admission;
use super::ingress::bans::Bans;
use super::ingress::challenges::Challenges;
use super::ingress::token::Tokens;
use super::ingress::{
    HelloLimit, Ingress, IngressShared, OtherServers, REJECTION_INTERVAL_MS, ReplyLimit,
};
use super::keys::Keys;
use super::moderation::{Ban, BanFile, Moderation};
use super::ops::log::Log;
use super::ops::stats::WorkerId;
use super::ops::supervise::Wake;
use super::ops::turns::{Turns, WorkerHandle};
use super::registry::expiry::Reaper;
use super::registry::expiry::Timeout;
use super::registry::{AddressHash, NetworkMeters, Registry};
use super::settings::{
    Settings, challenge_bytes_per_second, network_rates, registry_limits, rules,
};
use super::worker::Service;
use crate::net::{Datagram, OwnAddresses, Transmit};

/// The parts of a chat server, none of which runs by itself.
pub struct Core {
    pub registry: Arc<Registry>,
    pub moderation: Arc<Moderation>,
    pub notices: Arc<NotifierCounters>,
    /// The service of each worker.
    pub chats: Vec<Chat>,
    pub reaper: Reaper,
    pub notifier: Notifier,
    /// The servers that WELCOME names.
    pub servers: Arc<OtherServers>,
    pub settings: Settings,
}

/// The surroundings of a core.
pub struct Surroundings {
    /// The workers that are to drive it.
    pub workers: Vec<WorkerHandle>,
    pub wake_notifier: Wake,
    pub own_addresses: Arc<OwnAddresses>,
    pub kept_bans: KeptBans,
    pub clock: Clock,
    pub log: Log,
    /// Maximum number of datagrams per packet.
    pub max_segments: usize,
    pub keys: Keys,
}

/// The bans that the server starts with, and the file that they are from.
pub type KeptBans = (Option<BanFile>, Vec<Ban>);

/// The chat service of one worker.
pub struct Chat {
    pub(super) worker: WorkerId,
    pub(super) registry: Arc<Registry>,
    pub(super) ingress: Ingress,
    pub(super) egress: Egress,
}

impl Core {
    pub fn new(config: &ServerConfig, surroundings: Surroundings) -> Self {
        let Surroundings {
            workers,
            wake_notifier,
            own_addresses,
            kept_bans: (ban_file, kept_bans),
            clock,
            log,
            max_segments,
            mut keys,
        } = surroundings;
        let hash = AddressHash::drawn(&mut keys);
        let registry = Registry::new(
            workers.len(),
            registry_limits(config),
            hash,
            Arc::clone(&wake_notifier),
        );
        let registry = Arc::new(registry.with_network_rates(network_rates(config)));
        let bans = Arc::<Bans>::default();
        bans.replace(&kept_bans);
        let (operator, operator_notices) = OperatorNotices::new(wake_notifier);
        let moderation = Moderation::new(
            Arc::clone(&registry),
            Arc::clone(&bans),
            ban_file,
            operator,
            clock.clone(),
            log.downgrade(),
        );
        let timeout = Timeout::new(config.timeout);
        let reaper = Reaper::new(
            Arc::clone(&registry),
            Turns::asked(workers.clone()),
            Arc::clone(&timeout),
            clock.now_ms(),
            log.clone(),
        );
        let notices = Arc::<NotifierCounters>::default();
        let notifier = Notifier {
            registry: Arc::clone(&registry),
            counters: Arc::clone(&notices),
            operator: operator_notices,
            clock: clock.clone(),
            log: log.clone(),
        };
        let servers = Arc::<OtherServers>::default();
        let ingress = Arc::new(IngressShared {
            registry: Arc::clone(&registry),
            log,
            timeout,
            has_commands: config.commands == Switch::On,
            own_addresses: Arc::clone(&own_addresses),
            rates: config.limits.peer_rates(),
            admission: Arc::new(Admission::new(rules(config), bans, own_addresses)),
            tokens: Tokens::new(keys.draw()),
            hellos: HelloLimit::new(AddressHash::drawn(&mut keys)),
            rejections: ReplyLimit::new(REJECTION_INTERVAL_MS, AddressHash::drawn(&mut keys)),
            challenges: Challenges::new(
                challenge_bytes_per_second(config),
                NetworkMeters::new(config.limits.challenges_per_network.0),
                &mut keys,
            ),
            servers: Arc::clone(&servers),
        });
        let settings = Settings::of_chat(&ingress);
        let exchange = Arc::new(Exchange::new(workers.clone()));
        let chat = |(number, worker): (u8, WorkerHandle)| {
            let exchange = Arc::clone(&exchange);
            Chat {
                worker: WorkerId(number),
                registry: Arc::clone(&registry),
                ingress: Ingress::new(WorkerId(number), Arc::clone(&ingress), worker.info),
                egress: Egress::new(WorkerId(number), exchange, config.backlog, max_segments),
            }
        };
        Self {
            chats: (0..=u8::MAX).zip(workers).map(chat).collect(),
            registry,
            moderation: Arc::new(moderation),
            notices,
            reaper,
            notifier,
            servers,
            settings,
        }
    }
}

impl Service for Chat {
    fn begin_turn(&mut self, now: Instant) {
        self.egress.begin_turn(now);
    }

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
