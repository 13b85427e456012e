use std::time::Duration;

use hdrhistogram::Histogram;

use super::*;
use crate::outcome::{Limited, Silence};
use crate::testing::sample_run;

fn reasons(change: impl FnOnce(&mut Outcome)) -> Vec<String> {
    reasons_at(&sample_run::config(), change)
}

fn reasons_at(config: &RunConfig, change: impl FnOnce(&mut Outcome)) -> Vec<String> {
    let mut outcome = sample_run::outcome();
    change(&mut outcome);
    Verdict::of(config, &outcome, &[]).invalid
}

/// The one reason of an outcome with `change`.
#[track_caller]
fn reason(change: impl FnOnce(&mut Outcome)) -> String {
    let reasons = reasons(change);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons[0].clone()
}

#[test]
fn a_run_that_kept_to_its_schedule_is_valid() {
    let none: Vec<String> = Vec::new();
    assert_eq!(reasons(|_| {}), none);
    assert_eq!(Verdict::default().to_string(), "valid");
}

#[test]
fn losses_of_the_server_leave_a_run_valid() {
    let reasons = reasons(|outcome| {
        outcome.counts.lost += 1_000_000;
        outcome.counts.unanswered += 1_000_000;
    });
    assert!(reasons.is_empty(), "{reasons:?}");
}

#[test]
fn more_than_a_thousandth_of_strays_is_invalid() {
    let strays = |stray| {
        move |outcome: &mut Outcome| {
            // A text has many copies.
            (outcome.counts.due, outcome.counts.sent) = (100, 100);
            outcome.counts.received = 10_000;
            outcome.counts.stray = stray;
        }
    };
    assert!(reasons(strays(10)).is_empty());
    let text = reason(strays(11));
    assert!(
        text.contains("10,000 datagrams that arrived, 11 were stray, 0.110 %"),
        "{text}"
    );
}

#[test]
fn a_server_that_was_silent_or_restarted_is_named() {
    let silence = |to, is_refused| {
        move |outcome: &mut Outcome| {
            let from = Duration::from_millis(3_100);
            outcome.silence = Some(Silence {
                target: "127.0.0.1:9999".parse().unwrap(),
                from,
                to,
                is_refused,
            });
        }
    };
    let text = reason(silence(None, true));
    let expected = "The server was silent from 3.1 s on: nothing listened on 127.0.0.1:9999.";
    assert_eq!(text, expected);
    let reasons = reasons_at(&sample_run::config_of_nodes(), silence(None, true));
    let expected = "The server at 127.0.0.1:9999 was silent from 3.1 s on: nothing listened on \
                    127.0.0.1:9999.";
    assert_eq!(reasons, [expected]);
    let text = reason(silence(Some(Duration::from_secs(5)), false));
    assert!(
        text.contains("from 3.1 s to 5 s: nothing arrived"),
        "{text}"
    );
    let text = reason(|outcome| outcome.has_restarted = true);
    assert!(
        text.starts_with("The server restarted during the run"),
        "{text}"
    );
}

#[test]
fn clients_that_were_limited_are_counted_and_trust_is_named() {
    let limited = |clients, network: Option<&str>| {
        let network = network.map(str::to_owned);
        move |outcome: &mut Outcome| {
            outcome.limited = Some(Limited {
                clients,
                limit: "at most 20 texts per second".to_owned(),
                network,
            });
        }
    };
    assert_eq!(
        reason(limited(1_200, Some("192.0.2.7/32"))),
        "limited: 1,200 clients were told \"at most 20 texts per second\": \
         run the server with --trust 192.0.2.7/32."
    );
    assert_eq!(
        reason(limited(1, None)),
        "limited: 1 client was told \"at most 20 texts per second\": \
         run the server with --trust NET."
    );
}

#[test]
fn who_took_the_cpu_is_named_where_the_generator_fell_short() {
    let busy = |outcome: &mut Outcome| {
        outcome.others = Others {
            cpu: Duration::from_secs(9),
            most: vec![("rustc".to_owned(), Duration::from_millis(7_900))],
        };
    };
    assert!(reasons(busy).is_empty());
    let text = reason(|outcome| {
        busy(outcome);
        outcome
            .latencies
            .send_lag
            .record_n(5_000_000, 1_000)
            .unwrap();
    });
    assert!(text.ends_with(
        "Other processes had 9 s of CPU time meanwhile (those that still run: rustc 7.9 s)."
    ));
}

