//! What a thread counts and records, and how it hands that over, second by second,
//! without waiting and without allocating.

use crossbeam::channel::{Receiver, Sender};

use crate::engine::ports::Ports;
use crate::outcome::{Counts, Latencies, Second};

/// The records of one thread.
pub(crate) struct Recorder {
    /// All that was counted.
    pub(crate) counts: Counts,
    seconds: Vec<Second>,
    warmup_ns: u64,
    end_ns: u64,
    current: Box<Report>,
    handed_over: Counts,
    /// What the sockets had dropped before the recording began.
    drops_before: Option<u64>,
    /// When they were asked last, since the load began.
    asked_ns: u64,
    /// The seconds whose loss was handed over.
    settled: usize,
    channel: Channel,
}

/// What a thread recorded in about a second.
#[derive(Debug)]
pub(crate) struct Report {
    /// The thread, by its place.
    pub(crate) thread: usize,
    /// The seconds of the recording that have passed with this one.
    pub(crate) seconds: usize,
    /// What it counted in this one.
    pub(crate) counts: Counts,
    /// What it recorded.
    pub(crate) latencies: Latencies,
    /// All that was due in the seconds that were over a second ago, and were not handed
    /// over before.
    pub(crate) settled: Second,
}

/// What a thread has to tell at its end.
pub(crate) struct ShardResult {
    /// What it had not handed over.
    pub(crate) report: Box<Report>,
    pub(crate) counts: Counts,
    pub(crate) seconds: Vec<Second>,
    /// When it offered nothing any more, since the load began.
    pub(crate) ended_ns: u64,
    pub(crate) largest_burst: u32,
    /// Memory for what it knows of its clients.
    pub(crate) client_bytes: usize,
}

/// How reports get to whoever reads them, and back to be filled again.
pub(crate) struct Channel {
    /// Where they go.
    pub(crate) filled: Sender<Box<Report>>,
    /// Where they come back, emptied.
    pub(crate) emptied: Receiver<Box<Report>>,
}

impl Recorder {
    /// A recorder of a run of so many seconds, that begins when it has warmed up and ends
    /// at `end_ns`, both since the load began.
    pub(crate) fn new(
        thread: usize,
        warmup_ns: u64,
        end_ns: u64,
        seconds: usize,
        channel: Channel,
    ) -> Self {
        Self {
            counts: Counts::default(),
            seconds: vec![Second::default(); seconds],
            warmup_ns,
            end_ns,
            current: Report::new(thread),
            handed_over: Counts::default(),
            drops_before: None,
            asked_ns: 0,
            settled: 0,
            channel,
        }
    }

    /// What is known of the second in which this was due; none: it was due before the
    /// recording, and does not count.
    pub(crate) fn second(&mut self, due_ns: u64) -> Option<&mut Second> {
        let index = due_ns.checked_sub(self.warmup_ns)? / SECOND_NS;
        let last = self.seconds.len() - 1;
        Some(&mut self.seconds[last.min(index as usize)])
    }

    /// Whether the recording has begun.
    pub(crate) fn has_begun(&self, now_ns: u64) -> bool {
        now_ns >= self.warmup_ns
    }

    /// Whether it has begun, and has not ended.
    pub(crate) fn is_open(&self, now_ns: u64) -> bool {
        self.has_begun(now_ns) && now_ns < self.end_ns
    }

    /// The histograms to record into.
    pub(crate) fn latencies(&mut self) -> &mut Latencies {
        &mut self.current.latencies
    }

    /// When the present second of the recording ends.
    pub(crate) fn next_report_ns(&self) -> u64 {
        self.warmup_ns + (self.current.seconds as u64 + 1) * SECOND_NS
    }

