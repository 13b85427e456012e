//! The request that the arguments make: defaults that depend on each other, and checks that the
//! arguments go together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::cli::args::{
    Arguments, CalibrateOptions, Command, FindMaxOptions, LoadOptions, OutputOptions, RunOptions,
    THREADS_MAX, ThreadOptions,
};
use crate::cli::target;
use crate::config::{
    DEFAULT_RATE_PER_S, Payload, Protocol, Rate, RunConfig, Scenario, Sockets, word,
};
use crate::engine::partition;
use crate::limits::calibrate::Calibration;
use crate::payload::MAX_V1_BYTES;
use crate::plan::Plan;
use crate::slo::Slo;
use crate::units::{self, counted};

/// The reason why arguments do not go together, and a remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UseError(String);

fn refuse<T>(why: impl ToString) -> Result<T, UseError> {
    Err(UseError(why.to_string()))
}

fn refused(why: impl ToString) -> UseError {
    UseError(why.to_string())
}

/// A request of the command line, whose parts go together.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// One run.
    Run(RunRequest),
    /// A search.
    FindMax(FindMaxRequest),
    /// A calibration.
    Calibrate(Calibration),
}

/// The addresses that the name of each target has besides the one that is used.
pub(super) type OtherAddresses = BTreeMap<SocketAddr, Vec<SocketAddr>>;

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRequest {
    pub config: RunConfig,
    /// The addresses of each target's name at which no server answered.
    pub other_addresses: OtherAddresses,
    pub slo: Option<Slo>,
    pub output: OutputOptions,
    /// Set if the load may be above the capacity of the generator.
    pub is_forced: bool,
}

/// A search.
#[derive(Debug, Clone, PartialEq)]
pub struct FindMaxRequest {
    /// Its rate is the first that is tried.
    pub config: RunConfig,
    /// The addresses of each target's name at which no server answered.
    pub other_addresses: OtherAddresses,
    pub slo: Slo,
    /// The lowest rate that is tried.
    pub from: Option<f64>,
    /// The highest rate that is tried.
    pub to: Option<f64>,
    pub output: OutputOptions,
    /// Set if the load may be above the capacity of the generator.
    pub is_forced: bool,
}

impl Arguments {
    /// Returns the request. This may block while the names of targets are looked up.
    pub fn request(self) -> Result<Request, UseError> {
        match self.command {
            None => run_request(self.run).map(Request::Run),
            Some(Command::FindMax(options)) => find_max_request(*options).map(Request::FindMax),
            Some(Command::Calibrate(options)) => calibrate_request(options).map(Request::Calibrate),
        }
    }
}

fn run_request(options: RunOptions) -> Result<RunRequest, UseError> {
    let constant = Rate::constant(options.rate.unwrap_or(DEFAULT_RATE_PER_S));
    let rate = options.ramp.unwrap_or(constant);
    let is_forced = options.load.force;
    check_process(options.server_pid, options.load.targets.len())?;
    let (mut config, other_addresses) = run_config(options.load, rate, options.duration)?;
    config.server_pid = options.server_pid;
    if let Some(slo) = &options.slo {
        check_slo(slo, &config)?;
    }
    Ok(RunRequest {
        config,
        other_addresses,
        slo: options.slo,
        output: options.output,
        is_forced,
    })
}

fn check_slo(slo: &Slo, config: &RunConfig) -> Result<(), UseError> {
    let applies = slo.applies_to(config.mix.text > 0.0, config.mix.ping > 0.0);
    applies.map_err(|error| refused(format!("--slo: {error}")))
}

fn check_process(pid: Option<u32>, targets: usize) -> Result<(), UseError> {
    match pid {
        Some(_) if targets > 1 => refuse(format!(
            "--server-pid is about one server, and there are {targets} targets: give one, or leave \
             --server-pid out"
        )),
        Some(pid) if !Path::new(&format!("/proc/{pid}/task")).exists() => refuse(format!(
            "--server-pid {pid}: there is no such process on this machine. Leave it out for a \
             server on another one"
        )),
        _ => Ok(()),
    }
}

