//! What each figure of a summary means, in a line.

use super::numbers::short;
use super::summary::Summary;
use crate::units::{bytes, count, rate, share};

/// A figure, its name in the summary, and what it means.
pub(super) struct Row {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) meaning: &'static str,
}

/// Rows under a heading.
pub(super) type Group = (&'static str, Vec<Row>);

/// The counts, every one of them.
pub(super) fn counts(summary: &Summary) -> [Group; 4] {
    let counts = &summary.counts;
    let row = |key, value, meaning| Row {
        key,
        value: count(value),
        meaning,
    };
    let offered = vec![
        row("due", counts.due, "Datagrams that the schedule asked for."),
        row("sent", counts.sent, "Of these, those that were sent."),
        row(
            "asked",
            counts.asked,
            "Of the sent, requests, which ask for an answer.",
        ),
        row("texts", counts.texts, "Of the sent, texts to rooms."),
        row(
            "heartbeats",
            counts.heartbeats,
            "Of the sent, heartbeats, which nobody answers.",
        ),
        row(
            "keepalives",
            counts.keepalives,
            "Heartbeats beside the schedule, of clients with nothing else to send.",
        ),
        row("left", counts.left, "Clients that left, to come back."),
        row("joined", counts.joined, "Clients that came back."),
        row(
            "sent_bytes",
            counts.sent_bytes,
            "Bytes of UDP payload in the datagrams that were sent.",
        ),
        row(
            "refused",
            counts.refused,
            "Datagrams that the generator's own kernel refused to send.",
        ),
    ];
    let deliveries = vec![
        row(
            "owed",
            counts.owed,
            "Copies of texts that should have come: one for each member of the room.",
        ),
        row(
            "delivered",
            counts.delivered,
            "Of these, those that came, each counted once.",
        ),
        row("lost", counts.lost, "Of these, those that did not."),
        row(
            "repeated",
            counts.repeated,
            "Copies that came more than once.",
        ),
        row(
            "reordered",
            counts.reordered,
            "Of the delivered, those that came after a later one of the same sender.",
        ),
        row(
            "unowed",
            counts.unowed,
            "Copies to clients that were just joining or leaving: neither wrong nor missed.",
        ),
        row(
            "too_late",
            counts.too_late,
            "Copies and answers so late that nobody remembers whether they had come before.",
        ),
    ];
    let answers = vec![
        row("answered", counts.answered, "Requests that were answered."),
        row("unanswered", counts.unanswered, "Requests that were not."),
        row(
            "answered_again",
            counts.answered_again,
            "Answers to what had been answered before.",
        ),
        row(
            "unmatched",
            counts.unmatched,
            "Answers of which nobody knows to what: counted, but without a latency.",
        ),
    ];
    let received = vec![
        row(
            "received",
            counts.received,
            "Datagrams that came, of all kinds.",
        ),
        row(
            "received_bytes",
            counts.received_bytes,
            "Their bytes of UDP payload.",
        ),
        row(
            "stray",
            counts.stray,
            "What should not have come: of another room or run, never sent or not yet, the answer to what a client did not ask, or no datagram of the protocol.",
        ),
        row(
            "own_drops",
            counts.own_drops,
            "Datagrams that the generator's own sockets dropped unread: not the server's loss.",
        ),
    ];
    [
        ("Offered", offered),
        ("Deliveries", deliveries),
        ("Answers", answers),
        ("Received", received),
    ]
}

/// What the server's process took; empty, if nobody said which it was.
pub(super) fn server(summary: &Summary) -> Vec<Row> {
    let row = |key, value, meaning| Row {
        key,
        value,
        meaning,
    };
    let Some(server) = &summary.server else {
        return Vec::new();
    };
    vec![
        row(
            "cpu_s",
            format!("{} s", short(server.cpu_s)),
            "CPU time of all its threads while the load was recorded.",
        ),
        row(
            "deliveries_per_cpu_s",
            server
                .deliveries_per_cpu_s
                .map_or_else(|| "-".to_owned(), rate),
            "Copies and answers that came, a second of that.",
        ),
        row(
            "peak_memory_bytes",
            bytes(server.peak_memory_bytes as f64),
            "Memory of the process at its most, since it started.",
        ),
    ]
}

/// How the generator fared.
pub(super) fn generator(summary: &Summary) -> Vec<Row> {
    let generator = &summary.generator;
    let row = |key, value, meaning| Row {
        key,
        value,
        meaning,
    };
    let seconds = |value: f64| format!("{} s", short(value));
    let sent = share(summary.counts.sent, summary.counts.due);
    vec![
        row(
            "sent_ratio",
            sent,
            "Of what was due, the share that was sent: valid within 1 %.",
        ),
        row(
            "cpu_s",
            seconds(generator.cpu_s),
            "CPU time that its threads took.",
        ),
        row(
            "run_queue_delay_s",
            seconds(generator.run_queue_delay_s),
            "For how long its threads were ready to run and had no processor.",
        ),
        row(
            "runs",
            count(generator.runs),
            "How often its threads were given a processor.",
        ),
        row(
            "steal_s",
            seconds(generator.steal_s),
            "For how long the machine's processors were lent to another machine, summed.",
        ),
        row(
            "largest_burst",
            count(generator.largest_burst.into()),
            "The most datagrams that were due at once.",
        ),
        row(
            "threads",
            count(generator.threads.into()),
            "Threads that sent and received.",
        ),
        row("sockets", count(generator.sockets.into()), "Sockets."),
        row(
            "files",
            count(generator.files.into()),
            "Files open when the load began, sockets included.",
        ),
        row(
            "client_bytes",
            bytes(f64::from(generator.client_bytes)),
            "Memory for what is known of one client, without buffers.",
        ),
        row(
            "peak_memory_bytes",
            bytes(generator.peak_memory_bytes as f64),
            "Memory of the process at its most.",
        ),
        row(
            "registered_in_ms",
            format!("{} ms", short(summary.registered_in_ms)),
            "How long all clients took to come, and to be answered.",
        ),
    ]
}

/// What is measured from where to where: of each latency, in the order of the report.
pub(super) const LATENCIES: [(&str, &str); 7] = [
    (
        "delivery",
        "From when a text was due until a member of its room had it.",
    ),
    (
        "delivery-from-send",
        "The same, from when it was in fact sent.",
    ),
    (
        "answer",
        "From when a request was due until its answer was there.",
    ),
    (
        "answer-from-send",
        "The same, from when it was in fact sent.",
    ),
    (
        "answer-closed-loop",
        "The same, of requests that a client would have sent that waits for each answer, for 1 s at most.",
    ),
    (
        "send-lag",
        "From when a datagram was due until it was sent: the generator's own delay. Valid up to a p99 of 1 ms.",
    ),
    (
        "hear-lag",
        "From when the kernel had the first packet of a batch until the generator read it. Valid up to a p99 of 1 ms.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Serialize;
    use serde_json::Value;

    use super::*;
    use crate::outcome::Latencies;
    use crate::output::tests::summary_of;
    use crate::testing::sample_run::SampleRun;

    fn keys(value: impl Serialize) -> BTreeSet<String> {
        match serde_json::to_value(value).unwrap() {
            Value::Object(fields) => fields.into_iter().map(|(key, _)| key).collect(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_count_and_every_latency_is_explained() {
        let summary = summary_of(&SampleRun::of(1));
        let groups = counts(&summary).into_iter();
        let rows: Vec<_> = groups.flat_map(|(_, rows)| rows).collect();
        let explained: BTreeSet<_> = rows.iter().map(|row| row.key.to_owned()).collect();
        assert_eq!(explained, keys(summary.counts));
        let value = serde_json::to_value(summary.counts).unwrap();
        for row in &rows {
            let expected = count(value[row.key].as_u64().unwrap());
            assert_eq!(row.value, expected, "{}", row.key);
        }
        let rows = generator(&summary);
        let explained: BTreeSet<_> = rows.iter().map(|row| row.key.to_owned()).collect();
        assert!(explained.is_superset(&keys(summary.generator)));
        let rows = server(&summary);
        let explained: BTreeSet<_> = rows.iter().map(|row| row.key.to_owned()).collect();
        assert_eq!(explained, keys(summary.server));
        let names = Latencies::new().named().map(|(name, _)| name);
        assert_eq!(LATENCIES.map(|(name, _)| name), names);
    }
}
