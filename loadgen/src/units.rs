//! Numbers with units: the parser for the command line, and the formatter for all output.
//! assets/charts/charts.js prints them in the same way.

use std::time::Duration;

use bullhorn::wire::Thousands;

/// Parses a number of things per second, such as `20000`, `50k`, `1.5M` or `0.5`: above
/// 0, at most [`RATE_MAX`].
pub fn parse_rate(text: &str) -> Result<f64, String> {
    match parse_rate_or_zero(text) {
        Ok(0.0) => Err("must be above 0".to_owned()),
        parsed => parsed,
    }
}

/// Parses a rate as [`parse_rate`] does, or 0.
pub fn parse_rate_or_zero(text: &str) -> Result<f64, String> {
    let (digits, factor) = split_factor(text);
    let Some(number) = parse_decimal(digits) else {
        return Err("must be a number per second, such as 20000, 50k, 1.5M or 0.5".to_owned());
    };
    let per_s = number * f64::from(factor);
    if per_s > RATE_MAX {
        return Err(format!("must be at most {}", rate(RATE_MAX)));
    }
    Ok(per_s)
}

/// Splits a suffix `k` or `M`, in either case, from the number, and returns its factor.
pub fn split_factor(text: &str) -> (&str, u32) {
    match text.as_bytes() {
        [.., b'k' | b'K'] => (&text[..text.len() - 1], 1_000),
        [.., b'm' | b'M'] => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    }
}

/// Parses digits with at most one point: no sign, no exponent, no infinity, which a
/// float would otherwise have.
pub fn parse_decimal(text: &str) -> Option<f64> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.ends_with(|last: char| last.is_ascii_digit());
    // Two points are left for this to refuse.
    let number: f64 = text.parse().ok().filter(|_| is_plain)?;
    number.is_finite().then_some(number)
}

/// Prints things per second: `0.5/s`, `50,000/s`, `1.25 M/s`.
pub fn rate(per_s: f64) -> String {
    match per_s < 999_999.5 {
        true => format!("{}/s", number(per_s)),
        false => scaled(per_s, RATE_UNITS, 0.999_999_5),
    }
}

/// Prints a number: `1,234`, and with one decimal where it is below 100 and not whole: `0.5`.
pub fn number(value: f64) -> String {
    if value < 100.0 && (value - value.round()).abs() >= 0.05 {
        format!("{value:.1}")
    } else {
        count(value.round() as u64)
    }
}

/// Prints a whole number: `1,234`.
pub fn count(count: u64) -> String {
    Thousands(count).to_string()
}

/// Prints a number of things: `1 client`, `2,000 clients`.
pub fn counted(many: u64, thing: &str) -> String {
    let s = if many == 1 { "" } else { "s" };
    format!("{} {thing}{s}", count(many))
}

/// Prints an amount of data: `812 B`, `1.25 kB`, `3.40 MB`.
pub fn bytes(bytes: f64) -> String {
    match bytes < 999.5 {
        true => format!("{bytes:.0} B"),
        false => scaled(bytes, BYTE_UNITS, 0.9995),
    }
}

/// Prints a latency to three digits: `812 ns`, `12.3 µs`, `1.25 ms`, `3.40 s`.
pub fn latency(taken: Duration) -> String {
    let ns = taken.as_nanos() as f64;
    match ns < 999.5 {
        true => format!("{ns:.0} ns"),
        false => scaled(ns, TIME_UNITS, 0.9995),
    }
}

/// Prints the length of a run: `10 s`, `1.5 s`.
pub fn span(length: Duration) -> String {
    format!("{} s", number(length.as_secs_f64()))
}

/// Prints the share of `part` in `whole`: `0 %`, `0.012 %`, `12.3 %`. A share above 0 is never
/// printed as 0, and one below 1 never as 100 %.
pub fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => share_of_one(0.0),
        _ => share_of_one(part as f64 / whole as f64),
    }
}

/// Prints the same of a ratio, 0 to 1.
pub fn share_of_one(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent <= 0.0 {
        "0 %".to_owned()
    } else if ratio >= 1.0 {
        "100 %".to_owned()
    } else if percent < 0.001 {
        "<0.001 %".to_owned()
    } else if percent > 99.99 {
        ">99.99 %".to_owned()
    } else if percent < 1.0 {
        format!("{percent:.3} %")
    } else {
        format!("{} %", three_digits(percent))
    }
}

/// Returns `part` of `whole`, and nothing for a share of nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Returns how many there are per second of `time`, and 0 without time.
pub(crate) fn per_s(count: u64, time: Duration) -> f64 {
    match time.is_zero() {
        true => 0.0,
        false => thousandths(count as f64 / time.as_secs_f64()),
    }
}

/// Returns what forbids a machine to send, if it is known of the error.
pub(crate) fn firewall_hint(errno: Option<i32>) -> &'static str {
    match errno {
        Some(libc::EPERM) => ". A rule of its own firewall (nft or iptables, output) forbids it",
        _ => "",
    }
}