    /// Hands over what was recorded in the seconds that have passed. When the one who
    /// reads does not keep up, it stays here, and goes with the next one; so does what
    /// comes in the last second or later.
    pub(crate) fn hand_over(&mut self, now_ns: u64, ports: &mut Ports) {
        self.ask_for_drops(now_ns, ports);
        if now_ns < self.next_report_ns() || self.next_report_ns() >= self.end_ns {
            return;
        }
        // Of a thread that stood still beyond the end, too, the last second is not whole.
        let last_ns = now_ns.min(self.end_ns - 1);
        let seconds = ((last_ns - self.warmup_ns) / SECOND_NS) as usize;
        self.current.seconds = seconds;
        let Ok(empty) = self.channel.emptied.try_recv() else {
            return;
        };
        self.fill_in(seconds.saturating_sub(1));
        let filled = std::mem::replace(&mut self.current, empty);
        self.current.seconds = seconds;
        // There is space for every report there is; whoever reads may be gone.
        let _ = self.channel.filled.try_send(filled);
    }

    /// Nothing is offered any more: there is no whole second after this, and what comes
    /// now is part of the last one.
    pub(crate) fn end(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
    }

    /// Asks all sockets for the last time.
    pub(crate) fn close(&mut self, ports: &mut Ports) {
        ports.ask_for_drops(ports.len());
        self.note_drops(ports);
    }

    /// What was not handed over, all counts, and all seconds.
    pub(crate) fn finish(mut self) -> (Box<Report>, Counts, Vec<Second>) {
        self.fill_in(self.seconds.len());
        (self.current, self.counts, self.seconds)
    }

    /// Asks the sockets for their drops: each once a second, a few at a time, as to ask
    /// thousands takes milliseconds.
    fn ask_for_drops(&mut self, now_ns: u64, ports: &mut Ports) {
        let elapsed_ns = now_ns.saturating_sub(self.asked_ns).min(SECOND_NS);
        let due = (ports.len() as u64 * elapsed_ns / SECOND_NS) as usize;
        if due > 0 {
            self.asked_ns = now_ns;
            ports.ask_for_drops(due);
        }
        if self.has_begun(now_ns) {
            self.note_drops(ports);
        }
    }

    fn note_drops(&mut self, ports: &Ports) {
        let before = *self.drops_before.get_or_insert(ports.drops());
        self.counts.own_drops = ports.drops() - before;
    }

    /// Fills in the present report; the seconds up to `settled` are over for good.
    fn fill_in(&mut self, settled: usize) {
        let report = &mut self.current;
        report.counts = self.counts.since(&self.handed_over);
        self.handed_over = self.counts;
        report.settled = Second::default();
        for second in &self.seconds[self.settled.min(settled)..settled] {
            report.settled += *second;
        }
        self.settled = self.settled.max(settled);
    }
}

impl Report {
    /// One without contents.
    pub(crate) fn new(thread: usize) -> Box<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sockets;
    use crossbeam::channel::bounded;

    #[test]
    fn a_thread_that_stood_still_beyond_the_end_has_a_last_second_to_finish_with() {
        let (filled, reports) = bounded(2);
        let (back, emptied) = bounded(2);
        back.send(Report::new(0)).unwrap();
        let channel = Channel { filled, emptied };
        let target = "127.0.0.1:9".parse().unwrap();
        let mut ports = Ports::open(Sockets::Shared, true, target, 0, 1).unwrap();
        let mut recorder = Recorder::new(0, 0, 2 * SECOND_NS, 2, channel);
        recorder.second(SECOND_NS / 2).unwrap().asked = 1;
        recorder.second(SECOND_NS * 3 / 2).unwrap().asked = 2;
        recorder.counts.asked = 3;

        recorder.hand_over(5 * SECOND_NS, &mut ports);
        let first = reports.try_recv().unwrap();
        assert_eq!((first.seconds, first.counts.asked), (1, 3));
        recorder.hand_over(6 * SECOND_NS, &mut ports);
        assert!(reports.try_recv().is_err(), "the last one is not whole");
        let (last, counts, seconds) = recorder.finish();
        assert_eq!((counts.asked, seconds.len()), (3, 2));
        assert_eq!(first.settled.asked + last.settled.asked, 3);
    }
}
