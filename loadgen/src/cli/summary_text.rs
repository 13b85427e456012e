//! A run as a person reads it at its end.

use std::fmt::Write;

use hdrhistogram::Histogram;

use crate::config::RunConfig;
use crate::config::word;
use crate::outcome::{Counts, Outcome};
use crate::percentiles::{MANY, longest, percentile, percentile_name};
use crate::units::{bytes, count, latency, number, rate, share, span};
use crate::verdict::SloResult;

/// Some twenty lines, each with its end; `invalid` is empty if the run is valid.
pub(super) fn summary(
    config: &RunConfig,
    outcome: &Outcome,
    invalid: &[String],
    slo: &[SloResult],
) -> String {
    let mut text = String::new();
    head(&mut text, config, outcome, invalid);
    text.push('\n');
    what_came(&mut text, outcome);
    text.push('\n');
    how_long(&mut text, outcome);
    text.push('\n');
    generator(&mut text, outcome);
    server(&mut text, outcome);
    objectives(&mut text, slo);
    text
}

fn head(text: &mut String, config: &RunConfig, outcome: &Outcome, invalid: &[String]) {
    let verdict = if invalid.is_empty() {
        "valid"
    } else {
        "INVALID"
    };
    let recorded = span(outcome.recorded);
    let (scenario, protocol) = (word(&config.scenario), word(&config.protocol));
    let (clients, target) = (count(config.clients.into()), config.target);
    let s = if config.clients == 1 { "" } else { "s" };
    line(
        text,
        format_args!(
            "{verdict}: {recorded} of {scenario}, {protocol}, {clients} client{s}, at {target}"
        ),
    );
    for reason in invalid {
        line(text, format_args!("  {reason}"));
    }
    let asked = span(config.duration);
    if outcome.server_said_goodbye {
        line(
            text,
            format_args!("  The server said goodbye: {asked} were asked for."),
        );
    }
    if let Some(signal) = outcome.signal {
        line(
            text,
            format_args!("  Signal {signal} ended it early: {asked} were asked for."),
        );
    }
}

fn what_came(text: &mut String, outcome: &Outcome) {
    let counts = &outcome.counts;
    let recorded_s = outcome.recorded.as_secs_f64();
    let per_s = |amount: u64| match recorded_s > 0.0 {
        true => rate(amount as f64 / recorded_s),
        false => "-".to_owned(),
    };
    row(text, "", &["due", "done", "missing", "share", "a second"]);
    let mut counted = |name, expected: u64, came: u64| {
        let missed = expected.saturating_sub(came);
        row(
            text,
            name,
            &[
                &count(expected),
                &count(came),
                &count(missed),
                &share(missed, expected),
                &per_s(came),
            ],
        );
    };
    counted("sent", counts.due, counts.sent);
    if counts.owed > 0 {
        counted("deliveries", counts.owed, counts.delivered);
    }
    if counts.asked > 0 {
        counted("answers", counts.asked, counts.answered);
    }
    if let Some(oddities) = oddities(counts) {
        line(text, format_args!("  {:<12}{oddities}", "beside"));
    }
}

