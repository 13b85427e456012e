use std::time::SystemTime;

use super::*;
use crate::limits::find_max::{Ceiling, FoundMax};
use crate::output::environment::Environment;
use crate::output::find_max::SearchRun;
use crate::testing::sample_run::config;
use crate::testing::sample_search::{find_max, found, one};

fn figures_of(found: &FoundMax) -> Vec<Figure> {
    let run = SearchRun {
        command: &[],
        find_max: &find_max(config()),
        ceiling: Ceiling::Asked,
        found,
    };
    let environment = Environment::default();
    figures(&FindMaxSummary::new(&run, SystemTime::now(), environment))
}

#[test]
fn a_curve_goes_through_the_middle_try_of_each_rate_or_the_worse_of_two() {
    let figures = figures_of(&found());
    let [delivery, answer, loss, sent] = &figures[..] else {
        panic!("{figures:?}");
    };
    let p99 = &delivery.plot.curves[1];
    assert_eq!(p99.name, "p99");
    let slowness = [
        (1_000.0, 1.1),
        (2_000.0, 1.4),
        (2_830.0, 2.6),
        (4_000.0, 90.0),
    ];
    let expected =
        |factor: f64| slowness.map(|(rate, slow)| (rate, log_us((400.0 * factor * slow).round())));
    assert_eq!(p99.pieces, [expected(1.0).to_vec()]);
    assert_eq!(answer.plot.curves[1].pieces, [expected(0.5).to_vec()]);
    assert_eq!(loss.plot.curves[0].pieces[0][3], (4_000.0, 0.012));
    assert_eq!(sent.plot.curves[0].pieces[0][3], (4_000.0, 3_996.0));
}

#[test]
fn every_try_has_its_mark_and_the_answer_its_line() {
    for figure in figures_of(&found()) {
        let plot = &figure.plot;
        let curves = if figure.title.contains("latency") {
            3
        } else {
            1
        };
        assert_eq!(plot.marks.len(), 9 * curves, "{}", figure.title);
        let bad = plot.marks.iter().filter(|mark| !mark.is_good);
        assert_eq!(bad.count(), 3 * curves, "{}", figure.title);
        for mark in &plot.marks {
            assert!(plot.x.range.contains(&mark.at.0), "{}", figure.title);
            let y = plot.y.range.start - 1e-6..=plot.y.range.end + 1e-6;
            assert!(y.contains(&mark.at.1), "{}: {mark:?}", figure.title);
        }
        let line = plot.curves.last().unwrap();
        assert_eq!(line.name, "highest good rate");
        assert!(line.pieces[0].iter().all(|point| point.0 == 2_830.0));
    }
}

#[test]
fn a_search_without_a_good_rate_has_no_such_line_and_one_try_is_a_point() {
    let found = FoundMax {
        rate_per_s: None,
        bad_rate_per_s: Some(20.0),
        is_generators_limit: false,
        tries: vec![one(20.0, 11.0)],
    };
    for figure in figures_of(&found) {
        let mut curves = figure.plot.curves.iter();
        assert!(curves.all(|curve| curve.name != "highest good rate"));
        assert!(figure.plot.draw().unwrap().contains("<circle"));
    }
}
