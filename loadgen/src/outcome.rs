//! The outcome of a run, second by second and in total.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::described::described;
use crate::units::{counted, ratio};

/// Defines a struct of counts, which can be added up and compared over time.
macro_rules! counts {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[doc = $meaning:literal])+ pub $field:ident: u64,)* }) => {
        described! {
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $name { $($(#[doc = $meaning])+ pub $field: u64,)* }
        }

        impl $name {
            /// Returns what was counted after `earlier`.
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($field: self.$field - earlier.$field,)* }
            }
        }

        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The start of the recording, as time since 1970.
    pub began_at: Duration,
    /// The length of the recording. It is shorter than requested if the run was stopped, or
    /// if the server said goodbye.
    pub recorded: Duration,
    /// The time until all clients were registered.
    pub registered_in: Duration,
    /// The counts of the whole recording.
    pub counts: Counts,
    /// The latencies of the whole recording.
    pub latencies: Latencies,
    /// The counts of each second, by the time at which datagrams were due.
    pub seconds: Vec<Second>,
    /// The resources that the generator used.
    pub generator: Generator,
    /// The resources that the server used, if its process is known and lived to the end.
    pub server: Option<ServerUse>,
    /// The signal that stopped the run.
    pub signal: Option<i32>,
    /// Set if the server said goodbye during the recording or the wait after it, which ended
    /// the run.
    pub server_said_goodbye: bool,
    /// The last time of a second or more in which nothing arrived although something was due.
    pub silence: Option<Silence>,
    /// Set if the server was gone during the load, or had forgotten its clients, and answered
    /// again.
    pub has_restarted: bool,
    /// The clients that the server has told a limit, if there are any.
    pub limited: Option<Limited>,
    /// The last error with which the generator's own kernel refused to send.
    pub send_error: Option<i32>,
    /// The CPU time that other processes of the machine had, the server included.
    pub others: Others,
}

/// Clients that the server limited, as it does not trust them. It dropped what they sent beyond
/// that, so the figures are no measure of its capacity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// The number of clients that were told a limit, each counted once.
    pub clients: u64,
    /// The first limit, as the server told it.
    pub limit: String,
    /// The network that the server must trust: this machine, as the server sees it.
    pub network: Option<String>,
}

/// CPU time during the load, warm-up included, of other processes of the generator's machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// The time of all of them together.
    pub cpu: Duration,
    /// The names and the times of those that had most, the first one first. Those that ended
    /// are not known.
    pub most: Vec<(String, Duration)>,
}

/// A time in which nothing arrived although something was due, counted from the start of the
/// recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// The target that was silent.
    pub target: SocketAddr,
    /// Its start.
    pub from: Duration,
    /// Its end. There is none if it lasted to the end of the run.
    pub to: Option<Duration>,
    /// Set if the kernel said that nothing listened there.
    pub is_refused: bool,
}

counts! {
    /// The load, and what became of it. Most counts are of datagrams that were due in the
    /// recording, whenever they arrived. `keepalives`, `left` and `joined` count what happened
    /// in the recording. `stray`, `received`, `received_bytes` and `own_drops` count what
    /// arrived from the start of the recording to the end of the wait after it.
    pub struct Counts {
        /// Datagrams that the schedule asked for.
        pub due: u64,
        /// Datagrams that were due and were sent.
        pub sent: u64,
        /// Requests that were sent: pings, or datagrams to the greeting service.
        pub asked: u64,
        /// Texts to rooms that were sent.
        pub texts: u64,
        /// Heartbeats of the schedule that were sent. Nobody answers them.
        pub heartbeats: u64,
        /// Extra heartbeats of clients that had nothing else to send.
        pub keepalives: u64,
        /// Clients that left.
        pub left: u64,
        /// Clients that came back.
        pub joined: u64,
        /// Bytes of UDP payload in the datagrams that were sent.
        pub sent_bytes: u64,

        /// Requests that were answered.
        pub answered: u64,
        /// Answers to requests that had been answered before.
        pub answered_again: u64,
        /// Requests that were not answered: `asked` less `answered`.
        pub unanswered: u64,
        /// Answers of the greeting service that fit several requests. They count in
        /// `answered`, and have no latency.
        pub unmatched: u64,

        /// Copies of texts that should arrive: one for each member of the room.
        pub expected: u64,
        /// Copies that were expected and arrived, each counted once.
        pub delivered: u64,
        /// Copies that were expected and did not arrive: `expected` less `delivered`.
        pub lost: u64,
        /// Copies that arrived more than once.
        pub repeated: u64,
        /// Delivered copies that arrived after a later one of the same sender.
        pub reordered: u64,
        /// Copies to clients that were just joining or leaving: neither wrong nor missed.
        pub not_expected: u64,
        /// Copies and answers so late that it is not known whether they had arrived before.
        /// They are neither in `delivered` nor in `answered`, and in no histogram.
        pub too_late: u64,
        /// Datagrams that should not arrive: of another room, run or session, never sent or not
        /// yet, answers that no client asked for, or not of the protocol.
        pub stray: u64,

        /// Datagrams that arrived, of all kinds.
        pub received: u64,
        /// Bytes of UDP payload in the datagrams that arrived.
        pub received_bytes: u64,
        /// Datagrams that the kernel dropped at the generator's own sockets, because it did
        /// not read them in time. The server did not lose them.
        pub own_drops: u64,
        /// Datagrams that the generator's own kernel refused to send.
        pub refused: u64,
    }
}

