//! The report of a run or of a search: one HTML file that works without a network. It holds
//! the JSON of the run, and a script that draws it.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value, json};

use super::find_max::FindMaxSummary;
use super::summary::{ServerSummary, Summary};
use crate::outcome::{Counts, Generator, Latencies};
use crate::percentiles::micros;

/// Returns the page of a run.
pub(super) fn of_run(summary: &Summary, latencies: &Latencies) -> serde_json::Result<String> {
    let recorded = latencies.named().into_iter();
    let recorded = recorded.filter(|(_, histogram)| !histogram.is_empty());
    let curves: BTreeMap<_, _> = recorded
        .map(|(name, histogram)| (name, curve(histogram)))
        .collect();
    page(&json!({
        "summary": summary,
        "curves": curves,
        "meanings": {
            "counts": meanings(Counts::MEANINGS),
            // In their order, unlike the keys of an object.
            "latencies": Latencies::MEANINGS,
            "generator": meanings(Generator::MEANINGS),
            "server": meanings(&ServerSummary::meanings()),
        },
    }))
}

/// Returns the page of a search.
pub(super) fn of_search(summary: &FindMaxSummary) -> serde_json::Result<String> {
    page(&json!({ "search": summary, "meanings": {} }))
}

fn page(data: &impl Serialize) -> serde_json::Result<String> {
    // Nothing in the data can end the element that holds it.
    let data = serde_json::to_string(data)?.replace('<', "\\u003c");
    let mut page = String::with_capacity(data.len() + 100_000);
    for part in PAGE.split_inclusive("{{").flat_map(|part| part.split("}}")) {
        match part.strip_suffix("{{").unwrap_or(part) {
            "style" => STYLES.iter().for_each(|style| page.push_str(style)),
            "data" => page.push_str(&data),
            "script" => SCRIPTS.iter().for_each(|script| page.push_str(script)),
            text => page.push_str(text),
        }
    }
    Ok(page)
}

fn meanings(all: &[(&str, &str)]) -> Value {
    all.iter()
        .map(|(key, meaning)| ((*key).to_owned(), Value::from(*meaning)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Returns quantiles and their values in microseconds, at equal distances on an axis of log
/// odds. The quantiles of the summary are among them, and the greatest value ends them.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let last = 1.0 - 0.5 / histogram.len() as f64;
    let odds = (-FIRST_STEP..=LAST_STEP).map(|step| 10_f64.powf(f64::from(step) / STEPS));
    let mut quantiles: Vec<_> = odds.map(|odds| odds / (1.0 + odds)).collect();
    quantiles.extend([0.5, 0.9, 0.95, 0.99, 0.999, 0.9999]);
    quantiles.retain(|quantile| *quantile < last);
    quantiles.push(last);
    quantiles.sort_by(f64::total_cmp);
    // A step and a named quantile may be the same but for the last digit.
    quantiles.dedup_by(|one, other| (*one - *other).abs() < 1e-12);
    let values = quantiles.into_iter().map(|quantile| {
        let value_ns = histogram.value_at_quantile(quantile);
        (quantile, micros(value_ns))
    });
    values.collect()
}

/// Steps of a curve per factor of ten in the odds.
const STEPS: f64 = 24.0;

/// From odds of 1 to 1000, and to 10⁹ to 1.
const FIRST_STEP: i32 = 72;
const LAST_STEP: i32 = 216;

const PAGE: &str = include_str!("page.html");

const STYLES: [&str; 3] = [
    include_str!("../../../assets/charts/uPlot.min.css"),
    include_str!("../../../assets/charts/charts.css"),
    include_str!("page.css"),
];

const SCRIPTS: [&str; 3] = [
    include_str!("../../../assets/charts/uPlot.iife.min.js"),
    include_str!("../../../assets/charts/charts.js"),
    include_str!("page.js"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::summary_of;
    use crate::testing::sample_run::SampleRun;

    fn page_of(run: &SampleRun, change: impl FnOnce(&mut Summary)) -> String {
        let mut summary = summary_of(run);
        change(&mut summary);
        of_run(&summary, &run.outcome.latencies).unwrap()
    }

    #[test]
    fn a_page_is_whole_and_needs_nothing_else() {
        let page = page_of(&SampleRun::of(10), |_| {});
        assert!(!page.contains("{{"), "something was not filled in");
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        for elsewhere in ["src=", "href=", "url(", "@import", "<link", "fetch("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn what_comes_from_outside_is_data() {
        let evil = "</script><script>alert('1')</script> & {{script}} <!--";
        let page = page_of(&SampleRun::of(1), |summary| {
            summary.command = evil.to_owned();
            summary.verdict.invalid = vec![evil.to_owned()];
            summary.environment.kernel = Some(evil.to_owned());
        });
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(page.matches("</script>").count(), 2);
        let data = page.split("id=\"data\">").nth(1).unwrap();
        let data = data.split("</script>").next().unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["summary"]["command"], evil);
        assert_eq!(data["summary"]["verdict"]["invalid"][0], evil);
    }

    #[test]
    fn a_curve_has_the_percentiles_of_the_summary_and_ends_with_the_greatest() {
        let run = SampleRun::of_nodes(20);
        let summary = summary_of(&run);
        for (name, histogram) in run.outcome.latencies.named() {
            let curve = curve(histogram);
            let expected = summary.latencies[name];
            for (quantile, value_us) in [
                (0.5, expected.p50_us),
                (0.95, expected.p95_us),
                (0.99, expected.p99_us),
                (0.999, expected.p99_9_us),
            ] {
                let near = |point: &&(f64, f64)| (point.0 - quantile).abs() < 1e-12;
                assert_eq!(curve.iter().find(near).unwrap().1, value_us, "{name}");
            }
            assert!(curve.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1));
            assert_eq!(curve[curve.len() - 1].1, expected.max_us);
        }
    }
}
