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

/// The numbers of a list, in which `null` is a gap. JavaScript does not tell 1.0 from 1.
pub(crate) fn numbers(list: &Value) -> Vec<Option<f64>> {
    let values = list.as_array().unwrap().iter();
    values.map(Value::as_f64).collect()
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

/// Shows the page and writes down, as JSON, what uPlot has drawn and where everything is.
const FRAME: &str = r#"<!DOCTYPE html>
<meta charset="utf-8">
<iframe id="frame" style="width: WIDTHpx; height: 900px; border: 0" srcdoc="PAGE"></iframe>
<script>
addEventListener("load", () => {
  const view = document.getElementById("frame").contentWindow;
  const page = view.document;
  const style = (element) => view.getComputedStyle(element);
  const box = (element) => element.getBoundingClientRect();
  const isIn = (inner, outer) => inner.left >= outer.left - 1 && inner.right <= outer.right + 1
    && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
  const isScrollable = (element) => element !== null
    && (style(element).overflowX === "auto" || isScrollable(element.parentElement));
  // How many pixels of the canvas have about the colour of a variable of the style.
  const pixels = (canvas, variable) => {
    const probe = page.body.appendChild(page.createElement("i"));
    probe.style.color = `var(${variable})`;
    const [red, green, blue] = style(probe).color.match(/\d+/g).map(Number);
    probe.remove();
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) {
      const off = Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue);
      if (data[at + 3] > 200 && off < 24) count += 1;
    }
    return count;
  };
  const figures = view.eval("charts").all.map(({ title, figure, plot, rules, marks, colors }) => {
    const canvas = figure.querySelector("canvas");
    const [x, ...values] = plot.data;
    const { scales } = plot;
    const isSeen = (at, value) => value === null || (at >= scales.x.min && at <= scales.x.max
      && value >= scales.y.min && value <= scales.y.max);
    return {
      title, rules, marks, x,
      left: Math.round(box(figure).left),
      is_inside: isIn(box(canvas), box(figure)),
      legend: [...figure.querySelectorAll(".u-legend .u-label")].slice(1).map((label) => label.textContent),
      curves: values.map((values, at) => ({
        label: plot.series[at + 1].label,
        values,
        points: values.filter((value) => value !== null && value !== undefined).length,
        is_seen: values.every((value, index) => isSeen(x[index], value)),
        pixels: pixels(canvas, colors[at]),
      })),
      marks_are_seen: marks.every(({ x, y }) => isSeen(x, y)),
    };
  });
  // Elements that do not fit into their box, and cannot be scrolled to.
  const cut = [...page.querySelectorAll("body *")]
    .filter((element) => element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1
      && !isScrollable(element))
    .map((element) => element.outerHTML.slice(0, 80));
  const pre = document.createElement("pre");
  pre.id = "layout";
  pre.textContent = JSON.stringify({
    figures, cut, page_width: page.documentElement.scrollWidth,
    title: page.title, text: page.getElementById("page").textContent,
  });
  document.body.append(pre);
});
</script>
"#;
