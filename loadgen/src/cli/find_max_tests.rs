//! What is printed around a search, and how it ends.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::cli::args::OutputOptions;
use crate::config::{Mix, Protocol, Scenario};
use crate::testing;
use crate::testing::documented::{assert_same, documented, printed as keys};
use crate::testing::sample_search::{self, generators_limit};

fn request(from: Option<f64>, to: Option<f64>) -> FindMaxRequest {
    FindMaxRequest {
        config: testing::pings(from.unwrap_or(1000.0)),
        other_addresses: Default::default(),
        slo: "p99<5ms".parse().unwrap(),
        from,
        to,
        output: OutputOptions {
            out: None,
            overwrite: false,
            json: false,
            quiet: true,
        },
        is_forced: false,
    }
}

fn capable_of(handled_per_s: f64) -> Result<Option<Capacity>, CapacityError> {
    Ok(Some(Capacity::here(1, Protocol::V1, handled_per_s)))
}

/// The first rate, the lowest and the highest one.
#[track_caller]
fn rates(
    request: &FindMaxRequest,
    known: Result<Option<Capacity>, CapacityError>,
) -> (f64, f64, f64, Ceiling) {
    let range = Range::of(request, known).unwrap();
    let Search {
        from,
        lowest,
        highest,
        ..
    } = range.search;
    (from, lowest.unwrap(), highest.unwrap(), range.ceiling)
}

#[test]
fn without_bounds_it_begins_at_a_thousand() {
    let free = request(None, None);
    let unbound = (1000.0, 10.0, RATE_MAX, Ceiling::Any);
    assert_eq!(rates(&free, Ok(None)), unbound);
    assert_eq!(rates(&free, Err(CapacityError::NoHome)), unbound);
    let note = Range::of(&free, Ok(None)).unwrap().note.unwrap();
    assert!(note.starts_with("not calibrated (--threads 1, --protocol v1)"));
    // Of a short try, 100 datagrams are many.
    let mut short = request(None, None);
    short.config.duration = Duration::from_millis(50);
    assert_eq!(rates(&short, Ok(None)).1, 1000.0);
}

#[test]
fn what_is_asked_for_bounds_it() {
    let both = request(Some(200.0), Some(5000.0));
    assert_eq!(
        rates(&both, Ok(None)),
        (200.0, 200.0, 5000.0, Ceiling::Asked)
    );
    // 2 for each ping.
    let known = capable_of(1e6);
    assert_eq!(rates(&both, known), (200.0, 200.0, 5000.0, Ceiling::Asked));
}

#[test]
fn what_the_generator_was_calibrated_to_bounds_it_unless_it_is_forced() {
    let mut request = request(None, Some(5000.0));
    let known = || capable_of(4000.0);
    let calibrated = (1000.0, 10.0, 2000.0, Ceiling::Calibrated);
    assert_eq!(rates(&request, known()), calibrated);
    let said = Range::of(&request, known()).unwrap().to_string();
    assert!(said.contains("10/s to 2,000/s, which the generator was calibrated to"));
    request.is_forced = true;
    let forced = (1000.0, 10.0, 5000.0, Ceiling::Asked);
    assert_eq!(rates(&request, known()), forced);
    let note = Range::of(&request, known()).unwrap().note.unwrap();
    assert!(note.starts_with("forced to offer more"), "{note}");
}

#[test]
fn a_generator_that_is_not_capable_of_the_first_rate_begins_lower_or_is_refused() {
    let free = request(None, None);
    let lower = (500.0, 10.0, 500.0, Ceiling::Calibrated);
    assert_eq!(rates(&free, capable_of(1000.0)), lower);
    let from = request(Some(501.0), None);
    let refused = Range::of(&from, capable_of(1000.0)).unwrap_err();
    assert!(refused.to_string().contains("--force"), "{refused}");
    // A million listeners, who let receive from themselves.
    let mut lobby = request(None, None);
    lobby.config.clients = 1_000_000;
    lobby.config.scenario = Scenario::Lobby;
    lobby.config.mix = Mix {
        ping: 0.0,
        text: 1.0,
        heartbeat: 0.0,
    };
    assert!(Range::of(&lobby, capable_of(1000.0)).is_err());
}

/// How a search ends, and what it has printed, that brings `found` to light.
fn end(
    report: Report,
    find: impl FnOnce(&mut dyn FnMut(&Try) -> bool) -> Result<FoundMax, RunError>,
    out: impl Write,
) -> End {
    let config = RunConfig {
        mix: Mix {
            ping: 1.0,
            text: 1.0,
            heartbeat: 0.0,
        },
        ..testing::pings(1000.0)
    };
    let prepared = Prepared {
        find_max: sample_search::find_max(config.clone()),
        capable_per_s: Some(1e6),
        other_addresses: Default::default(),
        files: None,
    };
    let lines = Lines::new(report, &config, out);
    search_and_report(prepared, lines, |_, tried| find(tried))
}

fn printed(report: Report, found: FoundMax) -> (End, String) {
    let mut out = Vec::new();
    let find = |tried: &mut dyn FnMut(&Try) -> bool| {
        assert!(found.tries.iter().all(tried));
        Ok(found)
    };
    let end = end(report, find, &mut out);
    (end, String::from_utf8(out).unwrap())
}