fn find_max_request(options: FindMaxOptions) -> Result<FindMaxRequest, UseError> {
    let (from, to) = (options.from, options.to);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        let (from, to) = (units::rate(from), units::rate(to));
        return refuse(format!("--from {from} must be below --to {to}"));
    }
    let first = from.unwrap_or(to.map_or(DEFAULT_RATE_PER_S, |to| DEFAULT_RATE_PER_S.min(to)));
    let is_forced = options.load.force;
    let rate = Rate::constant(first);
    let (config, other_addresses) = run_config(options.load, rate, options.duration)?;
    if let Some(to) = to {
        check_numbers(&RunConfig {
            rate: Rate::constant(to),
            ..config.clone()
        })?;
    }
    let slo = options.slo;
    check_slo(&slo, &config)?;
    Ok(FindMaxRequest {
        config,
        other_addresses,
        slo,
        from,
        to,
        output: options.output,
        is_forced,
    })
}

fn calibrate_request(options: CalibrateOptions) -> Result<Calibration, UseError> {
    let (threads, cores) = threads_and_cores(options.threads, THREADS_MAX.into(), "thread")?;
    let all = thread::available_parallelism().map_or(1, NonZero::get);
    // The responder has the first processor that is free, where the generator is pinned.
    let free = (0..all).find(|core| !cores.contains(core));
    Ok(Calibration {
        threads,
        protocol: options.protocol,
        responder_core: free.filter(|_| !cores.is_empty()),
        cores,
        duration: CALIBRATION,
    })
}

/// Returns the settings, and the other addresses of the targets.
fn run_config(
    load: LoadOptions,
    rate: Rate,
    duration: Duration,
) -> Result<(RunConfig, OtherAddresses), UseError> {
    check_scenario(&load)?;
    check_amounts(&load, rate, duration)?;
    let (mut targets, other_addresses) = targets(&load)?;
    let distant = targets
        .iter()
        .find(|target| !target::has_many_sources(**target));
    let sockets = match load.sockets {
        Some(Sockets::Shared) if let Some(target) = distant => {
            return refuse(format!(
                "--sockets shared gives each client an address of 127.0.0.0/8, and {target} \
                 answers to such addresses only if it is there itself: use --sockets per-client"
            ));
        }
        Some(sockets) => sockets,
        None if distant.is_none() => Sockets::Shared,
        None => Sockets::PerClient,
    };
    let defaults = RunConfig::new(targets.remove(0));
    let mut config = RunConfig {
        other_targets: targets,
        local_rooms: load.local_rooms,
        clients: load.clients,
        rate,
        arrival: load.arrival,
        scenario: load.scenario,
        mix: load.scenario.mix(load.mix.unwrap_or(defaults.mix)),
        room_size: load.room_size.unwrap_or(defaults.room_size),
        payload: load.payload.unwrap_or(defaults.payload),
        protocol: load.protocol,
        churn_per_s: load.churn,
        warmup: load.warmup,
        duration,
        drain: load.drain,
        seed: load.seed,
        heartbeat: load.heartbeat.unwrap_or(defaults.heartbeat),
        sockets,
        gro: !load.no_gro,
        spin: load.no_sleep,
        ..defaults
    };
    let (most, of) = match partition::has_rooms(&config) {
        true => (partition::rooms(&config), "room"),
        false => (config.clients, "client"),
    };
    (config.threads, config.cores) = threads_and_cores(load.threads, most, of)?;
    check_targets(&config)?;
    check_numbers(&config)?;
    Ok((config, other_addresses))
}

/// Returns the address of each target, and their other addresses.
fn targets(load: &LoadOptions) -> Result<(Vec<SocketAddr>, OtherAddresses), UseError> {
    let mut targets = Vec::new();
    let mut others = OtherAddresses::new();
    for name in &load.targets {
        let mut addresses = target::resolve(name).map_err(refused)?;
        let allowed = |address: &SocketAddr| target::guard(*address, load.i_own_the_target);
        allowed(&addresses[0]).map_err(refused)?;
        addresses.retain(|address| allowed(address).is_ok());
        target::put_reachable_first(&mut addresses);
        let target = addresses.remove(0);
        if targets.contains(&target) {
            return refuse(format!(
                "{target} is given twice: each target is another server"
            ));
        }
        targets.push(target);
        others.insert(target, addresses);
    }
    Ok((targets, others))
}