/// Rounds to 0.001.
pub(crate) fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Durations as seconds in JSON, exact to the nanosecond.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(time.as_nanos() as f64 / 1e9)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Prints `value` in the largest of `units` that it reaches. `nearly` of a unit rounds to it:
/// 999.6 µs is 1.00 ms.
fn scaled(value: f64, units: &[(&str, f64)], nearly: f64) -> String {
    let reached = units.iter().rev().find(|(_, one)| value >= one * nearly);
    let (unit, one) = reached.unwrap_or(&units[0]);
    format!("{} {unit}", three_digits(value / one))
}

/// Prints three digits, or all before the point: `1.25`, `12.5`, `125`, `1,250`.
fn three_digits(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        count(value.round() as u64)
    }
}

/// Far beyond what any machine sends: 100 times what the fastest kernels do.
pub const RATE_MAX: f64 = 100e6;

const RATE_UNITS: &[(&str, f64)] = &[("M/s", 1e6), ("G/s", 1e9), ("T/s", 1e12)];

const BYTE_UNITS: &[(&str, f64)] = &[("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)];

const TIME_UNITS: &[(&str, f64)] = &[("µs", 1e3), ("ms", 1e6), ("s", 1e9)];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_have_decimals_and_suffixes() {
        for (text, per_s) in [
            ("1", 1.0),
            ("20000", 20_000.0),
            ("0.5", 0.5),
            ("50k", 50_000.0),
            ("50K", 50_000.0),
            ("1.5M", 1_500_000.0),
            ("1.5m", 1_500_000.0),
            ("100M", 100e6),
        ] {
            assert_eq!(parse_rate(text), Ok(per_s), "{text}");
        }
        assert_eq!(parse_rate_or_zero("0"), Ok(0.0));
    }

    #[test]
    fn what_is_no_rate_is_told_what_is_right() {
        for text in [
            "", "k", "-1", "+1", "1e6", "inf", "nan", "1.2.3", ".5", "5.", "5 k", "5kk", "5G",
            "1,000", "0x10", "µ", "5µ",
        ] {
            let wrong = parse_rate(text).unwrap_err();
            assert!(wrong.contains("such as 20000, 50k"), "{text}: {wrong}");
        }
        assert_eq!(parse_rate("0").unwrap_err(), "must be above 0");
        assert_eq!(parse_rate("0.0k").unwrap_err(), "must be above 0");
        for text in ["100.1M", "100000001", "999999999999M"] {
            let wrong = parse_rate(text).unwrap_err();
            assert_eq!(wrong, "must be at most 100 M/s", "{text}");
        }
    }

    #[test]
    fn rates_are_printed_for_people() {
        for (per_s, text) in [
            (0.5, "0.5/s"),
            (1.0, "1/s"),
            (99.96, "100/s"),
            (50_000.0, "50,000/s"),
            (999_999.4, "999,999/s"),
            (999_999.6, "1.00 M/s"),
            (1_250_000.0, "1.25 M/s"),
            (100e6, "100 M/s"),
            (999_999_999.0, "1.00 G/s"),
            (2.5e13, "25.0 T/s"),
        ] {
            assert_eq!(rate(per_s), text);
        }
    }

    #[test]
    fn durations_have_three_digits_and_the_unit_that_fits() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (999_499, "999 µs"),
            (999_501, "1.00 ms"),
            (1_250_000, "1.25 ms"),
            (3_400_000_000, "3.40 s"),
            (75_000_000_000, "75.0 s"),
        ] {
            assert_eq!(latency(Duration::from_nanos(ns)), text);
        }
        assert_eq!(span(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(span(Duration::from_secs(3600)), "3,600 s");
    }

    #[test]
    fn amounts_of_data_have_the_unit_that_fits() {
        for (amount, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (999.6, "1.00 kB"),
            (48_000.0, "48.0 kB"),
            (3_400_000.0, "3.40 MB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn a_share_is_zero_or_all_only_if_it_is() {
        for (part, whole, text) in [
            (0, 0, "0 %"),
            (0, 9, "0 %"),
            (9, 9, "100 %"),
            (1, 1_000_000, "<0.001 %"),
            (999_999, 1_000_000, ">99.99 %"),
            (1, 8192, "0.012 %"),
            (1, 8, "12.5 %"),
        ] {
            assert_eq!(share(part, whole), text);
            if whole > 0 {
                assert_eq!(share_of_one(part as f64 / whole as f64), text);
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_rate_within_bounds_or_refused(text in "\\PC*|[0-9.]{1,9}[kKmM]?") {
            if let Ok(per_s) = parse_rate(&text) {
                prop_assert!(per_s > 0.0 && per_s <= RATE_MAX);
            }
        }

        #[test]
        fn a_duration_is_printed_to_half_a_percent(ns in 1_u64..1_000_000_000_000) {
            let text = latency(Duration::from_nanos(ns)).replace(',', "");
            let (number, unit) = text.split_once(' ').unwrap();
            let factor = match unit {
                "ns" => 1.0,
                "µs" => 1e3,
                "ms" => 1e6,
                _ => 1e9,
            };
            let printed = number.parse::<f64>().unwrap() * factor;
            prop_assert!((printed / ns as f64 - 1.0).abs() <= 0.0051, "{ns} {text}");
        }
    }
}