#[test]
fn a_generator_that_sent_or_read_late_is_named_with_its_lag() {
    type Lag = fn(&mut Outcome) -> &mut Histogram<u64>;
    let sent: Lag = |outcome| &mut outcome.latencies.send_lag;
    let read: Lag = |outcome| &mut outcome.latencies.receive_lag;
    for (lag, wrong) in [(sent, "was sent"), (read, "had waited")] {
        let lags = |late: u64, late_ns: u64| {
            move |outcome: &mut Outcome| {
                let lag = lag(outcome);
                lag.reset();
                lag.record_n(20_000, 1_000 - late).unwrap();
                lag.record_n(late_ns, late).unwrap();
            }
        };
        let text = reason(lags(11, 3_000_000));
        assert!(text.contains(&format!("{wrong} 3.0")), "{text}");
        assert!(text.contains("2 threads"), "{text}");
        assert!(reasons(lags(10, 3_000_000)).is_empty(), "p99 is below");
        // As exactly as the histogram tells them apart.
        assert!(reasons(lags(11, 999_000)).is_empty());
        assert!(reason(lags(11, 1_001_000)).contains("up to 1.000 ms is valid"));
    }
}

#[test]
fn answers_without_latencies_are_few_or_make_it_invalid() {
    let unmatched = |count| {
        move |outcome: &mut Outcome| {
            outcome.counts.answered = 1_000;
            outcome.counts.unmatched = count;
        }
    };
    assert!(reasons(unmatched(10)).is_empty());
    assert!(reason(unmatched(11)).contains("Of 1,000 answers"));
}

#[test]
fn more_than_a_hundredth_off_the_schedule_either_way_is_invalid() {
    let counts = |due, sent| {
        move |outcome: &mut Outcome| {
            outcome.counts.due = due;
            outcome.counts.sent = sent;
        }
    };
    assert!(reasons(counts(10_000, 9_900)).is_empty());
    assert!(reasons(counts(10_000, 10_100)).is_empty());
    let text = reason(counts(10_000, 9_899));
    assert!(
        text.contains("9,899 of 10,000 datagrams that were due, 98.99 %"),
        "{text}"
    );
    assert!(reason(counts(10_000, 10_101)).contains("101.01 %"));
    assert!(reason(counts(u64::MAX, 0)).contains("0.00 %"));
}

#[test]
fn what_its_own_kernel_refused_or_dropped_is_counted_in_the_reason() {
    let text = reason(|outcome| outcome.counts.refused = 1);
    assert!(text.contains("refused to send 1 datagram: raise"), "{text}");
    let text = reason(|outcome| {
        outcome.counts.refused = 1;
        outcome.send_error = Some(libc::EPERM);
    });
    assert!(text.contains("Operation not permitted"), "{text}");
    assert!(text.contains("its own firewall"), "{text}");
    let text = reason(|outcome| outcome.counts.own_drops = 17);
    assert!(text.contains("dropped 17 datagrams"), "{text}");
    assert!(text.contains("net.core.rmem_max"), "{text}");
}

#[test]
fn a_run_in_which_nothing_was_due_has_that_reason_alone() {
    let text = reason(|outcome| {
        outcome.counts.due = 0;
        outcome.counts.sent = 0;
        outcome.counts.own_drops = 3;
    });
    assert!(text.contains("Nothing was due in 10.000 s"), "{text}");
}

#[test]
fn an_objective_that_the_generator_may_have_missed_is_named() {
    let slo = |is_doubtful| SloResult {
        clause: "p99.9<5ms".to_owned(),
        is_met: false,
        measured: Vec::new(),
        sentence: "answer 5.2 ms".to_owned(),
        is_doubtful,
    };
    let of = |slos: &[SloResult]| {
        Verdict::of(&sample_run::config(), &sample_run::outcome(), slos).invalid
    };
    assert_eq!(of(&[slo(false)]), Vec::<String>::new());
    let reasons = of(&[slo(false), slo(true)]);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].starts_with("p99.9<5ms is missed"), "{reasons:?}");
    assert!(reasons[0].contains("answer 5.2 ms"), "{reasons:?}");
}

#[test]
fn all_reasons_are_given() {
    let reasons = reasons(|outcome| {
        outcome.counts.sent = 1;
        outcome.counts.refused = 2;
        outcome.counts.own_drops = 3;
        outcome
            .latencies
            .send_lag
            .record_n(1 << 32, 1 << 32)
            .unwrap();
    });
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    let verdict = Verdict { invalid: reasons };
    assert!(!verdict.is_valid());
    assert!(
        verdict
            .to_string()
            .starts_with("invalid: The generator fell")
    );
}
