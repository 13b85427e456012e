//! Statistics. Each worker writes counters of its own, and any thread may read them.

mod cluster;
mod workers;

use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::TimeCounts;
use crate::net::SendTally;

pub use self::cluster::{ClusterCounts, ClusterStats, ClusterStatus, NodeStatus};
pub use self::workers::{BacklogGauge, WorkerId, WorkerInfo, WorkerStats};

/// A count that one thread adds to, and any thread may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `count`. There is one writer, so this takes no locked instruction.
    pub fn add(&self, count: u64) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(count), Ordering::Relaxed);
    }

    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares the counters and their copy at one moment, from one list.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// The counters of one worker, which is their only writer.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: Counter,)*
            dropped: [Counter; DropReason::ALL.len()],
        }

        /// A worker's counters at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $doc])* pub $name: u64,)*
            dropped: [u64; DropReason::ALL.len()],
        }

        impl Counters {
            /// Returns the counts at this moment.
            pub fn read(&self) -> Counts {
                Counts {
                    $($name: self.$name.get(),)*
                    dropped: std::array::from_fn(|reason| self.dropped[reason].get()),
                }
            }
        }

        impl Counts {
            /// The name of each counter but those of the drop reasons, and its meaning.
            pub const MEANINGS: &'static [(&'static str, &'static str)] = &[$((
                stringify!($name),
                concat!($($doc),*).trim_ascii_start(),
            )),*];

            /// The counts, in the order of [`Self::MEANINGS`].
            pub fn values(&self) -> impl Iterator<Item = u64> {
                [$(self.$name),*].into_iter()
            }
        }

        #[cfg(test)]
        impl Counts {
            /// The counts, in the order of [`Self::MEANINGS`].
            pub fn values_mut(&mut self) -> impl Iterator<Item = &mut u64> {
                [$(&mut self.$name),*].into_iter()
            }
        }

        impl std::ops::AddAssign for Counts {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
                for (sum, count) in self.dropped.iter_mut().zip(other.dropped) {
                    *sum += count;
                }
            }
        }
    };
}

counters! {
    /// Turns of the worker's loop. In each of them it has received from its sockets.
    turns,
    /// Time in ns in which the worker was not asleep. Polling by `--spin` counts as sleep, and waits
    /// after receive errors count as busy.
    busy_ns,
    /// Datagrams received. Each is also counted as one of `texts`, `heartbeats`,
    /// `leaves`, `commands`, `frames`, `greetings`, or under one drop reason.
    datagrams_in,
    /// Texts of v1 peers.
    texts,
    /// Heartbeats of v1 peers.
    heartbeats,
    /// Empty datagrams and `quit`, also from unknown peers.
    leaves,
    /// Commands of v1 peers, valid or not.
    commands,
    /// Datagrams of v2 peers.
    frames,
    /// Datagrams of which the rest was dropped, because of a frame or an option that this version
    /// does not have. Each is also counted as one of `frames`.
    frames_unknown,
    /// Datagrams of which the rest was dropped, because its sender had used up its budget. Each is
    /// also counted as one of `frames`.
    frames_limited,
    /// Datagrams that the greeting service replied to.
    greetings,
    /// Peers that registered.
    registered,
    /// Sessions that moved to another address.
    moved,
    /// Requests to v1 peers to prove their address. Each is also counted as one of `replies`.
    challenges,
    /// Messages queued for fan-out, from texts and from frames.
    messages,
    /// Messages of peers of other nodes of the cluster, which are for local peers.
    messages_of_nodes,
    /// Messages shed because the share of their sender or room of the backlog was used up.
    messages_shed,
    /// Texts and direct messages dropped because the operator has muted their sender.
    messages_muted,
    /// Commands dropped because their sender left or expired while they were handled.
    commands_expired,
    /// Datagrams sent to single peers. These are replies, one per datagram received, and
    /// direct messages.
    replies,
    /// Replies and direct messages that the kernel did not take.
    replies_failed,
    /// Frames without a reply, because the replies to the frames before them in the same
    /// datagram filled a bundle. Also direct messages and lists beyond the limit of one
    /// datagram.
    replies_shed,
    /// Deliveries that fan-out has begun, each of one message to one peer. Each becomes
    /// one of the next four.
    deliveries_planned,
    /// Deliveries that the kernel took.
    deliveries,
    /// Deliveries abandoned because the kernel had no space for them.
    deliveries_congested,
    /// Deliveries that the kernel refused. See [`SendTally::refused`].
    deliveries_refused,
    /// Deliveries given up because the worker that had to make them was stuck.
    deliveries_shed,
    /// Packets of several datagrams (GSO) that fan-out has built, each for one peer. To a path without
    /// GSO their datagrams are sent one by one.
    gso_packets,
    /// The datagrams in them.
    gso_segments,
    /// Packets of several datagrams that the kernel did not take as one (no GSO on that
    /// path). Their datagrams were sent one by one.
    packets_split,
    /// Peers that were set apart because packets to them do not leave this machine. A peer that
    /// is set apart twice, or by two workers, counts twice.
    peers_set_apart,
    /// Datagrams that the kernel dropped because the socket's receive buffer was full.
    /// They are in no other count.
    kernel_drops,
    /// Datagrams longer than the receive buffer of 2048 bytes. Their beginnings are
    /// handled and counted like any datagram.
    truncated,
    /// Receive calls that failed with an error. An empty socket is none.
    receive_errors,
}

