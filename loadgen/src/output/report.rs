//! A run on one page, for people. It needs nothing but itself.

use super::charts;
use super::explain::{self, Row};
use super::html::{self, escape, fill, micros, pairs, rate, seconds, tiles};
use super::plots::PlotError;
use super::summary::{LatencySummary, Summary};
use crate::outcome::Latencies;
use crate::units::{self, count, share};

/// The page, whole.
///
/// # Errors
/// [`PlotError`] when a plot cannot be drawn.
pub(super) fn page(summary: &Summary, latencies: &Latencies) -> Result<String, PlotError> {
    let figures = html::figures(&charts::figures(summary, latencies))?;
    let page = fill(PAGE, |name| {
        Some(match name {
            "style" => html::STYLE.to_owned(),
            "title" => "bullhorn under load".to_owned(),
            "told" => told(summary),
            "badges" => badges(summary),
            "problems" => problems(summary),
            "headline" => headline(summary),
            "slos" => slos(summary),
            "figures" => figures.clone(),
            "latency_head" => latency_head(),
            "latencies" => latency_rows(summary),
            "counts" => counts(summary),
            "generator" => rows(&explain::generator(summary)),
            "server" => server(summary),
            "config" => pairs(&html::config(&summary.config)),
            "environment" => pairs(&html::environment(&summary.environment)),
            "command" => escape(&summary.command),
            _ => return None,
        })
    });
    Ok(page)
}

/// Its own part of the page, if there is anything to tell.
fn server(summary: &Summary) -> String {
    match explain::server(summary) {
        rows if rows.is_empty() => String::new(),
        server => format!(
            "<h2>The server</h2>\n<table><tbody>\n{}\n</tbody></table>",
            rows(&server)
        ),
    }
}

fn told(summary: &Summary) -> String {
    let config = &summary.config;
    escape(&format!(
        "{} clients sent to {} for {}, {} in all: {}, {}, {} arrivals. Recorded from {}.",
        count(config.clients.into()),
        config.target,
        seconds(summary.recorded_s),
        rate(config),
        config.scenario,
        config.protocol,
        config.arrival,
        summary.began_at,
    ))
}

fn badges(summary: &Summary) -> String {
    let badge = |class, text: &str| format!("<span class=\"badge {class}\">{text}</span>");
    let validity = match summary.verdict.is_valid {
        true => badge("good", "✓ Valid run"),
        false => badge("bad", "✗ Invalid run"),
    };
    let missed = summary.slos.iter().filter(|slo| !slo.is_met).count();
    let slos = match (summary.slos.len(), missed) {
        (0, _) => badge("plain", "No objectives were given"),
        (_, 0) => badge("good", "✓ Objectives met"),
        (all, missed) => badge("bad", &format!("✗ {missed} of {all} objectives missed")),
    };
    validity + &slos
}

fn problems(summary: &Summary) -> String {
    let mut out = String::new();
    let mut cut_short = |why: &str| {
        out += &format!(
            "<div class=\"problem\"><p>{why}: it recorded {} of {}.</p></div>",
            seconds(summary.recorded_s),
            seconds(summary.config.duration_s),
        );
    };
    if summary.server_said_goodbye {
        cut_short("The server said goodbye, which ended the run");
    }
    if let Some(signal) = summary.signal {
        cut_short(&format!("Signal {signal} stopped the run"));
    }
    if !summary.verdict.is_valid {
        let reasons = summary.verdict.invalid.iter();
        let reasons: String = reasons
            .map(|reason| format!("<li>{}</li>", escape(reason)))
            .collect();
        out += "<div class=\"problem\"><p>The figures on this page are not the server's, but \
                the load generator's own:</p><ul>";
        out += &reasons;
        out += "</ul></div>";
    }
    out
}

fn headline(summary: &Summary) -> String {
    let (counts, rates) = (&summary.counts, &summary.rates);
    let share = |part, whole| match whole {
        0 => NOTHING.to_owned(),
        _ => share(part, whole),
    };
    let mut out = tiles(
        "Offered",
        &[
            (units::rate(rates.offered_per_s), "datagrams due"),
            (units::rate(rates.sent_per_s), "sent"),
            (share(counts.sent, counts.due), "of what was due"),
            (count(counts.sent), "sent in all"),
            (count(summary.config.clients.into()), "clients"),
            (seconds(summary.recorded_s), "recorded"),
        ],
    );
    let mut came_back = |heading, per_second, lost, latency| {
        let mut values = vec![(units::rate(per_second), "came"), (lost, "lost")];
        values.extend(quantiles(summary.latencies.get(latency)));
        out += &tiles(heading, &values);
    };
    if counts.owed > 0 {
        let heading = "Deliveries: each text to each member of its room";
        let lost = share(counts.lost, counts.owed);
        came_back(heading, rates.deliveries_per_s, lost, "delivery");
    }
    if counts.asked > 0 {
        let lost = share(counts.unanswered, counts.asked);
        came_back("Answers", rates.answers_per_s, lost, "answer");
    }
    out
}

