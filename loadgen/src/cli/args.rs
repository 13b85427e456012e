//! The command line: what it can say, and what each option means.

use std::path::PathBuf;
use std::time::Duration;

use bullhorn::client::ServerAddress;
use clap::{Args, Parser, Subcommand, value_parser};

use crate::cli::values::{
    Cores, parse_cores, parse_count, parse_drain, parse_heartbeat, parse_mix, parse_ramp,
    parse_run_duration, parse_warmup,
};
use crate::config::{Arrival, Mix, Payload, Protocol, Ramp, Scenario, Sockets};
use crate::slo::Slo;
use crate::units::{parse_rate, parse_rate_or_zero};

/// Offers load to a bullhorn server, and measures what becomes of it.
///
/// The load is open-loop: datagrams are due at times that are set beforehand, whatever
/// the server does, and latencies count from when a datagram was due. So a server that
/// stands still for a second shows it in every datagram of that second.
///
/// On a terminal there is a live view, and a summary at the end. Otherwise standard
/// output has a JSON object a line: each second, `kind` is `second`, and at the end
/// `summary`.
#[derive(Debug, Parser)]
#[command(
    name = "loadgen",
    version,
    args_conflicts_with_subcommands = true,
    after_help = EXAMPLES,
    after_long_help = LONG_AFTER_HELP
)]
pub struct Arguments {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Of a run.
    #[command(flatten)]
    pub run: RunOptions,
}

/// What the program does beside a run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure how many datagrams a second this machine's generator handles, against
    /// itself, so that a run which asks for more is refused
    Calibrate(CalibrateOptions),
    /// Search for the highest rate at which objectives are met
    #[command(after_long_help = FIND_MAX_AFTER_HELP)]
    FindMax(Box<FindMaxOptions>),
}

/// Of a run.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// Datagrams that all clients together offer a second, keepalives not counted: up to
    /// 100M; 20000, 50k, 1.5M and 0.5 are all right [default: 1k]
    #[arg(long, value_name = "RATE", value_parser = parse_rate, conflicts_with = "ramp")]
    #[arg(help_heading = LOAD)]
    pub rate: Option<f64>,

    /// In place of --rate: the warm-up at the first rate, and from there in a straight
    /// line to the second one at the end of the recording
    #[arg(long, value_name = "FROM..TO", value_parser = parse_ramp, help_heading = LOAD)]
    pub ramp: Option<Ramp>,

    /// How long the load is recorded, 100ms to 24h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_run_duration)]
    #[arg(help_heading = LOAD)]
    pub duration: Duration,

    /// Whom to offer what.
    #[command(flatten)]
    pub load: LoadOptions,

    /// What must hold, for exit code 0: clauses of metric, <, <=, > or >=, and value
    ///
    /// Metrics are p50, p99, p99.9 or any other percentile of latencies, max and mean
    /// (`p99<5ms`), loss (`loss<0.1%`), and rate, what was in fact sent a second
    /// (`rate>=49k`). With `delivery.` or `answer.` in front, as in `answer.p99.9<=20ms`,
    /// a clause is about that kind alone; otherwise a latency must hold for both.
    #[arg(long, value_name = "CLAUSES", help_heading = RESULTS)]
    pub slo: Option<Slo>,

    /// The process of the server, where it is on this machine: how much CPU time it took
    /// for the load is reported, too
    #[arg(long, value_name = "PID", help_heading = RESULTS)]
    pub server_pid: Option<u32>,

    /// Where results go.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// Of a search.
#[derive(Debug, Args)]
pub struct FindMaxOptions {
    /// What must hold at a rate, as for a run; see `loadgen --help`
    #[arg(long, value_name = "CLAUSES", required = true, help_heading = RESULTS)]
    pub slo: Slo,

    /// The lowest rate that is tried, which is the first one [default: 1k is the first one,
    /// and lower ones are tried if it is bad]
    #[arg(long, value_name = "RATE", value_parser = parse_rate, help_heading = LOAD)]
    pub from: Option<f64>,

    /// The highest rate that is tried; without --force, none is tried that is above what
    /// the generator was calibrated to [default: the search finds it]
    #[arg(long, value_name = "RATE", value_parser = parse_rate, help_heading = LOAD)]
    pub to: Option<f64>,

    /// How long each rate is recorded, 100ms to 24h
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_run_duration)]
    #[arg(help_heading = LOAD)]
    pub duration: Duration,

    /// Whom to offer what.
    #[command(flatten)]
    pub load: LoadOptions,

    /// Where results go.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// Whom to offer what: of a run and of a search alike.
#[derive(Debug, Args)]
pub struct LoadOptions {
    /// The server: a name or an IPv4 address and a port, or an IPv6 address in brackets, as
    /// `[::1]:9999`. Of a name with several addresses it is the first IPv4 one
    #[arg(value_name = "TARGET", default_value = "127.0.0.1:9999")]
    pub target: ServerAddress,

