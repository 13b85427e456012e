//! What is refused though every argument is right by itself.

use std::net::SocketAddr;

use crate::cli::target::TargetError;
use crate::payload::MAX_V1_BYTES;
use crate::slo::SloError;

/// What is wrong with a command line whose parts are all right, and what is right.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    /// The target may not be offered load.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// An objective is about what there is not.
    #[error("--slo: {0}")]
    Slo(#[from] SloError),
    /// An option means nothing in a scenario.
    #[error("{option} goes with {scenarios}; --scenario {given} has no use for it")]
    Scenario {
        /// The option.
        option: &'static str,
        /// Those in which it means something.
        scenarios: &'static str,
        /// The one that was asked for.
        given: String,
    },
    /// An option is about texts, and there are none.
    #[error("{0} is about texts, and --mix has none: give text a weight")]
    NoTexts(&'static str),
    /// The greeting service has one protocol.
    #[error("--scenario greet goes with --protocol v1: the greeting service knows no other")]
    GreetV2,
    /// A room has more members than there are clients.
    #[error("--room-size {0} is more than the {1} clients: ask for more --clients")]
    RoomSize(u32, u32),
    /// A text is too long for the protocol.
    #[error(
        "--payload has up to {0} bytes, and with --protocol v1 {MAX_V1_BYTES} are the most: \
         its datagrams are cut at 1024, the speaker in front included; v2 has room"
    )]
    PayloadV1(usize),
    /// Clients would leave before they have come.
    #[error(
        "--churn {0} is more than half of the {1} clients: who leaves is away for a second, and half must be there"
    )]
    Churn(String, u32),
    /// Many source addresses are on loopback alone.
    #[error(
        "--sockets shared gives each client an address of 127.0.0.0/8, and {0} answers to such \
         addresses only if it is there itself: use --sockets per-client"
    )]
    SharedSockets(SocketAddr),
    /// A thread would have nothing to do.
    #[error("--threads {threads} is more than the {most} {of}: each thread needs one")]
    Threads {
        /// Threads.
        threads: u16,
        /// Of what each thread needs one.
        most: u32,
        /// What that is.
        of: &'static str,
    },
    /// A processor that no thread would use.
    #[error("--cores lists {cores} processors for {threads} threads: ask for --threads {cores}")]
    Cores {
        /// Processors.
        cores: usize,
        /// Threads.
        threads: u16,
    },
    /// A processor that there is not, or that this process may not use.
    #[error("--cores has {core}; this process may use {usable}")]
    NoSuchCore {
        /// The one.
        core: usize,
        /// All others.
        usable: String,
    },
    /// A process that there is not.
    #[error(
        "--server-pid {0}: there is no such process on this machine; leave it away for a server elsewhere"
    )]
    NoProcess(u32),
    /// Nothing would be due.
    #[error("{rate} for {duration} offers nothing: ask for more, or for longer")]
    Nothing {
        /// The rate.
        rate: String,
        /// For how long.
        duration: String,
    },
    /// What is numbered would outgrow its numbers.
    #[error(
        "{many} {what} are more than numbers of 32 bits can tell apart, which is at most {most}: \
         offer less, or for a shorter time"
    )]
    Numbers {
        /// How many there would be, about.
        many: String,
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: String,
    },
    /// The search has no rates to try.
    #[error("--from {from} must be below --to {to}")]
    Backwards {
        /// The lowest rate.
        from: String,
        /// The highest.
        to: String,
    },
}
