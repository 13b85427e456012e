//! Grammar and verdicts of service level objectives.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{outcome, recorded};

fn wrong(text: &str) -> String {
    Slo::parse(text).unwrap_err().to_string()
}

/// What the only clause of `slo` says of `outcome`.
#[track_caller]
fn verdict(slo: &str, outcome: &Outcome) -> (String, bool) {
    let results = Slo::parse(slo).unwrap().check(outcome);
    let [result] = &results[..] else {
        panic!("{results:?}");
    };
    assert_eq!(result.clause, slo);
    (result.sentence.clone(), result.is_met)
}

/// The figures that the only clause of `slo` was compared with, as programs read them.
fn figures(slo: &str, outcome: &Outcome) -> Value {
    let results = Slo::parse(slo).unwrap().check(outcome);
    serde_json::to_value(&results[0].measured).unwrap()
}

#[test]
fn every_metric_and_operator_is_parsed() {
    let text = "p99<5ms,loss<0.1%,delivery.p99.9<=20ms,answer.max<1s,rate>=49k";
    let slo = Slo::parse(text).unwrap();
    let parts: Vec<_> = slo
        .clauses
        .iter()
        .map(|clause| (clause.of, clause.metric, clause.operator, clause.limit))
        .collect();
    let (delivery, answer) = (MeasuredOf::Delivery, MeasuredOf::Answer);
    let expected = [
        (
            MeasuredOf::All,
            Metric::Percentile(99.0),
            Operator::Less,
            5e6,
        ),
        (MeasuredOf::All, Metric::Loss, Operator::Less, 0.001),
        (delivery, Metric::Percentile(99.9), Operator::AtMost, 20e6),
        (answer, Metric::Max, Operator::Less, 1e9),
        (MeasuredOf::All, Metric::Rate, Operator::AtLeast, 49_000.0),
    ];
    assert_eq!(parts, expected);
    assert_eq!(slo.to_string(), text);
}

#[test]
fn spaces_and_any_percentile_are_allowed() {
    let slo = Slo::parse(" p99.99 < 5 ms , mean > 1.5us ").unwrap();
    assert_eq!(slo.to_string(), "p99.99<5ms,mean>1.5us");
    assert_eq!(slo.clauses[0].metric, Metric::Percentile(99.99));
    assert_eq!(slo.clauses[1].limit, 1500.0);
    for percentile in ["p50", "p90", "p95", "p0.1", "p99.999"] {
        assert!(Slo::parse(&format!("{percentile}<1s")).is_ok());
    }
}

#[test]
fn what_is_wrong_is_told_what_is_right() {
    for text in ["", "p99<5ms,", ",", "p99<5ms,,loss<1%"] {
        let wrong = Slo::parse(text).unwrap_err().to_string();
        assert!(wrong.starts_with("a clause is empty"), "{text}: {wrong}");
    }
    for text in ["p99", "p99=5ms", "p99:5ms", "5ms"] {
        assert!(wrong(text).contains("has no <, <=, > or >="), "{text}");
    }
    for text in [
        "p100<5ms",
        "p0<5ms",
        "p<5ms",
        "pp<5ms",
        "p-1<5ms",
        "99<5ms",
        "min<5ms",
        "delivery.rate>1",
        "delivery.<1s",
        "answer.answer.p99<1s",
        "deliveries.p99<1s",
        "<5ms",
        "P99<5ms",
    ] {
        let wrong = wrong(text);
        assert!(wrong.contains("write p50, p99"), "{text}: {wrong}");
    }
    for text in [
        "p99<5",
        "p99<",
        "p99<5%",
        "p99<=<5ms",
        "max<fast",
        "p99<-1ms",
    ] {
        assert!(wrong(text).contains("is not a duration"), "{text}");
    }
    for text in [
        "loss<5",
        "loss<101%",
        "loss<",
        "loss<-1%",
        "loss<1ms",
        "loss<%",
    ] {
        assert!(wrong(text).contains("is not a loss"), "{text}");
    }
    for text in ["rate>", "rate>1%", "rate>=0", "rate>1G"] {
        assert!(wrong(text).contains("is not a rate: it must"), "{text}");
    }
}

#[test]
fn a_clause_must_be_about_what_the_run_has() {
    let applies = |text: &str, deliveries, answers| {
        let slo = Slo::parse(text).unwrap();
        slo.applies_to(deliveries, answers)
            .map_err(|e| e.to_string())
    };
    assert_eq!(applies("p99<1s,loss<1%,answer.max<1s", false, true), Ok(()));
    assert_eq!(applies("p99<1s,delivery.loss<1%", true, false), Ok(()));
    assert_eq!(applies("rate>1", false, false), Ok(()));
    for (text, deliveries, answers, kind) in [
        ("delivery.p99<1s", false, true, "deliveries"),
        ("answer.loss<1%", true, false, "answers"),
        ("p99<1s", false, false, "deliveries or answers"),
        ("loss<1%", false, false, "deliveries or answers"),
    ] {
        let expected = format!("the clause {text} is about {kind}, and this run has none");
        assert_eq!(applies(text, deliveries, answers), Err(expected));
    }
}

