//! Servers that trust none of their peers.

use std::net::SocketAddr;

use bullhorn::ServerConfig;
use bullhorn::config::{Proof, Trust};

use super::{Client, Network, TestServer, V4, parse, unpinned_config, with_networks};

/// A place where peers are strangers to the servers.
pub(crate) struct Strangers {
    pub(crate) config: ServerConfig,
    /// The address of the peers.
    own: SocketAddr,
}

impl Strangers {
    /// Runs a test on the loopback interface with servers that ask everybody for a proof, and then
    /// in a network of its own with servers as they are by default.
    pub(crate) fn in_both_modes(test: impl Fn(&Self) + Sync) {
        test(&Self {
            config: strict_config(1, V4),
            own: parse(V4),
        });
        with_networks(|| {
            let network = Network::new();
            for address in ["10.77.0.1", "10.77.0.2", "10.77.0.9"] {
                network.ip(&format!("address add {address}/24 dev lo"));
            }
            let strangers = Self {
                config: unpinned_config(1, "10.77.0.1:0"),
                own: parse("10.77.0.9:0"),
            };
            network.run(|| test(&strangers));
        });
    }

    pub(crate) fn start(&self) -> TestServer {
        TestServer::start(self.config.clone())
    }

    /// Returns a client that is not registered.
    pub(crate) fn connect(&self, server: &TestServer) -> Client {
        Client::connect_from(self.own, server.local_addr())
    }

    /// Registers a v1 client by a proof.
    #[track_caller]
    pub(crate) fn proved(&self, server: &TestServer) -> Client {
        proved(self.connect(server))
    }
}

/// Registers a v1 client, with a proof if it is asked for one.
#[track_caller]
pub(crate) fn proved(client: Client) -> Client {
    client.send(b"/in");
    let mut line = client.receive_text();
    if let Some(proof) = line.strip_prefix("* say ") {
        client.send(proof.as_bytes());
        line = client.receive_text();
    }
    assert!(line.starts_with("* you are in lobby"), "{line}");
    client
}

/// Returns the configuration of a chat that asks everybody for a proof.
pub(crate) fn strict_config(workers: u16, address: &str) -> ServerConfig {
    ServerConfig {
        proof: Proof::Always,
        trust: vec![Trust::Nobody],
        ..unpinned_config(workers, address)
    }
}
