//! The command line: what it can say, and what each option means.

use std::path::PathBuf;
use std::time::Duration;

use bullhorn::client::ServerAddress;
use clap::{Args, Parser, Subcommand, value_parser};

use crate::cli::target;
use crate::cli::values::{
    Cores, parse_cores, parse_count, parse_heartbeat, parse_mix, parse_ramp, parse_run_duration,
    parse_wait,
};
use crate::config::{Arrival, Mix, Payload, Protocol, Rate, Scenario, Sockets};
use crate::slo::Slo;
use crate::units::{parse_rate, parse_rate_or_zero};

/// Load generator for a bullhorn server
///
/// The load is open-loop: datagrams are due at times that are set in advance, whatever the
/// server does. Latencies count from when a datagram was due. If the server stands still for a
/// second, every datagram of that second shows it.
///
/// A summary ends the run on standard output. With --json there is a JSON object per line
/// instead: `kind` is `second` for each second, and `summary` at the end.
#[derive(Debug, Parser)]
#[command(
    name = "loadgen",
    args_conflicts_with_subcommands = true,
    after_help = EXAMPLES,
    after_long_help = LONG_AFTER_HELP
)]
pub struct Arguments {
    /// The command, if it is not a run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of a run.
    #[command(flatten)]
    pub run: RunOptions,
}

/// The commands besides a run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure how many datagrams per second the generator handles on this machine. Later runs
    /// that ask for more are refused
    Calibrate(CalibrateOptions),
    /// Search for the highest rate at which objectives are met
    #[command(after_long_help = FIND_MAX_AFTER_HELP)]
    FindMax(Box<FindMaxOptions>),
}

/// The options of a run.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// Datagrams per second that all clients together send, up to 100M, written as 20000, 50k,
    /// 1.5M or 0.5. Keepalives do not count [default: 1k]
    #[arg(short, long, value_name = "RATE", value_parser = parse_rate, conflicts_with = "ramp")]
    #[arg(help_heading = LOAD)]
    pub rate: Option<f64>,

    /// A rate that changes, in place of --rate: the first one during the warm-up, and then in a
    /// straight line to the second one at the end of the recording
    #[arg(long, value_name = "FROM..TO", value_parser = parse_ramp, help_heading = LOAD)]
    pub ramp: Option<Rate>,

    /// Length of the recording, 100ms to 24h
    #[arg(short, long, value_name = "DURATION", default_value = "10s", value_parser = parse_run_duration)]
    #[arg(help_heading = LOAD)]
    pub duration: Duration,

    /// The load.
    #[command(flatten)]
    pub load: LoadOptions,

    /// Objectives that must be met for exit code 0: clauses of metric, <, <=, > or >=, and value
    ///
    /// Metrics are p50, p99, p99.9 or any other percentile of latencies, max and mean
    /// (`p99<5ms`), loss (`loss<0.1%`), and the rate that was in fact sent (`rate>=49k`). With
    /// `delivery.` or `answer.` in front, as in `answer.p99.9<=20ms`, a clause is about that
    /// kind alone. Otherwise a latency must hold for both.
    #[arg(long, value_name = "CLAUSES", help_heading = RESULTS)]
    pub slo: Option<Slo>,

    /// Process of the server, if it is on this machine. The summary then has the CPU time that
    /// the server took
    #[arg(long, value_name = "PID", help_heading = RESULTS)]
    pub server_pid: Option<u32>,

    /// The results.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// The options of a search.
#[derive(Debug, Args)]
pub struct FindMaxOptions {
    /// Objectives that must be met at a rate, as for a run: see `loadgen --help`
    #[arg(long, value_name = "CLAUSES", required = true, help_heading = RESULTS)]
    pub slo: Slo,

    /// First and lowest rate that is tried [default: 1k is the first one, and lower ones are
    /// tried if it is bad]
    #[arg(long, value_name = "RATE", value_parser = parse_rate, help_heading = LOAD)]
    pub from: Option<f64>,

    /// Highest rate that is tried. Without --force, no rate above the calibrated capacity of the
    /// generator is tried [default: the search finds it]
    #[arg(long, value_name = "RATE", value_parser = parse_rate, help_heading = LOAD)]
    pub to: Option<f64>,

    /// Length of the recording at each rate, 100ms to 24h
    #[arg(short, long, value_name = "DURATION", default_value = "5s", value_parser = parse_run_duration)]
    #[arg(help_heading = LOAD)]
    pub duration: Duration,

    /// The load.
    #[command(flatten)]
    pub load: LoadOptions,

