//! What the page of a search looks like in a real browser: every curve and every mark is
//! there, in the open, and nothing is cut off, in a wide window and in a narrow one.
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
#[path = "common/sample_search.rs"]
mod sample_search;
#[path = "common/scratch.rs"]
mod scratch;

use std::fs;

use browser::{browser, layout};
use loadgen::limits::find_max::Ceiling;
use loadgen::output::{SearchOutput, SearchRun};
use sample_run::config;
use sample_search::{find_max, found};
use scratch::Scratch;
use serde_json::Value;

#[test]
fn a_browser_shows_every_curve_and_every_try() {
    let Some(browser) = browser() else {
        return;
    };
    let scratch = Scratch::new();
    let output = SearchOutput::create(scratch.dir(), false).unwrap();
    let finished = output.finish(&SearchRun {
        command: &["loadgen".to_owned()],
        find_max: &find_max(config()),
        ceiling: Ceiling::Asked,
        found: &found(),
    });
    finished.unwrap();
    let page = fs::read_to_string(scratch.path("find-max.html")).unwrap();
    for width in [1_200, 390] {
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
    }
}

#[track_caller]
fn check_figure(figure: &Value, width: i64) {
    let title = figure["title"].as_str().unwrap();
    let (quantities, lines) = match title {
        "Delivery latency over load" | "Answer latency over load" => (3, 4),
        "Loss over load" => (1, 2),
        // And what was due.
        _ => (1, 3),
    };
    let curves = figure["curves"].as_array().unwrap();
    assert_eq!(curves.len(), lines, "{title} at {width}: {curves:?}");
    assert_eq!(figure["legend"].as_array().unwrap().len(), lines, "{title}");
    for curve in curves {
        assert_eq!(curve["is_inside"], true, "{title} at {width}: {curve}");
        // Four rates were tried; the line of the answer stands upright.
        let is_line = curve["points"] == 2;
        let share = curve["width"].as_f64().unwrap() / figure["width"].as_f64().unwrap();
        assert_eq!(is_line, share < 0.01, "{title} at {width}: {curve}");
        assert!(is_line || curve["points"] == 4, "{title}: {curve}");
        assert!(is_line || share > 0.4, "{title} at {width}: {share}");
    }
    assert_eq!(figure["dots"], 6 * quantities, "{title} at {width}");
    let crosses = figure["crosses"].as_f64().unwrap();
    assert_eq!(crosses, f64::from(3 * quantities), "{title} at {width}");
    assert_eq!(figure["marks_are_inside"], true, "{title} at {width}");
    let clipped = figure["clipped_labels"].as_array().unwrap();
    assert!(clipped.is_empty(), "{title} at {width}: {clipped:?}");
}
