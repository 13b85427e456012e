//! The way of a server into its cluster.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nix::unistd::gethostname;

use super::engine::{Engine, Now, Parts, incarnation};
use super::nats;
use super::shared::{ClusterShared, ClusterStatus};
use crate::server::config::ClusterConfig;
use crate::server::core::Core;
use crate::server::ingress::OtherServers;
use crate::server::moderation::Moderation;
use crate::server::ops::log::Log;
use crate::server::ops::supervise::Supervisor;
use crate::server::ops::turns::WorkerHandle;
use crate::server::registry::{Registry, now_ms_since_1970};
use crate::wire::Reply;
use crate::wire::cluster::{ClusterName, NodeId};

/// A node whose thread has not been started.
pub struct Node {
    thread: nats::Thread,
    config: ClusterConfig,
    cluster: ClusterName,
    id: NodeId,
    incarnation: u64,
    shared: Arc<ClusterShared>,
}

impl Node {
    /// Prepares a node, before the server gives up its rights. Returns `None` without a cluster. `local` is
    /// the address of the server.
    ///
    /// # Errors
    /// The system has no more files.
    pub fn prepare(
        config: &ClusterConfig,
        local: SocketAddr,
        workers: usize,
    ) -> io::Result<Option<Self>> {
        let Some(cluster) = config.name.filter(|_| config.is_on()) else {
            return Ok(None);
        };
        let id = config.node_id.unwrap_or_else(|| node_id(local.port()));
        let servers = config.servers.clone();
        let thread = nats::Thread::new(cluster, id, servers, config.security())?;
        // A random key, of which the hash is random, too.
        let random = RandomState::new().hash_one(0);
        let incarnation = incarnation(now_ms_since_1970(), random);
        let [wake, wake_texts] = thread.wakes();
        let shared = ClusterShared::new(incarnation, workers, &wake, wake_texts);
        // The admin server may ask before the thread runs.
        shared.set_status(ClusterStatus {
            node: id.to_string(),
            cluster: cluster.to_string(),
            ..ClusterStatus::default()
        });
        Ok(Some(Self {
            thread,
            config: config.clone(),
            cluster,
            id,
            incarnation,
            shared: Arc::new(shared),
        }))
    }

    /// The state that the threads of the server share with the node.
    pub fn shared(&self) -> &Arc<ClusterShared> {
        &self.shared
    }

    /// Joins a core, which has no peers yet, to the cluster.
    pub fn join(&self, core: &mut Core) {
        let shared = &self.shared;
        let requests = Arc::clone(&shared.requests);
        core.registry.join_cluster(&shared.changes, requests);
        for (chat, inbox) in core.chats.iter_mut().zip(&shared.inboxes) {
            let outbox = Arc::clone(&shared.outbox);
            chat.egress.join_cluster(outbox, Arc::clone(inbox));
        }
    }

    /// Starts the thread of the node.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        self,
        core: CoreParts,
        workers: Vec<WorkerHandle>,
        log: Log,
        supervisor: &mut Supervisor,
    ) -> io::Result<()> {
        let untold = match self.config.advertise {
            Some(_) => "",
            None => "; clients of other nodes are not told of it, as it has no --advertise",
        };
        log.info(format!(
            "cluster: node {} of {}{untold}",
            self.id, self.cluster
        ));
        let CoreParts {
            registry,
            moderation,
            servers,
        } = core;
        let parts = Parts {
            cluster: self.cluster,
            node: self.id,
            incarnation: self.incarnation,
            advertise: self.config.advertise,
            registry,
            workers,
            shared: Arc::clone(&self.shared),
            log: log.clone(),
            tell_all: Box::new(move |reply| tell_all(&moderation, reply)),
            name_servers: Box::new(move |others| servers.set(&others)),
        };
        let engine = Engine::new(parts, Now { us: 0 });
        let [wake, _] = self.thread.wakes();
        let (thread, shared) = (self.thread, self.shared);
        supervisor.spawn("cluster".into(), wake, move |stop| {
            thread.run(engine, &shared, log, stop)
        })
    }
}

/// The parts of a core that a node works with.
pub struct CoreParts {
    pub registry: Arc<Registry>,
    pub moderation: Arc<Moderation>,
    pub servers: Arc<OtherServers>,
}

/// Tells all peers something. Telling many takes a while, in which the cluster goes on.
fn tell_all(moderation: &Arc<Moderation>, reply: Reply<'static>) {
    let moderation = Arc::clone(moderation);
    let thread = std::thread::Builder::new().name("cluster-notice".into());
    // Without memory for a thread, peers are not told.
    drop(thread.spawn(move || moderation.tell_everyone(&reply)));
}

/// Returns the name of a node that has none: that of the host and the port, such as `chat-1-9999`.
fn node_id(port: u16) -> NodeId {
    let host = gethostname().unwrap_or_default();
    let host = host.to_string_lossy();
    named(host.split('.').next().unwrap_or_default(), port)
}

fn named(host: &str, port: u16) -> NodeId {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let host: String = host.chars().filter(allowed).take(MAX_HOST).collect();
    let name = match host.is_empty() {
        true => format!("node-{port}"),
        false => format!("{host}-{port}"),
    };
    name.parse().expect("all characters are allowed")
}

/// Maximum number of characters of the host's name, before a dash and a port.
const MAX_HOST: usize = 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_node_has_only_what_is_allowed() {
        assert_eq!(named("chat-1", 9999).as_str(), "chat-1-9999");
        assert_eq!(named("ö", 65535).as_str(), "node-65535");
        let long = named(&"x".repeat(60), 65535);
        assert_eq!(long.as_str(), "x".repeat(26) + "-65535");
    }
}
