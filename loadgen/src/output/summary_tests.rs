use serde_json::Value;

use super::*;
use crate::outcome::Sample;
use crate::output::timeline::Timeline;
use crate::testing::documented::{assert_meanings, assert_same, documented, printed};
use crate::testing::sample_run::{SampleRun, config, config_of_nodes};
use crate::verdict::Verdict;

fn summary() -> Summary {
    summary_of(&SampleRun::of(10), &config())
}

fn summary_of(run: &SampleRun, config: &RunConfig) -> Summary {
    let mut timeline = Timeline::default();
    run.samples()
        .for_each(|sample: Sample<'_>| timeline.add(&sample));
    let slo: crate::slo::Slo = "max<5ms,loss<1%,rate>1".parse().unwrap();
    let slos = slo.check(&run.outcome);
    let run = Run {
        command: &[
            "loadgen".to_owned(),
            "--slo".to_owned(),
            "p99<5ms".to_owned(),
        ],
        config,
        outcome: &run.outcome,
        verdict: &Verdict {
            invalid: vec!["The generator slept.".to_owned()],
        },
        slos: &slos,
    };
    Summary::new(&run, timeline.into_intervals(), Environment::read())
}

#[test]
fn every_key_is_documented_and_there() {
    let summary = summary_of(&SampleRun::of_nodes(10), &config_of_nodes());
    let keys = printed([&serde_json::to_value(summary).unwrap()]);
    assert!(keys.len() > 130, "{keys:?}");
    assert_same(&keys, &documented("### summary.json"));
}

/// Each sentence stands once, in the source, and the page has the same one.
#[test]
fn the_document_has_the_sentences_of_the_source() {
    for (object, meanings) in [
        ("counts", Counts::MEANINGS),
        ("rates", Pace::MEANINGS),
        ("rates", Ratios::MEANINGS),
        ("latencies", Latencies::MEANINGS),
        ("latencies.NAME", LatencySummary::MEANINGS),
        ("generator", Generator::MEANINGS),
        ("server", &ServerSummary::meanings()),
        ("seconds", Second::MEANINGS),
    ] {
        assert_meanings(object, meanings);
    }
}

#[test]
fn a_summary_is_read_as_it_was_written() {
    let summary = summary();
    let text = serde_json::to_string(&summary).unwrap();
    let read: Summary = serde_json::from_str(&text).unwrap();
    assert_eq!(read, summary);
}

/// So that its format stays as it was.
#[test]
fn with_one_target_nothing_is_said_of_several() {
    let text = serde_json::to_string(&summary()).unwrap();
    for key in ["other_targets", "local_rooms", "same-node", "other-node"] {
        assert!(!text.contains(key), "{key}");
    }
}

#[test]
fn figures_are_those_of_the_outcome() {
    let summary = summary();
    let value = serde_json::to_value(&summary).unwrap();
    assert_eq!(value["schema"], "bullhorn-loadgen-summary/1");
    assert_eq!(value["began_at"], "2026-09-21T14:13:20.250Z");
    assert_eq!(value["began_at_unix_s"], 1_790_000_000.25);
    assert_eq!(value["registered_in_ms"], 48.211);
    assert_eq!(value["command"], "loadgen --slo 'p99<5ms'");
    assert_eq!(value["verdict"]["is_valid"], false);
    let slo = &value["slos"][0];
    assert_eq!(
        (&slo["clause"], &slo["is_met"]),
        (&"max<5ms".into(), &false.into())
    );
    let max_us = &value["latencies"]["answer"]["max_us"];
    assert_eq!(slo["measured"][1]["latency_us"], *max_us);
    assert_eq!(value["config"]["rate_to_per_s"], 1_000.0);
    assert_eq!(value["config"]["warmup_s"], 1.5);
    assert_eq!(value["counts"]["delivered"], 44_963);
    assert_eq!(value["rates"]["deliveries_per_s"], 4_496.3);
    assert_eq!(value["rates"]["loss_ratio"], 37.0 / 45_000.0);
    assert_eq!(value["latencies"]["delivery"]["count"], 45_000);
    assert_eq!(value["generator"]["cpu_s"], 2.345);
    assert_eq!(value["server"]["cpu_s"], 4.0);
    let came = summary.counts.delivered + summary.counts.answered;
    assert!(summary.counts.answered > 0);
    assert_eq!(value["server"]["deliveries_per_cpu_s"], came as f64 / 4.0);
    assert_eq!(value["seconds"][6]["delivered"], 4_463);
    assert_eq!(value["intervals"].as_array().unwrap().len(), 70);

    let latencies = SampleRun::of(10).outcome.latencies;
    let (answer, read) = (latencies.answer, summary.latencies["answer"]);
    for (us, ns) in [
        (read.min_us, answer.min()),
        (read.p50_us, answer.value_at_quantile(0.5)),
        (read.p90_us, answer.value_at_quantile(0.9)),
        (read.p95_us, answer.value_at_quantile(0.95)),
        (read.p99_us, answer.value_at_quantile(0.99)),
        (read.p99_9_us, answer.value_at_quantile(0.999)),
        (read.p99_99_us, answer.value_at_quantile(0.9999)),
        (read.max_us, answer.max()),
    ] {
        assert_eq!((us * 1e3).round() as u64, ns);
    }
}

#[test]
fn a_share_of_nothing_is_null_and_a_latency_of_nothing_missing() {
    let mut run = SampleRun::of(0).outcome;
    run.recorded = Duration::ZERO;
    let rates = serde_json::to_value(Rates::of(&run)).unwrap();
    assert_eq!(rates["loss_ratio"], Value::Null);
    assert_eq!(rates["offered_per_s"], 0.0);
    assert!(latencies(&run.latencies, |_| None).is_empty());
}