    /// Clients, 1 to 1,000,000, each with an address and port of its own; 500, 10k and 1M
    /// are all right
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = parse_count)]
    #[arg(help_heading = LOAD)]
    pub clients: u32,

    /// Who says what to whom
    #[arg(long, value_enum, default_value_t = Scenario::Mixed, help_heading = LOAD)]
    pub scenario: Scenario,

    /// With --scenario mixed: weights of ping, text and heartbeat; one that is not named
    /// is 0 [default: ping=90,text=10]
    #[arg(long, value_name = "WEIGHTS", value_parser = parse_mix, help_heading = LOAD)]
    pub mix: Option<Mix>,

    /// With --scenario mixed or chat: members of a room, at least 1 and at most all. Rooms
    /// are filled in turn, so the last one may have fewer [default: 10]
    #[arg(long, value_name = "COUNT", value_parser = parse_count, help_heading = LOAD)]
    pub room_size: Option<u32>,

    /// Bytes of a text, or of a greeting's request: one length (48), a range of which
    /// every length is as likely (32..512), or several with weights
    /// (48:70,100..200:25,900:5); 32 to 900 with v1, to 1160 with v2 [default: 48]
    #[arg(long, value_name = "LENGTHS", help_heading = LOAD)]
    pub payload: Option<Payload>,

    /// What all clients speak
    #[arg(long, value_enum, default_value_t = Protocol::V1, help_heading = LOAD)]
    pub protocol: Protocol,

    /// How datagrams follow each other
    #[arg(long, value_enum, default_value_t = Arrival::Uniform, help_heading = LOAD)]
    pub arrival: Arrival,

    /// Clients that leave and clients that come back a second, each: at most half as
    /// many as there are, as each is away for a second
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = parse_rate_or_zero)]
    #[arg(help_heading = LOAD)]
    pub churn: f64,

    /// How long the load is offered before it is recorded, 0s to 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_warmup)]
    #[arg(help_heading = LOAD)]
    pub warmup: Duration,

    /// How long, at most, what is under way at the end is awaited, 0s to 1h
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_drain)]
    #[arg(help_heading = LOAD)]
    pub drain: Duration,

    /// A client with nothing else to send sends a heartbeat after this long, 10ms to 24h:
    /// below the server's timeout, which is 10 s unless it was told otherwise [default: 4s]
    #[arg(long, value_name = "TIME", value_parser = parse_heartbeat, help_heading = LOAD)]
    pub heartbeat: Option<Duration>,

    /// Of every choice that is made at random: with the same seed, it is the same load
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = LOAD)]
    pub seed: u64,

    /// Which sockets the clients have [default: shared if the target is on loopback over
    /// IPv4, otherwise per-client]
    #[arg(long, value_enum, help_heading = GENERATOR)]
    pub sockets: Option<Sockets>,

    /// Receive as stock clients do, one datagram at a time: by default the kernel hands over
    /// several of one sender as one packet, which costs the generator less, and a server on
    /// the same machine, too
    #[arg(long, help_heading = GENERATOR)]
    pub no_gro: bool,

    /// The generator's threads.
    #[command(flatten)]
    pub threads: ThreadOptions,

    /// Threads that have nothing to do look on, rather than sleep: lower latencies of the
    /// generator's own, and a whole processor for each
    #[arg(long, help_heading = GENERATOR)]
    pub spin: bool,

    /// Offer the load though the calibrated generator is not capable of it
    #[arg(long, help_heading = GENERATOR)]
    pub force: bool,

    /// Offer load to a target that is neither on this machine nor on a private network
    #[arg(long, help_heading = LOAD)]
    pub i_own_the_target: bool,
}

/// Of a calibration.
#[derive(Debug, Args)]
pub struct CalibrateOptions {
    /// The generator's threads.
    #[command(flatten)]
    pub threads: ThreadOptions,

    /// What is sent and received: each protocol has a capacity of its own
    #[arg(long, value_enum, default_value_t = Protocol::V1, help_heading = GENERATOR)]
    pub protocol: Protocol,
}

/// The generator's threads.
#[derive(Debug, Args)]
pub struct ThreadOptions {
    /// Threads that send and receive, 1 to 256, at most as many as clients, or as rooms where
    /// there are some [default: as many as --cores lists, otherwise half of the processors]
    #[arg(long, value_name = "COUNT", help_heading = GENERATOR)]
    #[arg(value_parser = value_parser!(u16).range(1..=i64::from(THREADS_MAX)))]
    pub threads: Option<u16>,

