//! What a report looks like in a real browser: the curves are there, in the open, and
//! nothing is cut off, in a wide window and in a narrow one.
//!
//! Where there is no browser, the test is skipped, and says so; in CI it fails.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

#[path = "common/browser.rs"]
mod browser;
#[path = "common/sample_run.rs"]
mod sample_run;
#[path = "common/scratch.rs"]
mod scratch;

use std::fs;
use std::path::PathBuf;

use browser::{browser, layout};
use loadgen::output::{Output, Run};
use loadgen::verdict::Verdict;
use sample_run::{SampleRun, config};
use scratch::Scratch;
use serde_json::Value;

#[test]
fn a_browser_shows_every_curve_and_cuts_nothing_off() {
    let Some(browser) = browser() else {
        return;
    };
    let scratch = Scratch::new();
    let report = report(scratch.path("run"));
    for (width, columns) in [(1_200, 2), (390, 1)] {
        let layout = layout(&browser, &scratch, &report, width);
        let figures = layout["figures"].as_array().unwrap();
        assert_eq!(figures.len(), 8, "at {width}: {layout}");
        for figure in figures {
            check_figure(figure, width);
        }
        let lefts = figures
            .iter()
            .map(|figure| figure["left"].as_i64().unwrap());
        let mut lefts: Vec<_> = lefts.collect();
        lefts.sort_unstable();
        lefts.dedup();
        assert_eq!(lefts.len(), columns, "at {width}: columns at {lefts:?}");
        // Nobody has to scroll to the side.
        let page_width = layout["page_width"].as_i64().unwrap();
        assert!(page_width <= width, "{page_width} at {width}");
        let cut = layout["cut"].as_array().unwrap();
        assert!(cut.is_empty(), "cut off at {width}: {cut:?}");
    }
}

/// Writes a run of [`SECONDS`], and gives its page.
fn report(dir: PathBuf) -> String {
    let run = SampleRun::of(SECONDS);
    let mut output = Output::create(&dir, false).unwrap();
    for sample in run.samples() {
        output.sample(&sample).unwrap();
    }
    let config = config();
    let command = ["loadgen", "--rate", "1k/s"].map(str::to_owned);
    let finished = output.finish(&Run {
        command: &command,
        config: &config,
        outcome: &run.outcome,
        verdict: &Verdict::of(&config, &run.outcome, &[]),
        slos: &[],
    });
    finished.unwrap();
    fs::read_to_string(dir.join("report.html")).unwrap()
}

#[track_caller]
fn check_figure(figure: &Value, width: i64) {
    let title = figure["title"].as_str().unwrap();
    let is_by_percentile = title.ends_with("by percentile");
    let curves = figure["curves"].as_array().unwrap();
    let expected = match title {
        "Answer latency by percentile" | "Delivery latency over time" => 3,
        "Answer latency over time" => 3,
        _ => 2,
    };
    assert_eq!(curves.len(), expected, "{title} at {width}: {curves:?}");
    let mut colours = Vec::new();
    for curve in curves {
        let points = curve["points"].as_u64().unwrap();
        let expected = if is_by_percentile { 401 } else { SECONDS };
        assert_eq!(points, expected, "{title} at {width}");
        assert_eq!(curve["is_inside"], true, "{title} at {width}: {curve}");
        // From one side of the plot to the other.
        let share = curve["width"].as_f64().unwrap() / figure["width"].as_f64().unwrap();
        assert!(share > 0.4, "{title} at {width}: {share} of the width");
        colours.push(curve["colour"].as_str().unwrap());
    }
    // The first one of the legend is drawn last, over all others.
    colours.reverse();
    assert_eq!(figure["legend"], Value::from(colours), "{title}");
    assert!(figure["labels"].as_u64().unwrap() >= 6, "{title}");
    assert_eq!(
        figure["clipped_labels"].as_array().unwrap().len(),
        0,
        "{figure}"
    );
    let height = figure["label_height"].as_f64().unwrap();
    assert!(
        height >= 8.0,
        "{title} at {width}: letters of {height} points"
    );
}

/// So long that a second lies apart from the next one.
const SECONDS: u64 = 20;
