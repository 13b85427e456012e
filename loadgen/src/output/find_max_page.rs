//! A search on one page, for people. It needs nothing but itself.

use super::find_max::FindMaxSummary;
use super::find_max_charts::figures;
use super::html::{self, escape, fill, pairs, seconds, tiles};
use super::plots::PlotError;
use crate::limits::find_max::{Ceiling, Quantiles, Try};
use crate::units::{count, number, rate, share_of_one};

/// The page, whole.
///
/// # Errors
/// [`PlotError`] when a plot cannot be drawn.
pub(super) fn page(summary: &FindMaxSummary) -> Result<String, PlotError> {
    let figures = html::figures(&figures(summary))?;
    let kinds = Kinds::of(summary);
    let page = fill(PAGE, |name| {
        Some(match name {
            "style" => html::STYLE.to_owned(),
            "title" => title(summary),
            "told" => told(summary),
            "badges" => badges(summary),
            "problems" => problems(summary),
            "headline" => headline(summary, &kinds),
            "figures" => figures.clone(),
            "tries_head" => kinds.head(),
            "tries" => kinds.rows(&summary.tries),
            "config" => pairs(&config(summary)),
            "environment" => pairs(&html::environment(&summary.environment)),
            "command" => escape(&summary.command),
            _ => return None,
        })
    });
    Ok(page)
}

fn title(summary: &FindMaxSummary) -> String {
    match summary.found.rate_per_s {
        Some(good) => format!("bullhorn: good up to {}", rate(good)),
        None => "bullhorn: no rate is good".to_owned(),
    }
}

fn told(summary: &FindMaxSummary) -> String {
    let config = &summary.config;
    escape(&format!(
        "{} {} clients, at {}: {}, {}, {} arrivals, {} a try. Asked for: {}. Begun at {}.",
        summary.found.sentence,
        count(config.clients.into()),
        config.target,
        config.scenario,
        config.protocol,
        config.arrival,
        seconds(config.duration_s),
        summary.slo,
        summary.began_at,
    ))
}

fn badges(summary: &FindMaxSummary) -> String {
    let found = &summary.found;
    let badge = |class, text: &str| format!("<span class=\"badge {class}\">{text}</span>");
    if found.rate_per_s.is_none() {
        return badge("bad", "✗ No rate is good");
    }
    let above = match (found.bad_rate_per_s, summary.search.ceiling) {
        (Some(_), _) if found.is_generators_limit => {
            badge("bad", "✗ Above it, the generator falls short")
        }
        (Some(_), _) => badge("plain", "Above it, objectives are missed"),
        (None, Ceiling::Calibrated) => badge("plain", "The generator was calibrated to no more"),
        (None, Ceiling::Asked | Ceiling::Any) => badge("plain", "No more was allowed"),
    };
    badge("good", "✓ Found") + &above
}

/// Why the answer is none of the server's, where that is so.
fn problems(summary: &FindMaxSummary) -> String {
    let found = &summary.found;
    if !found.is_generators_limit {
        return String::new();
    }
    let tries = summary.tries.iter();
    let failed = tries.filter(|one| Some(one.rate_per_s) == found.bad_rate_per_s);
    let mut reasons: Vec<_> = failed.flat_map(|one| &one.invalid).collect();
    reasons.sort();
    reasons.dedup();
    let reasons = reasons.into_iter();
    let reasons: String = reasons
        .map(|reason| format!("<li>{}</li>", escape(reason)))
        .collect();
    let bad = found.bad_rate_per_s.map_or_else(String::new, rate);
    format!(
        "<div class=\"problem\"><p>At {bad}, it was the load generator that fell \
         short, not the server:</p><ul>{reasons}</ul></div>"
    )
}

