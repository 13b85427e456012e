//! The parts that pages have in common.

use std::time::Duration;

use super::charts::Figure;
use super::environment::Environment;
use super::plots::{Curve, PlotError};
use super::settings::{Lengths, Settings};
use crate::units::{self, bytes, count, latency, number, span};

/// `template` with each `{{name}}` replaced by what `value` has for it, in one pass: what
/// is put in is not looked at again. A name without a value stays.
pub(super) fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
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
pub(super) fn escape(text: &str) -> String {
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

/// Figures of importance, under a heading.
pub(super) fn tiles(heading: &str, values: &[(String, &str)]) -> String {
    let tile = |(value, label): &(String, &str)| {
        let value = escape(value);
        format!("<div class=\"tile\"><b>{value}</b><small>{label}</small></div>")
    };
    let tiles: String = values.iter().map(tile).collect();
    format!(
        "<section class=\"group\"><h2>{heading}</h2><div class=\"tiles\">{tiles}</div></section>\n"
    )
}

/// Plots, each with its legend.
///
/// # Errors
/// [`PlotError`] when one cannot be drawn.
pub(super) fn figures(figures: &[Figure]) -> Result<String, PlotError> {
    let figures: Result<Vec<_>, _> = figures.iter().map(figure).collect();
    Ok(figures?.concat())
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
    let mut legend: String = plot.curves.iter().map(legend).collect();
    if !plot.marks.is_empty() {
        legend += "<li>● good</li><li>✕ bad</li>";
    }
    let svg = plot.draw()?;
    // Without an end of line before its text, a label has no space in front of it.
    let svg = svg.replace(">\n", ">").replace("\n</text>", "</text>");
    Ok(format!(
        "<figure><figcaption><h3>{title}</h3><p>{caption}</p></figcaption>\
         <ul class=\"legend\">{legend}</ul>\
         <div role=\"img\" aria-label=\"{title}\">{svg}</div></figure>\n"
    ))
}

/// Names and values as rows of a table.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let row = |(name, value): &(&str, String)| {
        format!("<tr><th>{name}</th><td>{}</td></tr>\n", escape(value))
    };
    pairs.iter().map(row).collect()
}

/// What a run was told.
pub(super) fn config(config: &Settings) -> Vec<(&'static str, String)> {
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
        ("drain", format!("{} at most", seconds(config.drain_s))),
        (
            "heartbeat",
            format!("after {} of silence", seconds(config.heartbeat_s)),
        ),
        ("seed", config.seed.to_string()),
        (
            "sockets",
            format!(
                "{}, GRO {}",
                config.sockets,
                if config.gro { "on" } else { "off" }
            ),
        ),
        ("threads", format!("{}, {pinned}", config.threads)),
        (
            "when idle",
            if config.spin { "spin" } else { "sleep" }.to_owned(),
        ),
    ]
}

/// The machine.
pub(super) fn environment(environment: &Environment) -> Vec<(&'static str, String)> {
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

/// What was offered a second.
pub(super) fn rate(config: &Settings) -> String {
    let (from, to) = (config.rate_from_per_s, config.rate_to_per_s);
    if from == to {
        return units::rate(from);
    }
    format!("{} to {}", units::rate(from), units::rate(to))
}

/// How long a run is.
pub(super) fn seconds(length_s: f64) -> String {
    // A summary that was read from a file may say anything.
    span(Duration::try_from_secs_f64(length_s).unwrap_or_default())
}

/// How long something took.
pub(super) fn micros(taken_us: f64) -> String {
    latency(Duration::from_nanos((taken_us * 1e3).round() as u64))
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

/// The style of a page.
pub(super) const STYLE: &str = include_str!("style.css");
