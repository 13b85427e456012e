//! A run that cannot be is an error that says why, however many threads it has.

mod common;

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use bullhorn::config::{ServiceKind, Switch};
use bullhorn::{Server, ServerConfig};
use common::{V4, adds_up, at_once, config, mix, server, wait_until};
use loadgen::config::{Protocol, RunConfig, Scenario, Sockets};
use loadgen::engine::files::FilesError;
use loadgen::limits::find_max::{Ceiling, FindMax};
use loadgen::limits::search::Search;
use loadgen::{Control, RunError, run};

const BOTH: [Protocol; 2] = [Protocol::V1, Protocol::V2];

/// Why there is no outcome.
#[track_caller]
fn error_of(config: &RunConfig) -> RunError {
    match run(config, &Control::new(), |_| {}) {
        Ok(outcome) => panic!("{outcome:?}"),
        Err(error) => error,
    }
}

#[test]
fn nobody_listens() {
    let server = server(1, ServiceKind::Chat, V4);
    let address = server.local_addr();
    server.stop().unwrap();
    let cases = [
        (Protocol::V1, Sockets::Shared),
        // To a socket that is connected, the kernel says that nobody is there.
        (Protocol::V2, Sockets::PerClient),
    ];
    at_once(cases, |(protocol, sockets)| {
        let config = RunConfig {
            protocol,
            sockets,
            threads: 3,
            ..config(address)
        };
        let text = error_of(&config).to_string();
        assert!(
            text.starts_with(&format!("nothing listens on {address}")),
            "{text}"
        );
    });
}

#[test]
fn nobody_answers_where_something_listens() {
    let mute = UdpSocket::bind(V4).unwrap();
    let address = mute.local_addr().unwrap();
    let config = RunConfig {
        threads: 3,
        ..config(address)
    };
    let error = error_of(&config);
    let RunError::NoAnswer { target, client } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*target, address);
    assert!(client.starts_with("client ") && client.ends_with(" of 20"));
    let text = error.to_string();
    assert!(text.contains("is the server running there?"), "{text}");
}

/// As with a firewall, but without the rights that it takes to have one.
#[test]
fn what_the_own_kernel_refuses_is_not_the_servers() {
    let error = error_of(&config("255.255.255.255:9".parse().unwrap()));
    let text = error.to_string();
    let expected = "this machine does not send to 255.255.255.255:9: Permission denied";
    assert!(text.starts_with(expected), "{text}");
    let firewall = RunError::CannotSend {
        target: "10.0.0.1:9".parse().unwrap(),
        source: std::io::Error::from_raw_os_error(libc::EPERM),
    };
    assert!(
        firewall.to_string().contains("its own firewall"),
        "{firewall}"
    );
}

#[test]
fn a_server_that_greets_is_no_chat() {
    let server = server(1, ServiceKind::Greet, V4);
    for protocol in BOTH {
        for scenario in [Scenario::Mixed, Scenario::Ping] {
            let config = RunConfig {
                protocol,
                scenario,
                threads: 2,
                ..config(server.local_addr())
            };
            let error = error_of(&config);
            assert!(matches!(error, RunError::Greets), "{error:?}");
        }
    }
    server.stop().unwrap();
}

/// Without commands there are no rooms: what would lead there is said to all.
#[test]
fn a_server_without_commands_has_no_rooms() {
    at_once(BOTH, |protocol| {
        let server = Server::start(ServerConfig {
            commands: Switch::Off,
            bind: vec![V4.parse().unwrap()],
            no_pin: true,
            ..ServerConfig::default()
        })
        .unwrap();
        let config = RunConfig {
            protocol,
            ..config(server.local_addr())
        };
        let error = error_of(&config);
        let is_named = match protocol {
            Protocol::V1 => matches!(error, RunError::NoCommands),
            Protocol::V2 => matches!(error, RunError::NoAnswer { .. }),
        };
        let text = error.to_string();
        assert!(is_named && text.contains("commands"), "{error:?}");
        // One client asks, eleven times at most, and is alone to receive it.
        let deliveries = server.stats().total().deliveries;
        assert!(deliveries <= 11, "{deliveries} deliveries");
        server.stop().unwrap();
    });
}

/// A chat tells everyone what it is asked to greet for: one client finds that out.
#[test]
fn a_chat_does_not_greet() {
    let server = server(1, ServiceKind::Chat, V4);
    let config = RunConfig {
        scenario: Scenario::Greet,
        mix: mix(1.0, 0.0, 0.0),
        ..config(server.local_addr())
    };
    let error = error_of(&config);
    assert!(matches!(error, RunError::Chats), "{error:?}");
    assert_eq!(server.stats().total().deliveries, 1);
    server.stop().unwrap();
}