fn quantiles(latency: Option<&LatencySummary>) -> [(String, &'static str); 4] {
    let value = |of: fn(&LatencySummary) -> f64| {
        latency.map_or(NOTHING.to_owned(), |latency| micros(of(latency)))
    };
    [
        (value(|latency| latency.p50_us), "median latency"),
        (value(|latency| latency.p99_us), "p99"),
        (value(|latency| latency.p99_9_us), "p99.9"),
        (value(|latency| latency.max_us), "max"),
    ]
}

fn slos(summary: &Summary) -> String {
    if summary.slos.is_empty() {
        return String::new();
    }
    let rows = summary.slos.iter().map(|slo| {
        let (class, mark) = if slo.is_met {
            ("good", "✓ met")
        } else {
            ("bad", "✗ missed")
        };
        let (clause, measured) = (escape(&slo.clause), escape(&slo.sentence));
        format!(
            "<tr><th><code>{clause}</code></th><td class=\"number\">{measured}</td>\
             <td class=\"{class}\">{mark}</td></tr>\n"
        )
    });
    let rows: String = rows.collect();
    format!(
        "<h2>Objectives</h2>\n<table class=\"narrow\"><thead><tr><th>asked for</th>\
         <th class=\"number\">measured</th><th></th></tr></thead><tbody>\n{rows}</tbody></table>"
    )
}

fn latency_head() -> String {
    let columns = COLUMNS
        .iter()
        .map(|(name, _)| format!("<th class=\"number\">{name}</th>"));
    let columns: String = columns.collect();
    format!("<tr><th></th><th class=\"number\">count</th>{columns}</tr>")
}

fn latency_rows(summary: &Summary) -> String {
    let row = |(name, meaning): (&str, &str)| {
        let latency = summary.latencies.get(name)?;
        let columns = COLUMNS.iter().map(|(_, value)| {
            let value = micros(value(latency));
            format!("<td class=\"number\">{value}</td>")
        });
        let (count, columns) = (count(latency.count), columns.collect::<String>());
        Some(format!(
            "<tr><th>{name}<small>{meaning}</small></th>\
             <td class=\"number\">{count}</td>{columns}</tr>\n"
        ))
    };
    explain::LATENCIES.into_iter().filter_map(row).collect()
}

fn counts(summary: &Summary) -> String {
    let groups = explain::counts(summary).into_iter();
    let bodies = groups.map(|(heading, group)| {
        let rows = rows(&group);
        format!("<tbody><tr class=\"part\"><th class=\"part\" colspan=\"3\">{heading}</th></tr>\n{rows}</tbody>\n")
    });
    bodies.collect()
}

fn rows(rows: &[Row]) -> String {
    let row = |Row {
                   key,
                   value,
                   meaning,
               }: &Row| {
        let value = escape(value);
        format!(
            "<tr><th><code>{key}</code></th><td class=\"number\">{value}</td>\
             <td class=\"meaning\">{meaning}</td></tr>\n"
        )
    };
    rows.iter().map(row).collect()
}

type Column = (&'static str, fn(&LatencySummary) -> f64);

const COLUMNS: [Column; 9] = [
    ("min", |latency| latency.min_us),
    ("mean", |latency| latency.mean_us),
    ("p50", |latency| latency.p50_us),
    ("p90", |latency| latency.p90_us),
    ("p95", |latency| latency.p95_us),
    ("p99", |latency| latency.p99_us),
    ("p99.9", |latency| latency.p99_9_us),
    ("p99.99", |latency| latency.p99_99_us),
    ("max", |latency| latency.max_us),
];

/// What stands for a figure that there is none of.
const NOTHING: &str = "–";

const PAGE: &str = include_str!("page.html");

#[cfg(test)]
#[path = "report_tests.rs"]
pub(super) mod tests;
