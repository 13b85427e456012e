//! The report of a run in a real browser. The values that uPlot has drawn are those of
//! `summary.json`, every curve is visible, and nothing is cut off at any width.
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
#[path = "common/scratch.rs"]
mod scratch;

use std::fs;
use std::path::Path;
use std::time::Duration;

use browser::{browser, layout, numbers};
use loadgen::outcome::Silence;
use loadgen::output::{Output, Run};
use loadgen::percentiles::taken_us;
use loadgen::slo::Slo;
use loadgen::units::{count, rate, share_of_one};
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
    let dir = scratch.path("run");
    let (page, summary) = write(&SampleRun::of(SECONDS), &dir);
    for (width, columns) in [(1_200, 2), (390, 1), (320, 1)] {
        let layout = layout(&browser, &scratch, &page, width);
        let figures = layout["figures"].as_array().unwrap();
        assert_eq!(figures.len(), 8, "at {width}");
        let mut lefts = Vec::new();
        for figure in figures {
            check_figure(figure, width);
            lefts.push(figure["left"].as_i64().unwrap());
        }
        lefts.sort_unstable();
        lefts.dedup();
        assert_eq!(lefts.len(), columns, "at {width}: columns at {lefts:?}");
        // Nobody has to scroll to the side.
        let page_width = layout["page_width"].as_i64().unwrap();
        assert!(page_width <= width, "{page_width} at {width}");
        let cut = layout["cut"].as_array().unwrap();
        assert!(cut.is_empty(), "cut off at {width}: {cut:?}");
        check_values(figures, &summary);
        check_text(layout["text"].as_str().unwrap(), &summary);
    }
}

/// A second without deliveries is a gap, and a run without answers has no chart of them.
#[test]
fn gaps_are_gaps_and_what_a_run_has_not_has_no_chart() {
    let Some(browser) = browser() else {
        return;
    };
    let scratch = Scratch::new();
    let mut run = SampleRun::of(9);
    run.intervals[4].delivery.reset();
    run.outcome.seconds[4].expected = 0;
    for latencies in run.intervals.iter_mut().chain([&mut run.outcome.latencies]) {
        latencies.answer.reset();
        latencies.answer_from_send.reset();
        latencies.answer_closed_loop.reset();
    }
    for second in &mut run.outcome.seconds {
        (second.asked, second.answered) = (0, 0);
    }
    run.outcome.signal = Some(2);
    run.outcome.counts.own_drops = 1;
    run.outcome.silence = Some(Silence {
        target: "127.0.0.1:9999".parse().unwrap(),
        from: Duration::from_millis(3_100),
        to: None,
        is_refused: true,
    });
    // Above the range of the histograms.
    run.outcome
        .latencies
        .receive_lag
        .saturating_record(74_000_000_000);
    let (page, _) = write(&run, &scratch.path("run"));
    let layout = layout(&browser, &scratch, &page, 1_200);
    let figures = layout["figures"].as_array().unwrap();
    let titles: Vec<_> = figures
        .iter()
        .map(|figure| figure["title"].as_str().unwrap())
        .collect();
    let expected = [
        "Delivery latency by percentile",
        "Delivery latency over time",
        "Datagrams offered",
        "Deliveries",
        "Losses",
    ];
    assert_eq!(titles, expected);
    for (title, label) in [
        ("Delivery latency over time", "p99"),
        ("Losses", "deliveries lost"),
    ] {
        let curve = curve(figure(figures, title), label);
        assert_eq!(curve["points"], 8, "{title}");
        assert!(curve["values"][4].is_null(), "{title}");
    }
    let text = layout["text"].as_str().unwrap();
    for words in [
        "✗ Failed",
        "The server was silent from 3.1 s on: nothing listened on 127.0.0.1:9999.",
        "≥ 68.7 s",
        "own sockets dropped 1 datagram",
        "Ctrl-C ended the run.",
        "It recorded 9 s of 10 s.",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    assert!(!text.contains("NaN") && !text.contains("undefined"));
}

#[test]
fn a_run_that_recorded_nothing_has_a_page_without_charts() {
    let Some(browser) = browser() else {
        return;
    };
    let scratch = Scratch::new();
    let (page, _) = write(&SampleRun::of(0), &scratch.path("run"));
    let layout = layout(&browser, &scratch, &page, 1_200);
    assert_eq!(layout["figures"].as_array().unwrap().len(), 0);
    let text = layout["text"].as_str().unwrap();
    assert!(text.contains("Nothing was due in 0.000 s"), "{text}");
    assert!(!text.contains("NaN") && !text.contains("undefined"));
}

/// Writes a run, and returns its page and its summary.json.
fn write(run: &SampleRun, dir: &Path) -> (String, Value) {
    let mut output = Output::create(dir, false).unwrap();
    for sample in run.samples() {
        output.sample(&sample).unwrap();
    }
    let config = config();
    let command = ["loadgen", "--rate", "1k"].map(str::to_owned);
    let slo: Slo = "p99<1s,loss<0.01%".parse().unwrap();
    let slos = slo.check(&run.outcome);
    let finished = output.finish(&Run {
        command: &command,
        config: &config,
        outcome: &run.outcome,
        verdict: &Verdict::of(&config, &run.outcome, &[]),
        slos: &slos,
    });
    finished.unwrap();
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    let summary = fs::read(dir.join("summary.json")).unwrap();
    (page, serde_json::from_slice(&summary).unwrap())
}

fn figure<'a>(figures: &'a [Value], title: &str) -> &'a Value {
    let found = figures.iter().find(|figure| figure["title"] == title);
    found.unwrap_or_else(|| panic!("no {title}"))
}

