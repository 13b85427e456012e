//! `/api/v1/stats`: the state of the server as of the last second.

use axum::{Json, extract};
use serde::Serialize;

use super::super::cluster::ClusterState;
use super::super::sample::{Point, as_object};
use super::State;
use super::workers::{WorkerState, counts_by_name, drops_by_reason};
use crate::server::ops::stats::{Counts, PeerCounts, Stats};

/// The answer.
#[derive(Serialize)]
pub(super) struct StatsAnswer {
    version: &'static str,
    /// Time in s since the start.
    uptime_s: f64,
    /// Time of the start in ms since 1970.
    started_ms: u64,
    /// The addresses that peers send to.
    addresses: Vec<String>,
    /// The state at this time, and the rates since the second before.
    rates: Point,
    /// Counts since the start, by the names of the counters.
    #[serde(serialize_with = "as_object")]
    totals: Vec<(&'static str, u64)>,
    /// Datagrams dropped since the start, by reason.
    #[serde(serialize_with = "as_object")]
    drops: Vec<(&'static str, u64)>,
    peers: Peers,
    rooms: usize,
    is_draining: bool,
    plans: Plans,
    workers: Vec<Worker>,
    /// `None` without a cluster.
    cluster: Option<ClusterState>,
}

#[derive(Serialize)]
struct Worker {
    #[serde(flatten)]
    state: WorkerState,
    datagrams_in: u64,
    deliveries: u64,
}

/// Numbers of registered peers.
#[derive(Serialize)]
struct Peers {
    total: usize,
    v1_trusted: usize,
    v1_untrusted: usize,
    v2_trusted: usize,
    v2_untrusted: usize,
}

/// The times of all plans since the start, from the arrival of the oldest text to the last packet.
#[derive(Serialize)]
struct Plans {
    count: u64,
    sum_us: u64,
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p99_us: Option<u64>,
    p99_9_us: Option<u64>,
}

/// Returns the newest sample, so that requests cost the same however many there are.
pub(super) async fn stats(extract::State(state): extract::State<State>) -> Json<StatsAnswer> {
    let sample = state.samples.borrow().clone();
    let stats = &sample.stats;
    let total = stats.total();
    let addresses = state.server.local_addrs().iter();
    let workers = WorkerState::all(&sample).map(|(state, counts)| Worker {
        state,
        datagrams_in: counts.datagrams_in,
        deliveries: counts.deliveries,
    });
    Json(StatsAnswer {
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: state.started.at.elapsed().as_secs_f64(),
        started_ms: state.started.time_ms,
        addresses: addresses.map(ToString::to_string).collect(),
        rates: sample.point.clone(),
        totals: totals(stats, &total),
        drops: drops_by_reason(&total).into(),
        peers: Peers::new(stats.peers, sample.peers),
        rooms: stats.rooms,
        is_draining: sample.is_draining,
        plans: Plans::of(stats),
        workers: workers.collect(),
        cluster: stats.cluster.as_ref().map(ClusterState::new),
    })
}

/// Returns the sums of the workers' counters, and the counts that no worker has.
fn totals(stats: &Stats, total: &Counts) -> Vec<(&'static str, u64)> {
    let others = [
        ("expired", stats.expired),
        ("notices", stats.notices),
        ("notices_failed", stats.notices_failed),
        ("log_lines_shed", stats.log_lines_shed),
        ("log_lines_suppressed", stats.log_lines_suppressed),
        ("group_alarms", stats.group_alarms),
        ("calls_refused", stats.calls_refused),
    ];
    counts_by_name(total).chain(others).collect()
}

impl Peers {
    fn new(total: usize, counts: PeerCounts) -> Self {
        Self {
            total,
            v1_trusted: counts.v1_trusted,
            v1_untrusted: counts.v1_untrusted,
            v2_trusted: counts.v2_trusted,
            v2_untrusted: counts.v2_untrusted,
        }
    }
}

impl Plans {
    fn of(stats: &Stats) -> Self {
        let times = stats.plan_times();
        Self {
            count: times.count(),
            sum_us: times.sum_us,
            p50_us: times.quantile_us(0.5),
            p90_us: times.quantile_us(0.9),
            p99_us: times.quantile_us(0.99),
            p99_9_us: times.quantile_us(0.999),
        }
    }
}
