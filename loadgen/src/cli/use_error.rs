//! Errors of arguments that are right alone and wrong together.

use std::net::SocketAddr;

use crate::cli::target::TargetError;
use crate::payload::MAX_V1_BYTES;
use crate::slo::SloError;
use crate::units::counted;

/// The reason why arguments do not go together, and a remedy.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("--slo: {0}")]
    Slo(#[from] SloError),
    #[error("{option} goes with {scenarios}; --scenario {given} has no use for it")]
    Scenario {
        option: &'static str,
        scenarios: &'static str,
        given: String,
    },
    #[error("{0} is about texts, and --mix has none: give text a weight")]
    NoTexts(&'static str),
    #[error("--scenario greet goes with --protocol v1: the greeting service knows no other")]
    GreetV2,
    #[error("--room-size {0} is more than the {clients}: ask for more --clients", clients = counted((*.1).into(), "client"))]
    RoomSize(u32, u32),
    #[error(
        "--payload has up to {0} bytes, and with --protocol v1 {MAX_V1_BYTES} are the most: \
         its datagrams are cut at 1024, the speaker in front included; v2 has room"
    )]
    PayloadV1(usize),
    #[error(
        "--churn {0} is more than half of the {clients}: a client that leaves is away for a second, and \
         half of them must be there",
        clients = counted((*.1).into(), "client")
    )]
    Churn(String, u32),
    #[error(
        "--sockets shared gives each client an address of 127.0.0.0/8, and {0} answers to such \
         addresses only if it is there itself: use --sockets per-client"
    )]
    SharedSockets(SocketAddr),
    #[error("--threads {threads} is more than the {}: each thread needs one", kinds(*most, of))]
    Threads {
        threads: u16,
        most: u32,
        of: &'static str,
    },
    #[error("--cores lists {} for {}: ask for --threads {cores}", counted(*cores as u64, "processor"), counted((*threads).into(), "thread"))]
    Cores { cores: usize, threads: u16 },
    #[error("--cores has {core}; this process may use {usable}")]
    NoSuchCore { core: usize, usable: String },
    #[error(
        "--server-pid {0}: there is no such process on this machine. Leave it out for a server on \
         another one"
    )]
    NoProcess(u32),
    #[error("{rate} for {duration} offers nothing: ask for more, or for longer")]
    Nothing { rate: String, duration: String },
    #[error(
        "{many} {what} are more than numbers of 32 bits can tell apart, which is at most {most}: \
         offer less, or for a shorter time"
    )]
    Numbers {
        many: String,
        what: &'static str,
        most: String,
    },
    #[error("--from {from} must be below --to {to}")]
    Backwards { from: String, to: String },
}

/// Prints a number of `of`: `clients`, or `rooms` with more words after them.
fn kinds(most: u32, of: &str) -> String {
    let (noun, rest) = of.split_once('s').unwrap_or((of, ""));
    format!("{}{rest}", counted(most.into(), noun))
}