described! {
    /// Latencies, in nanoseconds.
    #[derive(Debug, Clone)]
    pub struct Latencies {
        /// From when a text was due until a member of its room received it.
        pub delivery: Histogram<u64>,
        /// From when a text was sent until a member of its room received it.
        #[key = "delivery-from-send"]
        pub delivery_from_send: Histogram<u64>,
        /// With several targets: from when a text was due until a member at the sender's own
        /// target received it.
        #[key = "delivery-same-node"]
        pub delivery_same_node: Histogram<u64>,
        /// With several targets: from when a text was due until a member at another target than
        /// the sender's received it.
        #[key = "delivery-other-node"]
        pub delivery_other_node: Histogram<u64>,
        /// From when a request was due until its answer arrived.
        pub answer: Histogram<u64>,
        /// From when a request was sent until its answer arrived.
        #[key = "answer-from-send"]
        pub answer_from_send: Histogram<u64>,
        /// From when a request was sent until its answer arrived, for a client that waits for
        /// each answer, at most 1 s, before it asks again. It leaves out the worst.
        #[key = "answer-closed-loop"]
        pub answer_closed_loop: Histogram<u64>,
        /// The generator's own delay: from when a datagram was due until it was sent. Valid up
        /// to a p99 of 1 ms.
        #[key = "send-lag"]
        pub send_lag: Histogram<u64>,
        /// The generator's own delay: from when its kernel had a packet until it read it. Valid
        /// up to a p99 of 1 ms.
        #[key = "receive-lag"]
        pub receive_lag: Histogram<u64>,
    }
}

counts! {
    /// The datagrams that were due in one second of the recording.
    pub struct Second {
        /// Datagrams due.
        pub due: u64,
        /// Datagrams that were due and were sent, at any time.
        pub sent: u64,
        /// Requests sent.
        pub asked: u64,
        /// Requests that were answered.
        pub answered: u64,
        /// Copies expected.
        pub expected: u64,
        /// Copies that were expected and arrived.
        pub delivered: u64,
    }
}

described! {
    /// The resources that the generator used.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
    pub struct Generator {
        /// CPU time of its threads.
        #[serde(rename = "cpu_s", with = "crate::units::seconds")]
        pub cpu: Duration,
        /// Time that its threads were ready to run and had no processor.
        #[serde(rename = "run_queue_delay_s", with = "crate::units::seconds")]
        pub run_queue_delay: Duration,
        /// Times that its threads got a processor.
        pub runs: u64,
        /// Time that the hypervisor gave the machine's processors to others, summed.
        #[serde(rename = "steal_s", with = "crate::units::seconds")]
        pub steal: Duration,
        /// The most datagrams that were due at once.
        pub largest_burst: u32,
        /// Threads that sent and received.
        pub threads: u16,
        /// Sockets.
        pub sockets: u32,
        /// Files open when the load began, sockets included.
        pub files: u32,
        /// Memory for the state of one client, without buffers.
        pub client_bytes: u32,
        /// The most memory that the process had.
        pub peak_memory_bytes: u64,
    }
}

described! {
    /// The resources that the server's process used.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ServerUse {
        /// CPU time of all its threads during the recording.
        #[serde(rename = "cpu_s", with = "crate::units::seconds")]
        pub cpu: Duration,
        /// The most memory that the process had since it started.
        pub peak_memory_bytes: u64,
    }
}

