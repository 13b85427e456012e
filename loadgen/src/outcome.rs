//! What a run has brought to light, second by second and in total.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A struct of counts that can be added up and told apart in time.
macro_rules! counts {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: u64,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name { $($(#[$field_meta])* pub $field: u64,)* }

        impl $name {
            /// What has come since it was `earlier`.
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
    /// When the recording began, as time since 1970.
    pub began_at: Duration,
    /// For how long it recorded: less than was asked for when it was stopped, or the server
    /// said goodbye.
    pub recorded: Duration,
    /// How long all clients took to come, and to be answered.
    pub registered_in: Duration,
    /// The counts of all that was recorded.
    pub counts: Counts,
    /// How long everything took.
    pub latencies: Latencies,
    /// What each second had, by the time that things were due.
    pub seconds: Vec<Second>,
    /// How the generator itself fared.
    pub generator: Generator,
    /// What the server took, if its process was named and was there to the end.
    pub server: Option<ServerUse>,
    /// The signal that ended it early.
    pub signal: Option<i32>,
    /// Whether the server said goodbye while it recorded, or while what was under way was
    /// waited for: that ended it.
    pub server_said_goodbye: bool,
}

counts! {
    /// What was offered, and what became of it, in three groups: what was due in the
    /// recorded time, whenever it came; what happened in that time, which are `keepalives`,
    /// `left` and `joined`; and what came from the beginning of the recording on, until
    /// nothing was waited for any more, which are `stray`, `received`, `received_bytes` and
    /// `own_drops`.
    pub struct Counts {
        /// Datagrams that were due.
        pub due: u64,
        /// Of these, those that were sent.
        pub sent: u64,
        /// Of these, those that ask for an answer: pings, or datagrams to the greeting
        /// service.
        pub asked: u64,
        /// Of these, texts.
        pub texts: u64,
        /// Of these, heartbeats.
        pub heartbeats: u64,
        /// Heartbeats beside the schedule, of clients that had nothing else to send.
        pub keepalives: u64,
        /// Clients that left.
        pub left: u64,
        /// Clients that came back.
        pub joined: u64,
        /// Bytes of UDP payload in the datagrams that were sent.
        pub sent_bytes: u64,

        /// Answers, each request counted once.
        pub answered: u64,
        /// Answers to what had been answered before.
        pub answered_again: u64,
        /// Requests that were not answered: asked less answered.
        pub unanswered: u64,
        /// Answers of the greeting service of which nobody knows to what, as another one
        /// was under way or lost: they are counted in `answered`, and have no latency.
        pub unmatched: u64,

        /// Copies of texts that clients were owed: members of the room when it was sent.
        pub owed: u64,
        /// Of these, those that came, each counted once.
        pub delivered: u64,
        /// Of these, those that did not: owed less delivered.
        pub lost: u64,
        /// Copies that came again.
        pub repeated: u64,
        /// Of the delivered, those that came after a later one of the same sender.
        pub reordered: u64,
        /// Copies that came to a client that was about to join or to leave, and to which
        /// they were not owed: neither wrong nor missed.
        pub unowed: u64,
        /// Copies and answers so late that nobody remembers whether they had come before.
        /// They are neither `delivered` nor `answered`, and in no histogram.
        pub too_late: u64,
        /// What should not have come: of another room, another run, never sent or not yet,
        /// the answer to what a client did not ask, or no datagram of the protocol.
        pub stray: u64,

        /// Datagrams that came, of all kinds.
        pub received: u64,
        /// Their bytes of UDP payload.
        pub received_bytes: u64,
        /// Datagrams that the kernel dropped at the generator's own sockets, as it did
        /// not read them soon enough: neither the server's nor the network's loss.
        pub own_drops: u64,
        /// Datagrams that the generator's own kernel refused to send.
        pub refused: u64,
    }
}

/// How long things took, in nanoseconds.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// From when a text was due until a member of its room had it.
    pub delivery: Histogram<u64>,
    /// The same from when it was in fact sent.
    pub delivery_from_send: Histogram<u64>,
    /// From when a request was due until its answer was there.
    pub answer: Histogram<u64>,
    /// The same from when it was in fact sent.
    pub answer_from_send: Histogram<u64>,
    /// The same of those requests alone that a client would have sent that waits for each
    /// answer, for 1 s at most, before it asks again: what a generator would report that
    /// does so, and omits the worst (coordinated omission).
    pub answer_closed_loop: Histogram<u64>,
    /// From when a datagram was due until it was sent: the generator's own delay.
    pub send_lag: Histogram<u64>,
    /// From when the kernel had the first packet of a batch until it was read, for each
    /// packet of the batch: what the generator added to what it heard, at the most.
    pub hear_lag: Histogram<u64>,
}

counts! {
    /// What was due in one second of the recording.
    pub struct Second {
        /// Datagrams due.
        pub due: u64,
        /// Of these, those sent, whenever that was.
        pub sent: u64,
        /// Requests sent.
        pub asked: u64,
        /// Of these, those answered.
        pub answered: u64,
        /// Copies owed.
        pub owed: u64,
        /// Of these, those delivered.
        pub delivered: u64,
    }
}

/// How the generator itself fared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Generator {
    /// CPU time that its threads took.
    pub cpu: Duration,
    /// For how long they were ready to run, and did not: others had their processors.
    pub run_queue_delay: Duration,
    /// How often they were given a processor.
    pub runs: u64,
    /// For how long the machine's processors were not this machine's, summed.
    pub steal: Duration,
    /// The most datagrams that were due at once.
    pub largest_burst: u32,
    /// Threads.
    pub threads: u16,
    /// Sockets.
    pub sockets: u32,
    /// Files open when the load began, sockets included.
    pub files: u32,
    /// Memory for what is known of the clients, in bytes a client, without buffers.
    pub client_bytes: u32,
    /// Memory of the process at its most, in bytes.
    pub peak_memory_bytes: u64,
}

/// What the server's process took while the load was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerUse {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// Its memory at its most since it started, in bytes.
    pub peak_memory_bytes: u64,
}

/// What came in one interval, about a second, while the run goes on.
#[derive(Debug)]
pub struct Sample<'a> {
    /// When it began, since the recording did.
    pub start: Duration,
    /// How long it was.
    pub length: Duration,
    /// What was counted in it. `lost` and `unanswered` are those of the seconds that were
    /// over a second ago, and in no sample before: what is under way is no loss. In the
    /// last one they are those of all seconds that remain.
    pub counts: Counts,
    /// What was recorded in it.
    pub latencies: &'a Latencies,
}

