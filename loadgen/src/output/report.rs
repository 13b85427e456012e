//! A run on one page, for people. It needs nothing but itself.

use std::time::Duration;

use super::charts::{Figure, figures};
use super::explain::{self, Row};
use super::plots::{Curve, PlotError};
use super::settings::{Lengths, Settings};
use super::summary::{LatencySummary, Summary};
use crate::outcome::Latencies;
use crate::units::{self, bytes, count, latency, number, share, span};

/// The page, whole.
///
/// # Errors
/// [`PlotError`] when a plot cannot be drawn.
pub(super) fn page(summary: &Summary, latencies: &Latencies) -> Result<String, PlotError> {
    let figures = figures(summary, latencies);
    let figures: Result<Vec<_>, _> = figures.iter().map(figure).collect();
    let figures = figures?.concat();
    let page = fill(PAGE, |name| {
        Some(match name {
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
            "config" => pairs(&config(summary)),
            "environment" => pairs(&environment(summary)),
            "command" => escape(&summary.command),
            _ => return None,
        })
    });
    Ok(page)
}

/// `template` with each `{{name}}` replaced by what `value` has for it, in one pass: what
/// is put in is not looked at again. A name without a value stays.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut parts = template.split("{{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let filled = part
            .split_once("}}")
            .and_then(|(name, rest)| Some((value(name)?, rest)));
        match filled {
            Some((value, rest)) => {
                out.push_str(&value);
                out.push_str(rest);
            }
            None => {
                out.push_str("{{");
                out.push_str(part);
            }
        }
    }
    out
}

/// `text` as text of HTML, or as an attribute's value.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(char),
        }
    }
    out
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

fn rate(config: &Settings) -> String {
    let (from, to) = (config.rate_from_per_s, config.rate_to_per_s);
    if from == to {
        return units::rate(from);
    }
    format!("{} to {}", units::rate(from), units::rate(to))
}

fn seconds(length_s: f64) -> String {
    // A summary that was read from a file may say anything.
    span(Duration::try_from_secs_f64(length_s).unwrap_or_default())
}

fn micros(taken_us: f64) -> String {
    latency(Duration::from_nanos((taken_us * 1e3).round() as u64))
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
    if let Some(signal) = summary.signal {
        out += &format!(
            "<div class=\"problem\"><p>Signal {signal} stopped the run: it recorded {} of {}.</p></div>",
            seconds(summary.recorded_s),
            seconds(summary.config.duration_s),
        );
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

fn tiles(heading: &str, values: &[(String, &str)]) -> String {
    let tile = |(value, label): &(String, &str)| {
        let value = escape(value);
        format!("<div class=\"tile\"><b>{value}</b><small>{label}</small></div>")
    };
    let tiles: String = values.iter().map(tile).collect();
    format!(
        "<section class=\"group\"><h2>{heading}</h2><div class=\"tiles\">{tiles}</div></section>\n"
    )
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
        let (clause, measured) = (escape(&slo.clause), escape(&slo.measured));
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

fn figure(
    Figure {
        title,
        caption,
        plot,
    }: &Figure,
) -> Result<String, PlotError> {
    let legend = |Curve { name, colour, .. }: &Curve| {
        format!("<li><i style=\"background: var({colour})\"></i>{name}</li>")
    };
    let legend: String = plot.curves.iter().map(legend).collect();
    let svg = plot.draw()?;
    // Without an end of line before its text, a label has no space in front of it.
    let svg = svg.replace(">\n", ">").replace("\n</text>", "</text>");
    Ok(format!(
        "<figure><figcaption><h3>{title}</h3><p>{caption}</p></figcaption>\
         <ul class=\"legend\">{legend}</ul>\
         <div role=\"img\" aria-label=\"{title}\">{svg}</div></figure>\n"
    ))
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

fn pairs(pairs: &[(&str, String)]) -> String {
    let row = |(name, value): &(&str, String)| {
        format!("<tr><th>{name}</th><td>{}</td></tr>\n", escape(value))
    };
    pairs.iter().map(row).collect()
}

fn config(summary: &Summary) -> Vec<(&'static str, String)> {
    let config = &summary.config;
    let mix = config.mix;
    let mix = [
        ("ping", mix.ping),
        ("text", mix.text),
        ("heartbeat", mix.heartbeat),
    ];
    let mix = mix.map(|(name, share)| format!("{name} {}", number(share)));
    let payload: Vec<_> = config.payload.iter().map(lengths).collect();
    let cores: Vec<_> = config.cores.iter().map(ToString::to_string).collect();
    let pinned = match cores.is_empty() {
        true => "not pinned".to_owned(),
        false => format!("pinned to {}", cores.join(", ")),
    };
    vec![
        ("server", config.target.clone()),
        ("scenario", config.scenario.clone()),
        ("protocol", config.protocol.clone()),
        ("clients", count(config.clients.into())),
        ("rate", format!("{}, {}", rate(config), config.arrival)),
        ("mix", mix.join(", ")),
        ("room size", config.room_size.to_string()),
        ("payload", payload.join("; ")),
        ("churn", units::rate(config.churn_per_s)),
        ("warm-up", seconds(config.warmup_s)),
        ("duration", seconds(config.duration_s)),
        (
            "heartbeat",
            format!("after {} of silence", seconds(config.heartbeat_s)),
        ),
        ("seed", config.seed.to_string()),
        ("sockets", config.sockets.clone()),
        ("threads", format!("{}, {pinned}", config.threads)),
        (
            "when idle",
            if config.spin { "spin" } else { "sleep" }.to_owned(),
        ),
    ]
}

fn lengths(lengths: &Lengths) -> String {
    let Lengths {
        weight,
        min_bytes,
        max_bytes,
    } = lengths;
    let range = match min_bytes == max_bytes {
        true => format!("{min_bytes} bytes"),
        false => format!("{min_bytes} to {max_bytes} bytes"),
    };
    format!("{range} (weight {})", number(*weight))
}

fn environment(summary: &Summary) -> Vec<(&'static str, String)> {
    let environment = &summary.environment;
    let amount = |count: Option<u64>| count.map(|count| bytes(count as f64));
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    vec![
        ("loadgen", environment.loadgen_version.clone()),
        ("kernel", known(environment.kernel.clone())),
        ("architecture", environment.architecture.clone()),
        ("processor", known(environment.cpu_model.clone())),
        (
            "processors",
            known(environment.processors.map(|count| count.to_string())),
        ),
        ("governor", known(environment.governor.clone())),
        ("memory", known(amount(environment.memory_bytes))),
        ("rmem_max", known(amount(environment.rmem_max_bytes))),
    ]
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
mod tests;
