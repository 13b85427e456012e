//! What a report looks like in a real browser: the curves are there, in the open, and
//! nothing is cut off, in a wide window and in a narrow one.
//!
//! Another page has the report in a frame, as it is, and asks the browser where it has put
//! things. Where there is no browser, the test is skipped, and says so; in CI it fails.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

#[path = "common/sample_run.rs"]
mod sample_run;
#[path = "common/scratch.rs"]
mod scratch;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::output::{Output, Run};
use loadgen::verdict::Verdict;
use sample_run::{SampleRun, config};
use scratch::Scratch;
use serde_json::Value;

#[test]
fn a_browser_shows_every_curve_and_cuts_nothing_off() {
    let Some(browser) = browser() else {
        assert!(
            env::var("CI").as_deref() != Ok("true"),
            "no chromium, chromium-browser or google-chrome: CI must have one"
        );
        // Past the test harness, which keeps what a test that passes prints.
        let text = "SKIPPED: no chromium, chromium-browser or google-chrome to show the report";
        writeln!(io::stderr(), "{text}").unwrap();
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
        verdict: &Verdict::of(&config, &run.outcome),
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

/// Where `browser` puts the parts of `report` in a window of `width`.
fn layout(browser: &Path, scratch: &Scratch, report: &str, width: i64) -> Value {
    let path = scratch.path(&format!("frame-{width}.html"));
    let framed = report.replace('&', "&amp;").replace('"', "&quot;");
    let page = FRAME
        .replace("WIDTH", &width.to_string())
        .replace("REPORT", &framed);
    fs::write(&path, page).unwrap();
    let dumped = dump(browser, scratch, &path);
    let json = dumped.split("<pre id=\"layout\">").nth(1);
    let json = json.unwrap_or_else(|| panic!("no layout in {dumped}"));
    let json = json.split("</pre>").next().unwrap();
    let json = json
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// The page at `path` as it is when it has been shown.
fn dump(browser: &Path, scratch: &Scratch, path: &Path) -> String {
    let (out, errors) = (scratch.path("dom.html"), scratch.path("errors.txt"));
    let profile = scratch.path("profile");
    let child = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args(["--no-first-run", "--disable-extensions", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", path.display()))
        .env("HOME", scratch.dir())
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&errors).unwrap())
        .spawn();
    let is_done = ends(child.unwrap());
    let errors = fs::read_to_string(errors).unwrap_or_default();
    assert!(is_done, "{} failed: {errors}", browser.display());
    fs::read_to_string(out).unwrap()
}

/// Whether `child` ends well, and before [`LIMIT`].
fn ends(mut child: Child) -> bool {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

fn browser() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let places = names.iter().flat_map(|name| {
        let dirs: Vec<_> = env::split_paths(&path).collect();
        dirs.into_iter().map(move |dir| dir.join(name))
    });
    places.into_iter().find(|place| place.is_file())
}

/// So long that a second lies apart from the next one.
const SECONDS: u64 = 20;

/// So long that only a broken browser takes it.
const LIMIT: Duration = Duration::from_secs(120);

/// Shows the report and writes down, as JSON, where everything is. Curves are what is
/// drawn in the colours of the legend.
const FRAME: &str = r#"<!DOCTYPE html>
<meta charset="utf-8">
<iframe id="frame" style="width: WIDTHpx; height: 900px; border: 0" srcdoc="REPORT"></iframe>
<script>
addEventListener("load", () => {
  const page = document.getElementById("frame").contentDocument;
  const style = (element) => page.defaultView.getComputedStyle(element);
  const box = (element) => element.getBoundingClientRect();
  const isIn = (inner, outer) => inner.left >= outer.left - 1 && inner.right <= outer.right + 1
    && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
  const isSeen = (element) => style(element).visibility === "visible"
    && style(element).stroke !== "none" && parseFloat(style(element).strokeWidth) > 0
    && parseFloat(style(element).opacity) > 0;
  const isScrollable = (element) => element !== null
    && (style(element).overflowX === "auto" || isScrollable(element.parentElement));
  const figures = [...page.querySelectorAll("figure")].map((figure) => {
    const svg = figure.querySelector("svg");
    const legend = [...figure.querySelectorAll(".legend i")]
      .map((mark) => style(mark).backgroundColor);
    const curves = [...svg.querySelectorAll("polyline")]
      .filter((line) => legend.includes(style(line).stroke))
      .map((line) => ({
        colour: style(line).stroke,
        points: line.points.numberOfItems,
        width: box(line).width,
        is_inside: isSeen(line) && isIn(box(line), box(svg)),
      }));
    const labels = [...svg.querySelectorAll("text")];
    return {
      title: figure.querySelector("h3").textContent,
      left: Math.round(box(figure).left),
      width: box(svg).width,
      legend, curves,
      labels: labels.length,
      // The size of letters: lines lie, or stand; one letter may be higher than wide.
      label_height: Math.min(...labels.filter((label) => label.textContent.length > 2)
        .map((label) => Math.min(box(label).width, box(label).height))),
      clipped_labels: labels.filter((label) => !isIn(box(label), box(svg)))
        .map((label) => label.textContent),
    };
  });
  // What does not fit into its box, and cannot be scrolled to.
  const cut = [...page.querySelectorAll("body *")]
    .filter((element) => element.namespaceURI === page.documentElement.namespaceURI
      && element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1
      && !isScrollable(element))
    .map((element) => element.outerHTML.slice(0, 80));
  const pre = document.createElement("pre");
  pre.id = "layout";
  pre.textContent = JSON.stringify({
    figures, cut, page_width: page.documentElement.scrollWidth,
  });
  document.body.append(pre);
});
</script>
"#;
