//! The cluster as the admin server shows it: nodes, texts between them, and the state of the bus.

#![cfg(all(feature = "admin", feature = "cluster"))]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bullhorn::ServerConfig;
use common::admin::{get, metrics};
use common::{Nats, ServerProgram, TestServer, V4, config, promtool, wait_for, wait_until};
use serde_json::{Value, json};

#[test]
fn a_node_without_its_bus_is_ready_unless_it_requires_the_bus() {
    for is_required in [false, true] {
        let server = TestServer::start(node_config(is_required));
        let admin = server.admin_addr().unwrap();
        let ready = get(admin, "/readyz");
        let expected = match is_required {
            false => (200, "ok\n"),
            true => (
                503,
                "cluster: this node does not take part, and the log says why\n",
            ),
        };
        assert_eq!((ready.status, ready.body.as_str()), expected);
        assert_eq!(get(admin, "/healthz").status, 200);
        let page = metrics(admin);
        assert_eq!(page.value("bullhorn_cluster_connected"), 0.0);
        assert_eq!(page.value("bullhorn_cluster_nodes"), 0.0);
        let stats = get(admin, "/api/v1/stats").success();
        let cluster = &stats["cluster"];
        assert_eq!(
            (&cluster["name"], &cluster["node"]),
            (&"t".into(), &"n1".into())
        );
        assert_eq!(cluster["is_connected"], false);
        assert_eq!(cluster["nodes"], json!([]));
        // The peers of the server are served as before.
        let client = server.client();
        client.send(b"text");
        client.expect_text_from(&client, "text");
        server.stop();
    }
}

