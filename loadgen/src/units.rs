//! Numbers with units: how they are written on the command line, and how they are
//! printed.

use std::time::Duration;

use bullhorn::wire::Thousands;

/// Parses a number of things a second, such as `20000`, `50k`, `1.5M` or `0.5`: above
/// 0, at most [`RATE_MAX`].
///
/// # Errors
/// A sentence that says what is right.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    match parse_rate_or_zero(text) {
        Ok(0.0) => Err("must be above 0".to_owned()),
        parsed => parsed,
    }
}

/// As [`parse_rate`], and may be 0.
///
/// # Errors
/// A sentence that says what is right.
pub fn parse_rate_or_zero(text: &str) -> Result<f64, String> {
    let (digits, factor) = split_factor(text);
    let Some(number) = parse_decimal(digits) else {
        return Err("must be a number a second, such as 20000, 50k, 1.5M or 0.5".to_owned());
    };
    let per_s = number * f64::from(factor);
    if per_s > RATE_MAX {
        return Err(format!("must be at most {}", rate(RATE_MAX)));
    }
    Ok(per_s)
}

/// What stands before `k` or `M`, in either case, and what these stand for: without one,
/// all and 1.
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

/// Things a second: `0.5/s`, `50,000/s`, `1.25 M/s`.
pub fn rate(per_s: f64) -> String {
    for (unit, one) in [("T", 1e12), ("G", 1e9), ("M", 1e6)] {
        // What rounds to it, too: not 1,000 M/s, but 1.00 G/s.
        if per_s >= one * 0.999_999_5 {
            return format!("{} {unit}/s", three_digits(per_s / one));
        }
    }
    format!("{}/s", number(per_s))
}

/// A number for people: `1,234`, and with one decimal where it is below 100 and not
/// whole: `0.5`.
pub fn number(value: f64) -> String {
    if value < 100.0 && (value - value.round()).abs() >= 0.05 {
        format!("{value:.1}")
    } else {
        count(value.round() as u64)
    }
}

/// How many: `1,234`.
pub fn count(count: u64) -> String {
    Thousands(count).to_string()
}

/// An amount of data: `812 B`, `1.25 kB`, `3.40 MB`. A unit is 1000 of the one before.
pub fn bytes(bytes: f64) -> String {
    let (mut scaled, mut unit) = (bytes, 0);
    while scaled >= 999.5 && unit + 1 < BYTE_UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{scaled:.0} B"),
        _ => format!("{} {}", three_digits(scaled), BYTE_UNITS[unit]),
    }
}

/// How long something took, to three digits: `812 ns`, `12.3 µs`, `1.25 ms`, `3.40 s`.
pub fn latency(taken: Duration) -> String {
    let ns = taken.as_nanos() as f64;
    // Not 1000, but what rounds to it: 999.6 µs is 1.00 ms.
    if ns < 999.5 {
        format!("{ns:.0} ns")
    } else if ns < 999.5e3 {
        format!("{} µs", three_digits(ns / 1e3))
    } else if ns < 999.5e6 {
        format!("{} ms", three_digits(ns / 1e6))
    } else {
        format!("{} s", three_digits(ns / 1e9))
    }
}

/// How long a run is: `10 s`, `1.5 s`.
pub fn span(length: Duration) -> String {
    format!("{} s", number(length.as_secs_f64()))
}

/// How much of `whole` `part` is: `0 %`, `0.012 %`, `12.3 %`. What is not 0 is never
/// printed as 0, and what is not all never as 100.
pub fn share(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0 %".to_owned();
    }
    if part == whole {
        return "100 %".to_owned();
    }
    let percent = part as f64 / whole as f64 * 100.0;
    if percent < 0.001 {
        return "<0.001 %".to_owned();
    }
    if percent > 99.99 && part < whole {
        return ">99.99 %".to_owned();
    }
    if percent < 1.0 {
        return format!("{percent:.3} %");
    }
    format!("{} %", three_digits(percent))
}

/// The same of a ratio, 0 to 1.
pub fn share_of_one(ratio: f64) -> String {
    // What is not 0 stays so, and what is not all, too.
    let part = (ratio * WHOLE as f64).ceil() as u64;
    let is_all = ratio >= 1.0;
    share(if is_all { WHOLE } else { part.min(WHOLE - 1) }, WHOLE)
}

/// Three digits that say something, or all in front of the point: `1.25`, `12.5`, `125`,
/// `1,250`.
fn three_digits(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        count(value.round() as u64)
    }
}

/// Far finer than any share is printed.
const WHOLE: u64 = 1_000_000_000;

/// Far beyond what any machine sends: 100 times what the fastest kernels do.
pub const RATE_MAX: f64 = 100e6;

const BYTE_UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];

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
