use std::time::Duration;

use super::*;
use crate::outcome::{Second, Silence};
use crate::testing::sample_search::{found, generators_limit, one};
use crate::testing::{recorded, sample_run};

fn tried(slo: &str, change: impl FnOnce(&mut Outcome)) -> Try {
    let mut outcome = sample_run::outcome();
    change(&mut outcome);
    let slo = slo.parse().unwrap();
    Try::of(1_000.0, &sample_run::config(), &outcome, &slo)
}

#[test]
fn a_try_is_good_when_it_is_valid_and_meets_all_objectives() {
    let good = tried("loss<1%", |_| {});
    assert!(good.is_good, "{good:?}");
    assert_eq!(
        (good.deliveries_per_s, good.missing_ratio > 0.0),
        (4_496.3, true)
    );
    let missed = tried("loss<1%,p50<1ns", |_| {});
    assert!(!missed.is_good && missed.invalid.is_empty());
    let [of_p50] = &missed.missed[..] else {
        panic!("{missed:?}");
    };
    assert!(!of_p50.is_met && of_p50.measured.len() == 2, "{of_p50:?}");
    assert!(of_p50.to_string().starts_with("p50<1ns: delivery "));
    let invalid = tried("loss<1%", |outcome| outcome.counts.own_drops = 1);
    assert!(!invalid.is_good && invalid.missed.is_empty());
    assert_eq!(invalid.invalid.len(), 1);
    let strays = tried("loss<1%", |outcome| {
        outcome.counts.stray = outcome.counts.received;
    });
    assert!(!strays.is_good && strays.invalid.is_empty() && strays.missed.is_empty());
    assert_eq!(strays.faults.len(), 1);
    let doubtful = tried("answer.max<500us", |outcome| {
        outcome.latencies.answer = recorded(&[1_000_000]);
        outcome.latencies.send_lag = recorded(&[600_000]);
    });
    assert!(doubtful.missed[0].is_doubtful, "{doubtful:?}");
    assert_eq!(doubtful.invalid.len(), 1, "it says nothing of the server");
}

#[test]
fn what_is_missing_is_lost_or_unanswered() {
    for (lost, unanswered, missing_ratio) in [(1, 0, 0.01), (0, 1, 0.01), (1, 1, 0.02)] {
        let missing = tried("rate>1", |outcome| {
            let counts = &mut outcome.counts;
            (counts.expected, counts.lost) = (60, lost);
            (counts.asked, counts.unanswered) = (40, unanswered);
        });
        assert_eq!(missing.missing_ratio, missing_ratio);
    }
}

#[test]
fn the_limit_is_the_generators_where_it_spoiled_every_try_that_was_not_good() {
    let reason = || vec!["A reason.".to_owned()];
    let good = one(1_000.0, 1.0);
    let missed = Try {
        is_good: false,
        ..good.clone()
    };
    let spoiled = Try {
        invalid: reason(),
        ..missed.clone()
    };
    let faulty = Try {
        faults: reason(),
        ..missed.clone()
    };
    let elsewhere = Try {
        rate_per_s: 500.0,
        ..missed.clone()
    };
    for (tries, expected) in [
        (vec![&spoiled, &spoiled], true),
        (vec![&good, &spoiled], true),
        (vec![&elsewhere, &spoiled], true),
        (vec![&spoiled, &missed], false),
        (vec![&spoiled, &faulty], false),
        (vec![&good, &good], false),
        (vec![], false),
    ] {
        let tries: Vec<_> = tries.into_iter().cloned().collect();
        assert_eq!(
            is_generators_limit(&tries, Some(1_000.0)),
            expected,
            "{tries:?}"
        );
    }
    assert!(!is_generators_limit(&[spoiled], None));
}

#[test]
fn a_try_in_which_nothing_came_has_no_latencies() {
    let none = tried("rate>1", |outcome| {
        outcome.latencies = Default::default();
        outcome.seconds = vec![Second::default()];
    });
    assert_eq!(
        (none.delivery, none.answer, none.slowest()),
        (None, None, None)
    );
}

#[test]
fn the_slowest_of_both_kinds_is_taken_quantile_by_quantile() {
    let mut both = one(1_000.0, 4.0);
    assert_eq!(both.slowest(), both.delivery);
    let max_us = 1e6;
    both.answer = both.answer.map(|answer| Quantiles { max_us, ..answer });
    let slowest = both.slowest().unwrap();
    assert_eq!((slowest.p50_us, slowest.max_us), (400.0, max_us));
    both.delivery = None;
    assert_eq!(both.slowest(), both.answer);
}

#[test]
fn the_answer_names_the_rates_and_whose_limit_it_is() {
    let mut found = found();
    let answer = |found: &FoundMax| found.answer(Ceiling::Asked);
    let expected = "The highest good rate is 2,830/s. The lowest bad one is 4,000/s, where \
                    objectives were missed.";
    assert_eq!(answer(&found), expected);
    found.is_generators_limit = true;
    assert!(answer(&found).contains("4,000/s, where the generator itself fell short"));
    found.bad_rate_per_s = None;
    for (ceiling, why) in [
        (Ceiling::Asked, "--to allowed no more."),
        (Ceiling::Calibrated, "--force goes further."),
        (Ceiling::Any, "no higher one can be asked for."),
    ] {
        let answer = found.answer(ceiling);
        assert!(answer.starts_with("Every rate up to 2,830/s is good, and "));
        assert!(answer.ends_with(why), "{answer}");
    }
    let mut none = generators_limit();
    assert!(answer(&none).contains("the generator itself fell short even at 20/s"));
    none.is_generators_limit = false;
    assert!(answer(&none).contains("objectives were missed even at 20/s"));
}

/// A server that stood still and came back is measured at the next rate.
#[test]
fn a_server_that_restarted_or_is_silent_to_the_end_ends_a_search() {
    let mut outcome = sample_run::outcome();
    assert!(!outcome.is_server_gone());
    for (to, is_gone) in [(Some(Duration::from_secs(2)), false), (None, true)] {
        let from = Duration::from_secs(1);
        let is_refused = false;
        outcome.silence = Some(Silence {
            target: "127.0.0.1:9999".parse().unwrap(),
            from,
            to,
            is_refused,
        });
        assert_eq!(outcome.is_server_gone(), is_gone);
    }
    outcome.silence = None;
    outcome.has_restarted = true;
    assert!(outcome.is_server_gone());
}
