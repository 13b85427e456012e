use std::collections::BTreeMap;
use std::time::Instant;

use axum::http::HeaderValue;

use super::*;
use crate::server::ops::admin::sample::Point;
use crate::server::ops::stats::{
    ClusterCounts, ClusterStats, ClusterStatus, Counters, Counts, DropReason, NodeStatus,
    PeerCounts, WorkerStats,
};

#[test]
fn every_counter_changes_one_value_of_the_page() {
    for (index, (name, _)) in Counts::MEANINGS.iter().enumerate() {
        let mut counts = Counts::default();
        *counts.values_mut().nth(index).expect("there is one") = 1;
        expect_one_change(name, counts, ClusterCounts::default());
    }
    for reason in DropReason::ALL {
        let counters = Counters::default();
        counters.drop_datagram(reason);
        expect_one_change(reason.name(), counters.read(), ClusterCounts::default());
    }
    for (index, name) in ClusterCounts::NAMES.iter().enumerate() {
        let mut counts = ClusterCounts::default();
        *counts.values_mut().nth(index).expect("there is one") = 1;
        expect_one_change(name, Counts::default(), counts);
    }
}

#[test]
fn the_cluster_is_on_the_page_of_its_nodes_only() {
    let node = |id: &str, round_trip_us| NodeStatus {
        id: id.parse().expect("a name"),
        peers: 5,
        rooms: 2,
        busy_percent: 50,
        version: (1, 2, 3),
        advertise: None,
        silent_ms: 10,
        round_trip_us,
        is_current: true,
    };
    let page = |cluster| {
        let mut moment = moment(Counts::default());
        moment.stats.cluster = cluster;
        values(&moment.page(Format::OpenMetrics).expect("it is text"))
    };
    let is_of_cluster = |sample: &&String| sample.starts_with("bullhorn_cluster_");
    assert_eq!(page(None).keys().find(is_of_cluster), None);
    let away = page(Some(ClusterStats::default()));
    assert_eq!(away["bullhorn_cluster_connected"], 0.0);
    assert_eq!(away["bullhorn_cluster_nodes"], 0.0);
    let status = ClusterStatus {
        is_connected: true,
        nodes: vec![node("n2", Some(250)), node("n3", None)],
        ..ClusterStatus::default()
    };
    let counts = ClusterCounts {
        dropped_full: 1,
        dropped_late: 20,
        dropped_away: 300,
        dropped_no_space: 4000,
        bytes_published: 5,
        bytes_received: 6,
        ..ClusterCounts::default()
    };
    let values = page(Some(ClusterStats {
        status: Arc::new(status),
        counts,
    }));
    for (sample, value) in [
        ("nodes", 2.0),
        ("connected", 1.0),
        ("round_trip_seconds{node=\"n2\"}", 250e-6),
        ("texts_dropped_total{reason=\"full\"}", 1.0),
        ("texts_dropped_total{reason=\"late\"}", 20.0),
        ("texts_dropped_total{reason=\"bus away\"}", 300.0),
        ("texts_dropped_total{reason=\"no space\"}", 4000.0),
        ("published_bytes_total", 5.0),
        ("received_bytes_total", 6.0),
    ] {
        let found = values.get(&format!("bullhorn_cluster_{sample}"));
        assert_eq!(found, Some(&value), "{sample}");
    }
    let unknown = values.keys().find(|sample| sample.contains("n3"));
    assert_eq!(unknown, None);
}