fn curve<'a>(figure: &'a Value, label: &str) -> &'a Value {
    let curves = figure["curves"].as_array().unwrap();
    let found = curves.iter().find(|curve| curve["label"] == label);
    found.unwrap_or_else(|| panic!("no {label}"))
}

#[track_caller]
fn check_figure(figure: &Value, width: i64) {
    let title = figure["title"].as_str().unwrap();
    let curves = figure["curves"].as_array().unwrap();
    let expected = match title {
        "Answer latency by percentile" | "Delivery latency over time" => 3,
        "Answer latency over time" => 3,
        _ => 2,
    };
    assert_eq!(curves.len(), expected, "{title} at {width}");
    assert_eq!(figure["is_inside"], true, "{title} at {width}");
    let mut labels = Vec::new();
    for curve in curves {
        let label = curve["label"].as_str().unwrap();
        let points = curve["points"].as_u64().unwrap();
        let few = match title.ends_with("by percentile") {
            true => 50,
            false => SECONDS,
        };
        assert!(points >= few, "{title}, {label} at {width}: {points}");
        assert_eq!(curve["is_seen"], true, "{title}, {label} at {width}");
        // As long as the plot is wide, but for what other curves cover.
        let pixels = curve["pixels"].as_u64().unwrap();
        assert!(pixels > 80, "{title}, {label} at {width}: {pixels} pixels");
        labels.push(label);
    }
    assert_eq!(figure["legend"], Value::from(labels), "{title}");
}

