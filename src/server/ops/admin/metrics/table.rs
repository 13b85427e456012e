//! The table of all metrics.
//!
//! Labels are numbers of workers, words of this program, and the names of the nodes of a cluster. So no
//! peer makes a label.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::Moment;
use super::cluster::cluster;
use super::page::{Page, metric};
use super::process::ProcessStats;
use crate::server::ops::stats::{Counts, DropReason, PeerCounts, Stats, WorkerStats};

impl Collector for Moment {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let total = self.stats.total();
        received(&mut page, &total, &self.stats.workers)?;
        messages(&mut page, &total)?;
        sent(&mut page, &total)?;
        self.workers(&mut page)?;
        self.peers(&mut page, &total)?;
        if let Some(stats) = &self.stats.cluster {
            cluster(&mut page, stats, &total)?;
        }
        self.operation(&mut page)?;
        self.process
            .map_or(Ok(()), |stats| process(&mut page, stats))
    }
}

/// Datagrams on their way in.
fn received(page: &mut Page<'_>, total: &Counts, workers: &[WorkerStats]) -> fmt::Result {
    page.counters(
        metric(
            "bullhorn_datagrams_received",
            "Datagrams received. Each is also counted in bullhorn_datagrams_handled_total or \
             bullhorn_datagrams_dropped_total.",
        ),
        "worker",
        per_worker(workers, |worker| worker.counts.datagrams_in),
    )?;
    page.counters(
        metric(
            "bullhorn_datagrams_handled",
            "Datagrams received and not dropped. Frames are those of protocol version 2, of which \
             each has one or more. `greeting` is of the greeting service, and the others are of version 1.",
        ),
        "kind",
        [
            ("text", total.texts),
            ("heartbeat", total.heartbeats),
            ("leave", total.leaves),
            ("command", total.commands),
            ("frames", total.frames),
            ("greeting", total.greetings),
        ],
    )?;
    page.counters(
        metric(
            "bullhorn_datagrams_dropped",
            "Datagrams received and dropped.",
        ),
        "reason",
        DropReason::ALL.map(|reason| (reason.name(), total.dropped(reason))),
    )?;
    page.counters(
        metric(
            "bullhorn_datagrams_cut",
            "Datagrams of frames of which the rest was dropped. Each is also counted in \
             bullhorn_datagrams_handled_total.",
        ),
        "reason",
        [
            ("unknown frame", total.frames_unknown),
            ("over budget", total.frames_limited),
        ],
    )?;
    page.counter(
        metric(
            "bullhorn_datagrams_truncated",
            "Datagrams longer than the receive buffer of 2048 bytes. Their beginnings are handled \
             and counted like any datagram.",
        ),
        total.truncated,
    )?;
    page.counters(
        metric(
            "bullhorn_kernel_drops",
            "Datagrams that the kernel dropped because the receive buffer of a socket was full. \
             They are in no other count.",
        ),
        "worker",
        per_worker(workers, |worker| worker.counts.kernel_drops),
    )?;
    page.counter(
        metric(
            "bullhorn_receive_errors",
            "Receive calls that failed. An empty socket is none.",
        ),
        total.receive_errors,
    )
}

/// Texts and commands, and their end.
fn messages(page: &mut Page<'_>, total: &Counts) -> fmt::Result {
    page.counter(
        metric(
            "bullhorn_messages",
            "Messages queued for fan-out, each to all members of a room.",
        ),
        total.messages,
    )?;
    page.counters(
        metric(
            "bullhorn_messages_dropped",
            "Messages that were not queued: shed because the share of their sender or room of the \
             backlog was used up, or muted by the operator.",
        ),
        "reason",
        [
            ("shed", total.messages_shed),
            ("muted", total.messages_muted),
        ],
    )?;
    page.counter(
        metric(
            "bullhorn_commands_expired",
            "Commands dropped because their sender left or expired while they were handled.",
        ),
        total.commands_expired,
    )
}

