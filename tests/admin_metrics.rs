//! The metrics and the health of a running server, as Prometheus and supervisors read them.

#![cfg(feature = "admin")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::collections::BTreeSet;
#[cfg(feature = "cluster")]
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use bullhorn::ServerConfig;
use bullhorn::config::ServiceKind;
use bullhorn::net::count_refused_calls;
use bullhorn::stats::{DropReason, Stats};
use bullhorn::wire::v2::ClientFrame;
use common::admin::{Metrics, Response, get, get_as, metrics};
use common::v2_peer::V2Peer;
use common::{ServerProgram, StoppedThread, TestServer, V4, config, promtool, request, wait_until};

#[test]
fn promtool_accepts_the_page() {
    let server = start(admin_config(2));
    let page = get(admin(&server), "/metrics");
    let content_type = page.header("content-type");
    let expected = Some("text/plain; version=0.0.4; charset=utf-8");
    assert_eq!((page.status, content_type), (200, expected));
    promtool(Path::new("."), &["check", "metrics"], &page.body);
}

#[test]
fn a_client_that_accepts_openmetrics_gets_the_same_metrics_in_it() {
    let server = start(admin_config(2));
    let text = get(admin(&server), "/metrics");
    let open = get_as(admin(&server), "/metrics", "application/openmetrics-text");
    let content_type = open.header("content-type");
    let expected = Some("application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!((open.status, content_type), (200, expected));
    assert!(open.body.ends_with("\n# EOF\n"), "{}", open.body);
    assert!(open.body.contains("# TYPE bullhorn_messages counter\n"));
    assert!(open.body.contains("# TYPE bullhorn_build info\n"));
    assert!(
        open.body
            .contains("# UNIT bullhorn_plan_duration_seconds seconds\n")
    );
    // They write small bounds of buckets in different ways.
    let normal = |sample: &str| match sample.split_once("le=\"") {
        Some((name, bound)) => {
            let bound = bound.trim_end_matches("\"}").parse::<f64>();
            format!("{name}{}", bound.unwrap())
        }
        None => sample.to_owned(),
    };
    let samples = |page: &Response| -> BTreeSet<String> {
        let lines = page.body.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| normal(line.rsplit_once(' ').unwrap().0));
        samples.collect()
    };
    assert_eq!(samples(&open), samples(&text));
}

#[test]
fn the_numbers_are_those_of_the_server_to_the_last_datagram() {
    let server = start(admin_config(1));
    let [ann, bob, eve] = server.clients();
    request(&bob, "/ping 1", "* pong 1");
    let mut deliveries = 0;
    // One at a time, so each of them is a plan.
    for text in 0..TEXTS {
        ann.send(format!("text {text}").as_bytes());
        deliveries += 3;
        server.wait_for_deliveries(deliveries);
    }
    let session = V2Peer::open(server.unregistered_client());
    session.send(&[ClientFrame::Say(b"a")]);
    server.wait_for_deliveries(deliveries + 4);
    let stranger = server.unregistered_client();
    for _ in 0..5 {
        stranger.send(b"\xff");
    }
    stranger.send(b"quit");
    eve.send(b"");
    // Three heartbeats, the texts, a command, a session and its text, and the rest.
    let received = 3 + TEXTS + 1 + 3 + 5 + 2;
    wait_until("all datagrams", || {
        server.stats().total().datagrams_in == received
    });
    wait_until("the leave", || server.stats().peers == 3);
    wait_until("the last plan", || {
        server.stats().plan_times().count() == TEXTS + 1
    });

    let refused_before = count_refused_calls();
    let (page, stats) = (metrics(admin(&server)), server.stats());
    // Of the whole process, so another server may have added one.
    let refused = refused_before as f64..=count_refused_calls() as f64;
    assert!(refused.contains(&page.value("bullhorn_sandbox_refusals_total")));
    for (sample, expected) in [
        ("bullhorn_datagrams_received_total{worker=\"0\"}", received),
        ("bullhorn_datagrams_handled_total{kind=\"text\"}", TEXTS),
        ("bullhorn_datagrams_handled_total{kind=\"heartbeat\"}", 3),
        ("bullhorn_datagrams_handled_total{kind=\"leave\"}", 2),
        ("bullhorn_datagrams_handled_total{kind=\"command\"}", 1),
        ("bullhorn_datagrams_handled_total{kind=\"frames\"}", 3),
        ("bullhorn_datagrams_dropped_total{reason=\"malformed\"}", 5),
        ("bullhorn_messages_total", TEXTS + 1),
        ("bullhorn_deliveries_planned_total", TEXTS * 3 + 4),
        ("bullhorn_deliveries_total{outcome=\"sent\"}", TEXTS * 3 + 4),
        ("bullhorn_replies_total", 3),
        ("bullhorn_peers_registered_total", 4),
        ("bullhorn_plan_duration_seconds_count", TEXTS + 1),
        (
            "bullhorn_plan_duration_seconds_bucket{le=\"+Inf\"}",
            TEXTS + 1,
        ),
        ("bullhorn_rooms", 1),
        ("bullhorn_limit{flag=\"max-peers\"}", 1_000_000),
        (
            concat!(
                "bullhorn_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"}"
            ),
            1,
        ),
    ] {
        assert_eq!(page.value(sample), expected as f64, "{sample}");
    }
    expect_totals(&page, &stats);
    // They are counted once per second.
    wait_until("the peers", || {
        let page = metrics(admin(&server));
        let peers = |labels| page.value(&format!("bullhorn_peers{{{labels}}}"));
        page.sum("bullhorn_peers") == 3.0
            && peers("version=\"1\",trust=\"trusted\"") == 2.0
            && peers("version=\"2\",trust=\"trusted\"") == 1.0
    });
    server.stop();
}

