//! The summary of a run, for people.

use std::fmt::{Arguments, Write};

use hdrhistogram::Histogram;

use crate::cli::exit::signal_name;
use crate::config::{RunConfig, word};
use crate::outcome::{Counts, Latencies, Outcome};
use crate::output::Run;
use crate::percentiles::{MANY, longest, percentile, percentile_name, taken as taken_text};
use crate::units::{bytes, count, counted, latency, number, rate, share, share_of_one, span};
use crate::verdict::SloResult;

/// Returns some twenty lines, each with its end. Prose is broken at `columns`, if there are any.
pub(super) fn summary(run: &Run<'_>, columns: Option<usize>) -> String {
    let outcome = run.outcome;
    let mut text = Text {
        text: String::new(),
        columns: columns.unwrap_or(usize::MAX),
    };
    head(&mut text, run);
    text.blank();
    what_came(&mut text, outcome);
    text.blank();
    how_long(&mut text, outcome);
    text.blank();
    generator(&mut text, outcome);
    server(&mut text, outcome);
    objectives(&mut text, run.slos);
    text.text
}

/// Returns the verdict and its reasons in one line, with its end.
pub(super) fn verdict_line(run: &Run<'_>) -> String {
    let outcome = run.outcome;
    let missed: Vec<_> = run.slos.iter().filter(|slo| !slo.is_met).collect();
    let mut line = if let Some(cut) = cut_short(run.config, outcome).first() {
        match outcome.server_said_goodbye {
            true => format!("{}: {cut}", word_of_verdict(run)),
            false => cut.clone(),
        }
    } else if !run.verdict.is_valid() {
        format!(
            "{}: {}",
            word_of_verdict(run),
            run.verdict.invalid.join(" ")
        )
    } else if missed.is_empty() {
        let met: Vec<_> = run.slos.iter().map(ToString::to_string).collect();
        match met.is_empty() {
            true => "valid".to_owned(),
            false => format!("valid, objectives met: {}", met.join("; ")),
        }
    } else {
        let missed: Vec<_> = missed.iter().map(ToString::to_string).collect();
        format!("valid, objectives MISSED: {}", missed.join("; "))
    };
    line.push('\n');
    line
}

/// Lines of a summary.
struct Text {
    text: String,
    columns: usize,
}

