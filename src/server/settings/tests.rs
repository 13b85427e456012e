use clap::{Args, Command, FromArgMatches};

use super::*;
use crate::server::clock::Clock;
use crate::server::core::{Core, Surroundings};
use crate::server::keys::Keys;
use crate::server::ops::log::Log;
use crate::server::ops::stats::WorkerInfo;
use crate::server::ops::turns::WorkerHandle;

/// A value of each flag other than its default. A switch has none.
const VALUES: &[(&str, &str)] = &[
    ("accept-reflection-risk", ""),
    ("admin", "127.0.0.1:1"),
    ("admin-token-file", "token"),
    ("advertise", "192.0.2.1:9"),
    ("allow", "192.0.2.1"),
    ("backlog", "250ms"),
    ("bind", "127.0.0.1:1"),
    ("bytes-per-peer", "1KiB"),
    ("challenge-rate", "1MB"),
    ("challenges-per-network", "1"),
    ("cluster", "nats://127.0.0.1"),
    ("cluster-ca", "ca"),
    ("cluster-certificate", "certificate"),
    ("cluster-credentials", "credentials"),
    ("cluster-key", "key"),
    ("cluster-name", "name"),
    ("cluster-required", ""),
    ("commands", "off"),
    ("cores", "0"),
    ("deny", "192.0.2.1"),
    ("max-names", "1"),
    ("max-peers", "1"),
    ("max-room-members", "1"),
    ("max-rooms", "1"),
    ("names-per-network", "1"),
    ("no-pin", ""),
    ("node-id", "name"),
    ("once", ""),
    ("proof", "never"),
    ("reap-interval", "2s"),
    ("receive-buffer", "1MiB"),
    ("registrations-per-network", "1"),
    ("rooms-per-network", "1"),
    ("send-buffer", "1MiB"),
    ("service", "greet"),
    ("spin", "50"),
    ("state-dir", "folder"),
    ("texts-per-peer", "1"),
    ("timeout", "5s"),
    ("trust", "192.0.2.1"),
    ("watchdog", "off"),
    ("work-per-peer", "1"),
    ("workers", "1"),
];

/// Changes no value, but permits `--proof never` at a public address.
const WITHOUT_EFFECT: &str = "accept-reflection-risk";

#[test]
fn a_flag_is_reloaded_if_and_only_if_the_list_of_those_has_it() {
    let command = ServerConfig::augment_args(Command::new("server"));
    let mut flags: Vec<_> = command
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .collect();
    flags.sort_unstable();
    let known: Vec<_> = VALUES.iter().map(|(flag, _)| *flag).collect();
    assert_eq!(flags, known, "VALUES has each flag");
    let parse = |words: &[String]| {
        let words = ["server".to_owned()].into_iter().chain(words.to_vec());
        let matches = command.clone().get_matches_from(words);
        ServerConfig::from_arg_matches(&matches).unwrap()
    };
    let default = parse(&[]);
    for (flag, value) in VALUES {
        let word = match value.is_empty() {
            true => format!("--{flag}"),
            false => format!("--{flag}={value}"),
        };
        let changed = parse(&[word]);
        let core = core(&default);
        let before = in_force(&core.settings);
        assert_eq!(before, in_force(&self::core(&default).settings));
        core.settings.apply(&changed);
        let after = in_force(&core.settings);
        let is_reloaded = RELOADED.contains(flag) && *flag != WITHOUT_EFFECT;
        assert_eq!(before != after, is_reloaded, "--{flag}: {after}");
        // The same as after a restart.
        if is_reloaded {
            assert_eq!(after, in_force(&self::core(&changed).settings), "--{flag}");
        }
    }
}

fn core(config: &ServerConfig) -> Core {
    let worker = WorkerHandle {
        info: WorkerInfo::new(""),
        wake: Arc::new(|| {}),
    };
    let surroundings = Surroundings {
        workers: vec![worker],
        wake_notifier: Arc::new(|| {}),
        own_addresses: Arc::default(),
        kept_bans: (None, Vec::new()),
        clock: Clock::from_fn(|| 0),
        log: Log::new().0,
        max_segments: 64,
        keys: Keys::from_root((1, 2)),
    };
    Core::new(config, surroundings)
}

/// Returns all values that [`Settings`] can change.
fn in_force(settings: &Settings) -> String {
    let ingress = settings.ingress.upgrade().unwrap();
    let registry = &ingress.registry;
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        settings.admission.rules(),
        registry.limits(),
        registry.network_rates(),
        ingress.rates,
        ingress.timeout,
        ingress.challenges.rates(),
    )
}