#[test]
fn buckets_are_cumulative_and_the_sum_is_in_seconds() {
    let server = start(admin_config(2));
    let ann = server.client();
    for text in 0..TEXTS {
        ann.send(b"a");
        server.wait_for_deliveries(text + 1);
    }
    wait_until("the last plan", || {
        server.stats().plan_times().count() == TEXTS
    });
    let (page, stats) = (metrics(admin(&server)), server.stats());
    let name = "bullhorn_plan_duration_seconds";
    let bucket = |sample: &str| {
        let bound = sample.strip_prefix(&format!("{name}_bucket{{le=\""))?;
        bound.strip_suffix("\"}")?.parse::<f64>().ok()
    };
    let buckets = page.0.iter();
    let buckets = buckets.filter_map(|(sample, count)| Some((bucket(sample)?, *count)));
    let mut buckets: Vec<(f64, f64)> = buckets.collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{buckets:?}");
    assert_eq!(buckets.first().map(|(bound, _)| *bound), Some(16e-6));
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, TEXTS as f64)));
    let times = stats.plan_times();
    let expected: Vec<f64> = times.buckets().map(|(_, count)| count as f64).collect();
    let below = buckets.iter().scan(0.0, |before, (_, count)| {
        Some(count - std::mem::replace(before, *count))
    });
    assert_eq!(below.collect::<Vec<_>>(), expected);
    assert_eq!(page.value(&format!("{name}_count")), times.count() as f64);
    let sum = page.value(&format!("{name}_sum"));
    assert!((sum - times.sum_us as f64 / 1e6).abs() < 1e-9, "{sum}");
}

#[test]
fn no_label_says_who_talks_where() {
    let server = start(admin_config(2));
    let ann = server.client();
    request(&ann, "/nick hidden-ann", "* you are hidden-ann");
    request(
        &ann,
        "/join hidden-room",
        "* you are in hidden-room (1 here)",
    );
    ann.send(b"hidden text");
    server.wait_for_deliveries(1);
    for accept in ["*/*", "application/openmetrics-text"] {
        let page = get_as(admin(&server), "/metrics", accept).body;
        let port = format!("{}\"", ann.address().port());
        for secret in ["hidden", "127.0.0.1", &port] {
            assert!(!page.contains(secret), "{secret}: {page}");
        }
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let labels = samples.filter_map(|line| line.split_once('{')?.1.split_once('}'));
        let labels = labels.flat_map(|(labels, _)| labels.split("\","));
        let keys: BTreeSet<&str> = labels
            .map(|label| label.split('=').next().unwrap())
            .collect();
        let expected = [
            "flag", "kind", "le", "outcome", "reason", "trust", "version", "worker",
        ];
        assert_eq!(keys, BTreeSet::from(expected));
    }
}

#[test]
fn a_greeting_server_has_the_same_metrics() {
    let server = start(ServerConfig {
        service: ServiceKind::Greet,
        ..admin_config(2)
    });
    let client = server.unregistered_client();
    client.send(b"hello");
    client.receive();
    server.wait_for_deliveries(1);
    wait_until("its count", || server.stats().total().greetings == 1);
    let page = metrics(admin(&server));
    let greetings = page.value("bullhorn_datagrams_handled_total{kind=\"greeting\"}");
    assert_eq!((greetings, page.sum("bullhorn_peers")), (1.0, 0.0));
    expect_totals(&page, &server.stats());
    let chat = start(admin_config(2));
    let samples = |page: &Metrics| page.0.keys().cloned().collect::<Vec<_>>();
    assert_eq!(samples(&page), samples(&metrics(admin(&chat))));
    assert_eq!(get(admin(&server), "/healthz").status, 200);
}

#[test]
fn the_time_of_workers_and_of_the_process_grows_with_their_work() {
    let server = start(admin_config(1));
    let first = metrics(admin(&server));
    let client = server.client();
    wait_until("more time", || {
        client.send(b"@im@");
        let now = metrics(admin(&server));
        let has_grown = |sample| now.value(sample) > first.value(sample);
        has_grown("bullhorn_worker_busy_seconds_total{worker=\"0\"}")
            && has_grown("bullhorn_worker_turns_total{worker=\"0\"}")
            && has_grown("process_cpu_seconds_total")
    });
    assert!(first.value("process_resident_memory_bytes") > 1e6);
    assert!(first.value("process_start_time_seconds") > 1.6e9);
}