impl Text {
    fn line(&mut self, line: Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn blank(&mut self) {
        self.line(format_args!(""));
    }

    /// Adds a row of a table.
    fn row(&mut self, name: &str, width: usize, columns: &[String]) {
        let columns: String = columns
            .iter()
            .map(|cell| format!("{cell:>width$}"))
            .collect();
        self.line(format_args!("  {name:<NAME$}{columns}"));
    }

    /// Adds prose, which is broken between words, and goes on below its beginning.
    fn prose(&mut self, name: &str, prose: &str) {
        let indent = if name.is_empty() { 2 } else { NAME + 2 };
        let mut line = format!("  {name}");
        let mut width = line.chars().count();
        for (index, word) in prose.split(' ').enumerate() {
            let begins = index == 0 && width < indent;
            let (gap, datagrams) = (usize::from(index > 0), word.chars().count());
            if index > 0 && width + gap + datagrams > self.columns {
                let _ = write!(line, "\n{:indent$}{word}", "");
                width = indent + datagrams;
            } else {
                let gap = if begins { indent - width } else { gap };
                let _ = write!(line, "{:gap$}{word}", "");
                width += gap + datagrams;
            }
        }
        self.line(format_args!("{line}"));
    }
}

fn word_of_verdict(run: &Run<'_>) -> &'static str {
    if run.outcome.silence.is_some() || run.outcome.server_said_goodbye {
        "FAILED"
    } else if run.verdict.is_valid() {
        "valid"
    } else {
        "INVALID"
    }
}

fn head(text: &mut Text, run: &Run<'_>) {
    let (config, outcome, verdict) = (run.config, run.outcome, run.verdict);
    let word_of_verdict = word_of_verdict(run);
    let (scenario, protocol) = (word(&config.scenario), word(&config.protocol));
    let (clients, targets) = (
        counted(config.clients.into(), "client"),
        config.targets_text(),
    );
    text.line(format_args!(
        "{word_of_verdict}: {} of {scenario}, {protocol}, {clients}, at {targets}",
        span(outcome.recorded)
    ));
    let cut_short = cut_short(config, outcome);
    for reason in verdict.invalid.iter().chain(&cut_short) {
        text.prose("", reason);
    }
}

/// Returns the reasons why a run ended early.
fn cut_short(config: &RunConfig, outcome: &Outcome) -> Vec<String> {
    let after = format!(
        "after {} of {}",
        span(outcome.recorded),
        span(config.duration)
    );
    let goodbye = outcome.server_said_goodbye;
    let goodbye = goodbye.then(|| format!("The server said goodbye {after}."));
    let signal = outcome.signal.map(signal_name);
    let signal = signal.map(|signal| format!("Stopped by {signal} {after}."));
    goodbye.into_iter().chain(signal).collect()
}

fn what_came(text: &mut Text, outcome: &Outcome) {
    let counts = &outcome.counts;
    let recorded_s = outcome.recorded.as_secs_f64();
    let per_s = |amount: u64| match recorded_s > 0.0 {
        true => rate(amount as f64 / recorded_s),
        false => "-".to_owned(),
    };
    let head = ["due", "done", "missing", "share", "per second"];
    text.row("", COUNT, &head.map(str::to_owned));
    let mut counted = |name, expected: u64, came: u64| {
        let missed = expected.saturating_sub(came);
        let counts = [expected, came, missed].map(count).into_iter();
        let cells: Vec<_> = counts
            .chain([share(missed, expected), per_s(came)])
            .collect();
        text.row(name, COUNT, &cells);
    };
    counted("sent", counts.due, counts.sent);
    if counts.expected > 0 {
        counted("deliveries", counts.expected, counts.delivered);
    }
    if counts.asked > 0 {
        counted("answers", counts.asked, counts.answered);
    }
    if let Some(oddities) = oddities(counts) {
        text.prose("also", &oddities);
    }
}

/// Returns the counts that are 0 in a good run, if any of them is not.
fn oddities(counts: &Counts) -> Option<String> {
    let all = [
        (counts.repeated, "repeated"),
        (counts.reordered, "reordered"),
        (counts.too_late, "too late"),
        (counts.answered_again, "answered again"),
        (counts.unmatched, "unmatched"),
        (counts.not_expected, "not_expected"),
        (counts.stray, "stray"),
    ];
    let there = all.iter().filter(|(amount, _)| *amount > 0);
    let parts: Vec<String> = there
        .map(|(amount, name)| format!("{} {name}", count(*amount)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn how_long(text: &mut Text, outcome: &Outcome) {
    let latencies = &outcome.latencies;
    let names = MANY.map(percentile_name).into_iter();
    let head: Vec<_> = names.chain(["max".to_owned()]).collect();
    text.row("", LATENCY, &head);
    let shown: Vec<(&str, &str, &Histogram<u64>)> = latencies
        .named()
        .into_iter()
        .zip(Latencies::MEANINGS)
        .map(|((name, recorded), (_, meaning))| (name, *meaning, recorded))
        .filter(|(name, _, recorded)| !name.ends_with("from-send") && !recorded.is_empty())
        .collect();
    for (name, _, recorded) in &shown {
        let taken = MANY
            .map(|percent| percentile(recorded, percent))
            .into_iter();
        let taken = taken.chain([longest(recorded)]);
        let taken = taken.map(|taken| taken.map_or("-".to_owned(), taken_text));
        text.row(name, LATENCY, &taken.collect::<Vec<_>>());
    }
    let left_out: Vec<_> = ["delivery", "answer"]
        .iter()
        .filter_map(|name| Some(format!("{name} {}", share_of_one(outcome.left_out(name)?))))
        .collect();
    if !left_out.is_empty() {
        let left_out = left_out.join(", ");
        text.prose(
            "left out",
            &format!("{left_out}: lost, unanswered or too late"),
        );
    }
    if !shown.is_empty() {
        text.blank();
    }
    for (name, meaning, _) in shown {
        text.prose(name, meaning);
    }
}

fn generator(text: &mut Text, outcome: &Outcome) {
    let (generator, counts) = (&outcome.generator, &outcome.counts);
    let available_s = outcome.recorded.as_secs_f64() * f64::from(generator.threads);
    let busy = match available_s > 0.0 {
        true => format!("{:.0} %", generator.cpu.as_secs_f64() / available_s * 100.0),
        false => "-".to_owned(),
    };
    let threads = counted(generator.threads.into(), "thread");
    let (waited, stolen) = (latency(generator.run_queue_delay), latency(generator.steal));
    text.prose(
        "generator",
        &format!("{threads} {busy} busy, kept waiting {waited}, stolen {stolen}"),
    );
    let (dropped, refused) = (count(counts.own_drops), count(counts.refused));
    let burst = count(generator.largest_burst.into());
    text.prose(
        "its kernel",
        &format!("dropped {dropped}, refused to send {refused}; up to {burst} due at once"),
    );
}

fn server(text: &mut Text, outcome: &Outcome) {
    let Some(server) = outcome.server else {
        return;
    };
    let (cpu, memory) = (span(server.cpu), bytes(server.peak_memory_bytes as f64));
    let mut used = format!("{cpu} of CPU time, at most {memory} of memory");
    if let Some(deliveries) = server.deliveries_per_cpu_s(&outcome.counts) {
        let deliveries = number(deliveries);
        used += &format!(", {deliveries} deliveries and answers per second of CPU time");
    }
    text.prose("server", &used);
}

fn objectives(text: &mut Text, slos: &[SloResult]) {
    let width = slos
        .iter()
        .map(|result| result.clause.chars().count())
        .max();
    let width = width.unwrap_or_default();
    for (index, result) in slos.iter().enumerate() {
        let name = if index == 0 { "objectives" } else { "" };
        let verdict = if result.is_met { "met" } else { "MISSED" };
        let (clause, measured) = (&result.clause, &result.sentence);
        text.line(format_args!(
            "  {name:<NAME$}{clause:<width$}  {verdict:<6}  {measured}"
        ));
    }
}

/// The widths of the name of a row, of a column of counts and of one of latencies.
const NAME: usize = 20;
const COUNT: usize = 11;
const LATENCY: usize = 9;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::ServerUse;
    use crate::testing::{outcome, pings, recorded};
    use crate::verdict::Verdict;

    /// The run with these reasons to be invalid.
    fn with_run<T>(
        outcome: &Outcome,
        invalid: &[&str],
        slos: &[SloResult],
        print: impl FnOnce(&Run<'_>) -> T,
    ) -> T {
        let invalid = invalid.iter().map(|reason| (*reason).to_owned()).collect();
        print(&Run {
            command: &[],
            config: &pings(50_000.0),
            outcome,
            verdict: &Verdict { invalid },
            slos,
        })
    }

    fn text(outcome: &Outcome, invalid: &[&str], slos: &[SloResult]) -> String {
        with_run(outcome, invalid, slos, |run| summary(run, None))
    }

    fn results() -> [SloResult; 2] {
        [("p99<5ms", true), ("delivery.loss<0.1%", false)].map(|(clause, is_met)| SloResult {
            clause: clause.into(),
            is_met,
            measured: Vec::new(),
            sentence: "what it was".into(),
            is_doubtful: false,
        })
    }

    fn mixed() -> Outcome {
        let mut outcome = outcome();
        let counts = &mut outcome.counts;
        (counts.due, counts.sent) = (500_000, 499_998);
        (counts.expected, counts.delivered, counts.lost) = (499_980, 499_480, 500);
        (counts.asked, counts.answered) = (450_000, 450_000);
        outcome.latencies.delivery = recorded(&[120_000, 1_250_000]);
        outcome.latencies.answer = recorded(&[90_000]);
        outcome.latencies.send_lag = recorded(&[4_000]);
        outcome.latencies.receive_lag = recorded(&[3_000]);
        outcome.generator.cpu = Duration::from_secs(6);
        outcome.generator.run_queue_delay = Duration::from_millis(12);
        outcome.generator.largest_burst = 12;
        outcome.server = Some(ServerUse {
            cpu: Duration::from_millis(2_500),
            peak_memory_bytes: 9 << 20,
        });
        outcome
    }

    #[test]
    fn it_is_aligned() {
        let mut outcome = mixed();
        outcome.latencies.answer_closed_loop = recorded(&[80_100]);
        let expected = "\
valid: 10 s of ping, v1, 10 clients, at 127.0.0.1:9999

                              due       done    missing      share per second
  sent                    500,000    499,998          2   <0.001 %   50,000/s
  deliveries              499,980    499,480        500    0.100 %   49,948/s
  answers                 450,000    450,000          0        0 %   45,000/s

                            p50      p90      p99    p99.9   p99.99      max
  delivery               120 µs  1.25 ms  1.25 ms  1.25 ms  1.25 ms  1.25 ms
  answer                90.0 µs  90.0 µs  90.0 µs  90.0 µs  90.0 µs  90.0 µs
  answer-closed-loop    80.1 µs  80.1 µs  80.1 µs  80.1 µs  80.1 µs  80.1 µs
  send-lag              4.00 µs  4.00 µs  4.00 µs  4.00 µs  4.00 µs  4.00 µs
  receive-lag           3.00 µs  3.00 µs  3.00 µs  3.00 µs  3.00 µs  3.00 µs
  left out            delivery >99.99 %, answer >99.99 %: lost, unanswered or
                      too late

  delivery            From when a text was due until a member of its room
                      received it.
  answer              From when a request was due until its answer arrived.
  answer-closed-loop  From when a request was sent until its answer arrived,
                      for a client that waits for each answer, at most 1 s,
                      before it asks again. It leaves out the worst.
  send-lag            The generator's own delay: from when a datagram was due
                      until it was sent. Valid up to a p99 of 1 ms.
  receive-lag         The generator's own delay: from when its kernel had a
                      packet until it read it. Valid up to a p99 of 1 ms.

  generator           1 thread 60 % busy, kept waiting 12.0 ms, stolen 0 ns
  its kernel          dropped 0, refused to send 0; up to 12 due at once
  server              2.5 s of CPU time, at most 9.44 MB of memory, 379,792
                      deliveries and answers per second of CPU time
  objectives          p99<5ms             met     what it was
                      delivery.loss<0.1%  MISSED  what it was
";
        let text = with_run(&outcome, &[], &results(), |run| summary(run, Some(78)));
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn all_targets_are_named_and_their_deliveries_told_apart() {
        let mut outcome = mixed();
        outcome.latencies.delivery_same_node = recorded(&[120_000]);
        outcome.latencies.delivery_other_node = recorded(&[1_250_000]);
        let text = summary(
            &Run {
                command: &[],
                config: &crate::testing::sample_run::config_of_nodes(),
                outcome: &outcome,
                verdict: &Verdict::default(),
                slos: &[],
            },
            None,
        );
        assert!(
            text.contains(" at 127.0.0.1:9999, 127.0.0.1:9998\n"),
            "{text}"
        );
        let rows = "\
  delivery               120 µs  1.25 ms  1.25 ms  1.25 ms  1.25 ms  1.25 ms
  delivery-same-node     120 µs   120 µs   120 µs   120 µs   120 µs   120 µs
  delivery-other-node   1.25 ms  1.25 ms  1.25 ms  1.25 ms  1.25 ms  1.25 ms
";
        assert!(text.contains(rows), "{text}");
    }

    #[test]
    fn what_is_wrong_with_a_run_comes_first() {
        let mut outcome = mixed();
        outcome.signal = Some(2);
        outcome.server_said_goodbye = true;
        outcome.counts.stray = 1234;
        outcome.counts.repeated = 5;
        let text = text(&outcome, &["It fell behind."], &[]);
        let begins = "FAILED: 10 s of ping, v1, 10 clients, at 127.0.0.1:9999\n  It fell behind.\n  \
                      The server said goodbye after 10 s of 10 s.\n  \
                      Stopped by Ctrl-C after 10 s of 10 s.\n";
        assert!(text.starts_with(begins), "{text}");
        assert!(
            text.contains("  also                5 repeated, 1,234 stray\n"),
            "{text}"
        );
        assert!(!text.contains("closed-loop"), "{text}");
    }

    #[test]
    fn a_run_in_which_nothing_came_has_no_table() {
        let mut outcome = outcome();
        outcome.recorded = Duration::ZERO;
        let text = text(&outcome, &[], &[]);
        assert!(text.contains("valid: 0 s of ping"), "{text}");
        assert!(!text.contains("answer "), "{text}");
    }

    #[test]
    fn the_verdict_is_one_line_with_its_reasons() {
        let line = |outcome: &Outcome, invalid: &[&str], slos: &[SloResult]| {
            with_run(outcome, invalid, slos, verdict_line)
        };
        let mut outcome = mixed();
        assert_eq!(line(&outcome, &[], &[]), "valid\n");
        let met = "valid, objectives met: p99<5ms: what it was\n";
        assert_eq!(line(&outcome, &[], &results()[..1]), met);
        let missed = "valid, objectives MISSED: delivery.loss<0.1%: what it was\n";
        assert_eq!(line(&outcome, &[], &results()), missed);
        let invalid = "INVALID: It slept. It read late.\n";
        let reasons = ["It slept.", "It read late."];
        assert_eq!(line(&outcome, &reasons, &results()), invalid);
        outcome.signal = Some(15);
        let stopped = "Stopped by SIGTERM after 10 s of 10 s.\n";
        assert_eq!(line(&outcome, &reasons, &[]), stopped);
        outcome.server_said_goodbye = true;
        let gone = "FAILED: The server said goodbye after 10 s of 10 s.\n";
        assert_eq!(line(&outcome, &[], &results()), gone);
    }
}