    /// Processors that the threads are pinned to, in turn, as 1,3-5: at most as many as
    /// there are threads [default: the system places them]
    #[arg(long, value_name = "LIST", value_parser = parse_cores, help_heading = GENERATOR)]
    pub cores: Option<Cores>,
}

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct OutputOptions {
    /// Write the results to files in this directory, which is made if it is not there
    #[arg(long, value_name = "DIR", help_heading = RESULTS)]
    pub out: Option<PathBuf>,

    /// With --out: the directory may have files already, and results take their place
    #[arg(long, requires = "out", help_heading = RESULTS)]
    pub overwrite: bool,

    /// JSON lines on standard output, though it is a terminal
    #[arg(long, help_heading = RESULTS)]
    pub json: bool,

    /// Print nothing but errors, and with --json the JSON lines
    #[arg(long, help_heading = RESULTS)]
    pub quiet: bool,
}

/// As many threads as the server has workers at most.
pub(crate) const THREADS_MAX: u16 = 256;

const LOAD: &str = "Load";
const GENERATOR: &str = "Generator";
const RESULTS: &str = "Results";

const EXAMPLES: &str = "\
Examples:
  loadgen                                     1,000 datagrams/s for 10 s
  loadgen --rate 50k --scenario ping --duration 30s
  loadgen --clients 100k --rate 20k           100,000 clients, few sockets
  loadgen --scenario chat --room-size 100 --slo 'p99<5ms,loss<0.1%'
  loadgen find-max --slo 'p99<5ms,loss<0.1%' --out results
";

const LONG_AFTER_HELP: &str = "\
Exit codes:
  0  the run is valid, and all that --slo asks for holds
  1  the run failed; if the server said goodbye, what was measured is reported
  2  wrong use: nothing was sent
  3  a clause of --slo does not hold
  4  invalid: the generator itself fell short, and the figures are not the server's
  130, 143 (128 and the signal's number)
     SIGINT or SIGTERM: the first one ends the load, and what was measured is
     reported; the second one ends the program. It is 141 if whoever read the
     JSON lines has gone, which ends the load, too
  If several are true, it is the first of 1, signal, 4 and 3.

Examples:
  loadgen                                     1,000 datagrams/s for 10 s
  loadgen --rate 50k --scenario ping --duration 30s
  loadgen --scenario chat --room-size 100 --slo 'p99<5ms,loss<0.1%'
  loadgen find-max --slo 'p99<5ms,loss<0.1%' --out results";

const FIND_MAX_AFTER_HELP: &str = "\
The rate is doubled until it is bad, and then the search closes in from both sides, to
5 %. A rate is good or bad when two tries of it agree. On a terminal each try is a row of a
table; otherwise it is a JSON object, whose `kind` is `try`, and the answer is one whose
`kind` is `found`.

Exit codes:
  0  there is a highest good rate
  1  the search failed
  2  wrong use: nothing was sent
  3  not even the lowest rate is good: objectives are missed
  4  nor is it, and it was the generator itself that fell short
  130, 143, 141
     as for a run: a search that is stopped has no answer, and leaves no files

Example:
  loadgen find-max --slo 'p99<5ms,loss<0.1%' --clients 1000 --out results";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn examples_are_parsed() {
        let examples = [EXAMPLES, LONG_AFTER_HELP, FIND_MAX_AFTER_HELP].join("\n");
        let lines = examples
            .lines()
            .filter(|line| line.starts_with("  loadgen"));
        let mut parsed = 0;
        for line in lines {
            // What stands far behind it says what it does; no argument here has a space.
            let command = line.trim().split("   ").next().unwrap().replace('\'', "");
            let result = Arguments::try_parse_from(command.split(' '));
            assert!(result.is_ok(), "{command}: {}", result.unwrap_err());
            parsed += 1;
        }
        assert_eq!(parsed, 10);
    }

    #[test]
    fn a_search_which_would_not_tell_of_the_servers_process_takes_none() {
        let search = ["loadgen", "find-max", "--slo", "p99<1s"];
        assert!(Arguments::try_parse_from(search).is_ok());
        let with_process = search.into_iter().chain(["--server-pid", "1"]);
        let error = Arguments::try_parse_from(with_process).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument);
    }

    #[test]
    fn a_target_stands_beside_options_and_a_subcommand_alone() {
        let parse = |arguments: &[&str]| {
            let program = ["loadgen"].iter().chain(arguments);
            Arguments::try_parse_from(program)
        };
        let run = parse(&["localhost:7", "--rate", "2k"]).unwrap();
        assert!(run.command.is_none());
        assert_eq!(run.run.load.target.to_string(), "localhost:7");
        assert_eq!(run.run.rate, Some(2000.0));
        let search = parse(&["find-max", "--slo", "p99<1s", "[::1]:7"]).unwrap();
        assert!(matches!(search.command, Some(Command::FindMax(_))));
        assert!(parse(&["calibrate", "--threads", "2"]).is_ok());
        assert!(parse(&["calibrate", "--rate", "2k"]).is_err());
        assert!(parse(&["--rate", "2k", "calibrate"]).is_err());
        assert!(parse(&["find-max"]).is_err(), "--slo is missing");
    }
}