    /// The results.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// The load of a run or of a search.
#[derive(Debug, Args)]
pub struct LoadOptions {
    /// Server: a name or an address, and a port, which is 9999 if there is none. An IPv6 address
    /// goes in brackets, as `[::1]:9999`. A name is tried at all its addresses, IPv4 first. Several
    /// are the nodes of a cluster: clients have them in turn, so every room is spread over all
    #[arg(value_name = "HOST[:PORT]", default_value = "127.0.0.1:9999", value_parser = target::parse)]
    pub targets: Vec<ServerAddress>,

    /// Clients, 1 to 1,000,000, each with an address and port of its own, written as 500, 10k or
    /// 1M
    #[arg(short, long, value_name = "COUNT", default_value = "100", value_parser = parse_count)]
    #[arg(help_heading = LOAD)]
    pub clients: u32,

    /// Kind of load
    #[arg(long, value_enum, default_value_t = Scenario::Mixed, help_heading = LOAD)]
    pub scenario: Scenario,

    /// Weights of ping, text and heartbeat, with --scenario mixed. A kind without a weight is
    /// not sent [default: ping=90,text=10]
    #[arg(long, value_name = "WEIGHTS", value_parser = parse_mix, help_heading = LOAD)]
    pub mix: Option<Mix>,

    /// Members per room, with --scenario mixed or chat. Rooms are filled in turn, so the last
    /// one may have fewer [default: 10]
    #[arg(long, value_name = "COUNT", value_parser = parse_count, help_heading = LOAD)]
    pub room_size: Option<u32>,

    /// With several targets, keep all members of a room at one of them. The rooms have the targets
    /// in turn, and the targets need not form a cluster
    #[arg(long, help_heading = LOAD)]
    pub local_rooms: bool,

    /// Bytes of a text, or of a request to the greeting service: one length (48), a range
    /// (32..512), or several with weights (48:70,100..200:25,900:5). From 32 to 900 with v1, and
    /// to 1152 with v2 [default: 48]
    #[arg(long, value_name = "LENGTHS", help_heading = LOAD)]
    pub payload: Option<Payload>,

    /// Protocol of all clients
    #[arg(long, value_enum, value_name = "VERSION", default_value_t = Protocol::V1, help_heading = LOAD)]
    pub protocol: Protocol,

    /// Distribution of the times between datagrams
    #[arg(long, value_enum, default_value_t = Arrival::Uniform, help_heading = LOAD)]
    pub arrival: Arrival,

    /// Clients per second that leave, and as many that come back a second later: at most half
    /// of all clients, or a third with rooms over several targets
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = parse_rate_or_zero)]
    #[arg(help_heading = LOAD)]
    pub churn: f64,

    /// Time of load before the recording, 0s to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_wait)]
    #[arg(help_heading = LOAD)]
    pub warmup: Duration,

    /// Longest wait for datagrams under way at the end, 0s to 1h
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_wait)]
    #[arg(help_heading = LOAD)]
    pub drain: Duration,

    /// Time after which a client with nothing else to send sends a heartbeat, 10ms to 24h. It
    /// must be below the server's timeout, by default 10 s [default: 4s]
    #[arg(long, value_name = "DURATION", value_parser = parse_heartbeat, help_heading = LOAD)]
    pub heartbeat: Option<Duration>,

    /// Seed of every random choice. The same seed gives the same load
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = LOAD)]
    pub seed: u64,

    /// Sockets of the clients [default: shared if all targets are on loopback over IPv4,
    /// otherwise per-client]
    #[arg(long, value_enum, help_heading = GENERATOR)]
    pub sockets: Option<Sockets>,

    /// Receive one datagram at a time, as stock clients do. By default the kernel hands over
    /// several of one sender as one packet (UDP_GRO), which costs less, for a server on the same
    /// machine, too
    #[arg(long, help_heading = GENERATOR)]
    pub no_gro: bool,

    /// The generator's threads.
    #[command(flatten)]
    pub threads: ThreadOptions,

    /// Poll instead of sleeping when there is nothing to do. The generator reacts faster, and
    /// each thread takes a whole processor
    #[arg(long, help_heading = GENERATOR)]
    pub no_sleep: bool,

    /// Send the load even if it is above the calibrated capacity of the generator
    #[arg(long, help_heading = GENERATOR)]
    pub force: bool,

    /// Allow targets that are neither on this machine nor in a private network
    #[arg(long, help_heading = LOAD)]
    pub i_own_the_target: bool,
}

/// The options of a calibration.
#[derive(Debug, Args)]
pub struct CalibrateOptions {
    /// The generator's threads.
    #[command(flatten)]
    pub threads: ThreadOptions,