/// Datagrams on their way out.
fn sent(page: &mut Page<'_>, total: &Counts) -> fmt::Result {
    page.counter(
        metric(
            "bullhorn_deliveries_planned",
            "Deliveries begun, each of one message to one peer. Each is also counted in \
             bullhorn_deliveries_total when it is done.",
        ),
        total.deliveries_planned,
    )?;
    page.counters(
        metric(
            "bullhorn_deliveries",
            "Deliveries done, by outcome: sent, given up because the kernel had no space, refused \
             by the kernel, or shed because their worker was stuck.",
        ),
        "outcome",
        [
            ("sent", total.deliveries),
            ("given up", total.deliveries_congested),
            ("refused", total.deliveries_refused),
            ("shed", total.deliveries_shed),
        ],
    )?;
    page.counter(
        metric(
            "bullhorn_gso_packets",
            "Packets of several datagrams (GSO) that fan-out has built, each for one peer.",
        ),
        total.gso_packets,
    )?;
    page.counter(
        metric(
            "bullhorn_gso_segments",
            "Datagrams in packets of several (GSO).",
        ),
        total.gso_segments,
    )?;
    page.counter(
        metric(
            "bullhorn_packets_split",
            "Packets of several datagrams that the kernel did not take as one. Their datagrams \
             were sent one by one.",
        ),
        total.packets_split,
    )?;
    page.counter(
        metric(
            "bullhorn_replies",
            "Replies and direct messages sent, each a datagram to one peer.",
        ),
        total.replies,
    )?;
    page.counter(
        metric(
            "bullhorn_replies_failed",
            "Replies and direct messages that the kernel did not take.",
        ),
        total.replies_failed,
    )?;
    page.counter(
        metric(
            "bullhorn_replies_shed",
            "Replies, direct messages and lists that were not sent because a datagram caused too \
             many of them.",
        ),
        total.replies_shed,
    )
}

impl Moment {
    fn workers(&self, page: &mut Page<'_>) -> fmt::Result {
        let workers = &self.stats.workers;
        page.counters(
            metric(
                "bullhorn_worker_busy",
                "Time in which the worker was not asleep. Its rate is the busy share, 0 to 1.",
            )
            .seconds(),
            "worker",
            per_worker(workers, |worker| worker.counts.busy_ns as f64 / 1e9),
        )?;
        page.counters(
            metric("bullhorn_worker_turns", "Turns of the worker's loop."),
            "worker",
            per_worker(workers, |worker| worker.counts.turns),
        )?;
        page.gauges(
            metric(
                "bullhorn_worker_stuck",
                "1 if the worker has not turned its loop within the last two seconds, else 0.",
            ),
            labelled(per_worker(workers, |worker| {
                u64::from(self.sample.stuck.contains(&worker.name))
            })),
        )?;
        page.gauges(
            metric(
                "bullhorn_worker_backlog",
                "Approximate time to send the texts that wait in the worker.",
            )
            .seconds(),
            labelled(per_worker(workers, |worker| {
                worker.backlog_cost_ns as f64 / 1e9
            })),
        )?;
        page.gauges(
            metric(
                "bullhorn_worker_backlog_age",
                "Time for which the oldest text of the worker's last plan had waited when it was \
                 built. 0 if no text waits.",
            )
            .seconds(),
            labelled(per_worker(workers, |worker| {
                worker.backlog_age_us as f64 / 1e6
            })),
        )?;
        page.histogram(
            metric(
                "bullhorn_plan_duration",
                "Time from when a worker received the oldest text of a plan until its last packet was handed \
                 to the kernel. A plan is \
                 some texts of a room for all its members.",
            ),
            &self.stats.plan_times(),
        )
    }

    fn peers(&self, page: &mut Page<'_>, total: &Counts) -> fmt::Result {
        let PeerCounts {
            v1_trusted,
            v1_untrusted,
            v2_trusted,
            v2_untrusted,
        } = self.sample.peers;
        let peers = [
            ("1", "trusted", v1_trusted),
            ("1", "untrusted", v1_untrusted),
            ("2", "trusted", v2_trusted),
            ("2", "untrusted", v2_untrusted),
        ];
        page.gauges(
            metric(
                "bullhorn_peers",
                "Registered peers, by version of the protocol and by the operator's trust in their \
                 addresses. Counted once per second.",
            ),
            peers.map(|(version, trust, count)| {
                ([("version", version), ("trust", trust)], count as u64)
            }),
        )?;
        page.counter(
            metric("bullhorn_peers_registered", "Peers that registered."),
            total.registered,
        )?;
        page.counter(
            metric("bullhorn_peers_expired", "Peers that have expired."),
            self.stats.expired,
        )?;
        page.counter(
            metric(
                "bullhorn_peers_set_apart",
                "Peers that were set apart because packets to them do not leave this machine. A \
                 peer that is set apart twice, or by two workers, counts twice.",
            ),
            total.peers_set_apart,
        )?;
        page.counter(
            metric(
                "bullhorn_sessions_moved",
                "Sessions that moved to another address.",
            ),
            total.moved,
        )?;
        page.counter(
            metric(
                "bullhorn_challenges",
                "Requests to peers of protocol version 1 to prove their address. Each is also \
                 counted in bullhorn_replies_total.",
            ),
            total.challenges,
        )?;
        page.gauge(
            metric("bullhorn_rooms", "Rooms, including the lobby."),
            self.stats.rooms as u64,
        )?;
        let limits = self.limits.iter();
        page.gauges(
            metric(
                "bullhorn_limit",
                "Limits that are in force, by the flag that sets them. Those per peer or network \
                 are maxima per second.",
            ),
            limits.filter_map(|limit| Some(([("flag", limit.flag)], limit.max?))),
        )
    }