fn headline(summary: &FindMaxSummary, kinds: &Kinds) -> String {
    let found = &summary.found;
    let per_s = |per_s: Option<f64>| per_s.map_or("–".to_owned(), rate);
    let tries = tiles(
        "Datagrams offered",
        &[
            (per_s(found.rate_per_s), "highest good rate"),
            (per_s(found.bad_rate_per_s), "lowest bad rate"),
            (per_s(summary.search.highest_rate_per_s), "highest allowed"),
            (count(summary.tries.len() as u64), "tries"),
            (seconds(summary.took_s), "in all"),
            (count(summary.config.clients.into()), "clients"),
        ],
    );
    // Of the last good try at the highest good rate.
    let mut latest = summary.tries.iter().rev();
    let Some(best) = latest.find(|one| one.is_good && Some(one.rate_per_s) == found.rate_per_s)
    else {
        return tries;
    };
    let lost = match kinds.has_deliveries && kinds.has_answers {
        true => "lost, of both kinds",
        false => "lost",
    };
    let kind = |heading, came: f64, latency: Option<Quantiles>| {
        let latency = |of: fn(&Quantiles) -> f64| micros(latency.as_ref().map(of));
        tiles(
            heading,
            &[
                (rate(came), "came"),
                (share_of_one(best.missing_ratio), lost),
                (latency(|of| of.p50_us), "median latency"),
                (latency(|of| of.p99_us), "p99"),
                (latency(|of| of.p99_9_us), "p99.9"),
                (latency(|of| of.max_us), "max"),
            ],
        )
    };
    let mut out = tries;
    if kinds.has_deliveries {
        let heading = "Deliveries, at the highest good rate";
        out += &kind(heading, best.deliveries_per_s, best.delivery);
    }
    if kinds.has_answers {
        let heading = "Answers, at the highest good rate";
        out += &kind(heading, best.answers_per_s, best.answer);
    }
    out
}

/// What the tries have, and so which columns their table has.
struct Kinds {
    has_deliveries: bool,
    has_answers: bool,
}

impl Kinds {
    fn of(summary: &FindMaxSummary) -> Self {
        let tries = &summary.tries;
        Self {
            has_deliveries: tries.iter().any(|one| one.delivery.is_some()),
            has_answers: tries.iter().any(|one| one.answer.is_some()),
        }
    }

    fn head(&self) -> String {
        let mut columns = vec!["offered/s", "sent/s"];
        if self.has_deliveries {
            columns.extend(["deliveries/s", "p50", "p99", "p99.9"]);
        }
        if self.has_answers {
            columns.extend(["answers/s", "p50", "p99", "p99.9"]);
        }
        columns.push("loss");
        let columns: String = columns
            .iter()
            .map(|name| format!("<th class=\"number\">{name}</th>"))
            .collect();
        format!("<tr>{columns}<th></th></tr>")
    }

    fn rows(&self, tries: &[Try]) -> String {
        tries.iter().map(|one| self.row(one)).collect()
    }

    fn row(&self, one: &Try) -> String {
        let mut columns = vec![number(one.rate_per_s), number(one.sent_per_s)];
        let mut came = |per_s, latency: Option<Quantiles>| {
            columns.push(number(per_s));
            let all: [fn(&Quantiles) -> f64; 3] =
                [|of| of.p50_us, |of| of.p99_us, |of| of.p99_9_us];
            columns.extend(all.map(|of| micros(latency.as_ref().map(of))));
        };
        if self.has_deliveries {
            came(one.deliveries_per_s, one.delivery);
        }
        if self.has_answers {
            came(one.answers_per_s, one.answer);
        }
        columns.push(share_of_one(one.missing_ratio));
        let columns: String = columns
            .iter()
            .map(|column| format!("<td class=\"number\">{column}</td>"))
            .collect();
        let verdict = match one.is_good {
            true => "<td class=\"good verdict\">✓ good".to_owned(),
            false => {
                let missed = one.missed.iter().map(ToString::to_string);
                let reasons = missed.chain(one.invalid.iter().cloned());
                let reasons: Vec<_> = reasons.map(|reason| escape(&reason)).collect();
                format!("<td class=\"bad verdict\">✗ {}", reasons.join("<br/>"))
            }
        };
        format!("<tr>{columns}{verdict}</td></tr>\n")
    }
}

fn config(summary: &FindMaxSummary) -> Vec<(&'static str, String)> {
    let bound = |per_s: Option<f64>| per_s.map_or("any".to_owned(), rate);
    let (lowest, highest) = (
        summary.search.lowest_rate_per_s,
        summary.search.highest_rate_per_s,
    );
    let mut config = html::config(&summary.config);
    for (name, _) in &mut config {
        if *name == "rate" {
            *name = "first rate";
        }
    }
    config.push(("rates", format!("{} to {}", bound(lowest), bound(highest))));
    config.push(("objectives", summary.slo.clone()));
    config
}

fn micros(us: Option<f64>) -> String {
    us.map_or("–".to_owned(), html::micros)
}

const PAGE: &str = include_str!("find_max.html");

#[cfg(test)]
#[path = "find_max_page_tests.rs"]
mod tests;
