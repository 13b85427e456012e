use std::collections::BTreeMap;
use std::fs;

use data_encoding::BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::*;
use crate::outcome::Latencies;
use crate::testing::sample_run::SampleRun;
use crate::testing::scratch::Scratch;

/// The lines of a log: tag, start and length, and the histogram.
type Line = (String, Duration, Duration, Histogram<u64>);

fn decoded(text: &str) -> Histogram<u64> {
    let mut bytes = vec![0; BASE64.decode_len(text.len()).unwrap()];
    let len = BASE64.decode_mut(text.as_bytes(), &mut bytes).unwrap();
    let mut bytes = &bytes[..len];
    Deserializer::new().deserialize(&mut bytes).unwrap()
}

/// When it began, and the lines.
fn read(path: &Path) -> (Duration, Vec<Line>) {
    let bytes = fs::read(path).unwrap();
    let (mut began_at, mut lines) = (Vec::new(), Vec::new());
    for entry in IntervalLogIterator::new(&bytes) {
        match entry.unwrap() {
            LogEntry::StartTime(time) | LogEntry::BaseTime(time) => began_at.push(time),
            LogEntry::Interval(line) => lines.push((
                line.tag().unwrap().as_str().to_owned(),
                line.start_timestamp(),
                line.duration(),
                decoded(line.encoded_histogram()),
            )),
        }
    }
    assert_eq!(began_at.len(), 2);
    assert_eq!(began_at[0], began_at[1]);
    (began_at[0], lines)
}

#[test]
fn the_intervals_of_a_log_add_up_to_the_whole_run() {
    let scratch = Scratch::new();
    let (growing, whole) = (scratch.path("growing"), scratch.path("whole"));
    let run = SampleRun::of_nodes(12);
    let mut log = HistogramLog::create(&growing, Duration::ZERO).unwrap();
    for sample in run.samples() {
        log.write(&sample).unwrap();
    }
    // It is there at once, not only at the end.
    let (began_at, lines) = read(&growing);
    assert_eq!(began_at, Duration::ZERO);
    log.finish(&whole, run.outcome.began_at).unwrap();
    let (began_at, copied) = read(&whole);
    assert_eq!(began_at, run.outcome.began_at);
    assert!(copied == lines, "the copy has other lines");

    assert_eq!(lines.len(), 12 * 9);
    let mut merged: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for (at, (tag, start, length, histogram)) in lines.into_iter().enumerate() {
        assert_eq!(start, Duration::from_secs(at as u64 / 9));
        assert_eq!(length, Duration::from_secs(1));
        let empty = || Histogram::new_from(&histogram);
        let total = merged.entry(tag).or_insert_with(empty);
        total.add(histogram.clone()).unwrap();
    }
    for (name, total) in run.outcome.latencies.named() {
        assert!(merged[name] == *total, "{name} differs");
    }
}

#[test]
fn a_latency_of_which_nothing_was_recorded_has_no_line() {
    let scratch = Scratch::new();
    let path = scratch.path("log");
    let mut latencies = Latencies::new();
    latencies.answer.record(5_000_000_000).unwrap();
    let mut log = HistogramLog::create(&path, Duration::from_millis(1_790_000_000_125)).unwrap();
    let sample = Sample {
        start: Duration::from_millis(2_500),
        length: Duration::from_millis(1_001),
        counts: Default::default(),
        latencies: &latencies,
    };
    log.write(&sample).unwrap();
    let (began_at, lines) = read(&path);
    assert_eq!(began_at, Duration::from_millis(1_790_000_000_125));
    let [(tag, start, length, histogram)] = &lines[..] else {
        panic!("{} lines", lines.len());
    };
    assert_eq!((tag.as_str(), histogram), ("answer", &latencies.answer));
    let times = (start.as_millis(), length.as_millis());
    assert_eq!(times, (2_500, 1_001));
}