    fn operation(&self, page: &mut Page<'_>) -> fmt::Result {
        // A new field needs a metric, or the name of the function that has it.
        let Stats {
            workers: _, // `workers`
            peers: _,   // the sum of `bullhorn_peers`
            expired: _, // `peers`
            rooms: _,   // `peers`
            notices,
            notices_failed,
            log_lines_shed,
            log_lines_suppressed,
            group_alarms,
            calls_refused,
            cluster: _, // `cluster`
        } = &self.stats;
        page.counter(
            metric(
                "bullhorn_notices",
                "Presence notices and sentences of the operator sent, each to one peer.",
            ),
            *notices,
        )?;
        page.counter(
            metric(
                "bullhorn_notices_failed",
                "Presence notices and sentences of the operator that the kernel did not take.",
            ),
            *notices_failed,
        )?;
        page.counters(
            metric(
                "bullhorn_log_lines_dropped",
                "Log lines that were not written: shed because the log could not keep up, or \
                 suppressed because there were too many of their kind in a second.",
            ),
            "reason",
            [
                ("shed", *log_lines_shed),
                ("suppressed", *log_lines_suppressed),
            ],
        )?;
        page.counter(
            metric(
                "bullhorn_group_alarms",
                "Alarms because another process can join the sockets of this server, or has joined \
                 them.",
            ),
            *group_alarms,
        )?;
        page.counter(
            metric(
                "bullhorn_sandbox_refusals",
                "System calls of this process that its sandbox has refused. The log names them.",
            ),
            *calls_refused,
        )?;
        page.gauge(
            metric(
                "bullhorn_draining",
                "1 if the server refuses new peers because it is about to stop, else 0.",
            ),
            u64::from(self.is_draining),
        )?;
        page.info(
            metric("bullhorn_build", "The version of the server."),
            ("version", env!("CARGO_PKG_VERSION")),
        )
    }
}

/// The process, by the names that all programs have for it.
fn process(page: &mut Page<'_>, stats: ProcessStats) -> fmt::Result {
    page.gauge(
        metric(
            "process_start_time",
            "Time at which the process started, since 1970.",
        )
        .seconds(),
        stats.started_s,
    )?;
    page.counter(
        metric(
            "process_cpu",
            "CPU time of all threads, in user and kernel mode.",
        )
        .seconds(),
        stats.cpu_s,
    )?;
    page.gauge(
        metric("process_resident_memory", "Resident memory.").bytes(),
        stats.resident_bytes,
    )?;
    page.gauge(
        metric(
            "process_virtual_memory",
            "Virtual memory: address space that is reserved, most of it without memory.",
        )
        .bytes(),
        stats.virtual_bytes,
    )
}

/// Returns a value of each worker, by its number.
fn per_worker<Value>(
    workers: &[WorkerStats],
    value: impl Fn(&WorkerStats) -> Value,
) -> impl Iterator<Item = (String, Value)> {
    let workers = workers.iter().enumerate();
    workers.map(move |(number, worker)| (number.to_string(), value(worker)))
}

/// Adds the label of the workers.
fn labelled<Value>(
    values: impl Iterator<Item = (String, Value)>,
) -> impl Iterator<Item = ([(&'static str, String); 1], Value)> {
    values.map(|(worker, value)| ([("worker", worker)], value))
}