/// Compares what is drawn with the summary.
fn check_values(figures: &[Value], summary: &Value) {
    for (title, name, others) in [
        ("Delivery", "delivery", &[("from send", "-from-send")][..]),
        (
            "Answer",
            "answer",
            &[("from send", "-from-send"), ("closed loop", "-closed-loop")],
        ),
    ] {
        let by_percentile = figure(figures, &format!("{title} latency by percentile"));
        let x = by_percentile["x"].as_array().unwrap();
        for (label, suffix) in [("from due", "")].iter().chain(others) {
            let expected = &summary["latencies"][format!("{name}{suffix}")];
            let values = numbers(&curve(by_percentile, label)["values"]);
            for (quantile, key) in [(0.5, "p50_us"), (0.9, "p90_us"), (0.99, "p99_us")] {
                let at = f64::log10(quantile / (1.0 - quantile));
                let near = |x: &Value| (x.as_f64().unwrap() - at).abs() < 1e-9;
                let index = x.iter().position(near).unwrap();
                assert_eq!(
                    values[index],
                    expected[key].as_f64(),
                    "{title}, {label}, {key}"
                );
            }
            let last = values.into_iter().flatten().next_back();
            assert_eq!(last, expected["max_us"].as_f64(), "{title}, {label}");
        }
        let over_time = figure(figures, &format!("{title} latency over time"));
        let intervals = summary["intervals"].as_array().unwrap();
        let own: Vec<_> = intervals
            .iter()
            .filter(|interval| interval["latency"] == name)
            .collect();
        for (label, key) in [("median", "p50_us"), ("p99", "p99_us"), ("max", "max_us")] {
            let expected: Vec<_> = own.iter().map(|interval| interval[key].as_f64()).collect();
            let drawn = numbers(&curve(over_time, label)["values"]);
            assert_eq!(drawn, expected, "{title}, {label}");
        }
        let times: Vec<_> = (0..SECONDS).map(|at| Some(at as f64 + 0.5)).collect();
        assert_eq!(numbers(&over_time["x"]), times);
    }
    let seconds = summary["seconds"].as_array().unwrap();
    let of = |key: &str| -> Vec<u64> {
        let values = seconds.iter().map(|second| second[key].as_u64());
        values.map(Option::unwrap).collect()
    };
    for (title, keys) in [
        ("Datagrams offered", ["due", "sent"]),
        ("Deliveries", ["expected", "delivered"]),
        ("Answers", ["asked", "answered"]),
    ] {
        for key in keys {
            let drawn = &curve(figure(figures, title), key)["values"];
            assert_eq!(*drawn, Value::from(of(key)), "{title}, {key}");
        }
    }
    for (label, whole, part) in [
        ("deliveries lost", "expected", "delivered"),
        ("requests unanswered", "asked", "answered"),
    ] {
        let drawn = &curve(figure(figures, "Losses"), label)["values"];
        for (at, (whole, part)) in of(whole).into_iter().zip(of(part)).enumerate() {
            let expected = (whole - part) as f64 / whole as f64;
            assert_eq!(drawn[at].as_f64(), Some(expected), "{label} in {at}");
        }
    }
}

/// Checks that the page prints the figures of the summary, as the program prints them.
fn check_text(text: &str, summary: &Value) {
    let float = |value: &Value| value.as_f64().unwrap();
    let (counts, rates) = (&summary["counts"], &summary["rates"]);
    let mut expected = vec![
        "Load test: 1,000/s for 20 s".to_owned(),
        "✓ Valid".to_owned(),
        "✗ 1 of 2 objectives missed".to_owned(),
        "✓ p99<1s: delivery ".to_owned(),
        "✗ loss<0.01%: ".to_owned(),
        "mixed, v1, poisson arrivals, 1,000 clients, server 127.0.0.1:9999".to_owned(),
        rate(float(&rates["sent_per_s"])),
        rate(float(&rates["deliveries_per_s"])),
        share_of_one(float(&rates["loss_ratio"])),
        share_of_one(float(&rates["unanswered_ratio"])),
        "loadgen --rate 1k".to_owned(),
        "Copies that were expected and arrived, each counted once.".to_owned(),
        "left out".to_owned(),
    ];
    let printed = |value: &Value| count(value.as_u64().unwrap());
    expected.extend(counts.as_object().unwrap().values().map(printed));
    for name in ["delivery", "answer", "send-lag", "receive-lag"] {
        let latency = &summary["latencies"][name];
        let quantiles = ["p50_us", "p90_us", "p99_us", "p99_9_us", "max_us"];
        expected.extend(quantiles.map(|key| taken_us(float(&latency[key]))));
    }
    for words in expected {
        assert!(text.contains(&words), "no {words} in {text}");
    }
}

/// So long that a second lies apart from the next one.
const SECONDS: u64 = 20;