#[test]
fn a_latency_must_hold_for_every_kind_that_the_run_has() {
    let mut outcome = outcome();
    outcome.latencies.delivery = recorded(&[1_000_000; 100]);
    outcome.latencies.answer = recorded(&[3_000_000; 100]);
    (outcome.counts.expected, outcome.counts.asked) = (100, 100);
    let both = "delivery 1.00 ms, answer 3.00 ms".to_owned();
    assert_eq!(verdict("p99<5ms", &outcome), (both.clone(), true));
    assert_eq!(verdict("p99<2ms", &outcome), (both, false));
    let delivery = "delivery 1.00 ms".to_owned();
    assert_eq!(verdict("delivery.max<2ms", &outcome), (delivery, true));
    let answer = "answer 3.00 ms".to_owned();
    assert_eq!(
        verdict("answer.mean<2ms", &outcome),
        (answer.clone(), false)
    );
    outcome.counts.expected = 0;
    outcome.latencies.delivery.clear();
    assert_eq!(verdict("p99<5ms", &outcome), (answer, true));
}

#[test]
fn what_was_lost_took_for_ever() {
    let mut outcome = outcome();
    let values: Vec<u64> = (1..=97).map(|ms| ms * 1_000_000).collect();
    outcome.latencies.answer = recorded(&values);
    (outcome.counts.asked, outcome.counts.unanswered) = (100, 3);
    let held = |slo| verdict(slo, &outcome).1;
    // The 97th of a hundred is the last one that came.
    assert!(held("p97<98ms") && !held("p97<97ms"));
    assert!(!held("p98<1h") && held("max<98ms"));
    let measured = "answer: never, as 3.00 % did not come".to_owned();
    assert_eq!(verdict("p98<1h", &outcome), (measured, false));
}

#[test]
fn of_what_never_came_no_latency_is_met() {
    let mut outcome = outcome();
    outcome.latencies.answer = recorded(&[1000]);
    (outcome.counts.expected, outcome.counts.asked) = (5, 1);
    let measured = "delivery: none came, answer 1.00 µs".to_owned();
    assert_eq!(verdict("p50<1s", &outcome), (measured, false));
    let measured = "delivery: none came".to_owned();
    assert_eq!(verdict("delivery.p50>0s", &outcome), (measured, false));
    (outcome.counts.expected, outcome.counts.asked) = (0, 0);
    outcome.latencies.answer.clear();
    let nothing = "nothing was expected or asked for".to_owned();
    assert_eq!(verdict("p50<1s", &outcome), (nothing.clone(), false));
    assert_eq!(verdict("loss<1%", &outcome), (nothing, false));
}

#[test]
fn losses_are_shares_of_what_should_have_come() {
    let mut outcome = outcome();
    let counts = &mut outcome.counts;
    (counts.expected, counts.lost) = (1000, 1);
    (counts.asked, counts.unanswered) = (1000, 9);
    let both = "0.500 % (10 of 2,000)".to_owned();
    assert_eq!(verdict("loss<=0.5%", &outcome), (both.clone(), true));
    assert_eq!(verdict("loss<0.005", &outcome), (both, false));
    let deliveries = "0.100 % (1 of 1,000)".to_owned();
    assert_eq!(verdict("delivery.loss<=0.1%", &outcome), (deliveries, true));
    let answers = "0.900 % (9 of 1,000)".to_owned();
    assert_eq!(verdict("answer.loss<=0.1%", &outcome), (answers, false));
}

#[test]
fn the_rate_is_what_was_sent_in_the_recorded_time() {
    let mut outcome = outcome();
    outcome.counts.sent = 98_000;
    outcome.recorded = Duration::from_secs(2);
    let measured = "49,000/s".to_owned();
    assert_eq!(verdict("rate>=49k", &outcome), (measured.clone(), true));
    assert_eq!(verdict("rate>49k", &outcome), (measured, false));
    outcome.recorded = Duration::ZERO;
    let nothing = "nothing was recorded".to_owned();
    assert_eq!(verdict("rate>=1", &outcome), (nothing, false));
}