#[test]
fn numbers_of_the_sample_and_of_the_process_are_on_the_page() {
    let peers = PeerCounts {
        v1_trusted: 1,
        v1_untrusted: 20,
        v2_trusted: 300,
        v2_untrusted: 4000,
    };
    let mut moment = moment(Counts::default());
    let sample = Sample {
        peers,
        stuck: vec!["worker-1".to_owned()],
        ..(*moment.sample).clone()
    };
    moment.sample = Arc::new(sample);
    moment.is_draining = true;
    moment.process = Some(ProcessStats {
        started_s: 1e9,
        cpu_s: 1.25,
        resident_bytes: 4096,
        virtual_bytes: 8192,
    });
    let values = values(&moment.page(Format::OpenMetrics).expect("it is text"));
    for (sample, value) in [
        ("bullhorn_peers{version=\"1\",trust=\"trusted\"}", 1.0),
        ("bullhorn_peers{version=\"1\",trust=\"untrusted\"}", 20.0),
        ("bullhorn_peers{version=\"2\",trust=\"trusted\"}", 300.0),
        ("bullhorn_peers{version=\"2\",trust=\"untrusted\"}", 4000.0),
        ("bullhorn_worker_stuck{worker=\"0\"}", 0.0),
        ("bullhorn_worker_stuck{worker=\"1\"}", 1.0),
        ("bullhorn_draining", 1.0),
        ("bullhorn_limit{flag=\"max-peers\"}", 9.0),
        ("process_start_time_seconds", 1e9),
        ("process_cpu_seconds_total", 1.25),
        ("process_resident_memory_bytes", 4096.0),
        ("process_virtual_memory_bytes", 8192.0),
    ] {
        assert_eq!(values.get(sample), Some(&value), "{sample}");
    }
    let unlimited = values
        .keys()
        .find(|sample| sample.contains("texts-per-peer"));
    assert_eq!(unlimited, None);
}

#[test]
fn openmetrics_is_for_those_who_accept_it() {
    let accepted = |values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        Format::accepted(&headers)
    };
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                      version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(accepted(&[prometheus]), Format::OpenMetrics);
    let second = ["text/html", "text/plain, application/openmetrics-text"];
    assert_eq!(accepted(&second), Format::OpenMetrics);
    for others in [
        &[][..],
        &["*/*"],
        &["text/plain;version=0.0.4"],
        &["application/openmetrics-text; q=0, */*"],
        &["application/openmetrics-textual"],
    ] {
        assert_eq!(accepted(others), Format::Text, "{others:?}");
    }
}

/// Expects that `counts` and `of_cluster`, in which the counter `name` is not 0, change one value in both
/// formats.
#[track_caller]
fn expect_one_change(name: &str, counts: Counts, of_cluster: ClusterCounts) {
    for format in [Format::OpenMetrics, Format::Text] {
        let page = |counts, of_cluster| {
            let mut moment = moment(counts);
            moment.stats.cluster = Some(ClusterStats {
                counts: of_cluster,
                ..ClusterStats::default()
            });
            values(&moment.page(format).expect("it is text"))
        };
        let before = page(Counts::default(), ClusterCounts::default());
        let after = page(counts, of_cluster);
        let samples = || before.keys().zip(after.keys());
        assert!(samples().all(|(before, after)| before == after), "{name}");
        let is_changed = |(sample, value): &(&String, &f64)| before[*sample] != **value;
        let changed: Vec<_> = after.iter().filter(is_changed).collect();
        assert_eq!(changed.len(), 1, "{name}: {changed:?}");
    }
}

/// Returns the state of a server with two workers, of which one has `counts`.
fn moment(counts: Counts) -> Moment {
    let worker = |name: &str, counts| WorkerStats {
        name: name.to_owned(),
        counts,
        ..WorkerStats::default()
    };
    let workers = [("worker-0", Counts::default()), ("worker-1", counts)];
    let stats = Stats {
        workers: workers.map(|(name, counts)| worker(name, counts)).into(),
        ..Stats::default()
    };
    let at = Instant::now();
    let limit = |flag, max| LimitInForce {
        flag,
        max,
        is_rate: false,
    };
    Moment {
        sample: Arc::new(Sample {
            at,
            peers: PeerCounts::default(),
            event: Arc::from(""),
            is_draining: false,
            stuck: Vec::new(),
            point: Point::between((at, &stats), (at, &stats)),
            history: Arc::default(),
            stats: stats.clone(),
        }),
        stats,
        limits: vec![limit("max-peers", Some(9)), limit("texts-per-peer", None)],
        is_draining: false,
        process: None,
    }
}

/// Returns the values of a page, by their names and labels.
fn values(page: &str) -> BTreeMap<String, f64> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        (sample.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}