/// What is zero in a good run, and nobody wants to read then.
fn oddities(counts: &Counts) -> Option<String> {
    let all = [
        (counts.repeated, "repeated"),
        (counts.reordered, "reordered"),
        (counts.too_late, "too late"),
        (counts.answered_again, "answered again"),
        (counts.unmatched, "unmatched"),
        (counts.unowed, "unowed"),
        (counts.stray, "stray"),
    ];
    let there = all.iter().filter(|(amount, _)| *amount > 0);
    let parts: Vec<String> = there
        .map(|(amount, name)| format!("{} {name}", count(*amount)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn how_long(text: &mut String, outcome: &Outcome) {
    let latencies = &outcome.latencies;
    let names = MANY.map(percentile_name);
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.push("max");
    row(text, "", &columns);
    let mut latency_row = |name, recorded: &Histogram<u64>| {
        if recorded.is_empty() {
            return;
        }
        let mut taken = MANY.map(|percent| percentile(recorded, percent)).to_vec();
        taken.push(longest(recorded));
        let taken = taken
            .into_iter()
            .map(|taken| taken.map_or("-".to_owned(), latency));
        let taken: Vec<String> = taken.collect();
        let columns: Vec<&str> = taken.iter().map(String::as_str).collect();
        row(text, name, &columns);
    };
    latency_row("delivery", &latencies.delivery);
    latency_row("answer", &latencies.answer);
    latency_row("closed loop", &latencies.answer_closed_loop);
    latency_row("send lag", &latencies.send_lag);
    latency_row("hear lag", &latencies.hear_lag);
    line(text, format_args!("  From when each was due to be sent."));
    if !latencies.answer_closed_loop.is_empty() {
        line(
            text,
            format_args!("  Closed loop: as one has them who asks again only when answered."),
        );
    }
    if !latencies.hear_lag.is_empty() {
        line(
            text,
            format_args!(
                "  Hear lag: from when it was in the generator's kernel until it was read."
            ),
        );
    }
}

fn generator(text: &mut String, outcome: &Outcome) {
    let (generator, counts) = (&outcome.generator, &outcome.counts);
    let available_s = outcome.recorded.as_secs_f64() * f64::from(generator.threads);
    let busy = match available_s > 0.0 {
        true => format!("{:.0} %", generator.cpu.as_secs_f64() / available_s * 100.0),
        false => "-".to_owned(),
    };
    let s = if generator.threads == 1 { "" } else { "s" };
    line(
        text,
        format_args!(
            "  generator   {} thread{s} {busy} busy, kept waiting {}, stolen {}",
            generator.threads,
            latency(generator.run_queue_delay),
            latency(generator.steal),
        ),
    );
    line(
        text,
        format_args!(
            "  its kernel  dropped {}, refused to send {}; up to {} due at once",
            count(counts.own_drops),
            count(counts.refused),
            count(generator.largest_burst.into()),
        ),
    );
}

fn server(text: &mut String, outcome: &Outcome) {
    let Some(server) = outcome.server else {
        return;
    };
    line(
        text,
        format_args!(
            "  server      {} of CPU time, {} of memory at its most",
            span(server.cpu),
            bytes(server.peak_memory_bytes as f64),
        ),
    );
    if let Some(deliveries) = server.deliveries_per_cpu_s(&outcome.counts) {
        let deliveries = number(deliveries);
        line(
            text,
            format_args!("              {deliveries} deliveries and answers a second of that time"),
        );
    }
}

fn objectives(text: &mut String, slo: &[SloResult]) {
    let width = slo.iter().map(|result| result.clause.chars().count()).max();
    let width = width.unwrap_or_default();
    for (index, result) in slo.iter().enumerate() {
        let name = if index == 0 { "objectives" } else { "" };
        let verdict = if result.is_met { "met" } else { "MISSED" };
        let (clause, measured) = (&result.clause, &result.sentence);
        line(
            text,
            format_args!("  {name:<12}{clause:<width$}  {verdict:<6}  {measured}"),
        );
    }
}

fn row(text: &mut String, name: &str, columns: &[&str]) {
    let mut row = format!("  {name:<12}");
    for column in columns {
        // Writing to a string does not fail.
        let _ = write!(row, "{column:>11}");
    }
    line(text, format_args!("{row}"));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::ServerUse;
    use crate::testing::{outcome, pings, recorded};

    fn mixed() -> Outcome {
        let mut outcome = outcome();
        let counts = &mut outcome.counts;
        (counts.due, counts.sent) = (500_000, 499_998);
        (counts.owed, counts.delivered, counts.lost) = (499_980, 499_480, 500);
        (counts.asked, counts.answered) = (450_000, 450_000);
        outcome.latencies.delivery = recorded(&[120_000, 1_250_000]);
        outcome.latencies.answer = recorded(&[90_000]);
        outcome.latencies.send_lag = recorded(&[4_000]);
        outcome.latencies.hear_lag = recorded(&[3_000]);
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
        let results = [("p99<5ms", true), ("delivery.loss<0.1%", false)];
        let results = results.map(|(clause, is_met)| SloResult {
            clause: clause.into(),
            is_met,
            measured: Vec::new(),
            sentence: "what it was".into(),
            is_doubtful: false,
        });
        let mut outcome = mixed();
        outcome.latencies.answer_closed_loop = recorded(&[80_100]);
        let expected = "\
valid: 10 s of ping, v1, 10 clients, at 127.0.0.1:9999

                      due       done    missing      share   a second
  sent            500,000    499,998          2   <0.001 %   50,000/s
  deliveries      499,980    499,480        500    0.100 %   49,948/s
  answers         450,000    450,000          0        0 %   45,000/s

                      p50        p90        p99      p99.9     p99.99        max
  delivery         120 µs    1.25 ms    1.25 ms    1.25 ms    1.25 ms    1.25 ms
  answer          90.0 µs    90.0 µs    90.0 µs    90.0 µs    90.0 µs    90.0 µs
  closed loop     80.1 µs    80.1 µs    80.1 µs    80.1 µs    80.1 µs    80.1 µs
  send lag        4.00 µs    4.00 µs    4.00 µs    4.00 µs    4.00 µs    4.00 µs
  hear lag        3.00 µs    3.00 µs    3.00 µs    3.00 µs    3.00 µs    3.00 µs
  From when each was due to be sent.
  Closed loop: as one has them who asks again only when answered.
  Hear lag: from when it was in the generator's kernel until it was read.

  generator   1 thread 60 % busy, kept waiting 12.0 ms, stolen 0 ns
  its kernel  dropped 0, refused to send 0; up to 12 due at once
  server      2.5 s of CPU time, 9.44 MB of memory at its most
              379,792 deliveries and answers a second of that time
  objectives  p99<5ms             met     what it was
              delivery.loss<0.1%  MISSED  what it was
";
        let text = summary(&pings(50_000.0), &outcome, &[], &results);
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn what_is_wrong_with_a_run_comes_first() {
        let mut outcome = mixed();
        outcome.signal = Some(2);
        outcome.server_said_goodbye = true;
        outcome.counts.stray = 1234;
        outcome.counts.repeated = 5;
        let text = summary(&pings(1.0), &outcome, &["It fell behind.".into()], &[]);
        let begins = "INVALID: 10 s of ping, v1, 10 clients, at 127.0.0.1:9999\n  It fell behind.\n  \
                      The server said goodbye: 10 s were asked for.\n  \
                      Signal 2 ended it early: 10 s were asked for.\n";
        assert!(text.starts_with(begins), "{text}");
        assert!(
            text.contains("  beside      5 repeated, 1,234 stray\n"),
            "{text}"
        );
        assert!(!text.contains("closed loop"), "{text}");
    }

    #[test]
    fn a_run_in_which_nothing_came_has_no_table() {
        let mut outcome = outcome();
        outcome.recorded = Duration::ZERO;
        let text = summary(&pings(1.0), &outcome, &[], &[]);
        assert!(text.contains("valid: 0 s of ping"), "{text}");
        assert!(!text.contains("answer "), "{text}");
    }
}
