//! The operator's prompt on standard input and output.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp};

use super::stats::{Counts, DropReason, Stats, WorkerStats};

/// Reads commands until the end of the input. `quit` calls `stop` and ends the console.
/// Anything else lists the result of `stats`. Nobody has to read the output: a listing that
/// finds no space is dropped.
pub fn run(stats: impl Fn() -> Stats, stop: impl FnOnce()) {
    // A descriptor of its own, because the standard library's input hides whether it
    // has read ahead.
    let Ok(input) = io::stdin().as_fd().try_clone_to_owned() else {
        return;
    };
    let Ok(output) = Output::start() else {
        return;
    };
    let mut input = BufReader::new(File::from(input));
    let mut line = Vec::new();
    let mut is_rest_of_line = false;
    let mut allowance = Allowance::new(Instant::now());
    output.print(PROMPT.to_owned());
    loop {
        if input.buffer().is_empty() {
            // A program that writes lines without end must not take a core.
            if allowance.is_used_up() {
                thread::sleep(FLOOD_INTERVAL);
            }
            wait_for_input(input.get_ref());
        }
        line.clear();
        match input
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
        {
            Ok(0) => return output.finish(),
            Ok(_) if is_quit(&line) && !is_rest_of_line => {
                output.finish();
                return stop();
            }
            Ok(_) => {}
            Err(error) if is_transient(&error) => continue,
            Err(_) => return output.finish(),
        }
        is_rest_of_line = line.last() != Some(&b'\n');
        if !is_rest_of_line && allowance.take(Instant::now()) {
            output.print(format!("{}\n{PROMPT}", Listing(&stats())));
        }
    }
}

/// The number of listings that may still be printed in this second.
struct Allowance {
    second: Instant,
    left: u32,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            left: MAX_LISTINGS_PER_SECOND,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let is_allowed = !self.is_used_up();
        self.left = self.left.saturating_sub(1);
        is_allowed
    }

    fn is_used_up(&self) -> bool {
        self.left == 0
    }
}

/// The standard output, which a thread of its own writes to. So a reader that does not read, or a
/// terminal that is halted, does not keep the console from its input.
struct Output {
    texts: Sender<String>,
    /// Disconnected when everything has been written.
    written: Receiver<()>,
}

impl Output {
    fn start() -> io::Result<Self> {
        let (texts, printed) = bounded::<String>(MAX_QUEUED_TEXTS);
        let (writing, written) = bounded(0);
        let write = move || {
            let (_writing, mut output) = (writing, io::stdout());
            for text in printed {
                // Errors are ignored, because the reader may have gone.
                let _ = output.write_all(text.as_bytes());
                let _ = output.flush();
            }
        };
        let thread = thread::Builder::new().name("console-output".into());
        thread.spawn(write)?;
        Ok(Self { texts, written })
    }

    /// Prints `text`, unless the queue is full.
    fn print(&self, text: String) {
        let _ = self.texts.try_send(text);
    }

    /// Waits until everything has been written, for a bounded time.
    fn finish(self) {
        drop(self.texts);
        let _ = self.written.recv_timeout(FINISH_LIMIT);
    }
}

/// The statistics as the console prints them: a row per worker, then the sums.
pub struct Listing<'a>(pub &'a Stats);

impl Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stats) = self;
        writeln!(f, "thread      core   datagrams in   deliveries out")?;
        for WorkerStats { name, core, counts } in &stats.workers {
            let core = core.map_or_else(|| "-".to_owned(), |core| core.to_string());
            let (datagrams, deliveries) = (counts.datagrams_in, counts.deliveries);
            writeln!(f, "{name:<11} {core:>4} {datagrams:>14} {deliveries:>16}")?;
        }
        let total = stats.total();
        write!(f, "peers: {} now, {} expired", stats.peers, stats.expired)?;
        write_sum(f, "datagrams", total.datagrams_in, &handled(&total))?;
        write_sum(
            f,
            "deliveries",
            total.deliveries_planned,
            &delivered(&total),
        )?;
        if stats.rooms > 1 {
            write!(f, "\nrooms: {}", stats.rooms)?;
        }
        for reason in DropReason::ALL {
            if total.dropped(reason) > 0 {
                write!(f, "\ndropped, {}: {}", reason.name(), total.dropped(reason))?;
            }
        }
        for (what, count) in losses(stats, &total) {
            if count > 0 {
                write!(f, "\n{what}: {count}")?;
            }
        }
        Ok(())
    }
}