/// The records of one interval of about a second, while the run goes on.
#[derive(Debug)]
pub struct Sample<'a> {
    /// The start of the interval, counted from that of the recording.
    pub start: Duration,
    /// The length of the interval.
    pub length: Duration,
    /// The counts of the interval. `lost` and `unanswered` are those of the seconds that ended
    /// one second ago, since datagrams under way are not lost. The last sample has those of
    /// all remaining seconds.
    pub counts: Counts,
    /// The latencies of the interval.
    pub latencies: &'a Latencies,
}

impl Outcome {
    /// Returns true if the server went away for good, or another one took its place.
    pub fn is_server_gone(&self) -> bool {
        self.has_restarted || self.silence.is_some_and(|silence| silence.to.is_none())
    }

    /// Returns the share of what should arrive that the histogram of a latency leaves out: what
    /// was lost, unanswered, too late or without a known request. Latencies of another kind
    /// leave out nothing.
    pub fn left_out(&self, latency: &str) -> Option<f64> {
        let (counts, latencies) = (&self.counts, &self.latencies);
        let (expected, recorded) = match latency {
            "delivery" | "delivery-from-send" => (counts.expected, &latencies.delivery),
            "answer" | "answer-from-send" => (counts.asked, &latencies.answer),
            _ => return None,
        };
        ratio(expected.saturating_sub(recorded.len()), expected)
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            clients,
            limit,
            network,
        } = self;
        let (clients, were) = match clients {
            1 => ("1 client".to_owned(), "was"),
            _ => (counted(*clients, "client"), "were"),
        };
        let network = network.as_deref().unwrap_or("NET");
        write!(
            formatter,
            "limited: {clients} {were} told \"{limit}\": run the server with --trust {network}"
        )
    }
}

impl ServerUse {
    /// The meaning of [`Self::deliveries_per_cpu_s`].
    pub const PER_CPU_SECOND: &'static str =
        "Copies and answers that arrived per second of that CPU time.";

    /// Returns the copies and answers that arrived per second of the server's CPU time, if it
    /// took any.
    pub fn deliveries_per_cpu_s(&self, counts: &Counts) -> Option<f64> {
        let came = (counts.delivered + counts.answered) as f64;
        (!self.cpu.is_zero()).then(|| came / self.cpu.as_secs_f64())
    }
}

impl Latencies {
    /// Creates empty histograms.
    pub fn new() -> Self {
        let empty = || {
            Histogram::new_with_bounds(1, CEILING_NS, SIGNIFICANT_DIGITS)
                .expect("the bounds are in order")
        };
        Self {
            delivery: empty(),
            delivery_from_send: empty(),
            delivery_same_node: empty(),
            delivery_other_node: empty(),
            answer: empty(),
            answer_from_send: empty(),
            answer_closed_loop: empty(),
            send_lag: empty(),
            receive_lag: empty(),
        }
    }

    /// Adds the records of another one. The sum is exact.
    pub fn add(&mut self, other: &Self) {
        for (sum, part) in self.all_mut().into_iter().zip(other.named()) {
            *sum += part.1;
        }
    }

    /// Removes all records.
    pub fn clear(&mut self) {
        self.all_mut().into_iter().for_each(Histogram::reset);
    }

    /// Returns each histogram with its name, which is also its tag in histogram logs.
    pub fn named(&self) -> [(&'static str, &Histogram<u64>); 9] {
        let all = [
            &self.delivery,
            &self.delivery_from_send,
            &self.delivery_same_node,
            &self.delivery_other_node,
            &self.answer,
            &self.answer_from_send,
            &self.answer_closed_loop,
            &self.send_lag,
            &self.receive_lag,
        ];
        std::array::from_fn(|at| (Self::MEANINGS[at].0, all[at]))
    }

    fn all_mut(&mut self) -> [&mut Histogram<u64>; 9] {
        [
            &mut self.delivery,
            &mut self.delivery_from_send,
            &mut self.delivery_same_node,
            &mut self.delivery_other_node,
            &mut self.answer,
            &mut self.answer_from_send,
            &mut self.answer_closed_loop,
            &mut self.send_lag,
            &mut self.receive_lag,
        ]
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// The greatest latency that the histograms tell from others. A longer one counts as this long.
pub const CEILING_NS: u64 = (1 << 36) - 1;

/// Keeps the error of every value below 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;