#[test]
fn programs_read_each_figure_with_its_unit_and_whose_it_is() {
    let mut outcome = outcome();
    outcome.latencies.delivery = recorded(&[1_001]);
    outcome.latencies.answer = recorded(&[2_000; 97]);
    let counts = &mut outcome.counts;
    (counts.expected, counts.asked, counts.unanswered) = (3, 100, 3);
    (counts.lost, counts.sent) = (2, 123);
    let delivery = json!({"of": "delivery", "latency_us": 1.001});
    let answer = json!({"of": "answer", "latency_us": 2.0});
    assert_eq!(figures("max<1s", &outcome), json!([delivery, answer]));
    assert_eq!(figures("answer.mean<1s", &outcome), json!([answer]));
    let never = |of| json!({"of": of, "latency_us": null});
    let both = json!([never("delivery"), never("answer")]);
    assert_eq!(figures("p98<1s", &outcome), both);
    for (slo, of, ratio) in [
        ("loss<1%", "all", 5.0 / 103.0),
        ("delivery.loss<1%", "delivery", 2.0 / 3.0),
        ("answer.loss<1%", "answer", 0.03),
    ] {
        let expected = json!([{"of": of, "missing_ratio": ratio}]);
        assert_eq!(figures(slo, &outcome), expected);
    }
    let rate = json!([{"of": "all", "sent_per_s": 12.3}]);
    assert_eq!(figures("rate>1", &outcome), rate);
}

#[test]
fn a_figure_that_never_came_is_null() {
    let mut outcome = outcome();
    outcome.recorded = Duration::ZERO;
    assert_eq!(figures("p99<1s", &outcome), json!([]));
    let of_answers = json!([{"of": "answer", "latency_us": null}]);
    assert_eq!(figures("answer.p99<1s", &outcome), of_answers);
    let loss = json!([{"of": "all", "missing_ratio": null}]);
    assert_eq!(figures("loss<1%", &outcome), loss);
    let rate = json!([{"of": "all", "sent_per_s": null}]);
    assert_eq!(figures("rate>1", &outcome), rate);
}

proptest! {
    #[test]
    fn any_text_is_parsed_to_what_prints_as_it_was_written_or_refused(
        text in "\\PC*|(delivery\\.|answer\\.)?(p[0-9.]{1,5}|max|loss|rate)[<>]=?[0-9.]{1,4}(ms|%|k)?"
    ) {
        if let Ok(slo) = Slo::parse(&text) {
            let printed = slo.to_string();
            prop_assert_eq!(Slo::parse(&printed), Ok(slo));
        }
    }

    #[test]
    fn less_and_at_least_are_opposites(ns in 0_u64..2_000_000, limit_us in 0_u64..2000) {
        let mut outcome = outcome();
        outcome.latencies.answer = recorded(&[ns]);
        outcome.counts.asked = 1;
        let met = |operator: &str| {
            verdict(&format!("answer.max{operator}{limit_us}us"), &outcome).1
        };
        prop_assert_eq!(met("<"), !met(">="));
        prop_assert_eq!(met(">"), !met("<="));
    }
}

#[test]
fn what_is_missed_by_no_more_than_the_generators_own_lag_is_doubtful() {
    let mut outcome = outcome();
    outcome.counts.asked = 1_000;
    outcome.counts.expected = 1_000;
    let latencies = &mut outcome.latencies;
    let tail = |few_ns, most_ns| {
        let mut histogram = recorded(&[]);
        histogram.record_n(few_ns, 998).unwrap();
        histogram.record_n(most_ns, 2).unwrap();
        histogram
    };
    latencies.answer = tail(10_000, 6_000_000);
    // Each is as much as it is: neither twice is both.
    latencies.send_lag = tail(100, 900_000);
    latencies.receive_lag = tail(100, 200_000);
    let doubtful = |slo: &str, outcome: &Outcome| {
        let result = &Slo::parse(slo).unwrap().check(outcome)[0];
        (result.is_met, result.is_doubtful)
    };
    for metric in ["answer.p99.9", "answer.max"] {
        let says = |limit| doubtful(&format!("{metric}<{limit}"), &outcome);
        assert_eq!(
            says("4.8ms"),
            (false, false),
            "{metric}: it is the server's"
        );
        assert_eq!(says("5ms"), (false, true), "{metric}: 4.9 ms without lag");
        assert_eq!(says("6.1ms"), (true, false), "{metric}");
    }
    // Further inward there is less lag.
    assert_eq!(doubtful("answer.p90<9us", &outcome), (false, false));
    assert_eq!(doubtful("answer.p90<9900ns", &outcome), (false, true));
    assert_eq!(doubtful("answer.mean<19us", &outcome), (false, false));
    assert_eq!(doubtful("answer.mean<20us", &outcome), (false, true));
    // With some lost, it is of those that came one further out, and so is the lag.
    outcome.counts.unanswered = 2;
    assert_eq!(doubtful("answer.p99.7<5ms", &outcome), (false, true));
    // What was lost, and what did not come at all, is not the lag's.
    outcome.counts.unanswered = 10;
    assert_eq!(doubtful("answer.p99.9<5ms", &outcome), (false, false));
    assert_eq!(doubtful("p99.9<5ms", &outcome), (false, false), "no copies");
    assert_eq!(doubtful("loss<0.1%", &outcome), (false, false));
}