#[test]
fn json_lines_are_the_tries_and_the_answer() {
    let (end, lines) = printed(Report::Json, sample_search::found());
    assert_eq!(end, End::Good);
    let values: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(values.len(), 10);
    assert!(lines.starts_with(r#"{"kind":"try","rate_per_s":1000.0,"#));
    assert_eq!(values[5]["delivery"]["p99_us"], 16_000.0);
    let missed = &values[5]["missed"][0];
    assert_eq!(missed["clause"], "loss<0.1%");
    let measured = json!([{"of": "all", "missing_ratio": 0.012}]);
    assert_eq!(missed["measured"], measured);
    assert_eq!(values[3]["is_good"], false);
    let found = &values[9];
    assert_eq!(
        (&found["kind"], &found["rate_per_s"]),
        (&"found".into(), &2_830.0.into())
    );
    assert_eq!(found["bad_rate_per_s"], 4_000.0);
    assert_eq!(found["is_generators_limit"], false);
}

/// In docs/LOADGEN.md, as its keys are those of the file.
#[test]
fn every_key_of_a_search_is_documented_and_there() {
    let (_, lines) = printed(Report::Json, testing::search_that_missed_everything());
    let file = documented("### find-max.json");
    for (kind, key) in [("try", "tries."), ("found", "found.")] {
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &Value| line["kind"] == kind)
            .collect();
        let mut expected: BTreeSet<_> = file
            .iter()
            .filter_map(|path| path.strip_prefix(key).map(str::to_owned))
            .collect();
        expected.insert("kind".to_owned());
        assert_same(&keys(&lines), &expected);
    }
}

#[test]
fn people_get_a_table_and_a_sentence() {
    let (end, text) = printed(Report::Text, sample_search::found());
    assert_eq!(end, End::Good);
    let expected = "\
Per second, and percentiles of deliveries or answers, the longer ones:
  offered      sent  deliveries   answers     loss     p50     p99   p99.9
    1,000       999       5,000       500      0 %  100 µs  400 µs  900 µs  good
    1,000       999       5,000       500      0 %  110 µs  440 µs  990 µs  good
    2,000     1,998      10,000     1,000      0 %  120 µs  480 µs 1.08 ms  good
    2,000     1,998      10,000     1,000      0 %  200 µs  800 µs 1.80 ms  bad
          The generator fell behind
    2,000     1,998      10,000     1,000      0 %  140 µs  560 µs 1.26 ms  good
    4,000     3,996      20,000     2,000   1.20 % 4.00 ms 16.0 ms 36.0 ms  bad
          loss<0.1%: 1.20 %
    4,000     3,996      20,000     2,000   1.20 % 9.00 ms 36.0 ms 81.0 ms  bad
          loss<0.1%: 1.20 %
    2,830     2,827      14,150     1,415      0 %  250 µs 1.00 ms 2.25 ms  good
    2,830     2,827      14,150     1,415      0 %  260 µs 1.04 ms 2.34 ms  good

The highest good rate is 2,830/s. The lowest bad one is 4,000/s, where objectives were missed.
";
    assert_eq!(text, expected, "\n{text}");
    assert_eq!(
        printed(Report::Verdict, sample_search::found()).1,
        "The highest good rate is 2,830/s. The lowest bad one is 4,000/s, where objectives were missed.\n"
    );
}

#[test]
fn a_search_without_a_good_rate_says_whose_limit_it_is_in_its_code() {
    let mut found = generators_limit();
    assert_eq!(printed(Report::Text, found.clone()).0, End::Invalid);
    let (end, line) = printed(Report::Verdict, found.clone());
    assert_eq!((end, line.lines().count()), (End::Invalid, 1));
    assert!(
        line.ends_with(
            "it slept. It was calibrated to 1.00 M/s: the machine was busy with something else.\n"
        ),
        "{line}"
    );
    found.is_generators_limit = false;
    assert_eq!(printed(Report::Text, found).0, End::SloMissed);
    // Above a good rate, too, the search says nothing of the server.
    let mut found = sample_search::found();
    found.is_generators_limit = true;
    let limit = found
        .tries
        .iter_mut()
        .filter(|one| one.rate_per_s == 4_000.0);
    limit.for_each(|one| one.invalid = vec!["The generator fell behind: it slept.".to_owned()]);
    assert_eq!(printed(Report::Verdict, found).0, End::Invalid);
}

#[test]
fn a_search_that_is_stopped_or_fails_has_no_answer() {
    let stopped = |error: RunError| {
        let mut out = Vec::new();
        let end = end(Report::Json, |_| Err(error), &mut out);
        (end, out.len())
    };
    assert_eq!(stopped(RunError::Stopped(2)), (End::Signal(2), 0));
    assert_eq!(stopped(RunError::Goodbye), (End::Failed, 0));
}

/// Fails from the second write on.
struct Breaking(bool, io::ErrorKind);

impl Write for Breaking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::mem::replace(&mut self.0, true) {
            false => Ok(bytes.len()),
            true => Err(self.1.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_gone_ends_the_search() {
    for (kind, expected) in [
        (io::ErrorKind::BrokenPipe, End::Signal(SIGPIPE)),
        (io::ErrorKind::StorageFull, End::Failed),
    ] {
        for report in [Report::Json, Report::Text] {
            let find = |tried: &mut dyn FnMut(&Try) -> bool| {
                let one = sample_search::one(1000.0, 1.0);
                assert!(tried(&one) && !tried(&one));
                Err(RunError::Stopped(SIGPIPE))
            };
            assert_eq!(end(report, find, Breaking(false, kind)), expected);
        }
    }
}
