use super::*;
use clap::{CommandFactory, Parser};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    server: ServerConfig,
}

fn parse(arguments: &str) -> Result<ServerConfig, String> {
    let words = ["server"].into_iter().chain(arguments.split_whitespace());
    let config = Program::try_parse_from(words).map_err(|error| error.to_string())?;
    let checked = config.server.check();
    checked
        .map(|()| config.server)
        .map_err(|error| error.to_string())
}

#[test]
fn the_default_is_the_configuration_without_flags() {
    let parsed = parse("").unwrap();
    assert_eq!(
        format!("{parsed:?}"),
        format!("{:?}", ServerConfig::default())
    );
}

#[test]
fn flags_set_their_fields() {
    let config =
        parse("--workers 8 --bind 0.0.0.0:1 --bind [::]:2 --timeout 1500ms --send-buffer 1MiB")
            .unwrap();
    assert_eq!(config.workers, 8);
    assert_eq!(
        config.bind,
        ["0.0.0.0:1".parse().unwrap(), "[::]:2".parse().unwrap()]
    );
    assert_eq!(config.timeout, Duration::from_millis(1500));
    assert_eq!(config.send_buffer.as_u64(), 1 << 20);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn networks_are_lists_of_nets_and_addresses() {
    let config = parse(
        "--proof always --trust 10.0.0.0/8,2001:db8::/32 --trust 192.168.0.1 \
         --allow 10.0.0.0/8 --deny ::1 --challenge-rate 1MB",
    );
    let config = config.unwrap();
    let nets = ["10.0.0.0/8", "2001:db8::/32", "192.168.0.1/32"];
    let nets = nets.map(|net| Trust::Net(net.parse().unwrap()));
    assert_eq!((config.proof, config.trust), (Proof::Always, nets.to_vec()));
    assert_eq!(config.allow, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(config.deny, ["::1/128".parse().unwrap()]);
    assert_eq!(config.challenge_rate.as_u64(), 1_000_000);
    assert_eq!(parse("--trust none").unwrap().trust, [Trust::Nobody]);
}

#[test]
fn the_risk_of_reflection_must_be_accepted_on_a_public_address() {
    let public = "--proof never --bind 127.0.0.1:1 --bind 10.0.0.1:2";
    let error = parse(public).unwrap_err();
    assert!(error.contains("10.0.0.1:2"), "{error}");
    assert!(parse(&format!("{public} --accept-reflection-risk")).is_ok());
    assert!(parse("--proof never --bind 127.0.0.1:1 --bind [::1]:2").is_ok());
}

#[test]
fn the_watchdog_can_be_off() {
    for arguments in ["--watchdog 0", "--watchdog off"] {
        let config = parse(arguments).unwrap();
        assert_eq!((config.watchdog, config.check()), (WATCHDOG_OFF, Ok(())));
    }
}

#[test]
fn an_error_names_the_valid_values() {
    for (arguments, help) in [
        ("--workers 0", "between 1 and 256"),
        ("--workers 257", "between 1 and 256"),
        ("--workers 100000", "between 1 and 256"),
        ("--bind localhost", "such as 127.0.0.1:9999"),
        ("--bind [fe80::1%nowhere0]:1", "no interface nowhere0"),
        ("--bind [fe80::1]:1", "such as [fe80::1%eth0]:1"),
        ("--bind [::%lo]:1", "must be [::]:1: only a link-local"),
        ("--bind 224.0.0.1:1", "must not be a multicast address"),
        ("--bind [ff02::1%1]:1", "must not be a multicast address"),
        (
            "--bind 255.255.255.255:1",
            "must not be a broadcast address",
        ),
        (
            "--bind [::ffff:127.0.0.1]:1",
            "as an IPv4 address, 127.0.0.1:1",
        ),
        ("--timeout 10", "such as 10s"),
        ("--timeout 99ms", "between 100ms and 1day"),
        ("--reap-interval 61s", "between 10ms and 1m"),
        ("--watchdog 999ms", "between 1s and 1day"),
        ("--watchdog on", "such as 10s, or off"),
        ("--backlog 999us", "between 1ms and 10s"),
        ("--backlog 11s", "between 1ms and 10s"),
        ("--spin=-1", "must be a whole number"),
        ("--spin 1000001", "between 0 and 1000000"),
        ("--max-peers 0", "between 1 and 10000000"),
        ("--trust 10.0.0.0/33", "such as 10.0.0.0/8"),
        (
            "--trust none --trust 10.0.0.0/8",
            "--trust none stands alone",
        ),
        ("--allow everyone", "such as 10.0.0.0/8"),
        ("--deny 10.0.0.1:5000", "such as 10.0.0.0/8"),
        ("--challenge-rate 2GB", "between 0 B and 1.0 GiB"),
        ("--bytes-per-peer 1023", "between 1.0 KiB and 4.0 GiB"),
        (
            "--proof never --bind 0.0.0.0:9999",
            "give --accept-reflection-risk",
        ),
        ("--max-rooms 0", "between 1 and 1000000"),
        ("--max-rooms 1000001", "between 1 and 1000000"),
        ("--max-room-members 0", "between 1 and 10000000"),
        ("--max-names 10000001", "between 1 and 10000000"),
        ("--commands maybe", "on, off"),
        ("--receive-buffer 1KiB", "between 4.0 KiB and 1.0 GiB"),
        ("--send-buffer lots", "such as 262144 or 4MiB"),
        ("--service dance", "chat, greet"),
    ] {
        let error = parse(arguments).unwrap_err();
        assert!(error.contains(help), "{arguments}: {error}");
    }
}

#[test]
fn a_zone_is_a_number_or_a_name() {
    for zone in ["1", "lo"] {
        let config = parse(&format!("--bind [fe80::1%{zone}]:9999")).unwrap();
        assert_eq!(config.bind, ["[fe80::1%1]:9999".parse().unwrap()]);
    }
}

#[test]
fn an_address_that_another_one_includes_is_refused() {
    let check = |binds: &str| {
        let config = ServerConfig {
            bind: binds.split(' ').map(|text| text.parse().unwrap()).collect(),
            ..ServerConfig::default()
        };
        config.check().map_err(|error| error.to_string())
    };
    for (binds, wildcard, address) in [
        ("0.0.0.0:9 127.0.0.1:9", "0.0.0.0:9", "127.0.0.1:9"),
        ("[::1]:9 0.0.0.0:9 [::]:9", "[::]:9", "[::1]:9"),
    ] {
        let error =
            format!("--bind {wildcard} includes {address}: give one of them, or another port");
        assert_eq!(check(binds), Err(error));
    }
    for binds in [
        "0.0.0.0:9 [::]:9",
        "0.0.0.0:9 127.0.0.1:8",
        "0.0.0.0:0 127.0.0.1:0",
    ] {
        assert_eq!(check(binds), Ok(()), "{binds}");
    }
}

#[test]
fn contradictions_are_refused() {
    let config = ServerConfig {
        once: true,
        ..ServerConfig::default()
    };
    assert_eq!(config.check(), Err(ConfigError::OnceWithoutGreet));
    for count in [0, 17] {
        let config = ServerConfig {
            bind: vec!["127.0.0.1:0".parse().unwrap(); count],
            ..ServerConfig::default()
        };
        assert_eq!(config.check(), Err(ConfigError::Binds(count)));
    }
    let address = "127.0.0.1:9".parse().unwrap();
    let config = ServerConfig {
        bind: vec![address; 2],
        ..ServerConfig::default()
    };
    assert_eq!(config.check(), Err(ConfigError::SameBind(address)));
}

#[test]
fn fields_set_by_a_program_have_the_bounds_of_the_flags() {
    type Change = fn(&mut ServerConfig);
    let changes: [(Change, &str); 15] = [
        (
            |config| config.bind = vec!["224.0.0.1:9".parse().unwrap()],
            "--bind 224.0.0.1:9 must not be a multicast address",
        ),
        (
            |config| config.workers = 0,
            "--workers must lie between 1 and 256",
        ),
        (
            |config| config.workers = 257,
            "--workers must lie between 1 and 256",
        ),
        (
            |config| config.max_peers = 0,
            "--max-peers must lie between 1 and 10000000",
        ),
        (
            |config| config.max_rooms = 0,
            "--max-rooms must lie between 1 and 1000000",
        ),
        (
            |config| config.max_room_members = 0,
            "--max-room-members must lie between 1 and 10000000",
        ),
        (
            |config| config.max_names = 10_000_001,
            "--max-names must lie between 1 and 10000000",
        ),
        (
            |config| config.spin_us = 1_000_001,
            "--spin must lie between 0 and 1000000",
        ),
        (
            |config| config.timeout = Duration::ZERO,
            "--timeout must lie between 100ms and 1day",
        ),
        (
            |config| config.timeout = Duration::MAX,
            "--timeout must lie between 100ms and 1day",
        ),
        (
            |config| config.reap_interval = Duration::ZERO,
            "--reap-interval must lie between 10ms and 1m",
        ),
        (
            |config| config.watchdog = Duration::from_millis(999),
            "--watchdog must lie between 1s and 1day",
        ),
        (
            |config| config.backlog = Duration::ZERO,
            "--backlog must lie between 1ms and 10s",
        ),
        (
            |config| config.receive_buffer = ByteSize(1),
            "--receive-buffer must lie between 4.0 KiB and 1.0 GiB",
        ),
        (
            |config| config.send_buffer = ByteSize(u64::MAX),
            "--send-buffer must lie between 4.0 KiB and 1.0 GiB",
        ),
    ];
    assert_eq!(ServerConfig::default().check(), Ok(()));
    for (change, wrong) in changes {
        let mut config = ServerConfig::default();
        change(&mut config);
        assert_eq!(config.check().unwrap_err().to_string(), wrong);
    }
}

#[test]
fn every_limit_is_listed_as_it_is_set() {
    let config = parse("--max-peers 7 --texts-per-peer off --rooms-per-network 3").unwrap();
    let limits = config.limits_in_force();
    let command = Program::command();
    let flags = command.get_arguments().filter_map(clap::Arg::get_long);
    let flags = flags.filter(|flag| flag.starts_with("max-") || flag.contains("-per-"));
    assert!(
        flags.eq(limits.iter().map(|limit| limit.flag)),
        "{limits:?}"
    );
    let max = |flag: &str| limits.iter().find(|limit| limit.flag == flag).unwrap().max;
    assert_eq!(max("max-peers"), Some(7));
    assert_eq!(max("texts-per-peer"), None);
    assert_eq!(max("rooms-per-network"), Some(3));
}
