//! The alert rules and the board, by the programs that use them.

#![cfg(all(feature = "admin", feature = "cluster"))]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::admin::metrics;
use common::{Nats, Prometheus, TestServer, V4, config, promtool, wait_for, wait_until};
use serde_json::Value;

#[test]
fn promtool_accepts_the_rules_and_each_fires_in_its_trouble_only() {
    let folder = Path::new(RULES).parent().unwrap();
    promtool(folder, &["check", "rules", "alerts.yml"], "");
    promtool(folder, &["test", "rules", "alerts_test.yml"], "");
}

#[test]
fn each_rule_has_a_test_a_summary_and_an_action() {
    let rules = fs::read_to_string(RULES).unwrap();
    let tests = fs::read_to_string(RULES.replace(".yml", "_test.yml")).unwrap();
    let rules: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(!rules.is_empty());
    for rule in rules {
        let name = rule.lines().next().unwrap();
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name}");
        for part in ["expr: ", "severity: ", "summary: ", "action: "] {
            assert_eq!(rule.matches(part).count(), 1, "{name}: {part}");
        }
    }
}

#[test]
fn the_board_and_the_rules_use_metrics_of_the_server() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let admin = cluster.server.admin_addr().unwrap();
    let page = wait_for("a round trip to the other node", || {
        let page = metrics(admin);
        let mut samples = page.0.keys();
        let is_there = samples.any(|it| it.starts_with("bullhorn_cluster_round_trip_seconds"));
        is_there.then_some(page)
    });
    let samples = page
        .0
        .keys()
        .map(|sample| sample.split('{').next().unwrap());
    let samples: BTreeSet<&str> = samples.collect();
    let queries: Vec<String> = queries().into_iter().map(|(_, query)| query).collect();
    for text in [queries.join("\n"), fs::read_to_string(RULES).unwrap()] {
        let is_word = |char: char| char == '_' || char.is_ascii_alphanumeric();
        let words = text.split(|char| !is_word(char));
        let is_metric = |word: &&str| word.starts_with("bullhorn_") || word.starts_with("process_");
        let used: BTreeSet<&str> = words.filter(is_metric).collect();
        assert!(used.len() > 10, "{used:?}");
        let unknown: Vec<_> = used.difference(&samples).collect();
        assert_eq!(unknown, Vec::<&&str>::new());
    }
}

#[test]
fn prometheus_reads_the_server_and_answers_every_query_of_the_board() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let server = &cluster.server;
    let admin = server.admin_addr().unwrap();
    let Some(prometheus) = Prometheus::start("prometheus_board", admin, Path::new(RULES)) else {
        return;
    };
    let [ann, bob] = server.clients();
    let stranger = server.unregistered_client();
    let far = cluster.other.unregistered_client();
    for (title, query) in queries() {
        let values = wait_for(&format!("an answer to {title}: {query}"), || {
            // Texts that wait together leave in packets of several.
            for _ in 0..20 {
                ann.send(b"text");
                bob.send(b"text");
            }
            stranger.send(b"\xff");
            // A text for a member on the other node.
            far.send(b"@im@");
            let values = prometheus.query(&query);
            let has_gso = server.stats().total().gso_packets > 0;
            let is_number = values.iter().all(|value| value.is_finite())
                // A division by 0 where the kernel has none.
                || (title == "Datagrams per GSO packet" && !has_gso);
            (is_number && !values.is_empty()).then_some(values)
        });
        let most = values.iter().copied().fold(0.0, f64::max);
        match title.as_str() {
            "Deliveries per second"
            | "Deliveries"
            | "Datagrams received"
            | "Plan time"
            | "Memory"
            | "Up for" => assert!(most > 0.0, "{title}: {values:?}"),
            "Datagrams dropped" if query.contains("reason") => assert!(most > 0.0, "{values:?}"),
            "Cluster: other nodes" => assert_eq!(most, 1.0),
            "Cluster: texts per message" => assert!(most >= 1.0, "{values:?}"),
            "Rooms" => assert_eq!(values, [1.0]),
            "Busy share of workers" => {
                assert_eq!(values.len(), usize::from(WORKERS), "{values:?}");
                assert!(most > 0.0, "{values:?}");
            }
            _ => {}
        }
    }
    // After the traffic, to the last datagram.
    wait_until("the same counts", || {
        let total = server.stats().total();
        let count = |metric| prometheus.query(&format!("sum({metric})"));
        count("bullhorn_datagrams_received_total") == [total.datagrams_in as f64]
            && count("bullhorn_deliveries_total") == [total.deliveries_planned as f64]
            && count("bullhorn_peers") == [2.0]
    });
    // Only OpenMetrics has units.
    let metadata = prometheus.ask("/api/v1/metadata?metric=bullhorn_plan_duration_seconds");
    let metadata = &metadata["bullhorn_plan_duration_seconds"][0];
    assert_eq!(
        (&metadata["type"], &metadata["unit"]),
        (&"histogram".into(), &"seconds".into())
    );
    wait_until("all rules to be evaluated", || {
        let rules = prometheus.ask("/api/v1/rules");
        let rules = rules["groups"][0]["rules"].as_array().cloned().unwrap();
        !rules.is_empty() && rules.iter().all(|rule| rule["health"] == "ok")
    });
}

/// Returns the queries of the board with the titles of their panels, for a job of one server that is
/// read each second.
fn queries() -> Vec<(String, String)> {
    let board = fs::read_to_string("contrib/grafana/bullhorn.json").unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let query = query.replace("$__rate_interval", "5s");
            let query = query.replace("$job", "bullhorn").replace("$instance", ".*");
            assert!(!query.contains('$'), "{query}");
            queries.push((title.to_owned(), query));
        }
    }
    assert!(queries.len() > 20, "{queries:?}");
    queries
}

/// Two servers, as some rules and panels are about clusters.
struct Cluster {
    server: TestServer,
    other: TestServer,
    _bus: Nats,
}

impl Cluster {
    /// Returns `None` if this machine has no nats-server.
    fn start() -> Option<Self> {
        let bus = Nats::start(&[])?;
        let start = |id: &str| {
            let mut config = config(WORKERS, &[V4]);
            config.admin.address = Some(V4.parse().unwrap());
            config.cluster.servers = vec![bus.url().parse().unwrap()];
            config.cluster.name = Some("test".parse().unwrap());
            config.cluster.node_id = Some(id.parse().unwrap());
            TestServer::start(config)
        };
        Some(Self {
            server: start("one"),
            other: start("two"),
            _bus: bus,
        })
    }
}

const RULES: &str = "contrib/prometheus/alerts.yml";

const WORKERS: u16 = 2;
