//! Clients with sockets of their own need many files: the limit is raised by itself. A
//! program of its own, as the limit is the process's.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::time::Duration;

use bullhorn::config::ServiceKind;
use common::{V4, config, run_through, server};
use loadgen::config::{RunConfig, Sockets};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_is_needed() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, SOFT, hard).unwrap();
    let server = server(1, ServiceKind::Chat, V4);
    for (sockets, clients) in [(Sockets::Shared, 1000), (Sockets::PerClient, 600)] {
        let config = RunConfig {
            clients,
            sockets,
            duration: Duration::from_millis(500),
            ..config(server.local_addr())
        };
        let outcome = run_through(&config);
        let counts = outcome.counts;
        assert_eq!((counts.delivered, counts.lost), (counts.texts * 5, 0));
        let generator = outcome.generator;
        println!("{generator:?}");
        let (soft, now_hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(now_hard, hard);
        if sockets == Sockets::Shared {
            // Few files do, and the limit stays.
            assert_eq!(soft, SOFT);
        } else {
            assert_eq!(generator.sockets, clients);
            assert!(soft >= u64::from(generator.files) && generator.files > clients);
        }
    }
    server.stop().unwrap();
}

/// More than one thread with shared sockets may need, and fewer than the clients.
const SOFT: u64 = 256;
