//! What the unit tests have in common.

use std::time::Duration;

use crate::config::{Arrival, Mix, Payload, Protocol, Rate, RunConfig, Scenario, Sockets};

/// One client that pings ten times a second, for a second.
pub(crate) fn config() -> RunConfig {
    RunConfig {
        target: "127.0.0.1:9999".parse().unwrap(),
        clients: 1,
        rate: Rate::Constant(10.0),
        arrival: Arrival::Uniform,
        scenario: Scenario::Ping,
        mix: Mix {
            ping: 9.0,
            text: 1.0,
            heartbeat: 0.0,
        },
        room_size: 10,
        payload: Payload::fixed(48),
        protocol: Protocol::V1,
        churn_per_s: 0.0,
        warmup: Duration::from_secs(1),
        duration: Duration::from_secs(1),
        seed: 7,
        heartbeat: Duration::from_secs(4),
        sockets: Sockets::Shared,
        threads: 1,
        cores: Vec::new(),
        spin: false,
    }
}
