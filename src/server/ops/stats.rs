//! What was counted: each worker writes counters of its own, anyone may read.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::net::SendTally;

/// A number that only grows. One thread alone may add to it; any may read it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. A load and a store, no locked instruction: there is one writer.
    pub fn add(&self, count: u64) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(count), Ordering::Relaxed);
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares the live counters and their copy at one moment, from one list.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The live counters of one worker, which is their one writer.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            dropped: [Counter; DropReason::ALL.len()],
        }

        /// A worker's counters at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            dropped: [u64; DropReason::ALL.len()],
        }

        impl Counters {
            /// The numbers so far.
            pub fn read(&self) -> Counts {
                Counts {
                    $($name: self.$name.get(),)*
                    dropped: std::array::from_fn(|reason| self.dropped[reason].get()),
                }
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
    /// Datagrams received. Each is also counted in one of `texts`,
    /// `heartbeats`, `leaves`, `commands`, `frames`, `greetings` or under one drop
    /// reason.
    datagrams_in,
    /// Texts of v1 peers.
    texts,
    /// Heartbeats of peers, new or known.
    heartbeats,
    /// Empty datagrams and `quit`, also those of unknown peers.
    leaves,
    /// Commands of v1 peers, right or wrong.
    commands,
    /// Datagrams of v2 peers, each with any number of frames.
    frames,
    /// Datagrams that the greeting service took up.
    greetings,
    /// Peers that registered.
    registered,
    /// Messages taken up for fan-out, from texts and from frames.
    messages,
    /// Messages shed, as their sender's share of the backlog was used up, or as
    /// their sender had left or expired by then.
    messages_shed,
    /// Datagrams sent to single peers: answers, each to all frames of one datagram, and
    /// direct messages.
    answers,
    /// The same, as far as the kernel did not take them.
    answers_failed,
    /// Frames not answered, as the answers to those before them in the same
    /// datagram filled a bundle; and direct messages beyond what one datagram may
    /// send.
    answers_shed,
    /// Deliveries, each of one message to one peer, that fan-out began with.
    /// Each becomes one of the next three.
    deliveries_planned,
    /// Deliveries that the kernel took.
    deliveries,
    /// Deliveries given up because the kernel had no space for them.
    deliveries_congested,
    /// Deliveries that the kernel refused, see [`SendTally::refused`].
    deliveries_refused,
    /// Packets of several datagrams that the kernel did not take as one, and
    /// that went datagram by datagram (no GSO on that way).
    packets_split,
    /// Datagrams that the kernel dropped before a worker saw them, as the
    /// socket's receive buffer was full. They are in no other number.
    kernel_drops,
    /// Datagrams longer than the 2048 bytes that are looked at. They are also
    /// counted as what their beginnings are.
    truncated,
    /// System calls for receiving that failed, for another reason than that
    /// nothing was there.
    receive_errors,
}

impl Counters {
    /// Counts one datagram that was dropped.
    pub fn drop_datagram(&self, reason: DropReason) {
        self.dropped[reason as usize].add(1);
    }

    /// Counts what became of a batch of deliveries.
    pub fn add_tally(&self, tally: SendTally) {
        self.deliveries.add(tally.sent);
        self.deliveries_congested.add(tally.congested);
        self.deliveries_refused.add(tally.refused);
        self.packets_split.add(tally.split_packets);
    }
}

impl Counts {
    /// Datagrams dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// What became of the datagrams received: these add up to `datagrams_in`.
    fn handled(&self) -> [(&'static str, u64); 7] {
        [
            ("texts", self.texts),
            ("heartbeats", self.heartbeats),
            ("leaves", self.leaves),
            ("commands", self.commands),
            ("of frames", self.frames),
            ("greetings", self.greetings),
            ("dropped", self.dropped_total()),
        ]
    }

    /// What became of the deliveries planned: these add up to
    /// `deliveries_planned`, when nothing is under way.
    fn delivered(&self) -> [(&'static str, u64); 3] {
        [
            ("sent", self.deliveries),
            ("given up", self.deliveries_congested),
            ("refused", self.deliveries_refused),
        ]
    }

    /// Datagrams dropped for whatever reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// Why a datagram was dropped. The doc of each says what makes it rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// It claims to come from one of the server's own addresses: an answer
    /// would come back as the next question, without end.
    OwnAddress,
    /// A text that begins as this server's own messages to its sender would: the
    /// sender is another server that repeats them, and so it would go on.
    OwnEcho,
    /// It claims to come from port 0, to which nothing can be sent.
    PortZero,
    /// Its sender is new, and the table of peers is full (`--max-peers`).
    PeersFull,
    /// It begins like a datagram of protocol v2, and is none.
    Malformed,
    /// Its session is not that of its sender, who may be forged.
    WrongSession,
    /// The system gave no random number for a new session.
    NoRandomness,
    /// It is a greeting itself: two greeting servers, each made to believe
    /// that the other one asked, would answer each other without end.
    Greeting,
    /// It came after the one datagram that `--once` answers.
    Stopping,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::OwnAddress,
        Self::OwnEcho,
        Self::PortZero,
        Self::PeersFull,
        Self::Malformed,
        Self::WrongSession,
        Self::NoRandomness,
        Self::Greeting,
        Self::Stopping,
    ];

    /// The reason as it is listed.
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnAddress => "own address",
            Self::OwnEcho => "own echo",
            Self::PortZero => "port 0",
            Self::PeersFull => "peers full",
            Self::Malformed => "malformed",
            Self::WrongSession => "wrong session",
            Self::NoRandomness => "no randomness",
            Self::Greeting => "greeting",
            Self::Stopping => "stopping",
        }
    }
}

