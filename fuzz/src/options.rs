//! Arguments, files of bans and addresses, which operators and users write.

use bullhorn::client::ServerAddress;
use bullhorn::config::{PerSecond, ServerConfig, Trust};
use bullhorn::moderation::Ban;
use clap::Parser;
use humantime::format_duration;

/// As the program `server` has them.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    server: ServerConfig,
}

/// Parses the bytes as arguments, one per line, as a file of bans, and as the address of a server.
/// Writes what it parsed, and parses that.
pub fn options(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(config) = parse(text.split('\n')) {
        // It says what it refuses.
        let verdict = config.check().map_err(|error| error.to_string());
        assert!(verdict.as_ref().is_err_and(|error| error.starts_with("--")) || verdict.is_ok());
        let again = parse(arguments_of(&config)).expect("what was written");
        assert_eq!(format!("{again:?}"), format!("{config:?}"));
        assert_eq!(again.check().map_err(|error| error.to_string()), verdict);
        for limit in config.limits_in_force() {
            assert!(!limit.is_rate || limit.max != Some(0), "{}", limit.flag);
        }
    }
    for ban in data.split(|byte| *byte == b'\n').filter_map(Ban::parse) {
        assert_eq!(ban.net(), ban.net().trunc());
        // A part of a second is not written.
        let written = ban.to_string();
        let again = Ban::parse(written.as_bytes()).expect("what was written");
        assert_eq!(again.to_string(), written);
        assert_eq!(again.net(), ban.net());
    }
    if let Ok(address) = text.parse::<ServerAddress>() {
        let written = address.to_string();
        assert_eq!(written.parse(), Ok(address), "{written}");
    }
}

fn parse(arguments: impl IntoIterator<Item = impl Into<String>>) -> Option<ServerConfig> {
    let arguments = arguments.into_iter().map(Into::into);
    let arguments = ["server".to_owned()].into_iter().chain(arguments);
    Some(Arguments::try_parse_from(arguments).ok()?.server)
}

fn arguments_of(config: &ServerConfig) -> Vec<String> {
    let limits = &config.limits;
    let mut arguments = vec![
        format!("--workers={}", config.workers),
        format!("--service={:?}", config.service).to_lowercase(),
        format!("--timeout={}", format_duration(config.timeout)),
        format!("--reap-interval={}", format_duration(config.reap_interval)),
        format!("--watchdog={}", format_duration(config.watchdog)),
        format!("--backlog={}", format_duration(config.backlog)),
        format!("--max-peers={}", config.max_peers),
        format!("--commands={:?}", config.commands).to_lowercase(),
        format!("--max-rooms={}", config.max_rooms),
        format!("--max-room-members={}", config.max_room_members),
        format!("--max-names={}", config.max_names),
        format!("--proof={:?}", config.proof).to_lowercase(),
        format!("--challenge-rate={}", config.challenge_rate.as_u64()),
        format!("--spin={}", config.spin_us),
        format!("--receive-buffer={}", config.receive_buffer.as_u64()),
        format!("--send-buffer={}", config.send_buffer.as_u64()),
        format!("--texts-per-peer={}", per_second(limits.texts_per_peer)),
        format!("--bytes-per-peer={}", per_second(limits.bytes_per_peer)),
        format!("--work-per-peer={}", per_second(limits.work_per_peer)),
        format!(
            "--challenges-per-network={}",
            per_second(limits.challenges_per_network)
        ),
        format!(
            "--registrations-per-network={}",
            per_second(limits.registrations_per_network)
        ),
        format!(
            "--names-per-network={}",
            per_second(limits.names_per_network)
        ),
        format!(
            "--rooms-per-network={}",
            per_second(limits.rooms_per_network)
        ),
    ];
    arguments.extend(config.bind.iter().map(|bind| format!("--bind={bind}")));
    arguments.extend(config.allow.iter().map(|net| format!("--allow={net}")));
    arguments.extend(config.deny.iter().map(|net| format!("--deny={net}")));
    arguments.extend(config.trust.iter().map(|trust| match trust {
        Trust::Nobody => "--trust=none".to_owned(),
        Trust::Net(net) => format!("--trust={net}"),
    }));
    if let Some(folder) = &config.state_dir {
        arguments.push(format!("--state-dir={}", folder.display()));
    }
    let switches = [
        ("--once", config.once),
        ("--accept-reflection-risk", config.accept_reflection_risk),
        ("--no-pin", config.no_pin),
    ];
    let on = switches.into_iter().filter(|(_, is_on)| *is_on);
    arguments.extend(on.map(|(flag, _)| flag.to_owned()));
    arguments
}

fn per_second(PerSecond(max): PerSecond) -> String {
    max.map_or("off".to_owned(), |max| max.to_string())
}