impl Counters {
    /// Counts a dropped datagram.
    pub fn drop_datagram(&self, reason: DropReason) {
        self.dropped[reason as usize].add(1);
    }

    /// Counts the outcome of a batch of deliveries.
    pub fn add_tally(&self, tally: SendTally) {
        self.deliveries.add(tally.sent);
        self.deliveries_congested.add(tally.congested);
        self.deliveries_refused.add(tally.refused);
        self.packets_split.add(tally.split_packets);
    }
}

impl Counts {
    /// Returns the number of datagrams dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Returns the number of datagrams dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// The reason why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Its source is one of the server's own addresses. A reply would come back as the
    /// next datagram, without end.
    OwnAddress,
    /// It is a text that begins as this server's messages to its sender do. The sender is
    /// another server that repeats them, without end.
    OwnEcho,
    /// Its source port is 0, to which nothing can be sent.
    PortZero,
    /// Its sender is new, and the maximum number of peers is registered (`--max-peers`). The
    /// reply, if there is one, is counted as a reply.
    PeersFull,
    /// Its sender is new, and its network has its share of `--max-peers`. The reply, if there is one,
    /// is counted as a reply.
    NetworkFull,
    /// Its sender is new, and its network has registered as many peers as it may in this time
    /// (`--registrations-per-network`).
    NetworkRate,
    /// It begins like a datagram of protocol v2, but is not well-formed.
    Malformed,
    /// Its sender is registered with another session, or without one. The source address
    /// may be forged.
    WrongSession,
    /// Its sender is not registered, and its session is not valid for a newcomer. The peer has
    /// expired, the server was restarted, or the session is forged. The reply, if there is one, is
    /// counted as a reply.
    UnknownSession,
    /// Its sender is new, and has not proven its address. The reply, if there is one, is counted as
    /// a reply.
    Unproven,
    /// Its sender is new, and `--allow` or `--deny` excludes it.
    Denied,
    /// Its sender is new, and the operator has banned its network.
    Banned,
    /// Its sender is new, and the operator has removed the peer with its address within the last
    /// half minute.
    Removed,
    /// Its sender is new, and the server is about to stop. A reply, if any, is counted as a reply.
    Draining,
    /// Its sender is new, and has a port below 1024, which belongs to a service and not to a peer.
    LowPort,
    /// Its source is a multicast or broadcast address.
    NotUnicast,
    /// It is a HELLO of an address that is not trusted and sends more than 100 per second.
    HelloLimit,
    /// It is a text of a peer that sends more texts than it may (`--texts-per-peer`).
    TextLimit,
    /// Its sender sends more bytes than it may (`--bytes-per-peer`).
    ByteLimit,
    /// It is a command of a peer that causes more work than it may (`--work-per-peer`).
    WorkLimit,
    /// It has no session, and a frame or an option that this version does not have. The reply, if
    /// there is one, is counted as a reply.
    UnknownFrame,
    /// It is a greeting. Two greeting servers would reply to each other without end.
    Greeting,
    /// It arrived after the datagram that `--once` waits for.
    Stopping,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 23] = [
        Self::OwnAddress,
        Self::OwnEcho,
        Self::PortZero,
        Self::PeersFull,
        Self::NetworkFull,
        Self::NetworkRate,
        Self::Malformed,
        Self::WrongSession,
        Self::UnknownSession,
        Self::Unproven,
        Self::Denied,
        Self::Banned,
        Self::Removed,
        Self::Draining,
        Self::LowPort,
        Self::NotUnicast,
        Self::HelloLimit,
        Self::TextLimit,
        Self::ByteLimit,
        Self::WorkLimit,
        Self::UnknownFrame,
        Self::Greeting,
        Self::Stopping,
    ];

    /// The reason in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnAddress => "own address",
            Self::OwnEcho => "own echo",
            Self::PortZero => "port 0",
            Self::PeersFull => "peers full",
            Self::NetworkFull => "network full",
            Self::NetworkRate => "network rate",
            Self::Malformed => "malformed",
            Self::WrongSession => "wrong session",
            Self::UnknownSession => "unknown session",
            Self::Unproven => "unproven",
            Self::Denied => "denied",
            Self::Banned => "banned",
            Self::Removed => "removed",
            Self::Draining => "draining",
            Self::LowPort => "port below 1024",
            Self::NotUnicast => "not unicast",
            Self::HelloLimit => "over hello limit",
            Self::TextLimit => "over text limit",
            Self::ByteLimit => "over byte limit",
            Self::WorkLimit => "over work limit",
            Self::UnknownFrame => "unknown frame",
            Self::Greeting => "greeting",
            Self::Stopping => "stopping",
        }
    }
}