#[test]
fn a_server_that_is_full_refuses() {
    for protocol in BOTH {
        let server = Server::start(ServerConfig {
            max_room_members: 4,
            bind: vec![V4.parse().unwrap()],
            no_pin: true,
            ..ServerConfig::default()
        })
        .unwrap();
        let config = RunConfig {
            protocol,
            threads: 4,
            ..config(server.local_addr())
        };
        let error = error_of(&config);
        assert!(matches!(error, RunError::Refused(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("is full (4)"), "{text}");
        server.stop().unwrap();
    }
}

/// In version 2 it says so.
#[test]
fn a_server_that_stops_before_the_recording_leaves_no_outcome() {
    let (server, config) = offered_for_a_minute();
    let config = RunConfig {
        warmup: Duration::from_secs(60),
        ..config
    };
    let result = while_it_stops(server, || run(&config, &Control::new(), |_| {}));
    assert!(matches!(result, Err(RunError::Goodbye)), "{result:?}");
}

#[test]
fn a_server_that_stops_while_it_is_recorded_leaves_what_was_recorded() {
    let (server, config) = offered_for_a_minute();
    let control = Control::new();
    let outcome = while_it_stops(server, || run(&config, &control, |_| {})).unwrap();
    assert!(outcome.server_said_goodbye);
    assert_eq!(outcome.signal, None);
    adds_up(&outcome);
    assert!(outcome.recorded < config.duration);
    let counts = outcome.counts;
    assert!(counts.delivered > 0, "{counts:?}");
    assert_eq!(counts.due, counts.sent, "nothing more was due");
    assert_eq!(counts.stray, 0);
}

/// A search that no loss ends.
fn search_by(config: RunConfig) -> FindMax {
    FindMax {
        config,
        slo: "loss<=100%".parse().expect("an objective"),
        search: Search {
            from: 1000.0,
            lowest: None,
            highest: None,
            precision: 1.05,
        },
        ceiling: Ceiling::Any,
    }
}

#[test]
fn a_search_ends_when_the_server_does() {
    let (server, config) = offered_for_a_minute();
    let find_max = search_by(config);
    let mut tries = 0;
    let result = while_it_stops(server, || find_max.find(&Control::new(), |_| tries += 1));
    assert!(matches!(result, Err(RunError::Goodbye)), "{result:?}");
    assert_eq!(tries, 0);
}

/// In version 1 nothing says so, but that nothing comes any more.
#[test]
fn a_search_ends_when_a_server_falls_silent() {
    let (server, config) = offered_for_a_minute();
    let find_max = search_by(RunConfig {
        protocol: Protocol::V1,
        duration: Duration::from_secs(3),
        ..config
    });
    let result = while_it_stops(server, || find_max.find(&Control::new(), |_| {}));
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with("The server was silent from "), "{text}");
}

/// What is offered in version 2 is recorded at once.
fn offered_for_a_minute() -> (Server, RunConfig) {
    let server = server(2, ServiceKind::Chat, V4);
    let config = RunConfig {
        protocol: Protocol::V2,
        threads: 3,
        warmup: Duration::ZERO,
        duration: Duration::from_secs(60),
        ..config(server.local_addr())
    };
    (server, config)
}

/// Does something, and stops the server as soon as it has told anybody what another said.
fn while_it_stops<T>(server: Server, what: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("a delivery", || server.stats().total().deliveries > 0);
            server.stop().expect("it ends in order");
        });
        what()
    })
}

#[test]
fn who_is_stopped_before_all_have_come_has_nothing_to_tell() {
    let server = server(1, ServiceKind::Chat, V4);
    let config = RunConfig {
        threads: 3,
        clients: 3000,
        ..config(server.local_addr())
    };
    let control = Control::new();
    control.stop(2);
    let result = run(&config, &control, |_| {});
    assert!(matches!(result, Err(RunError::Stopped(2))), "{result:?}");
    server.stop().unwrap();
}

#[test]
fn more_clients_than_the_system_has_files_cannot_have_sockets_of_their_own() {
    let text = std::fs::read_to_string("/proc/sys/fs/nr_open").unwrap();
    let most: u32 = text.trim().parse().unwrap();
    let config = RunConfig {
        clients: most + 1,
        sockets: Sockets::PerClient,
        ..config("127.0.0.1:9".parse().unwrap())
    };
    let error = error_of(&config);
    let RunError::Files(FilesError::Limit { needed, allowed }) = &error else {
        panic!("{error:?}");
    };
    assert!(*needed > u64::from(most) && allowed < needed);
    let text = error.to_string();
    assert!(text.contains("ulimit -Hn") && text.contains("--sockets shared"));
}
