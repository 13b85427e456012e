//! A real run, written down as it goes on: the files say what the run brought to light.

mod common;
#[path = "common/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::fs;

use bullhorn::config::ServiceKind;
use common::{config, server};
use data_encoding::BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use loadgen::output::{Output, Run, Summary};
use loadgen::verdict::Verdict;
use loadgen::{Control, run};
use scratch::Scratch;

#[test]
fn the_files_of_a_run_say_what_it_brought_to_light() {
    let server = server(2, ServiceKind::Chat, "127.0.0.1:0");
    let config = config(server.local_addr());
    let scratch = Scratch::new();
    let mut output = Output::create(scratch.dir(), false).unwrap();
    let outcome = run(&config, &Control::new(), |sample| {
        output.sample(sample).unwrap();
    });
    let outcome = outcome.unwrap();
    server.stop().unwrap();
    let finished = output.finish(&Run {
        command: &["loadgen".to_owned()],
        config: &config,
        outcome: &outcome,
        verdict: &Verdict::of(&config, &outcome, &[]),
        slos: &[],
    });
    let summary = finished.unwrap();

    let text = fs::read_to_string(scratch.path("summary.json")).unwrap();
    let read: Summary = serde_json::from_str(&text).unwrap();
    assert_eq!(read, summary);
    assert_eq!(read.counts, outcome.counts);
    assert!(read.counts.delivered > 0 && read.counts.answered > 0);
    assert_eq!(read.seconds, outcome.seconds);

    let bytes = fs::read(scratch.path("latency.hlog")).unwrap();
    let mut merged: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for entry in IntervalLogIterator::new(&bytes) {
        let LogEntry::Interval(line) = entry.unwrap() else {
            continue;
        };
        let histogram = decoded(line.encoded_histogram());
        let empty = || Histogram::new_from(&histogram);
        let tag = line.tag().unwrap().as_str().to_owned();
        *merged.entry(tag).or_insert_with(empty) += &histogram;
    }
    for (name, total) in outcome.latencies.named() {
        if name.ends_with("-node") {
            assert!(total.is_empty(), "{name}: there is one target");
            continue;
        }
        assert!(merged[name] == *total, "{name} differs");
        assert_eq!(summary.latencies[name].count, total.len());
    }
    let page = fs::read_to_string(scratch.path("report.html")).unwrap();
    let data = page.split("id=\"data\">").nth(1).unwrap();
    let data = data.split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let read: Summary = serde_json::from_value(data["summary"].clone()).unwrap();
    assert_eq!(read, summary);
}

#[allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]
fn decoded(text: &str) -> Histogram<u64> {
    let mut bytes = vec![0; BASE64.decode_len(text.len()).unwrap()];
    let len = BASE64.decode_mut(text.as_bytes(), &mut bytes).unwrap();
    Deserializer::new().deserialize(&mut &bytes[..len]).unwrap()
}
