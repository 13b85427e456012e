//! The statistics in words.

use std::fmt::{self, Display};

use crate::server::ops::stats::{ClusterStats, Counts, DropReason, Stats, WorkerStats};

/// The statistics as the console prints them: a row per worker, then the sums.
pub struct Listing<'a>(pub &'a Stats);

impl Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stats) = self;
        writeln!(f, "thread      core   datagrams in   deliveries out")?;
        for WorkerStats {
            name, core, counts, ..
        } in &stats.workers
        {
            let core = core.map_or_else(|| "-".to_owned(), |core| core.to_string());
            let (datagrams, deliveries) = (counts.datagrams_in, counts.deliveries);
            writeln!(f, "{name:<11} {core:>4} {datagrams:>14} {deliveries:>16}")?;
        }
        let total = stats.total();
        write!(f, "peers: {} now, {} expired", stats.peers, stats.expired)?;
        write_sum(f, "datagrams", total.datagrams_in, &handled(&total))?;
        write_sum(
            f,
            "deliveries",
            total.deliveries_planned,
            &delivered(&total),
        )?;
        if stats.rooms > 1 {
            write!(f, "\nrooms: {}", stats.rooms)?;
        }
        if let Some(cluster) = &stats.cluster {
            write_cluster(f, cluster)?;
        }
        for reason in DropReason::ALL {
            if total.dropped(reason) > 0 {
                write!(f, "\ndropped, {}: {}", reason.name(), total.dropped(reason))?;
            }
        }
        let of_cluster = stats.cluster.as_ref().map(losses_of_cluster);
        let of_cluster = of_cluster.into_iter().flatten();
        for (what, count) in losses(stats, &total).into_iter().chain(of_cluster) {
            if count > 0 {
                write!(f, "\n{what}: {count}")?;
            }
        }
        Ok(())
    }
}