/// Refuses targets without clients, and an option that is about several.
fn check_targets(config: &RunConfig) -> Result<(), UseError> {
    if config.local_rooms && !config.has_nodes() {
        return refuse("--local-rooms is about several targets: give more than one");
    }
    let targets = config.targets().count();
    let (most, of) = match config.local_rooms {
        true => (partition::rooms(config), "room"),
        false => (config.clients, "client"),
    };
    if targets > most as usize {
        let most = counted(most.into(), of);
        return refuse(format!(
            "{targets} targets are more than the {most}: each target needs one"
        ));
    }
    Ok(())
}

/// Refuses options that the scenario does not use.
fn check_scenario(load: &LoadOptions) -> Result<(), UseError> {
    use Scenario::{Chat, Greet, Heartbeat, Mixed, Ping};
    let scenario = load.scenario;
    let unused = |option: &str, scenarios: &str| {
        let given = word(&scenario);
        refuse(format!(
            "{option} goes with {scenarios}; --scenario {given} has no use for it"
        ))
    };
    if load.mix.is_some() && scenario != Mixed {
        return unused("--mix", "--scenario mixed");
    }
    if load.room_size.is_some() && !matches!(scenario, Mixed | Chat) {
        return unused("--room-size", "--scenario mixed or chat");
    }
    if load.local_rooms && !matches!(scenario, Mixed | Chat) {
        return unused("--local-rooms", "--scenario mixed or chat");
    }
    if load.payload.is_some() && matches!(scenario, Ping | Heartbeat) {
        return unused("--payload", "--scenario mixed, chat, lobby or greet");
    }
    // The greeting service keeps no peers, and greets whoever sends a heartbeat.
    let other_than_greet = "any --scenario but greet";
    if scenario == Greet && load.churn > 0.0 {
        return unused("--churn", other_than_greet);
    }
    if scenario == Greet && load.heartbeat.is_some() {
        return unused("--heartbeat", other_than_greet);
    }
    if scenario == Greet && load.protocol == Protocol::V2 {
        return refuse(
            "--scenario greet goes with --protocol v1: the greeting service has no other",
        );
    }
    if load.mix.is_some_and(|mix| mix.text == 0.0) {
        let options = [
            ("--room-size", load.room_size.is_some()),
            ("--payload", load.payload.is_some()),
            ("--local-rooms", load.local_rooms),
        ];
        if let Some((option, _)) = options.iter().find(|(_, is_given)| *is_given) {
            return refuse(format!(
                "{option} is about texts, and --mix has none: give text a weight"
            ));
        }
    }
    Ok(())
}

/// Refuses numbers that do not go together.
fn check_amounts(load: &LoadOptions, rate: Rate, duration: Duration) -> Result<(), UseError> {
    let clients = load.clients;
    let all = counted(clients.into(), "client");
    if let Some(size) = load.room_size.filter(|size| *size > clients) {
        return refuse(format!(
            "--room-size {size} is more than the {all}: ask for more --clients"
        ));
    }
    // At least half are there. Who comes back to a node takes part when all others know it.
    let (part, away) = match load.targets.len() > 1 && !load.local_rooms {
        true => (3, "1.5 seconds"),
        false => (2, "a second"),
    };
    if load.churn > f64::from(clients / part) {
        let half = if part == 2 { "half" } else { "a third" };
        return refuse(format!(
            "--churn {} is more than {half} of the {all}: a client that leaves is away for {away}, \
             and half of them must be there",
            units::rate(load.churn)
        ));
    }
    let longest = load.payload.as_ref().map_or(0, Payload::max_bytes);
    if load.protocol == Protocol::V1 && longest > usize::from(MAX_V1_BYTES) {
        return refuse(format!(
            "--payload has up to {longest} bytes, and with --protocol v1 {MAX_V1_BYTES} are the \
             most, as its datagrams are cut at 1024 with the sender in front: use --protocol v2"
        ));
    }
    let mean_rate = rate.from.midpoint(rate.to);
    if mean_rate * duration.as_secs_f64() < 1.0 {
        let duration = humantime::format_duration(duration);
        return refuse(format!(
            "{} for {duration} offers nothing: ask for more, or for longer",
            units::rate(mean_rate)
        ));
    }
    Ok(())
}

