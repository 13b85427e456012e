//! What a thread counts and records, and how it hands that over, second by second,
//! without waiting and without allocating.

use crossbeam::channel::{Receiver, Sender};

use crate::engine::ports::Ports;
use crate::outcome::{Counts, Latencies, Second};

/// The records of one thread.
pub struct Recorder {
    /// All that was counted.
    pub counts: Counts,
    seconds: Vec<Second>,
    warmup_ns: u64,
    end_ns: u64,
    current: Box<Report>,
    handed_over: Counts,
    /// What the sockets had dropped before the recording began.
    drops_before: Option<u64>,
    channel: Channel,
}

/// What a thread recorded in about a second.
#[derive(Debug)]
pub struct Report {
    /// The thread, by its place.
    pub thread: usize,
    /// The seconds of the recording that have passed with this one.
    pub seconds: usize,
    /// What it counted in this one.
    pub counts: Counts,
    /// What it recorded.
    pub latencies: Latencies,
    /// All that was due in the second before it.
    pub settled: Second,
}

/// How reports get to whoever reads them, and back to be filled again.
pub struct Channel {
    /// Where they go.
    pub filled: Sender<Box<Report>>,
    /// Where they come back, emptied.
    pub emptied: Receiver<Box<Report>>,
}

impl Recorder {
    /// A recorder of a run of so many seconds, that begins when it has warmed up and ends
    /// at `end_ns`, both since the load began.
    pub fn new(
        thread: usize,
        warmup_ns: u64,
        end_ns: u64,
        seconds: usize,
        channel: Channel,
    ) -> Self {
        Self {
            counts: Counts::default(),
            // Those that are due last may be due in the second after it.
            seconds: vec![Second::default(); seconds + 1],
            warmup_ns,
            end_ns,
            current: Report::new(thread),
            handed_over: Counts::default(),
            drops_before: None,
            channel,
        }
    }

    /// What is known of the second in which this was due; none: it was due before the
    /// recording, and does not count.
    pub fn second(&mut self, due_ns: u64) -> Option<&mut Second> {
        let index = due_ns.checked_sub(self.warmup_ns)? / SECOND_NS;
        let last = self.seconds.len() - 1;
        Some(&mut self.seconds[last.min(index as usize)])
    }

    /// Whether the recording has begun.
    pub fn has_begun(&self, now_ns: u64) -> bool {
        now_ns >= self.warmup_ns
    }

    /// Whether it has begun, and has not ended.
    pub fn is_open(&self, now_ns: u64) -> bool {
        self.has_begun(now_ns) && now_ns < self.end_ns
    }

    /// The histograms to record into.
    pub fn latencies(&mut self) -> &mut Latencies {
        &mut self.current.latencies
    }

    /// When the present second of the recording ends.
    pub fn next_report_ns(&self) -> u64 {
        self.warmup_ns + (self.current.seconds as u64 + 1) * SECOND_NS
    }

    /// Hands over what was recorded in the seconds that have passed. When the one who
    /// reads does not keep up, it stays here, and goes with the next one; so does what
    /// comes in the last second or later.
    pub fn hand_over(&mut self, now_ns: u64, ports: &Ports) {
        if self.drops_before.is_none() && self.has_begun(now_ns) {
            self.drops_before = Some(ports.drops());
        }
        if now_ns < self.next_report_ns() || self.next_report_ns() >= self.end_ns {
            return;
        }
        let seconds = ((now_ns - self.warmup_ns) / SECOND_NS) as usize;
        self.current.seconds = seconds;
        let Ok(empty) = self.channel.emptied.try_recv() else {
            return;
        };
        self.fill_in(seconds, ports);
        let filled = std::mem::replace(&mut self.current, empty);
        self.current.seconds = seconds;
        // There is space for every report there is; whoever reads may be gone.
        let _ = self.channel.filled.try_send(filled);
    }

    /// Nothing is offered any more: there is no whole second after this, and what comes
    /// now is part of the last one.
    pub fn end(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
    }

    /// Ends the recording: what was not handed over, all counts, and all seconds.
    pub fn finish(mut self, ports: &Ports) -> (Box<Report>, Counts, Vec<Second>) {
        self.fill_in(self.seconds.len(), ports);
        (self.current, self.counts, self.seconds)
    }

    fn fill_in(&mut self, seconds: usize, ports: &Ports) {
        if let Some(before) = self.drops_before {
            // Each socket counts in 32 bits, and may begin anew.
            self.counts.own_drops = ports.drops().saturating_sub(before);
        }
        let report = &mut self.current;
        report.counts = self.counts.since(&self.handed_over);
        self.handed_over = self.counts;
        let settled = seconds
            .checked_sub(2)
            .and_then(|index| self.seconds.get(index));
        report.settled = settled.copied().unwrap_or_default();
    }
}

impl Report {
    /// One without contents.
    pub fn new(thread: usize) -> Box<Self> {
        Box::new(Self {
            thread,
            seconds: 0,
            counts: Counts::default(),
            latencies: Latencies::new(),
            settled: Second::default(),
        })
    }
}

const SECOND_NS: u64 = 1_000_000_000;
