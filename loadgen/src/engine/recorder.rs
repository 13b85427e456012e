//! The counts and latencies of a thread. It hands them over every second, without waiting and
//! without allocating.

use crossbeam::channel::{Receiver, Sender};

use crate::engine::ports::Ports;
use crate::outcome::{Counts, Latencies, Second};

/// The records of one thread.
pub(crate) struct Recorder {
    pub(crate) counts: Counts,
    seconds: Vec<Second>,
    warmup_ns: u64,
    end_ns: u64,
    current: Box<Report>,
    handed_over: Counts,
    /// The drops of the sockets before the recording began.
    drops_before: Option<u64>,
    /// The time of the last look at the drops, since the load began.
    asked_ns: u64,
    /// The seconds whose loss was handed over.
    settled: usize,
    channel: Channel,
}

/// The records of a thread in about a second.
#[derive(Debug)]
pub(crate) struct Report {
    /// The thread, by its place.
    pub(crate) thread: usize,
    /// The seconds of the recording that have passed with this one.
    pub(crate) seconds: usize,
    pub(crate) counts: Counts,
    pub(crate) latencies: Latencies,
    /// The sums of the seconds that ended a second ago and were not handed over before.
    pub(crate) settled: Second,
}

/// The result of a thread.
pub(crate) struct ShardResult {
    /// The last report.
    pub(crate) report: Box<Report>,
    pub(crate) counts: Counts,
    pub(crate) seconds: Vec<Second>,
    /// The end of its load, since the load began.
    pub(crate) ended_ns: u64,
    pub(crate) largest_burst: u32,
    /// The last error with which the kernel refused to send.
    pub(crate) send_error: Option<i32>,
    /// Memory for what it knows of its clients.
    pub(crate) client_bytes: usize,
}

/// The way of reports to their reader, and back.
pub(crate) struct Channel {
    pub(crate) filled: Sender<Box<Report>>,
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

    /// Returns the second in which something was due, or nothing if that was before the recording.
    pub(crate) fn second(&mut self, due_ns: u64) -> Option<&mut Second> {
        let index = due_ns.checked_sub(self.warmup_ns)? / SECOND_NS;
        let last = self.seconds.len() - 1;
        Some(&mut self.seconds[last.min(index as usize)])
    }

    pub(crate) fn has_begun(&self, now_ns: u64) -> bool {
        now_ns >= self.warmup_ns
    }

    /// Returns true from the start of the recording to its end.
    pub(crate) fn is_open(&self, now_ns: u64) -> bool {
        self.has_begun(now_ns) && now_ns < self.end_ns
    }

    /// The histograms to record into.
    pub(crate) fn latencies(&mut self) -> &mut Latencies {
        &mut self.current.latencies
    }

    /// Returns the end of the present second of the recording.
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

    /// Ends the load. What comes from now on is part of the last second.
    pub(crate) fn end(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
    }

    /// Asks all sockets for the last time.
    pub(crate) fn close(&mut self, ports: &mut Ports) {
        ports.ask_for_drops(ports.len());
        self.note_drops(ports);
    }

    /// Returns the last report, all counts and all seconds.
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
    use crate::engine::partition::Targets;
    use crossbeam::channel::bounded;

    #[test]
    fn a_thread_that_stood_still_beyond_the_end_has_a_last_second_to_finish_with() {
        let (filled, reports) = bounded(2);
        let (back, emptied) = bounded(2);
        back.send(Report::new(0)).unwrap();
        let channel = Channel { filled, emptied };
        let targets = Targets::of(&crate::testing::config());
        let mut ports = Ports::open(Sockets::Shared, true, &targets, 0, 1).unwrap();
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
        // What is due in the second that has just ended may be under way.
        assert_eq!((first.settled.asked, last.settled.asked), (0, 3));
    }
}
