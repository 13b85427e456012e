//! The state of the server in one second, and its rates since the second before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::cluster::{ClusterRates, ClusterState};
use crate::server::ops::stats::{Counts, DropReason, PeerCounts, Stats};

/// The state of the server at one moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) stats: Stats,
    pub(super) peers: PeerCounts,
    /// The names of the workers that have not turned their loop within the last two seconds.
    pub(super) stuck: Vec<String>,
    /// It admits no newcomers any more, and is about to stop.
    pub(super) is_draining: bool,
    /// The rates since the sample before.
    pub(super) point: Point,
    /// The event of this second as JSON, which all dashboards receive.
    pub(super) event: Arc<str>,
    /// The points of the last 15 minutes, from old to new, each of [`HISTORY_STEP`].
    pub(super) history: Arc<History>,
}

/// A point of the dashboard's curves. Rates are means per second since the point before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Point {
    /// Time in ms since 1970.
    pub(super) time_ms: u64,
    pub(super) deliveries_per_s: f64,
    /// Deliveries given up, refused or shed.
    pub(super) deliveries_lost_per_s: f64,
    pub(super) datagrams_per_s: f64,
    pub(super) messages_shed_per_s: f64,
    /// The share of the time in which each worker was not asleep, 0 to 1.
    pub(super) busy: Vec<f64>,
    /// Quantiles of the time of plans in µs. `None` if there was none.
    pub(super) plan_p50_us: Option<u64>,
    pub(super) plan_p99_us: Option<u64>,
    /// Datagrams dropped per second, by reason. Reasons without any are left out. `kernel` counts
    /// those of full receive buffers.
    #[serde(serialize_with = "as_object")]
    pub(super) drops_per_s: Vec<(&'static str, f64)>,
    /// The longest time in ms that a worker needs to send the texts that wait in it.
    pub(super) backlog_ms: f64,
    pub(super) peers: usize,
    pub(super) rooms: usize,
    /// `None` without a cluster.
    pub(super) cluster: Option<ClusterRates>,
}

/// Points that are kept for a dashboard that is opened later.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// Each as JSON.
    pub(super) points: VecDeque<Arc<str>>,
}

/// The event of a second: its point, and the numbers that have no curve.
#[derive(Serialize)]
struct Event<'a> {
    point: &'a Point,
    /// The names of the workers that are stuck.
    stuck: &'a [String],
    is_draining: bool,
    /// Registered peers of version 1 of the protocol, and of version 2.
    peers_v1: usize,
    peers_v2: usize,
    /// Counts since the start.
    deliveries: u64,
    datagrams_in: u64,
    messages_shed: u64,
    /// Datagrams dropped for any reason, with those of full receive buffers.
    dropped: u64,
    /// `None` without a cluster.
    cluster: Option<ClusterState>,
}

impl Sample {
    /// Returns the event of a state as JSON.
    pub(super) fn event(
        point: &Point,
        stats: &Stats,
        peers: PeerCounts,
        stuck: &[String],
        is_draining: bool,
    ) -> Arc<str> {
        let total = stats.total();
        as_json(&Event {
            point,
            stuck,
            is_draining,
            peers_v1: peers.v1_trusted + peers.v1_untrusted,
            peers_v2: peers.v2_trusted + peers.v2_untrusted,
            deliveries: total.deliveries,
            datagrams_in: total.datagrams_in,
            messages_shed: total.messages_shed,
            dropped: total.dropped_total() + total.kernel_drops,
            cluster: stats.cluster.as_ref().map(ClusterState::new),
        })
    }
}

impl Point {
    /// Returns the point between two states.
    pub(super) fn between(before: (Instant, &Stats), now: (Instant, &Stats)) -> Self {
        let seconds = (now.0 - before.0).as_secs_f64().max(1e-3);
        let per_s = |now: u64, before: u64| rounded(now.saturating_sub(before) as f64 / seconds);
        let (was, is) = (before.1.total(), now.1.total());
        let workers = before.1.workers.iter().zip(&now.1.workers);
        let busy = workers.map(|(was, is)| {
            let busy_ns = per_s(is.counts.busy_ns, was.counts.busy_ns);
            rounded(busy_ns / 1e9).min(1.0)
        });
        let lost = |counts: &Counts| {
            counts.deliveries_congested + counts.deliveries_refused + counts.deliveries_shed
        };
        let plans = now.1.plan_times().since(&before.1.plan_times());
        let reasons = DropReason::ALL.into_iter().map(|reason| {
            let rate = per_s(is.dropped(reason), was.dropped(reason));
            (reason.name(), rate)
        });
        let kernel = ("kernel", per_s(is.kernel_drops, was.kernel_drops));
        let drops = reasons.chain([kernel]);
        let cluster = before.1.cluster.as_ref().zip(now.1.cluster.as_ref());
        let backlog_ns = now.1.workers.iter().map(|worker| worker.backlog_cost_ns);
        Self {
            time_ms: time_ms(),
            deliveries_per_s: per_s(is.deliveries, was.deliveries),
            deliveries_lost_per_s: per_s(lost(&is), lost(&was)),
            datagrams_per_s: per_s(is.datagrams_in, was.datagrams_in),
            messages_shed_per_s: per_s(is.messages_shed, was.messages_shed),
            busy: busy.collect(),
            plan_p50_us: plans.quantile_us(0.5),
            plan_p99_us: plans.quantile_us(0.99),
            drops_per_s: drops.filter(|(_, rate)| *rate > 0.0).collect(),
            backlog_ms: rounded(backlog_ns.max().unwrap_or(0) as f64 / 1e6),
            peers: now.1.peers,
            rooms: now.1.rooms,
            cluster: cluster.map(|(was, is)| ClusterRates::between(was, is, seconds)),
        }
    }
}

impl History {
    pub(super) fn push(&mut self, point: &Point) {
        if self.points.len() == MAX_HISTORY {
            self.points.pop_front();
        }
        self.points.push_back(as_json(point));
    }
}

/// Returns the time in ms since 1970.
pub(super) fn time_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.unwrap_or_default().as_millis() as u64
}

/// Serializes pairs as an object, in their order.
pub(super) fn as_object<S: Serializer, T: Serialize>(
    pairs: &[(&'static str, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs {
        object.serialize_entry(key, value)?;
    }
    object.end()
}

/// Returns a value whose serialization cannot fail as JSON.
pub(super) fn as_json(value: &impl Serialize) -> Arc<str> {
    let json = serde_json::to_string(value);
    json.expect("all keys are strings, and no part refuses")
        .into()
}

/// Rounds to three decimal places, which is finer than any curve.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Time between two points of the history.
pub(super) const HISTORY_STEP: Duration = Duration::from_secs(5);

/// 15 minutes.
const MAX_HISTORY: usize = 180;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_has_the_points_of_15_minutes() {
        let (now, stats) = (Instant::now(), Stats::default());
        let point = Point::between((now, &stats), (now, &stats));
        let mut history = History::default();
        for _ in 0..MAX_HISTORY + 3 {
            history.push(&point);
        }
        assert_eq!(history.points.len(), MAX_HISTORY);
    }
}