#[test]
fn a_server_that_drains_says_so_first() {
    let server = TestServer::start(node_config(true));
    let admin = server.admin_addr().unwrap();
    // A peer, for which the server goes on.
    let client = server.client();
    client.send(b"text");
    client.expect_text_from(&client, "text");
    let handle = server.handle();
    let hour = Duration::from_secs(3600);
    handle.moderation().unwrap().drain(hour).unwrap();
    let ready = get(admin, "/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (503, "draining\n"));
    server.stop();
}

#[test]
fn a_server_without_a_cluster_shows_none() {
    let server = TestServer::start(admin_config());
    let admin = server.admin_addr().unwrap();
    let stats = get(admin, "/api/v1/stats").success();
    assert_eq!(stats["cluster"], Value::Null);
    assert_eq!(stats["rates"]["cluster"], Value::Null);
    let page = get(admin, "/metrics").body;
    assert!(!page.contains("cluster"), "{page}");
    assert!(server.stats().cluster.is_none());
    server.stop();
}

#[test]
fn a_node_shows_the_others_and_the_texts_between_them() {
    let Some(mut nats) = Nats::start(&[]) else {
        return;
    };
    let required = [
        "--admin",
        V4,
        "--cluster-required",
        "--advertise",
        "192.0.2.7:9999",
    ];
    let one = ServerProgram::start_command(nats.node_command("one", &required));
    let two = ServerProgram::start_command(nats.node_command("two", &["--admin", V4]));
    let admins = [admin_of(&one), admin_of(&two)];
    let [ann, bob] = [&one, &two].map(ServerProgram::registered_client);
    let other_of = |admin, id: &str| {
        wait_for(&format!("node {id}, and a round trip to it"), || {
            let stats = get(admin, "/api/v1/stats").success();
            let nodes = stats["cluster"]["nodes"].as_array().unwrap();
            let node = nodes.first()?.clone();
            let is_known = node["name"] == id && node["is_current"] == true;
            let is_measured = node["round_trip_us"].as_u64() > Some(0);
            (is_known && is_measured && node["peers"] == 1).then_some(node)
        })
    };
    let node = other_of(admins[1], "one");
    assert_eq!(node["advertise"], "192.0.2.7:9999");
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(other_of(admins[0], "two")["advertise"], Value::Null);
    assert_eq!(get(admins[0], "/readyz").status, 200);

    for text in 0..TEXTS {
        ann.send(format!("text {text}").as_bytes());
        bob.expect_text_from(&ann, &format!("text {text}"));
    }
    promtool(
        Path::new("."),
        &["check", "metrics"],
        &get(admins[0], "/metrics").body,
    );
    let pages = admins.map(metrics);
    let value = |node: usize, name: &str| pages[node].value(&format!("bullhorn_cluster_{name}"));
    let texts = f64::from(TEXTS);
    assert_eq!(value(0, "texts_published_total"), texts);
    assert_eq!(value(1, "texts_received_total"), texts);
    assert_eq!(value(1, "texts_queued_total"), texts);
    for (sent, received) in [
        ("batches_published_total", "batches_received_total"),
        ("published_bytes_total", "received_bytes_total"),
    ] {
        assert!(value(0, sent) >= 1.0);
        assert_eq!(value(0, sent), value(1, received), "{sent}");
    }
    assert!(value(0, "round_trip_seconds{node=\"two\"}") > 0.0);
    for (node, page) in pages.iter().enumerate() {
        assert_eq!(value(node, "nodes"), 1.0);
        assert_eq!(value(node, "connected"), 1.0);
        assert_eq!(page.sum("bullhorn_cluster_texts_dropped_total"), 0.0);
        assert_eq!(value(node, "texts_missing_total"), 0.0);
        assert_eq!(value(node, "texts_stale_total"), 0.0);
    }

    nats.kill();
    let away = "bullhorn_cluster_texts_dropped_total{reason=\"bus away\"}";
    // Until the other node is taken for dead, its members would have received them.
    wait_until("texts that find no bus", || {
        ann.send(b"lost");
        metrics(admins[0]).value(away) > 0.0
    });
    let ready = admins.map(|admin| get(admin, "/readyz").status);
    assert_eq!(ready, [503, 200]);
    nats.resume();
    wait_until("the bus is there again", || {
        get(admins[0], "/readyz").status == 200
    });
    let disconnects = metrics(admins[0]).value("bullhorn_cluster_disconnects_total");
    assert_eq!(disconnects, 1.0);
    drop(two);
    wait_until("the other node is gone", || {
        metrics(admins[0]).value("bullhorn_cluster_nodes") == 0.0
    });
}

#[test]
fn the_console_and_the_last_line_of_the_log_have_the_cluster() {
    let mut server = ServerProgram::start(&[
        "--no-pin",
        "--workers",
        "1",
        "--cluster",
        NOBODY,
        "--cluster-name",
        "t",
        "--node-id",
        "n1",
    ]);
    let printed = server.printed();
    let log = server.log();
    server.type_line("stats");
    printed.find("cluster t, node n1: not connected, texts out 0, in 0");
    server.type_line("quit");
    log.find("cluster t: 0 texts published, 0 received, 0 dropped, 0 missing");
    server.expect_success();
}

/// Returns the address of the admin server that the program logs.
#[track_caller]
fn admin_of(server: &ServerProgram) -> SocketAddr {
    let mut lines = server.startup_lines.iter();
    let address = lines.find_map(|line| line.split_once("admin server at http://"));
    let (_, address) = address.expect("it is on");
    address.trim_end().trim_end_matches('/').parse().unwrap()
}

fn admin_config() -> ServerConfig {
    let mut config = config(1, &[V4]);
    config.no_pin = true;
    config.admin.address = Some(V4.parse().unwrap());
    config
}

/// Returns the configuration of a node whose bus is away.
fn node_config(is_bus_required: bool) -> ServerConfig {
    let mut config = admin_config();
    config.cluster.servers = vec![NOBODY.parse().unwrap()];
    config.cluster.name = Some("t".parse().unwrap());
    config.cluster.node_id = Some("n1".parse().unwrap());
    config.cluster.required = is_bus_required;
    config
}

/// Nobody listens at this port.
const NOBODY: &str = "nats://127.0.0.1:1";

const TEXTS: u32 = 20;