#[test]
fn a_worker_that_sleeps_is_healthy_and_one_that_is_stuck_is_not() {
    let workers = ["--workers", "2", "--no-pin", "--admin", V4];
    let server = ServerProgram::start(&workers);
    let admin = admin_of(&server);
    assert_eq!(get(admin, "/readyz").status, 200);
    let turns = || metrics(admin).value("bullhorn_worker_turns_total{worker=\"1\"}");
    let first = turns();
    // Nothing but the request of each second wakes it.
    wait_until("four turns of an idle worker", || {
        assert_eq!(get(admin, "/healthz").status, 200);
        turns() >= first + 4.0
    });
    let stopped = StoppedThread::stop(server.pid(), "worker-1");
    wait_until("an alarm", || get(admin, "/healthz").status == 503);
    assert_eq!(get(admin, "/healthz").body, "stuck: worker-1\n");
    let page = metrics(admin);
    let stuck = ["0", "1"].map(|worker| format!("bullhorn_worker_stuck{{worker=\"{worker}\"}}"));
    assert_eq!(stuck.map(|sample| page.value(&sample)), [0.0, 1.0]);
    assert_eq!(get(admin, "/readyz").status, 200);
    drop(stopped);
    wait_until("its end", || get(admin, "/healthz").status == 200);
    assert_eq!(metrics(admin).sum("bullhorn_worker_stuck"), 0.0);
}

#[cfg(feature = "cluster")]
#[test]
fn the_manual_lists_every_metric() {
    let mut config = admin_config(1);
    // Nobody listens at this port. Without a cluster, there are no metrics of one.
    config.cluster.servers = vec!["nats://127.0.0.1:1".parse().unwrap()];
    config.cluster.name = Some("t".parse().unwrap());
    let server = start(config);
    let page = get(admin(&server), "/metrics").body;
    let metrics = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let metrics: BTreeSet<&str> = metrics.filter_map(|line| line.split(' ').next()).collect();
    let manual = fs::read_to_string("docs/OPERATING.md").unwrap();
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split_once('`'));
    let names: Vec<&str> = names
        .map(|(name, _)| name.split('{').next().unwrap())
        .filter(|name| name.starts_with("bullhorn_") || name.starts_with("process_"))
        .collect();
    assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), metrics);
    assert_eq!(names.len(), metrics.len(), "twice in {names:?}");
}

/// Expects the totals of the page to be those of `stats`, other than those that grow by themselves.
#[track_caller]
fn expect_totals(page: &Metrics, stats: &Stats) {
    let total = stats.total();
    let totals = [
        ("bullhorn_datagrams_received_total", total.datagrams_in),
        (
            "bullhorn_datagrams_handled_total",
            total.datagrams_in - total.dropped_total(),
        ),
        ("bullhorn_datagrams_dropped_total", total.dropped_total()),
        ("bullhorn_kernel_drops_total", total.kernel_drops),
        ("bullhorn_messages_total", total.messages),
        (
            "bullhorn_deliveries_planned_total",
            total.deliveries_planned,
        ),
        ("bullhorn_deliveries_total", total.deliveries_planned),
        ("bullhorn_replies_total", total.replies),
        ("bullhorn_peers_registered_total", total.registered),
        ("bullhorn_peers_expired_total", stats.expired),
        ("bullhorn_notices_total", stats.notices),
        ("bullhorn_rooms", stats.rooms as u64),
    ];
    for (name, expected) in totals {
        assert_eq!(page.sum(name), expected as f64, "{name}");
    }
    for reason in DropReason::ALL {
        let name = reason.name();
        let dropped = page.value(&format!(
            "bullhorn_datagrams_dropped_total{{reason=\"{name}\"}}"
        ));
        assert_eq!(dropped, total.dropped(reason) as f64, "{name}");
    }
}

fn start(config: ServerConfig) -> TestServer {
    TestServer::start(config)
}

#[track_caller]
fn admin(server: &TestServer) -> SocketAddr {
    server.admin_addr().expect("it is on")
}

/// Returns the address of the admin server that the program logs.
#[track_caller]
fn admin_of(server: &ServerProgram) -> SocketAddr {
    let mut lines = server.startup_lines.iter();
    let address = lines.find_map(|line| line.split_once("admin server at http://"));
    let (_, address) = address.expect("it is on");
    address.trim_end().trim_end_matches('/').parse().unwrap()
}

fn admin_config(workers: u16) -> ServerConfig {
    let mut config = config(workers, &[V4]);
    config.admin.address = Some(V4.parse().unwrap());
    config
}

const TEXTS: u64 = 20;