/// The outcomes of the datagrams received. Their sum is `datagrams_in`.
fn handled(counts: &Counts) -> [(&'static str, u64); 7] {
    [
        ("texts", counts.texts),
        ("heartbeats", counts.heartbeats),
        ("leaves", counts.leaves),
        ("commands", counts.commands),
        ("of frames", counts.frames),
        ("greetings", counts.greetings),
        ("dropped", counts.dropped_total()),
    ]
}

/// The outcomes of the deliveries begun. Their sum is `deliveries_planned` when nothing is
/// under way.
fn delivered(counts: &Counts) -> [(&'static str, u64); 4] {
    [
        ("sent", counts.deliveries),
        ("given up", counts.deliveries_congested),
        ("refused", counts.deliveries_refused),
        ("shed", counts.deliveries_shed),
    ]
}

/// The counts that are listed only when they are not 0.
fn losses(stats: &Stats, total: &Counts) -> [(&'static str, u64); 16] {
    [
        (
            "datagrams lost in the kernel, receive buffer full",
            total.kernel_drops,
        ),
        ("messages shed, backlog full", total.messages_shed),
        ("commands dropped, sender expired", total.commands_expired),
        ("deliveries given up, no space", total.deliveries_congested),
        ("deliveries refused by the kernel", total.deliveries_refused),
        ("deliveries shed, worker stuck", total.deliveries_shed),
        ("replies failed", total.replies_failed),
        (
            "frames without a reply, too many in a datagram",
            total.replies_shed,
        ),
        ("datagrams cut at an unknown frame", total.frames_unknown),
        ("datagrams cut, sender over a limit", total.frames_limited),
        ("packets sent in parts, no GSO", total.packets_split),
        (
            "peers set apart, packets do not leave",
            total.peers_set_apart,
        ),
        ("receive errors", total.receive_errors),
        ("alarms, sockets can be joined", stats.group_alarms),
        ("notices failed", stats.notices_failed),
        ("log lines not written", stats.log_lines_shed),
    ]
}

/// Writes `what: 12 = 10 texts + 2 heartbeats`. The rest of the sum is under way.
fn write_sum(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    sum: u64,
    parts: &[(&str, u64)],
) -> fmt::Result {
    write!(f, "\n{what}: {sum}")?;
    let known: u64 = parts.iter().map(|(_, count)| count).sum();
    let rest = ("under way", sum.saturating_sub(known));
    let parts = parts.iter().chain([&rest]);
    let parts = parts.filter(|(_, count)| *count > 0);
    for ((name, count), sign) in parts.zip(std::iter::once('=').chain(std::iter::repeat('+'))) {
        write!(f, " {sign} {count} {name}")?;
    }
    Ok(())
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

fn is_quit(line: &[u8]) -> bool {
    line.trim_ascii().eq_ignore_ascii_case(b"quit")
}

/// Waits for input. The kernel stops all threads of a program that reads from its
/// terminal in the background, so this returns only while the program is in the
/// foreground.
fn wait_for_input(input: &File) {
    loop {
        let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        // The read that follows reports any error.
        let _ = poll(&mut fds, PollTimeout::NONE);
        let is_in_background = || tcgetpgrp(input).is_ok_and(|group| group != getpgrp());
        if !(input.is_terminal() && is_in_background()) {
            return;
        }
        thread::sleep(FOREGROUND_INTERVAL);
    }
}

/// More than a person can read. It takes less than 1 % of a core.
const MAX_LISTINGS_PER_SECOND: u32 = 100;

/// Time between two reads when more lines come than are answered. A `quit` after thousands of lines
/// is still read within a second: one read takes up to 8 KiB.
const FLOOD_INTERVAL: Duration = Duration::from_millis(10);

/// Maximum number of listings that wait to be written.
const MAX_QUEUED_TEXTS: usize = 16;

/// Maximum time for the last listings before the console ends. A terminal takes them at once.
const FINISH_LIMIT: Duration = Duration::from_millis(100);

/// Longer than any line that a person types.
const MAX_LINE_BYTES: u64 = 1024;

/// The tutorial's prompt.
const PROMPT: &str = ">>>>: ";

/// Short enough for a person who has just typed `fg`.
const FOREGROUND_INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ops::stats::Counters;

    #[test]
    fn quit_may_have_space_around_it_and_any_case() {
        for line in [&b"quit\n"[..], b"  QUIT \r\n", b"Quit"] {
            assert!(is_quit(line), "{line:?}");
        }
        for line in [&b"\n"[..], b"quit now\n", b"q\n", b"\xff\n"] {
            assert!(!is_quit(line), "{line:?}");
        }
    }

    #[test]
    fn a_flood_of_lines_is_answered_a_hundred_times_per_second() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        for ms in [0, 999, 1_000, 1_500, 5_000] {
            let now = start + Duration::from_millis(ms);
            let allowed = (0..500).filter(|_| allowance.take(now)).count();
            let is_new_second = [0, 1_000, 5_000].contains(&ms);
            assert_eq!(allowed, if is_new_second { 100 } else { 0 }, "at {ms}");
            assert!(allowance.is_used_up());
        }
    }

    #[test]
    fn the_listing_omits_what_never_happened() {
        let mut counts = Counts::default();
        counts.datagrams_in = 3;
        counts.texts = 2;
        counts.heartbeats = 1;
        counts.deliveries_planned = 42;
        counts.deliveries = 40;
        counts.deliveries_refused = 1;
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
            Listing(&stats(counts)).to_string(),
            "thread      core   datagrams in   deliveries out\n\
             worker-0       0              3               40\n\
             worker-1       -              3               40\n\
             peers: 2 now, 0 expired\n\
             datagrams: 6 = 4 texts + 2 heartbeats\n\
             deliveries: 84 = 80 sent + 2 refused + 2 under way\n\
             deliveries refused by the kernel: 2"
        );
        counts.deliveries_refused = 0;
        let counters = Counters::default();
        counters.drop_datagram(DropReason::Malformed);
        counts += counters.read();
        assert!(
            Listing(&stats(counts))
                .to_string()
                .ends_with("\ndropped, malformed: 2")
        );
    }
}
