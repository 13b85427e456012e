//! The page of a search in a real browser. The values that uPlot has drawn are those of the
//! tries, and nothing is cut off at any width.
//!
//! Without a browser the test is skipped, and says so. In CI it fails.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

#[path = "common/browser.rs"]
mod browser;
#[path = "common/sample_run.rs"]
mod sample_run;
#[path = "common/sample_search.rs"]
mod sample_search;
#[path = "common/scratch.rs"]
mod scratch;

use std::fs;

use browser::{browser, layout, numbers};
use loadgen::limits::find_max::FoundMax;
use loadgen::output::SearchOutput;
use sample_run::config;
use sample_search::{find_max, found, generators_limit};
use scratch::Scratch;
use serde_json::Value;

#[test]
fn a_browser_shows_every_curve_and_every_try() {
    let Some(browser) = browser() else {
        return;
    };
    let scratch = Scratch::new();
    let page = write(&scratch, &found());
    for width in [1_200, 390, 320] {
        let layout = layout(&browser, &scratch, &page, width);
        let figures = layout["figures"].as_array().unwrap();
        assert_eq!(figures.len(), 4, "at {width}: {layout}");
        for figure in figures {
            check_figure(figure, width);
        }
        // Nobody has to scroll to the side.
        let page_width = layout["page_width"].as_i64().unwrap();
        assert!(page_width <= width, "{page_width} at {width}");
        let cut = layout["cut"].as_array().unwrap();
        assert!(cut.is_empty(), "cut off at {width}: {cut:?}");
        let text = layout["text"].as_str().unwrap();
        for words in [
            "Search: good up to 2,830/s",
            "The highest good rate is 2,830/s. The lowest bad one is 4,000/s",
            "Objectives: p99<5ms,loss<0.1%.",
            "✗ loss<0.1%: 1.20 %",
            "✗ The generator fell behind",
            "1.04 ms",
            "520 µs",
        ] {
            assert!(text.contains(words), "no {words} in {text}");
        }
        assert_eq!(text.matches("✓ good").count(), 6);
    }
}

#[test]
fn the_limit_of_the_generator_is_named_and_a_kind_that_no_try_had_has_no_chart() {
    let Some(browser) = browser() else {
        return;
    };
    let scratch = Scratch::new();
    let mut found = generators_limit();
    for one in &mut found.tries {
        one.delivery = None;
    }
    let page = write(&scratch, &found);
    let layout = layout(&browser, &scratch, &page, 1_200);
    assert_eq!(layout["title"], "bullhorn: no rate is good");
    let figures = layout["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 3, "{layout}");
    assert_eq!(figures[0]["title"], "Answer latency over load");
    assert!(figures[0]["rules"].as_array().unwrap().is_empty());
    let text = layout["text"].as_str().unwrap();
    for words in [
        "✗ The generator fell short",
        "the generator itself fell short even at 20/s",
        "The generator fell behind: it slept.",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    assert!(!text.contains("deliveries/s") && !text.contains("NaN"));
}

/// Writes a search, and returns its page.
fn write(scratch: &Scratch, found: &FoundMax) -> String {
    let output = SearchOutput::create(scratch.dir(), true).unwrap();
    let path = output.page();
    let command = ["loadgen".to_owned()];
    output.finish(&command, &find_max(config()), found).unwrap();
    fs::read_to_string(path).unwrap()
}

#[track_caller]
fn check_figure(figure: &Value, width: i64) {
    let title = figure["title"].as_str().unwrap();
    let found = found();
    let slowness = [1.1, 1.4, 2.6, 90.0];
    let latency = |base: f64, half: f64| slowness.map(|slow| (base * slow * half).round());
    // The curve goes through the middle try of each rate, or the worse one of two.
    let (label, expected, quantities) = match title {
        "Delivery latency over load" => ("p99", latency(400.0, 1.0), 3),
        "Answer latency over load" => ("p99", latency(400.0, 0.5), 3),
        "Loss over load" => ("loss", [0.0, 0.0, 0.0, 0.012], 1),
        _ => ("sent", RATES.map(|rate| rate * 0.999), 1),
    };
    assert_eq!(numbers(&figure["x"]), RATES.map(Some));
    let curves = figure["curves"].as_array().unwrap();
    let curve = curves.iter().find(|curve| curve["label"] == label).unwrap();
    assert_eq!(numbers(&curve["values"]), expected.map(Some), "{title}");
    for curve in curves {
        assert_eq!(curve["points"], 4, "{title} at {width}: {curve}");
        assert_eq!(curve["is_seen"], true, "{title} at {width}: {curve}");
        assert!(curve["pixels"].as_u64() > Some(80), "{title} at {width}");
    }
    // Every try has its mark, and the answer its line.
    let marks = figure["marks"].as_array().unwrap();
    assert_eq!(marks.len(), found.tries.len() * quantities, "{title}");
    let bad = marks.iter().filter(|mark| mark["good"] == false);
    assert_eq!(bad.count(), 3 * quantities, "{title}");
    assert_eq!(figure["marks_are_seen"], true, "{title} at {width}");
    assert_eq!(figure["is_inside"], true, "{title} at {width}");
    assert_eq!(figure["rules"][0]["at"].as_f64(), Some(2_830.0));
    assert_eq!(figure["rules"][0]["label"], "highest good rate 2,830/s");
}

/// The rates that were tried.
const RATES: [f64; 4] = [1_000.0, 2_000.0, 2_830.0, 4_000.0];