impl ServerUse {
    /// Copies and answers that came, a second of its CPU time; none: it took none.
    pub fn deliveries_per_cpu_s(&self, counts: &Counts) -> Option<f64> {
        let came = (counts.delivered + counts.answered) as f64;
        (!self.cpu.is_zero()).then(|| came / self.cpu.as_secs_f64())
    }
}

impl Latencies {
    /// Without records.
    pub fn new() -> Self {
        let empty = || {
            Histogram::new_with_bounds(1, MAX_LATENCY_NS, SIGNIFICANT_DIGITS)
                .expect("the bounds are in order")
        };
        Self {
            delivery: empty(),
            delivery_from_send: empty(),
            answer: empty(),
            answer_from_send: empty(),
            answer_closed_loop: empty(),
            send_lag: empty(),
            hear_lag: empty(),
        }
    }

    /// Adds what another one recorded. The sum is exact: it is what one would have
    /// that had recorded all.
    pub fn add(&mut self, other: &Self) {
        for (sum, part) in self.all_mut().into_iter().zip(other.named()) {
            *sum += part.1;
        }
    }

    /// Forgets all records.
    pub fn clear(&mut self) {
        self.all_mut().into_iter().for_each(Histogram::reset);
    }

    /// Each with its name, which is the tag in histogram logs.
    pub fn named(&self) -> [(&'static str, &Histogram<u64>); 7] {
        [
            ("delivery", &self.delivery),
            ("delivery-from-send", &self.delivery_from_send),
            ("answer", &self.answer),
            ("answer-from-send", &self.answer_from_send),
            ("answer-closed-loop", &self.answer_closed_loop),
            ("send-lag", &self.send_lag),
            ("hear-lag", &self.hear_lag),
        ]
    }

    fn all_mut(&mut self) -> [&mut Histogram<u64>; 7] {
        [
            &mut self.delivery,
            &mut self.delivery_from_send,
            &mut self.answer,
            &mut self.answer_from_send,
            &mut self.answer_closed_loop,
            &mut self.send_lag,
            &mut self.hear_lag,
        ]
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// What takes longer is recorded as this long: far above the time after which a run
/// waits for nothing any more.
const MAX_LATENCY_NS: u64 = 60_000_000_000;

/// Every value is recorded with an error below 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;
