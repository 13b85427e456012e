//! Numbers as they are stored, and as they stand beside axes: unlike those of [`units`],
//! without zeros at their end.
//!
//! [`units`]: crate::units

use crate::units::count;

/// Nanoseconds as microseconds, of which they are exact thousandths.
pub(super) fn micros(ns: u64) -> f64 {
    rounded(ns as f64 / 1e3)
}

/// To 0.001.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// `part` of `whole`; none of nothing.
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Three significant digits, or all those before the point: `0.0123`, `1.23`, `12,346`.
pub(super) fn short(value: f64) -> String {
    if value.abs() >= 999.5 {
        return count(value.round() as u64);
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    let digits = usize::try_from(2 - magnitude).unwrap_or(0).min(MAX_DIGITS);
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A share of one, in percent. What is not quite nothing, or not quite all, is not
/// rounded to it.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 0.001 {
        return "<0.001 %".to_owned();
    }
    if percent > 99.0 && percent < 100.0 {
        // 99.995 % must not become 100 %.
        return format!("{:.3} %", (percent * 1e3).floor() / 1e3);
    }
    format!("{} %", short(percent))
}

/// Microseconds, in the unit that suits them: `312 µs`, `4.56 ms`, `1.2 s`.
pub(super) fn duration(us: f64) -> String {
    if us < 0.9995 && us > 0.0 {
        return format!("{} ns", short(us * 1e3));
    }
    match us {
        ..999.5 => format!("{} µs", short(us)),
        ..999_500.0 => format!("{} ms", short(us / 1e3)),
        _ => format!("{} s", short(us / 1e6)),
    }
}

/// Beyond this, a share or a rate is not worth a digit.
const MAX_DIGITS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (0.5, "0.5"),
            (1.0, "1"),
            (9.999, "10"),
            (12.345, "12.3"),
            (100.0, "100"),
            (123.4, "123"),
            (999.7, "1,000"),
            (12_345.6, "12,346"),
            (1e-9, "0"),
        ] {
            assert_eq!(short(value), expected, "{value}");
        }
    }

    #[test]
    fn shares_that_are_not_nothing_do_not_look_like_it() {
        for (share, expected) in [
            (0.0, "0 %"),
            (1e-9, "<0.001 %"),
            (0.000_123_4, "0.0123 %"),
            (0.5, "50 %"),
            (0.999_999_9, "99.999 %"),
            (1.0, "100 %"),
            (1.012, "101 %"),
        ] {
            assert_eq!(percent(share), expected, "{share}");
        }
    }

    #[test]
    fn units_suit_what_they_measure() {
        for (us, expected) in [
            (0.0, "0 µs"),
            (0.25, "250 ns"),
            (312.2, "312 µs"),
            (999.6, "1 ms"),
            (4_560.0, "4.56 ms"),
            (999_600.0, "1 s"),
            (61_000_000.0, "61 s"),
        ] {
            assert_eq!(duration(us), expected, "{us}");
        }
    }

    #[test]
    fn microseconds_keep_every_nanosecond() {
        assert_eq!(micros(1), 0.001);
        assert_eq!(micros(123_456_789), 123_456.789);
        assert_eq!(ratio(1, 4), Some(0.25));
        assert_eq!(ratio(1, 0), None);
    }
}
