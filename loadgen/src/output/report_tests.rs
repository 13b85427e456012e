use super::*;
use crate::output::tests::summary_of;
use crate::testing::sample_run::SampleRun;
use crate::verdict::SloResult;

fn page_of(run: &SampleRun, change: impl FnOnce(&mut Summary)) -> String {
    let mut summary = summary_of(run);
    change(&mut summary);
    page(&summary, &run.outcome.latencies).unwrap()
}

/// What a page would load from elsewhere.
pub(in crate::output) fn resources(page: &str) -> Vec<&str> {
    let names = [
        "http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link",
    ];
    let found = page.match_indices('<').map(|(at, _)| &page[at..]);
    let tags = found.map(|rest| rest.split_inclusive('>').next().unwrap());
    let style = page
        .split("<style>")
        .nth(1)
        .unwrap()
        .split("</style>")
        .next();
    tags.chain(style)
        .filter(|text| {
            let text = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
            names.iter().any(|name| text.contains(name))
        })
        .collect()
}

#[test]
fn a_page_is_whole_and_needs_nothing_else() {
    let page = page_of(&SampleRun::of(10), |_| {});
    assert!(!page.contains("{{"), "something was not filled in");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    let none: Vec<&str> = Vec::new();
    assert_eq!(resources(&page), none);
    assert_eq!(page.matches("<figure>").count(), 8);
    assert_eq!(page.matches("<svg").count(), 8);
}

#[test]
fn every_tag_is_closed_in_its_place() {
    let page = page_of(&SampleRun::of(3), |summary| {
        summary.signal = Some(2);
        summary.server_said_goodbye = true;
        summary.verdict.is_valid = false;
        summary.verdict.invalid = vec!["Too slow.".to_owned()];
    });
    check_tags(&page);
}

/// Whether every tag of `page` is closed where it must be.
pub(in crate::output) fn check_tags(page: &str) {
    let body = page.split("</style>").nth(1).unwrap();
    let mut open = vec!["html", "head"];
    for tag in body.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag.split_whitespace().next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
            None if tag.ends_with('/') => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_headline_says_what_matters() {
    let page = page_of(&SampleRun::of(10), |_| {});
    let head = page.split("How it went").next().unwrap();
    for text in [
        "1,000 clients sent to 127.0.0.1:9999 for 10 s, 1,000/s in all: mixed, v1, poisson \
         arrivals. Recorded from 2026-09-21T14:13:20.250Z.",
        "✓ Valid run",
        "No objectives were given",
        "<b>1,001/s</b><small>datagrams due</small>",
        "<b>100 %</b><small>of what was due</small>",
        "<b>4,496/s</b><small>came</small>",
        "<b>0.082 %</b><small>lost</small>",
        "<small>median latency</small>",
        "<small>p99.9</small>",
    ] {
        assert!(head.contains(text), "no {text} in {head}");
    }
}

#[test]
fn what_is_wrong_stands_at_the_top() {
    let page = page_of(&SampleRun::of(2), |summary| {
        summary.signal = Some(15);
        summary.server_said_goodbye = true;
        summary.verdict.is_valid = false;
        summary.verdict.invalid = vec!["The generator slept.".to_owned()];
        summary.slos = [("p99<1ms", false), ("loss<1%", true)]
            .map(|(clause, is_met)| SloResult {
                clause: clause.to_owned(),
                is_met,
                measured: Vec::new(),
                sentence: "something".to_owned(),
                is_doubtful: false,
            })
            .to_vec();
    });
    let head = page.split("How it went").next().unwrap();
    for text in [
        "✗ Invalid run",
        "<li>The generator slept.</li>",
        "The server said goodbye, which ended the run: it recorded 2 s of 10 s.",
        "Signal 15 stopped the run: it recorded 2 s of 10 s.",
        "✗ 1 of 2 objectives missed",
        "<code>p99&lt;1ms</code>",
        "✗ missed",
        "✓ met",
    ] {
        assert!(head.contains(text), "no {text} in {head}");
    }
    let met = page_of(&SampleRun::of(2), |summary| {
        summary.slos = vec![SloResult {
            clause: "loss<1%".to_owned(),
            is_met: true,
            measured: Vec::new(),
            sentence: "0 %".to_owned(),
            is_doubtful: false,
        }];
    });
    assert!(met.contains("✓ Objectives met"));
}

#[test]
fn what_comes_from_outside_is_text() {
    let evil = "</pre><script>alert('1')</script> & {{counts}} \"";
    let page = page_of(&SampleRun::of(1), |summary| {
        summary.command = evil.to_owned();
        summary.config.target = evil.to_owned();
        summary.verdict.is_valid = false;
        summary.verdict.invalid = vec![evil.to_owned()];
        summary.environment.kernel = Some(evil.to_owned());
        summary.environment.cpu_model = Some(evil.to_owned());
        summary.environment.governor = Some(evil.to_owned());
        summary.slos = vec![SloResult {
            clause: evil.to_owned(),
            is_met: true,
            measured: Vec::new(),
            sentence: evil.to_owned(),
            is_doubtful: false,
        }];
    });
    assert!(!page.contains("<script"));
    let escaped =
        "&lt;/pre&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; {{counts}} &quot;";
    // The target stands in two places, and all others in one.
    assert_eq!(page.matches(escaped).count(), 9);
}

#[test]
fn a_template_is_filled_in_one_pass() {
    let value = |name: &str| match name {
        "a" => Some("{{b}}".to_owned()),
        "b" => Some("never".to_owned()),
        _ => None,
    };
    assert_eq!(fill("1 {{a}} 2 {{c}} {{", value), "1 {{b}} 2 {{c}} {{");
}

#[test]
fn a_page_of_nothing_is_a_page() {
    let page = page_of(&SampleRun::of(0), |_| {});
    assert!(page.contains("<small>recorded</small>"));
    assert!(!page.contains("NaN") && !page.contains("inf "));
}