/// Refuses a run with more texts in a room, or requests of a client, than there are numbers.
fn check_numbers(config: &RunConfig) -> Result<(), UseError> {
    let mix = &config.mix;
    let total = Plan::of(config).total / (mix.ping + mix.text + mix.heartbeat);
    let (mut texts, mut requests) = (0.0_f64, 0.0_f64);
    for part in partition::parts(config) {
        // Threads have equal shares, however few clients are theirs, who take turns.
        let Some((_, shares)) = part.share else {
            continue;
        };
        let of_thread = total / shares as f64;
        let of_client = of_thread / f64::from(part.clients);
        let of_room = match partition::has_rooms(config) {
            true => of_client * f64::from(part.clients.min(config.room_size)),
            false => of_thread,
        };
        texts = texts.max(of_room * mix.text);
        requests = requests.max(of_client * mix.ping);
    }
    if config.scenario == Scenario::Greet {
        // Which have no numbers.
        requests = 0.0;
    }
    let kinds = [
        (texts, "texts to one room"),
        (requests, "requests of one client"),
    ];
    match kinds.into_iter().find(|(many, _)| *many > NUMBERS_MAX) {
        None => Ok(()),
        Some((many, what)) => refuse(format!(
            "{} {what} are more than numbers of 32 bits can tell apart, which is at most {}: \
             offer less, or for a shorter time",
            units::number(many),
            units::number(NUMBERS_MAX)
        )),
    }
}

/// Each thread needs one client or room, `of` which there are `most`.
fn threads_and_cores(
    options: ThreadOptions,
    most: u32,
    of: &'static str,
) -> Result<(u16, Vec<usize>), UseError> {
    let cores = options.cores.map_or_else(Vec::new, |cores| cores.0);
    let default = match cores.len() {
        0 => thread::available_parallelism().map_or(1, NonZero::get) / 2,
        listed => listed,
    };
    let bound = u16::try_from(most).map_or(THREADS_MAX, |most| most.min(THREADS_MAX));
    let default = u16::try_from(default).map_or(bound, |default| default.clamp(1, bound));
    let threads = options.threads.unwrap_or(default);
    if threads > bound {
        let most = counted(most.into(), of);
        return refuse(format!(
            "--threads {threads} is more than the {most}: each thread needs one"
        ));
    }
    if cores.len() > usize::from(threads) {
        let listed = counted(cores.len() as u64, "processor");
        return refuse(format!(
            "--cores lists {listed} for {}: ask for --threads {}",
            counted(threads.into(), "thread"),
            cores.len()
        ));
    }
    // Where the system does not tell, pinning will.
    if let Some(usable) = core_affinity::get_core_ids() {
        let is_usable = |core: &usize| usable.iter().any(|usable| usable.id == *core);
        if let Some(core) = cores.iter().copied().find(|core| !is_usable(core)) {
            let usable: Vec<String> = usable.iter().map(|core| core.id.to_string()).collect();
            let usable = usable.join(", ");
            return refuse(format!("--cores has {core}; this process may use {usable}"));
        }
    }
    Ok((threads, cores))
}

/// Numbers are below 2³² - 1. A tenth of them is in reserve, as times and kinds are drawn
/// at random, and as clients that are away leave their turns to others.
const NUMBERS_MAX: f64 = 3.8e9;

/// Each try of a calibration is long enough for a percentile of what a thread does in a second.
const CALIBRATION: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
