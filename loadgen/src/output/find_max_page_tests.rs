use std::time::SystemTime;

use super::*;
use crate::limits::find_max::FoundMax;
use crate::output::environment::Environment;
use crate::output::find_max::SearchRun;
use crate::output::report::tests::{check_tags, resources};
use crate::testing::sample_run::config;
use crate::testing::sample_search::{find_max, found, generators_limit};
use crate::verdict::SloResult;

fn summary_of(found: &FoundMax, ceiling: Ceiling) -> FindMaxSummary {
    let run = SearchRun {
        command: &["loadgen".to_owned()],
        find_max: &find_max(config()),
        ceiling,
        found,
    };
    FindMaxSummary::new(&run, SystemTime::now(), Environment::read())
}

fn page_of(found: &FoundMax) -> String {
    page(&summary_of(found, Ceiling::Asked)).unwrap()
}

#[test]
fn a_page_is_whole_and_needs_nothing_else() {
    for found in [found(), generators_limit()] {
        let page = page_of(&found);
        assert!(!page.contains("{{"), "something was not filled in");
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        let none: Vec<&str> = Vec::new();
        assert_eq!(resources(&page), none);
        check_tags(&page);
        assert_eq!(page.matches("<svg").count(), 4);
    }
}

#[test]
fn the_answer_stands_at_the_top_and_every_try_in_the_table() {
    let page = page_of(&found());
    let (head, rest) = page.split_once("Under growing load").unwrap();
    for text in [
        "<h1>bullhorn: good up to 2,830/s</h1>",
        "The highest good rate is 2,830/s. The lowest bad one is 4,000/s",
        "Asked for: p99&lt;5ms,loss&lt;0.1%.",
        "Above it, objectives are missed",
        "<b>4,000/s</b><small>lowest bad rate</small>",
        // The last one of the tries there.
        "<b>1.04 ms</b><small>p99</small>",
        "<b>520 µs</b><small>p99</small>",
    ] {
        assert!(head.contains(text), "no {text} in {head}");
    }
    assert!(!head.contains("class=\"problem\""), "{head}");
    let table = rest.split("<h2>The tries</h2>").nth(1).unwrap();
    let table = table.split("</table>").next().unwrap();
    assert_eq!(table.matches("✓ good").count(), 6);
    assert_eq!(table.matches("✗ loss&lt;0.1%: 1.20 %").count(), 2);
    assert_eq!(
        table
            .matches("✗ The generator fell behind: it slept.")
            .count(),
        1
    );
}

#[test]
fn whose_limit_it_is_is_told() {
    let page = page_of(&generators_limit());
    for text in [
        "<h1>bullhorn: no rate is good</h1>",
        "✗ No rate is good",
        "At 20/s, it was the load generator that fell short",
        "<li>The generator fell behind: it slept.</li>",
    ] {
        assert!(page.contains(text), "no {text}");
    }
    let mut all_good = found();
    all_good.bad_rate_per_s = None;
    for (ceiling, text) in [
        (
            Ceiling::Calibrated,
            "The generator was calibrated to no more",
        ),
        (Ceiling::Asked, "No more was allowed"),
    ] {
        let page = super::page(&summary_of(&all_good, ceiling)).unwrap();
        assert!(page.contains(text), "no {text}");
    }
    let mut spoiled = found();
    spoiled.is_generators_limit = true;
    assert!(page_of(&spoiled).contains("Above it, the generator falls short"));
}

#[test]
fn a_kind_that_no_try_had_has_neither_figure_nor_column() {
    let mut pings = found();
    for one in &mut pings.tries {
        one.delivery = None;
    }
    let page = page_of(&pings);
    assert!(!page.contains("Delivery latency over load") && !page.contains("deliveries/s"));
    assert!(page.contains("Answer latency over load") && page.contains("answers/s"));
    let mut nothing = generators_limit();
    nothing.tries.clear();
    let page = page_of(&nothing);
    assert!(!page.contains("<svg") && !page.contains("NaN"));
}

#[test]
fn what_comes_from_outside_is_text() {
    let evil = "</pre><script>alert('1')</script> & {{tries}} \"";
    let mut summary = summary_of(&generators_limit(), Ceiling::Asked);
    summary.command = evil.to_owned();
    summary.slo = evil.to_owned();
    summary.found.sentence = evil.to_owned();
    summary.config.target = evil.to_owned();
    summary.environment.kernel = Some(evil.to_owned());
    summary.tries[0].invalid = vec![evil.to_owned()];
    summary.tries[1].missed = vec![SloResult {
        clause: evil.to_owned(),
        is_met: false,
        measured: Vec::new(),
        sentence: evil.to_owned(),
        is_doubtful: false,
    }];
    let page = page(&summary).unwrap();
    assert!(!page.contains("<script"));
    let escaped =
        "&lt;/pre&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; {{tries}} &quot;";
    // The sentence, the target and the objectives in the head; the last two in the table of
    // what it was told; the reasons in that of the tries, and what is invalid above it.
    assert_eq!(page.matches(escaped).count(), 11);
}
