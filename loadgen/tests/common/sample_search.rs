//! A search made by hand. The library's own tests use it, too.

#![allow(dead_code, reason = "every test program uses a part of this")]
#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

use loadgen::config::{Rate, RunConfig};
use loadgen::limits::find_max::{Ceiling, FindMax, FoundMax, Quantiles, Try};
use loadgen::limits::search::Search;
use loadgen::verdict::{Figure, Measured, MeasuredOf, SloResult};

/// A search with tries like `config`.
pub(crate) fn find_max(config: RunConfig) -> FindMax {
    FindMax {
        config: RunConfig {
            rate: Rate::constant(1_000.0),
            ..config
        },
        slo: "p99<5ms,loss<0.1%".parse().unwrap(),
        search: Search {
            from: 1_000.0,
            lowest: Some(20.0),
            highest: Some(50_000.0),
            precision: 1.5,
        },
        ceiling: Ceiling::Asked,
    }
}

/// What it brought to light: the server's limit, and one try that the generator spoiled.
pub(crate) fn found() -> FoundMax {
    let mut spoiled = one(2_000.0, 2.0);
    spoiled.is_good = false;
    spoiled.invalid = vec!["The generator fell behind: it slept.".to_owned()];
    answered(FoundMax {
        rate_per_s: Some(2_830.0),
        bad_rate_per_s: Some(4_000.0),
        is_generators_limit: false,
        sentence: String::new(),
        tries: vec![
            one(1_000.0, 1.0),
            one(1_000.0, 1.1),
            one(2_000.0, 1.2),
            spoiled,
            one(2_000.0, 1.4),
            one(4_000.0, 40.0),
            one(4_000.0, 90.0),
            one(2_830.0, 2.5),
            one(2_830.0, 2.6),
        ],
    })
}

fn answered(found: FoundMax) -> FoundMax {
    FoundMax {
        sentence: found.answer(Ceiling::Asked),
        ..found
    }
}

/// The same of a search whose generator fell short at once.
pub(crate) fn generators_limit() -> FoundMax {
    let mut tries = vec![one(20.0, 1.0), one(20.0, 1.0)];
    for one in &mut tries {
        one.is_good = false;
        one.invalid = vec!["The generator fell behind: it slept.".to_owned()];
    }
    answered(FoundMax {
        rate_per_s: None,
        bad_rate_per_s: Some(20.0),
        is_generators_limit: true,
        sentence: String::new(),
        tries,
    })
}

/// A try with deliveries so slow, and answers half as slow: bad from 10 times on.
pub(crate) fn one(rate_per_s: f64, slowness: f64) -> Try {
    let is_good = slowness < 10.0;
    let whole = |us: f64| us.round();
    let quantiles = |factor: f64| Quantiles {
        p50_us: whole(100.0 * factor),
        p99_us: whole(400.0 * factor),
        p99_9_us: whole(900.0 * factor),
        max_us: whole(1_200.0 * factor),
    };
    Try {
        rate_per_s,
        sent_per_s: rate_per_s * 0.999,
        deliveries_per_s: rate_per_s * 5.0,
        answers_per_s: rate_per_s * 0.5,
        missing_ratio: if is_good { 0.0 } else { 0.012 },
        delivery: Some(quantiles(slowness)),
        answer: Some(quantiles(slowness / 2.0)),
        is_good,
        faults: Vec::new(),
        invalid: Vec::new(),
        missed: match is_good {
            true => Vec::new(),
            false => vec![missed()],
        },
    }
}

fn missed() -> SloResult {
    SloResult {
        clause: "loss<0.1%".to_owned(),
        is_met: false,
        measured: vec![Measured {
            of: MeasuredOf::All,
            figure: Figure::MissingRatio(Some(0.012)),
        }],
        sentence: "1.20 %".to_owned(),
        is_doubtful: false,
    }
}