    /// Protocol. Each one has a capacity of its own
    #[arg(long, value_enum, value_name = "VERSION", default_value_t = Protocol::V1, help_heading = GENERATOR)]
    pub protocol: Protocol,
}

/// The generator's threads.
#[derive(Debug, Args)]
pub struct ThreadOptions {
    /// Threads that send and receive, 1 to 256, at most as many as there are clients, or rooms
    /// [default: as many as --cores lists, otherwise half of the processors]
    #[arg(short, long, value_name = "COUNT", help_heading = GENERATOR)]
    #[arg(value_parser = value_parser!(u16).range(1..=i64::from(THREADS_MAX)))]
    pub threads: Option<u16>,

    /// Processors that the threads are pinned to, in turn, as 1,3-5: at most one per thread
    /// [default: the system places them]
    #[arg(long, value_name = "LIST", value_parser = parse_cores, help_heading = GENERATOR)]
    pub cores: Option<Cores>,
}

/// The results.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct OutputOptions {
    /// Directory for a report and other files, which is created if it does not exist
    #[arg(short, long, value_name = "DIR", help_heading = RESULTS)]
    pub out: Option<PathBuf>,

    /// With --out, replace the results that are in the directory
    #[arg(long, requires = "out", help_heading = RESULTS)]
    pub overwrite: bool,

    /// Print JSON lines instead of a summary
    #[arg(long, help_heading = RESULTS)]
    pub json: bool,

    /// Print only the verdict with its reason, in one line. With --json, only the JSON lines
    #[arg(long, help_heading = RESULTS)]
    pub quiet: bool,
}

/// The most threads, which is also the most workers of a server.
pub(crate) const THREADS_MAX: u16 = 256;

const LOAD: &str = "Load";
const GENERATOR: &str = "Generator";
const RESULTS: &str = "Results";

const EXAMPLES: &str = "\
Examples:
  loadgen                                     1,000 datagrams/s for 10 s
  loadgen -r 50k -d 30s --scenario ping
  loadgen -c 100k -r 20k                      100,000 clients, few sockets
  loadgen --scenario chat --room-size 100 --slo 'p99<5ms,loss<0.1%'
  loadgen find-max --slo 'p99<5ms,loss<0.1%' -o results
";

const LONG_AFTER_HELP: &str = "\
Exit codes:
  0  the run is valid, and every clause of --slo is met
  1  the run failed. If the server was silent or said goodbye, there is a summary
  2  the arguments are wrong, and nothing was sent
  3  a clause of --slo is missed
  4  the run is invalid: the generator fell short, or the server restarted or sent what
     it should not, so the figures are no measure of it. The output says why
  130, 143 (128 and the signal's number)
     SIGINT or SIGTERM: the first one ends the load, and there is a summary. The
     second one ends the program. 141 if the reader of standard output went away
  If several are true, it is the first of 1, signal, 4 and 3.

Examples:
  loadgen                                     1,000 datagrams/s for 10 s
  loadgen -r 50k -d 30s --scenario ping
  loadgen --scenario chat --room-size 100 --slo 'p99<5ms,loss<0.1%'
  loadgen find-max --slo 'p99<5ms,loss<0.1%' --out results";

const FIND_MAX_AFTER_HELP: &str = "\
The rate is doubled until it is bad. Then the search closes in from both sides, to 5 %. A
rate is good or bad when two tries of it agree. Each try is a row of a table. With --json it
is an object of `kind` `try`, and the answer is one of `kind` `found`.

Exit codes:
  0  there is a highest good rate, and no higher one because of the server
  1  the search failed, or the server was silent, restarted or said goodbye
  2  the arguments are wrong, and nothing was sent
  3  objectives are missed even at the lowest rate
  4  the generator itself fell short at the lowest bad rate. The output says why
  130, 143, 141
     as for a run. A search that is stopped has no answer, and leaves no files

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
        assert_eq!(run.run.load.targets[0].to_string(), "localhost:7");
        assert_eq!(run.run.rate, Some(2000.0));
        let search = parse(&["find-max", "--slo", "p99<1s", "[::1]:7"]).unwrap();
        assert!(matches!(search.command, Some(Command::FindMax(_))));
        assert!(parse(&["calibrate", "--threads", "2"]).is_ok());
        assert!(parse(&["calibrate", "--rate", "2k"]).is_err());
        assert!(parse(&["--rate", "2k", "calibrate"]).is_err());
        assert!(parse(&["find-max"]).is_err(), "--slo is missing");
    }
}
