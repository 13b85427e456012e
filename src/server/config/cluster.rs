//! The flags of the cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::ConfigError;
use crate::server::cluster::nats::{Address, Security};
use crate::server::ops::sandbox::Feature;
use crate::wire::cluster::{ClusterName, NodeId};

/// The flags of the cluster, of which a server is no part unless it has the address of a bus.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterConfig {
    /// NATS server that joins this server and others to one chat, such as nats://10.0.0.5:4222. May be
    /// given several times [default: none]
    ///
    /// The server connects to one of them. tls:// requires TLS. Without a scheme it is nats://, and without
    /// a port 4222. The URL may have a user and a password, as in nats://USER:PASSWORD@HOST:PORT. Commas
    /// separate several addresses.
    #[arg(
        long = "cluster",
        env = "BULLHORN_CLUSTER",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        id = "cluster"
    )]
    pub servers: Vec<Address>,

    /// Name of the cluster, 1 to 32 of A-Z a-z 0-9 _ -. Servers with the same name are one chat
    #[arg(
        long = "cluster-name",
        env = "BULLHORN_CLUSTER_NAME",
        value_name = "NAME",
        id = "cluster-name"
    )]
    pub name: Option<ClusterName>,

    /// Name of this server in its cluster, 1 to 32 of A-Z a-z 0-9 _ - [default: the host's name and the
    /// port]
    #[arg(long, env = "BULLHORN_NODE_ID", value_name = "NAME")]
    pub node_id: Option<NodeId>,

    /// Address at which clients reach this server. The clients of the other servers are told of it
    ///
    /// A client whose server is gone tries it.
    #[arg(long, env = "BULLHORN_ADVERTISE", value_name = "IP:PORT")]
    pub advertise: Option<SocketAddr>,

    /// Be ready (`/readyz`) only while the bus of the cluster is there
    #[arg(
        long = "cluster-required",
        env = "BULLHORN_CLUSTER_REQUIRED",
        value_parser = BoolishValueParser::new(),
        id = "cluster-required"
    )]
    pub required: bool,

    /// File with the credentials for the bus, as `nsc` writes it
    #[arg(
        long = "cluster-credentials",
        env = "BULLHORN_CLUSTER_CREDENTIALS",
        value_name = "FILE",
        id = "cluster-credentials"
    )]
    pub credentials: Option<PathBuf>,

    /// File with the certificates that the bus is known by, in PEM. Requires TLS [default: those of the
    /// system]
    #[arg(
        long = "cluster-ca",
        env = "BULLHORN_CLUSTER_CA",
        value_name = "FILE",
        id = "cluster-ca"
    )]
    pub ca: Option<PathBuf>,

    /// File with the certificate of this server for the bus, in PEM
    #[arg(
        long = "cluster-certificate",
        env = "BULLHORN_CLUSTER_CERTIFICATE",
        value_name = "FILE",
        id = "cluster-certificate"
    )]
    pub certificate: Option<PathBuf>,

    /// File with the key of that certificate, in PEM
    #[arg(
        long = "cluster-key",
        env = "BULLHORN_CLUSTER_KEY",
        value_name = "FILE",
        id = "cluster-key"
    )]
    pub key: Option<PathBuf>,
}

impl ClusterConfig {
    /// Checks that the flags go together.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_on = !self.servers.is_empty();
        if is_on && self.name.is_none() {
            return Err(ConfigError::ClusterWithoutName);
        }
        let without = [
            ("cluster-name", self.name.is_some()),
            ("node-id", self.node_id.is_some()),
            ("advertise", self.advertise.is_some()),
            ("cluster-required", self.required),
            ("cluster-credentials", self.credentials.is_some()),
            ("cluster-ca", self.ca.is_some()),
            ("cluster-certificate", self.certificate.is_some()),
            ("cluster-key", self.key.is_some()),
        ];
        if let (false, Some((flag, _))) = (is_on, without.iter().find(|(_, is_given)| *is_given)) {
            return Err(ConfigError::WithoutCluster(flag));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(ConfigError::CertificateWithoutKey);
        }
        let checked = self.security().check();
        checked.map_err(|error| ConfigError::ClusterFile(error.to_string()))?;
        match self.advertise {
            Some(address) if address.ip().is_unspecified() || address.port() == 0 => {
                Err(ConfigError::Advertise(address))
            }
            _ => Ok(()),
        }
    }

    /// Returns true if the server is part of a cluster.
    pub fn is_on(&self) -> bool {
        !self.servers.is_empty()
    }

    /// The files that the bus asks for.
    pub(in crate::server) fn security(&self) -> Security {
        Security {
            credentials: self.credentials.clone(),
            ca: self.ca.clone(),
            certificate: self.certificate.clone().zip(self.key.clone()),
        }
    }

    /// The part of the server that needs rights in its sandbox.
    pub(super) fn feature(&self) -> Option<Feature> {
        let files = [&self.credentials, &self.ca, &self.certificate, &self.key];
        self.is_on().then(|| Feature::Cluster {
            ports: self.servers.iter().map(Address::port).collect(),
            files: files.into_iter().flatten().cloned().collect(),
        })
    }
}
