//! The metrics of the cluster, which a server without one does not have.

use std::fmt;

use super::page::{Page, metric};
use crate::server::ops::stats::{ClusterCounts, ClusterStats, Counts};

/// The state of the cluster, and what its nodes send each other.
pub(super) fn cluster(page: &mut Page<'_>, stats: &ClusterStats, total: &Counts) -> fmt::Result {
    state(page, stats)?;
    published(page, &stats.counts)?;
    received(page, &stats.counts, total)?;
    losses(page, &stats.counts)?;
    bus(page, &stats.counts)
}

fn state(page: &mut Page<'_>, stats: &ClusterStats) -> fmt::Result {
    let status = &stats.status;
    page.gauge(
        metric(
            "bullhorn_cluster_nodes",
            "Other nodes of the cluster that are alive, as far as this node knows.",
        ),
        status.nodes.len() as u64,
    )?;
    page.gauge(
        metric(
            "bullhorn_cluster_connected",
            "1 if the bus is there and this node takes part in the cluster, else 0.",
        ),
        u64::from(status.is_connected),
    )?;
    let round_trips = status.nodes.iter().filter_map(|node| {
        let round_trip_s = node.round_trip_us? as f64 / 1e6;
        Some(([("node", node.id.as_str())], round_trip_s))
    });
    page.gauges(
        metric(
            "bullhorn_cluster_round_trip",
            "Time of the last round trip over the bus to another node and back.",
        )
        .seconds(),
        round_trips,
    )
}

fn published(page: &mut Page<'_>, counts: &ClusterCounts) -> fmt::Result {
    page.counter(
        metric(
            "bullhorn_cluster_texts_published",
            "Texts for other nodes, handed over to the bus.",
        ),
        counts.texts_published,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_batches_published",
            "Batches of the texts published, each a message of the bus.",
        ),
        counts.batches_published,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_published",
            "Bytes of the batches published.",
        )
        .bytes(),
        counts.bytes_published,
    )
}

fn received(page: &mut Page<'_>, counts: &ClusterCounts, total: &Counts) -> fmt::Result {
    page.counter(
        metric(
            "bullhorn_cluster_texts_received",
            "Texts of other nodes for members of this one, handed over to workers.",
        ),
        counts.texts_received,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_batches_received",
            "Batches of the texts received, each a message of the bus.",
        ),
        counts.batches_received,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_received",
            "Bytes of the batches received.",
        )
        .bytes(),
        counts.bytes_received,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_texts_queued",
            "Texts of other nodes that were queued for fan-out, each to all members of a room here. They are \
             not in bullhorn_messages_total.",
        ),
        total.messages_of_nodes,
    )
}

/// Texts that do not arrive, or more than once.
fn losses(page: &mut Page<'_>, counts: &ClusterCounts) -> fmt::Result {
    page.counters(
        metric(
            "bullhorn_cluster_texts_dropped",
            "Texts between nodes that this node dropped: on their way out because too many waited for the \
             bus (full), because they had waited for too long (late) or because the bus was away, and on \
             their way in because their worker had no space.",
        ),
        "reason",
        counts.drops(),
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_texts_missing",
            "Texts of other nodes that did not come, by the numbers before and after them.",
        ),
        counts.texts_missing,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_texts_stale",
            "Texts of other nodes that came again, or after later ones, and were dropped.",
        ),
        counts.texts_stale,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_messages_malformed",
            "Messages of the bus that were dropped because they were not well-formed, or of a node of \
             another version.",
        ),
        counts.messages_malformed,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_messages_shed",
            "Messages to other nodes, such as changes of members, that had no space on the way to the bus. \
             Texts are not among them.",
        ),
        counts.messages_shed,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_requests_shed",
            "Names and direct messages of peers for other nodes that had no space.",
        ),
        counts.requests_shed,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_names_lost",
            "Names that peers of this node lost, as a peer of another node had claimed them earlier.",
        ),
        counts.names_lost,
    )
}

fn bus(page: &mut Page<'_>, counts: &ClusterCounts) -> fmt::Result {
    page.counter(
        metric(
            "bullhorn_cluster_slow_consumers",
            "Messages that this node had no space for, which were lost. Of a burst, the first 128 or so are \
             counted.",
        ),
        counts.slow_consumers,
    )?;
    page.counter(
        metric(
            "bullhorn_cluster_disconnects",
            "Ends of the connection to the bus.",
        ),
        counts.disconnects,
    )
}