/// A worker as others see it.
#[derive(Debug)]
pub struct WorkerInfo {
    /// The name of its thread.
    pub name: String,
    /// The core it is pinned to, once it is.
    pub core: OnceLock<usize>,
    /// Its counters, on cache lines that no other worker writes to.
    pub counters: CachePadded<Counters>,
}

/// A worker at one moment.
#[derive(Debug, Clone, Default)]
pub struct WorkerStats {
    /// The name of its thread.
    pub name: String,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// What it has counted.
    pub counts: Counts,
}

/// The whole server at one moment.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// In the order of their names.
    pub workers: Vec<WorkerStats>,
    /// Peers registered now.
    pub peers: usize,
    /// Peers dropped so far because they were not heard.
    pub expired: u64,
    /// Rooms now, with the lobby.
    pub rooms: usize,
    /// Notices of who came and went that were sent, each to one peer.
    pub notices: u64,
    /// Such notices that the kernel did not take.
    pub notices_failed: u64,
    /// Log lines not written because the log could not keep up.
    pub log_lines_shed: u64,
}

impl Stats {
    /// The counts of all workers together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for worker in &self.workers {
            total += worker.counts;
        }
        total
    }
}

/// The listing of the console: a row a thread, then what is worth knowing.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "thread      core   datagrams in   deliveries out")?;
        for WorkerStats { name, core, counts } in &self.workers {
            let core = core.map_or_else(|| "-".to_owned(), |core| core.to_string());
            let (datagrams, deliveries) = (counts.datagrams_in, counts.deliveries);
            writeln!(f, "{name:<11} {core:>4} {datagrams:>14} {deliveries:>16}")?;
        }
        let total = self.total();
        write!(f, "peers: {} now, {} expired", self.peers, self.expired)?;
        write_sum(f, "\ndatagrams", total.datagrams_in, &total.handled())?;
        write_sum(
            f,
            "\ndeliveries",
            total.deliveries_planned,
            &total.delivered(),
        )?;
        if self.rooms > 1 {
            write!(f, "\nrooms: {}", self.rooms)?;
        }
        for reason in DropReason::ALL {
            if total.dropped(reason) > 0 {
                write!(f, "\ndropped, {}: {}", reason.name(), total.dropped(reason))?;
            }
        }
        for (what, count) in [
            (
                "datagrams lost in the kernel, receive buffer full",
                total.kernel_drops,
            ),
            ("messages shed, backlog full", total.messages_shed),
            ("deliveries given up, no space", total.deliveries_congested),
            ("deliveries refused by the kernel", total.deliveries_refused),
            ("answers failed", total.answers_failed),
            (
                "frames not answered, too many in a datagram",
                total.answers_shed,
            ),
            ("packets sent in parts, no GSO", total.packets_split),
            ("receive errors", total.receive_errors),
            ("notices failed", self.notices_failed),
            ("log lines not written", self.log_lines_shed),
        ] {
            if count > 0 {
                write!(f, "\n{what}: {count}")?;
            }
        }
        Ok(())
    }
}

/// Writes `what: 12 = 10 texts + 2 heartbeats`, and what is missing as under way.
fn write_sum(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    sum: u64,
    parts: &[(&str, u64)],
) -> fmt::Result {
    write!(f, "{what}: {sum}")?;
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
        assert_eq!(counts.dropped_total(), 45);
    }

    #[test]
    fn what_became_of_deliveries_is_counted_field_by_field() {
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

    #[test]
    fn the_listing_sums_up_and_stays_silent_about_what_never_happened() {
        let mut counts = Counts {
            datagrams_in: 3,
            texts: 2,
            heartbeats: 1,
            deliveries_planned: 42,
            deliveries: 40,
            deliveries_refused: 1,
            ..Counts::default()
        };
        let worker = |name: &str, core, counts| WorkerStats {
            name: name.into(),
            core,
            counts,
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
            stats(counts).to_string(),
            "thread      core   datagrams in   deliveries out\n\
             worker-0       0              3               40\n\
             worker-1       -              3               40\n\
             peers: 2 now, 0 expired\n\
             datagrams: 6 = 4 texts + 2 heartbeats\n\
             deliveries: 84 = 80 sent + 2 refused + 2 under way\n\
             deliveries refused by the kernel: 2"
        );
        counts.deliveries_refused = 0;
        counts.dropped[DropReason::Malformed as usize] = 1;
        assert!(
            stats(counts)
                .to_string()
                .ends_with("\ndropped, malformed: 2")
        );
    }
}
