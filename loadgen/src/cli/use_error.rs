//! Errors of arguments that are right alone and wrong together.

use std::net::SocketAddr;

use crate::cli::target::TargetError;
use crate::payload::MAX_V1_BYTES;
use crate::slo::SloError;
use crate::units::counted;

/// The reason why arguments do not go together, and a remedy.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    /// The target may not be offered load.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// An objective is about something that the run does not have.
    #[error("--slo: {0}")]
    Slo(#[from] SloError),
    /// An option means nothing in a scenario.
    #[error("{option} goes with {scenarios}; --scenario {given} has no use for it")]
    Scenario {
        /// The option.
        option: &'static str,
        /// The scenarios that use it.
        scenarios: &'static str,
        /// The scenario that was given.
        given: String,
    },
    /// An option is about texts, and there are none.
    #[error("{0} is about texts, and --mix has none: give text a weight")]
    NoTexts(&'static str),
    /// The greeting service has one protocol.
    #[error("--scenario greet goes with --protocol v1: the greeting service knows no other")]
    GreetV2,
    /// A room has more members than there are clients.
    #[error("--room-size {0} is more than the {clients}: ask for more --clients", clients = counted((*.1).into(), "client"))]
    RoomSize(u32, u32),
    /// A text is too long for the protocol.
    #[error(
        "--payload has up to {0} bytes, and with --protocol v1 {MAX_V1_BYTES} are the most: \
         its datagrams are cut at 1024, the speaker in front included; v2 has room"
    )]
    PayloadV1(usize),
    /// Too many clients would be away.
    #[error(
        "--churn {0} is more than half of the {clients}: a client that leaves is away for a second, and \
         half of them must be there",
        clients = counted((*.1).into(), "client")
    )]
    Churn(String, u32),
    /// Many source addresses are on loopback alone.
    #[error(
        "--sockets shared gives each client an address of 127.0.0.0/8, and {0} answers to such \
         addresses only if it is there itself: use --sockets per-client"
    )]
    SharedSockets(SocketAddr),
    /// A thread would have nothing to do.
    #[error("--threads {threads} is more than the {}: each thread needs one", kinds(*most, of))]
    Threads {
        /// Threads.
        threads: u16,
        /// The number of things of which each thread needs one.
        most: u32,
        /// These things.
        of: &'static str,
    },
    /// A processor that no thread would use.
    #[error("--cores lists {} for {}: ask for --threads {cores}", counted(*cores as u64, "processor"), counted((*threads).into(), "thread"))]
    Cores {
        /// Processors.
        cores: usize,
        /// Threads.
        threads: u16,
    },
    /// A processor that does not exist, or that this process may not use.
    #[error("--cores has {core}; this process may use {usable}")]
    NoSuchCore {
        /// The processor.
        core: usize,
        /// The processors that it may use.
        usable: String,
    },
    /// A process that does not exist.
    #[error(
        "--server-pid {0}: there is no such process on this machine. Leave it out for a server on \
         another one"
    )]
    NoProcess(u32),
    /// Nothing would be due.
    #[error("{rate} for {duration} offers nothing: ask for more, or for longer")]
    Nothing {
        /// The rate.
        rate: String,
        /// The length of the recording.
        duration: String,
    },
    /// There are too few numbers for all datagrams.
    #[error(
        "{many} {what} are more than numbers of 32 bits can tell apart, which is at most {most}: \
         offer less, or for a shorter time"
    )]
    Numbers {
        /// The approximate number of datagrams.
        many: String,
        /// Their kind.
        what: &'static str,
        /// The most that there may be.
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

/// Prints a number of `of`: `clients`, or `rooms` with more words after them.
fn kinds(most: u32, of: &str) -> String {
    let (noun, rest) = of.split_once('s').unwrap_or((of, ""));
    format!("{}{rest}", counted(most.into(), noun))
}
