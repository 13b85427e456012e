//! The chat server: its core, on threads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::ServerHandle;
use super::assembly::Assembly;
#[cfg(feature = "cluster")]
use super::cluster::{CoreParts, Node, shared::ClusterShared};
use super::config::ServerConfig;
use super::core::{Core, KeptBans, Surroundings};
use super::egress::notifier::NotifierCounters;
use super::ingress::OtherServers;
use super::keys::Keys;
use super::moderation::Moderation;
use super::ops::stats::ClusterStats;
use super::ops::supervise::wake;
use super::registry::Registry;
use super::settings::Settings;
use crate::net::in_call;
use crate::sync::Parker;

/// The state of a chat server that other threads may use.
#[derive(Clone)]
pub(super) struct ChatServer {
    pub(super) registry: Arc<Registry>,
    pub(super) notifier: Arc<NotifierCounters>,
    pub(super) moderation: Arc<Moderation>,
    /// `None` without a cluster.
    #[cfg(feature = "cluster")]
    pub(super) cluster: Option<Arc<ClusterShared>>,
    /// The servers that WELCOME names.
    servers: Arc<OtherServers>,
    /// The server is ready only while the bus of its cluster is there.
    #[cfg(feature = "cluster")]
    pub(super) is_bus_required: bool,
}

impl ChatServer {
    pub(super) fn start(
        config: &ServerConfig,
        kept_bans: KeptBans,
        mut assembly: Assembly<'_>,
        #[cfg(feature = "cluster")] node: Option<Node>,
    ) -> io::Result<(Self, Settings)> {
        let (reaper_parker, notifier_parker) = (Parker::new(), Parker::new());
        let clock = assembly.shared.clock.clone();
        let workers = assembly.worker_handles();
        #[cfg_attr(not(feature = "cluster"), expect(unused_mut, reason = "no cluster"))]
        let mut core = Core::new(
            config,
            Surroundings {
                workers: workers.clone(),
                wake_notifier: wake(&notifier_parker),
                own_addresses: Arc::clone(&assembly.shared.own_addresses),
                kept_bans,
                clock: clock.clone(),
                log: assembly.log.clone(),
                max_segments: assembly.max_segments,
                keys: Keys::random().map_err(in_call("getrandom"))?,
            },
        );
        #[cfg(feature = "cluster")]
        if let Some(node) = &node {
            node.join(&mut core);
        }
        let Core {
            chats,
            reaper,
            notifier,
            ..
        } = core;
        let server = Self {
            registry: core.registry,
            notifier: core.notices,
            moderation: core.moderation,
            #[cfg(feature = "cluster")]
            cluster: node.as_ref().map(|node| Arc::clone(node.shared())),
            servers: core.servers,
            #[cfg(feature = "cluster")]
            is_bus_required: config.cluster.required,
        };
        let spares = std::mem::take(&mut assembly.spares);
        let sockets = assembly.seats[0].sockets.try_clone(spares)?;
        assembly.spawn_workers(chats)?;
        let (unpark_reaper, unpark_notifier) = (wake(&reaper_parker), wake(&notifier_parker));
        let (supervisor, interval) = (assembly.supervisor, config.reap_interval);
        supervisor.spawn("reaper".into(), unpark_reaper, move |stop| {
            reaper.run(interval, &clock, &reaper_parker, stop)
        })?;
        supervisor.spawn("notifier".into(), unpark_notifier, move |stop| {
            notifier.run(sockets, &notifier_parker, stop)
        })?;
        #[cfg(feature = "cluster")]
        if let Some(node) = node {
            let parts = CoreParts {
                registry: Arc::clone(&server.registry),
                moderation: Arc::clone(&server.moderation),
                servers: Arc::clone(&server.servers),
            };
            node.start(parts, workers, assembly.log, supervisor)?;
        }
        Ok((server, core.settings))
    }

    /// The state of the cluster, or `None` without one.
    #[cfg(feature = "cluster")]
    pub(super) fn cluster_stats(&self) -> Option<ClusterStats> {
        self.cluster.as_ref().map(|cluster| cluster.stats())
    }

    /// The state of the cluster, which there is none of.
    #[cfg(not(feature = "cluster"))]
    pub(super) fn cluster_stats(&self) -> Option<ClusterStats> {
        None
    }

    /// Returns true if the server needs the bus of its cluster, and the bus is away.
    pub(super) fn lacks_bus(&self) -> bool {
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster {
            return self.is_bus_required && !cluster.status().is_connected;
        }
        false
    }
}

impl ServerHandle {
    /// Names these servers to clients, which may go to them when this one is gone.
    #[doc(hidden)]
    pub fn set_other_servers(&self, servers: &[SocketAddr]) {
        if let Some(chat) = &self.chat {
            chat.servers.set(servers);
        }
    }
}

#[cfg(test)]
mod tests;