/// Numbers of registered peers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Peers of version 1 of the protocol, whose addresses the operator trusts.
    pub v1_trusted: usize,
    /// Other peers of version 1.
    pub v1_untrusted: usize,
    /// Peers of version 2, whose addresses the operator trusts.
    pub v2_trusted: usize,
    /// Other peers of version 2.
    pub v2_untrusted: usize,
}

/// The state of the server at one moment.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// The workers, in the order of their numbers.
    pub workers: Vec<WorkerStats>,
    /// Registered peers.
    pub peers: usize,
    /// Peers that have expired.
    pub expired: u64,
    /// Rooms, including the lobby.
    pub rooms: usize,
    /// Presence notices and sentences of the operator sent, each to one peer.
    pub notices: u64,
    /// Those that the kernel did not take.
    pub notices_failed: u64,
    /// Log lines dropped because the log could not keep up.
    pub log_lines_shed: u64,
    /// Log lines dropped because there were too many of their kind in a second. The log has their
    /// numbers.
    pub log_lines_suppressed: u64,
    /// Alarms because another process can join the sockets of this server, or has joined them.
    pub group_alarms: u64,
    /// System calls of this process that its sandbox has refused. The log names them.
    pub calls_refused: u64,
    /// The cluster, or `None` without one.
    pub cluster: Option<ClusterStats>,
}

impl Stats {
    /// Returns the times of the plans of all workers.
    pub fn plan_times(&self) -> TimeCounts {
        let mut total = TimeCounts::default();
        for worker in &self.workers {
            total += &worker.plan_times;
        }
        total
    }

    /// Returns the sums over all workers.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for worker in &self.workers {
            total += worker.counts;
        }
        total
    }
}

/// A limit that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitInForce {
    /// The flag that sets it, without its dashes.
    pub flag: &'static str,
    /// The maximum, or `None` for no limit.
    pub max: Option<u64>,
    /// The maximum is one per second, of peers that are not trusted.
    pub is_rate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let counters = Counters::default();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            for _ in 0..=index {
                counters.drop_datagram(reason);
            }
        }
        let counts = counters.read();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(counts.dropped(reason), index as u64 + 1);
        }
        let reasons = DropReason::ALL.len() as u64;
        assert_eq!(counts.dropped_total(), reasons * (reasons + 1) / 2);
    }

    #[test]
    fn outcomes_of_deliveries_are_counted_field_by_field() {
        let counters = Counters::default();
        let tally = SendTally {
            sent: 1,
            congested: 20,
            refused: 300,
            split_packets: 4000,
        };
        let mut twice = tally;
        twice += tally;
        counters.add_tally(tally);
        counters.add_tally(twice);
        let expected = Counts {
            deliveries: 3,
            deliveries_congested: 60,
            deliveries_refused: 900,
            packets_split: 12_000,
            ..Counts::default()
        };
        assert_eq!(counters.read(), expected);
    }
}