/// The outcomes of the datagrams received. Their sum is `datagrams_in`.
fn handled(counts: &Counts) -> [(&'static str, u64); 7] {
    [
        ("texts", counts.texts),
        ("heartbeats", counts.heartbeats),
        ("leaves", counts.leaves),
        ("commands", counts.commands),
        ("of frames", counts.frames),
        ("greetings", counts.greetings),
        ("dropped", counts.dropped_total()),
    ]
}

/// The outcomes of the deliveries begun. Their sum is `deliveries_planned` when nothing is
/// under way.
fn delivered(counts: &Counts) -> [(&'static str, u64); 4] {
    [
        ("sent", counts.deliveries),
        ("given up", counts.deliveries_congested),
        ("refused", counts.deliveries_refused),
        ("shed", counts.deliveries_shed),
    ]
}

/// The counts that are listed only when they are not 0.
fn losses(stats: &Stats, total: &Counts) -> [(&'static str, u64); 19] {
    [
        (
            "datagrams lost in the kernel, receive buffer full",
            total.kernel_drops,
        ),
        ("messages shed, backlog full", total.messages_shed),
        ("messages dropped, sender muted", total.messages_muted),
        ("commands dropped, sender expired", total.commands_expired),
        ("deliveries given up, no space", total.deliveries_congested),
        ("deliveries refused by the kernel", total.deliveries_refused),
        ("deliveries shed, worker stuck", total.deliveries_shed),
        ("replies failed", total.replies_failed),
        (
            "frames without a reply, too many in a datagram",
            total.replies_shed,
        ),
        ("datagrams cut at an unknown frame", total.frames_unknown),
        ("datagrams cut, sender over a limit", total.frames_limited),
        ("packets sent in parts, no GSO", total.packets_split),
        (
            "peers set apart, packets do not leave",
            total.peers_set_apart,
        ),
        ("receive errors", total.receive_errors),
        ("alarms, sockets can be joined", stats.group_alarms),
        ("system calls refused, sandbox", stats.calls_refused),
        ("notices failed", stats.notices_failed),
        ("log lines not written", stats.log_lines_shed),
        (
            "log lines suppressed, too many in a second",
            stats.log_lines_suppressed,
        ),
    ]
}

/// Writes `cluster t, node n1: 2 other nodes, texts out 12, in 34`.
fn write_cluster(f: &mut fmt::Formatter<'_>, cluster: &ClusterStats) -> fmt::Result {
    let ClusterStats { status, counts } = cluster;
    write!(f, "\ncluster {}, node {}: ", status.cluster, status.node)?;
    match (status.is_connected, status.nodes.len()) {
        (false, _) => write!(f, "not connected")?,
        (true, 1) => write!(f, "1 other node")?,
        (true, others) => write!(f, "{others} other nodes")?,
    }
    let (out, texts_in) = (counts.texts_published, counts.texts_received);
    write!(f, ", texts out {out}, in {texts_in}")
}

/// The counts of a cluster that are listed only when they are not 0.
fn losses_of_cluster(cluster: &ClusterStats) -> [(&'static str, u64); 11] {
    let counts = &cluster.counts;
    [
        (
            "texts to other nodes dropped, too many",
            counts.dropped_full,
        ),
        ("texts to other nodes dropped, late", counts.dropped_late),
        (
            "texts to other nodes dropped, bus away",
            counts.dropped_away,
        ),
        (
            "texts of other nodes dropped, no space",
            counts.dropped_no_space,
        ),
        ("texts of other nodes missing", counts.texts_missing),
        ("texts of other nodes stale", counts.texts_stale),
        ("messages of the bus malformed", counts.messages_malformed),
        ("messages to other nodes shed", counts.messages_shed),
        ("requests to other nodes shed", counts.requests_shed),
        ("messages lost, bus too fast", counts.slow_consumers),
        ("names lost to other nodes", counts.names_lost),
    ]
}

/// Writes `what: 12 = 10 texts + 2 heartbeats`. The rest of the sum is under way.
fn write_sum(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    sum: u64,
    parts: &[(&str, u64)],
) -> fmt::Result {
    write!(f, "\n{what}: {sum}")?;
    let known: u64 = parts.iter().map(|(_, count)| count).sum();
    let rest = ("under way", sum.saturating_sub(known));
    let parts = parts.iter().chain([&rest]);
    let parts = parts.filter(|(_, count)| *count > 0);
    for ((name, count), sign) in parts.zip(std::iter::once('=').chain(std::iter::repeat('+'))) {
        write!(f, " {sign} {count} {name}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::ops::stats::{ClusterCounts, ClusterStatus, Counters};

    #[test]
    fn the_listing_omits_what_never_happened() {
        let mut counts = Counts::default();
        counts.datagrams_in = 3;
        counts.texts = 2;
        counts.heartbeats = 1;
        counts.deliveries_planned = 42;
        counts.deliveries = 40;
        counts.deliveries_refused = 1;
        let worker = |name: &str, core, counts| WorkerStats {
            name: name.into(),
            core,
            counts,
            ..WorkerStats::default()
        };
        let stats = |counts| Stats {
            workers: vec![
                worker("worker-0", Some(0), counts),
                worker("worker-1", None, counts),
            ],
            peers: 2,
            ..Stats::default()
        };
        assert_eq!(stats(counts).total().deliveries, 80);
        assert_eq!(
            Listing(&stats(counts)).to_string(),
            "thread      core   datagrams in   deliveries out\n\
             worker-0       0              3               40\n\
             worker-1       -              3               40\n\
             peers: 2 now, 0 expired\n\
             datagrams: 6 = 4 texts + 2 heartbeats\n\
             deliveries: 84 = 80 sent + 2 refused + 2 under way\n\
             deliveries refused by the kernel: 2"
        );
        counts.deliveries_refused = 0;
        let counters = Counters::default();
        counters.drop_datagram(DropReason::Malformed);
        counts += counters.read();
        assert!(
            Listing(&stats(counts))
                .to_string()
                .ends_with("\ndropped, malformed: 2")
        );
    }

    #[test]
    fn the_cluster_has_a_line_and_its_losses_have_others() {
        let status = |is_connected| ClusterStatus {
            node: "n1".into(),
            cluster: "t".into(),
            is_connected,
            nodes: Vec::new(),
        };
        let listing = |is_connected, counts| {
            let stats = Stats {
                cluster: Some(ClusterStats {
                    status: Arc::new(status(is_connected)),
                    counts,
                }),
                ..Stats::default()
            };
            Listing(&stats).to_string()
        };
        let counts = ClusterCounts {
            texts_published: 7,
            texts_received: 3,
            dropped_away: 2,
            texts_missing: 1,
            ..ClusterCounts::default()
        };
        let away = listing(false, counts);
        let expected = "\ncluster t, node n1: not connected, texts out 7, in 3\n\
                        texts to other nodes dropped, bus away: 2\n\
                        texts of other nodes missing: 1";
        assert!(away.ends_with(expected), "{away}");
        let alone = listing(true, ClusterCounts::default());
        let expected = "\ncluster t, node n1: 0 other nodes, texts out 0, in 0";
        assert!(alone.ends_with(expected), "{alone}");
    }
}
