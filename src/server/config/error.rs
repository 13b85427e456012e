//! The mistakes in a configuration.

use std::net::SocketAddr;

use super::InheritedConflict;
use crate::net::MAX_ENDPOINTS;

/// The first mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A number, size or duration is out of bounds.
    #[error("--{flag} must lie between {min} and {max}")]
    OutOfBounds {
        /// The flag without its dashes.
        flag: &'static str,
        /// The minimum.
        min: String,
        /// The maximum.
        max: String,
    },
    /// There is no address to listen on, or too many.
    #[error("--bind takes 1 to {MAX_ENDPOINTS} addresses, not {0}")]
    Binds(usize),
    /// An address is given twice.
    #[error("--bind has {0} twice")]
    SameBind(SocketAddr),
    /// No server can listen on an address.
    #[error("--bind {address} {remedy}")]
    UnsuitableBind {
        /// The address.
        address: SocketAddr,
        /// The rest of the sentence, such as "must not be a multicast address".
        remedy: String,
    },
    /// A wildcard address includes another address.
    #[error("--bind {wildcard} includes {address}: give one of them, or another port")]
    CoveredBind {
        /// The wildcard address.
        wildcard: SocketAddr,
        /// The other address.
        address: SocketAddr,
    },
    /// Other workers or addresses are given than those of the sockets of the service manager.
    #[error(transparent)]
    Inherited(#[from] InheritedConflict),
    /// Workers are to be pinned to cores, and not to be pinned.
    #[error("--cores does not go with --no-pin")]
    CoresWithoutPin,
    /// `none` and a network are given together.
    #[error("--trust none stands alone")]
    TrustNobodyAndOthers,
    /// Nobody has to prove an address, and anybody can reach the server.
    #[error(
        "--proof never on {0} lets anyone make this server flood others: \
         give --accept-reflection-risk as well if you accept that"
    )]
    ReflectionRisk(SocketAddr),
    /// The admin server would let everyone read, or nobody.
    #[cfg(feature = "admin")]
    #[error(
        "--admin {0} is not a loopback address: give --admin-token-file as well, without which \
         everyone could read the addresses of all peers"
    )]
    PublicAdmin(SocketAddr),
    /// A token is given, and no admin server.
    #[cfg(feature = "admin")]
    #[error("--admin-token-file goes with --admin")]
    TokenWithoutAdmin,
    /// The server has a bus, and does not know which cluster it is part of.
    #[cfg(feature = "cluster")]
    #[error("--cluster needs --cluster-name NAME: servers with the same name are one chat")]
    ClusterWithoutName,
    /// A flag of a cluster is given, and no bus.
    #[cfg(feature = "cluster")]
    #[error("--{0} goes with --cluster")]
    WithoutCluster(&'static str),
    /// A certificate is given without its key, or a key without its certificate.
    #[cfg(feature = "cluster")]
    #[error("--cluster-certificate and --cluster-key go together")]
    CertificateWithoutKey,
    /// A file for the bus cannot be read, or has something else in it.
    #[cfg(feature = "cluster")]
    #[error("{0}")]
    ClusterFile(String),
    /// No client can reach this address.
    #[cfg(feature = "cluster")]
    #[error("--advertise {0}: give the address and the port at which clients reach this server")]
    Advertise(SocketAddr),
    /// Greetings are no chat.
    #[cfg(feature = "cluster")]
    #[error("--cluster goes with --service chat")]
    ClusterOfGreetings,
    /// `--once` is given to a chat server.
    #[error("--once goes with --service greet")]
    OnceWithoutGreet,
}
