//! Pages in a real browser: another page has them in a frame, as they are, and asks the
//! browser where it has put things.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scratch::Scratch;

/// The browser of this machine. Where there is none, it says that the test is skipped; in
/// CI it panics.
pub(crate) fn browser() -> Option<PathBuf> {
    let found = find();
    if found.is_none() {
        assert!(
            env::var("CI").as_deref() != Ok("true"),
            "no chromium, chromium-browser or google-chrome: CI must have one"
        );
        // Past the test harness, which keeps what a test that passes prints.
        let text = "SKIPPED: no chromium, chromium-browser or google-chrome to show a page\n";
        io::stderr().write_all(text.as_bytes()).unwrap();
    }
    found
}

/// Where `browser` puts the parts of a page in a window of `width`.
pub(crate) fn layout(browser: &Path, scratch: &Scratch, page: &str, width: i64) -> Value {
    let path = scratch.path(&format!("frame-{width}.html"));
    let framed = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = FRAME
        .replace("WIDTH", &width.to_string())
        .replace("PAGE", &framed);
    fs::write(&path, frame).unwrap();
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

fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let places = names.iter().flat_map(|name| {
        let dirs: Vec<_> = env::split_paths(&path).collect();
        dirs.into_iter().map(move |dir| dir.join(name))
    });
    places.into_iter().find(|place| place.is_file())
}

/// So long that only a broken browser takes it.
const LIMIT: Duration = Duration::from_secs(120);

/// Shows the page and writes down, as JSON, where everything is. Curves are what is
/// drawn in the colours of the legend.
const FRAME: &str = r#"<!DOCTYPE html>
<meta charset="utf-8">
<iframe id="frame" style="width: WIDTHpx; height: 900px; border: 0" srcdoc="PAGE"></iframe>
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
    const marks = (name, paint) => [...svg.querySelectorAll(name)]
      .filter((mark) => legend.includes(style(mark)[paint]));
    const dots = marks("circle", "fill"), strokes = marks("line", "stroke");
    const labels = [...svg.querySelectorAll("text")];
    return {
      title: figure.querySelector("h3").textContent,
      left: Math.round(box(figure).left),
      width: box(svg).width,
      legend, curves,
      dots: dots.length,
      // Two strokes each.
      crosses: strokes.length / 2,
      marks_are_inside: [...dots, ...strokes].every((mark) => isIn(box(mark), box(svg))),
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
