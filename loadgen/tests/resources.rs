//! Many clients cost few files and little memory, and the server knows each of them.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::time::Duration;

use bullhorn::{Server, ServerConfig};
use common::{V4, config, mix, wait_until};
use loadgen::config::{Protocol, Rate, RunConfig, Scenario};
use loadgen::{Control, run};

/// One test, as the files of all of the process are counted.
#[test]
fn clients_by_the_ten_thousand_cost_little() {
    for (clients, scenario, protocol) in [
        (10_000, Scenario::Mixed, Protocol::V1),
        (10_000, Scenario::Ping, Protocol::V2),
        (100_000, Scenario::Mixed, Protocol::V2),
    ] {
        let server = Server::start(ServerConfig {
            workers: 2,
            bind: vec![V4.parse().unwrap()],
            no_pin: true,
            // On a busy machine it takes long until the last ones have come.
            timeout: Duration::from_secs(120),
            ..ServerConfig::default()
        })
        .unwrap();
        let config = RunConfig {
            clients,
            scenario,
            protocol,
            mix: match scenario {
                Scenario::Mixed => mix(1.0, 1.0, 0.0),
                _ => mix(1.0, 0.0, 0.0),
            },
            room_size: 10,
            rate: Rate::constant(500.0),
            warmup: Duration::from_millis(50),
            duration: Duration::from_millis(1100),
            heartbeat: Duration::from_secs(60),
            ..config(server.local_addr())
        };
        let mut peers = None;
        // The last sample is shown when the clients have left.
        let outcome = run(&config, &Control::new(), |_| {
            peers.get_or_insert_with(|| server.stats().peers);
        })
        .unwrap();
        println!("{:?} {:?}", outcome.registered_in, outcome.generator);
        assert_eq!(peers, Some(clients as usize));
        let counts = outcome.counts;
        assert_eq!((counts.lost, counts.unanswered, counts.stray), (0, 0, 0));
        assert_eq!((counts.due, counts.sent), (550, 550));
        let generator = outcome.generator;
        assert!(generator.files <= 160, "{} files", generator.files);
        assert!(generator.sockets < generator.files);
        let bytes = generator.client_bytes;
        // There is no less to know than a session, some numbers, and two windows.
        assert!((80..=256).contains(&bytes), "{bytes} bytes a client");
        // They say that they leave; where buffers are small, a few say it in vain.
        let may_stay = if clients > 10_000 { clients / 10 } else { 0 };
        let is_over = || server.stats().peers <= may_stay as usize;
        wait_until("the end of all peers", is_over);
        assert_eq!(server.stats().expired, 0);
        server.stop().unwrap();
    }
}
