//! Parsers for the values of options.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::{Mix, Rate};
use crate::units;

/// Parses weights such as `ping=90,text=10`. Other kinds have the weight 0.
pub(super) fn parse_mix(text: &str) -> Result<Mix, String> {
    let mut weights = [None; 3];
    for part in text.split(',') {
        let weight = part.split_once('=').and_then(|(name, weight)| {
            let kind = MIX_KINDS.iter().position(|kind| *kind == name)?;
            Some((kind, units::parse_decimal(weight)?))
        });
        let Some((kind, weight)) = weight else {
            let right = "must be weights of ping, text and heartbeat, such as ping=90,text=10";
            return Err(right.to_owned());
        };
        if weights[kind].replace(weight).is_some() {
            return Err(format!("has {} twice", MIX_KINDS[kind]));
        }
    }
    let [ping, text, heartbeat] = weights.map(Option::unwrap_or_default);
    if ping + text + heartbeat == 0.0 {
        return Err("must have a weight above 0".to_owned());
    }
    Ok(Mix {
        ping,
        text,
        heartbeat,
    })
}

/// Parses a number of clients, or of members of a room: `500`, `10k`, `1M`.
pub(super) fn parse_count(text: &str) -> Result<u32, String> {
    let (digits, factor) = units::split_factor(text);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u32> = digits.parse().ok().filter(|_| is_plain);
    let count = number.and_then(|number| number.checked_mul(factor));
    count
        .filter(|count| (1..=COUNT_MAX).contains(count))
        .ok_or_else(|| {
            let most = units::count(COUNT_MAX.into());
            format!("must be a whole number from 1 to {most}, such as 500, 10k or 1M")
        })
}

/// Parses two rates such as `1k..50k`.
pub(super) fn parse_ramp(text: &str) -> Result<Rate, String> {
    let Some((from, to)) = text.split_once("..") else {
        return Err("must be two rates, such as 1k..50k".to_owned());
    };
    let (from, to) = (units::parse_rate(from)?, units::parse_rate(to)?);
    if from == to {
        return Err("has the same rate twice: use --rate for a constant one".to_owned());
    }
    Ok(Rate { from, to })
}

/// A list of processors, in the order in which it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores(pub Vec<usize>);

/// Parses numbers and ranges of processors such as `1,3-5`.
pub(super) fn parse_cores(text: &str) -> Result<Cores, String> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Some(first), Some(last)) = (parse_core(first), parse_core(last)) else {
            return Err(format!(
                "must be processors from 0 to {CORE_MAX}, such as 1,3-5"
            ));
        };
        if first > last {
            return Err(format!("the range {part} ends before it begins"));
        }
        for core in first..=last {
            if cores.contains(&core) {
                return Err(format!("has processor {core} twice"));
            }
            cores.push(core);
        }
    }
    Ok(Cores(cores))
}

/// Parses the length of a recording, 100ms to 24h.
pub(super) fn parse_run_duration(text: &str) -> Result<Duration, String> {
    parse_duration(text, &(Duration::from_millis(100)..=DAY))
}

/// Parses the length of a warm-up or of the wait at the end, 0s to 1h.
pub(super) fn parse_wait(text: &str) -> Result<Duration, String> {
    parse_duration(text, &(Duration::ZERO..=DAY / 24))
}

/// Parses the time between heartbeats, 10ms to 24h, as long as the timeout of a server may be.
pub(super) fn parse_heartbeat(text: &str) -> Result<Duration, String> {
    parse_duration(text, &(bullhorn::client::MIN_HEARTBEAT..=DAY))
}

fn parse_duration(text: &str, bounds: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let readable = humantime::format_duration;
    match humantime::parse_duration(text) {
        Ok(duration) if bounds.contains(&duration) => Ok(duration),
        Ok(_) => Err(format!(
            "must lie between {} and {}",
            readable(*bounds.start()),
            readable(*bounds.end())
        )),
        Err(_) => Err("must be a number with a unit, such as 10s or 250ms".into()),
    }
}

fn parse_core(text: &str) -> Option<usize> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let core = text.parse().ok().filter(|_| is_plain)?;
    (core <= CORE_MAX).then_some(core)
}

/// The fields of [`Mix`], in their order.
const MIX_KINDS: [&str; 3] = ["ping", "text", "heartbeat"];

/// Some hundred bytes each: what any machine has memory for.
const COUNT_MAX: u32 = 1_000_000;

/// The most that the kernel's set of processors holds.
const CORE_MAX: usize = 1023;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(ping: f64, text: f64, heartbeat: f64) -> Mix {
        Mix {
            ping,
            text,
            heartbeat,
        }
    }

    #[test]
    fn a_mix_has_weights_by_name() {
        let all = parse_mix("ping=90,text=10,heartbeat=0");
        assert_eq!(all, Ok(mix(90.0, 10.0, 0.0)));
        assert_eq!(parse_mix("text=0.5"), Ok(mix(0.0, 0.5, 0.0)));
        for text in [
            "",
            "ping",
            "ping=",
            "pong=1",
            "ping=-1",
            "ping=90;text=10",
            "ping=1,",
        ] {
            let wrong = parse_mix(text).unwrap_err();
            assert!(wrong.contains("such as ping=90,text=10"), "{text}: {wrong}");
        }
        assert_eq!(parse_mix("ping=1,ping=2").unwrap_err(), "has ping twice");
        let zero = parse_mix("ping=0,text=0").unwrap_err();
        assert_eq!(zero, "must have a weight above 0");
    }

    #[test]
    fn counts_are_whole_and_have_suffixes() {
        for (text, count) in [
            ("1", 1),
            ("500", 500),
            ("10k", 10_000),
            ("10K", 10_000),
            ("1000k", 1_000_000),
            ("1M", 1_000_000),
            ("1m", 1_000_000),
            ("1000000", 1_000_000),
        ] {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in [
            "",
            "k",
            "0",
            "0k",
            "-1",
            "+1",
            "1.5k",
            "0.5",
            "10 k",
            "1kk",
            "1G",
            "1,000",
            "1e3",
            "1000001",
            "1001k",
            "2M",
            "4295M",
            "99999999999",
            "µ",
        ] {
            let expected = "must be a whole number from 1 to 1,000,000, such as 500, 10k or 1M";
            assert_eq!(parse_count(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_ramp_has_two_different_rates() {
        let (from, to) = (1000.0, 50_000.0);
        assert_eq!(parse_ramp("1k..50k"), Ok(Rate { from, to }));
        assert_eq!(parse_ramp("50k..1k"), Ok(Rate { from: to, to: from }));
        for (text, right) in [
            ("50k", "two rates, such as 1k..50k"),
            ("1k..", "such as 20000, 50k"),
            ("0..50k", "must be above 0"),
            ("1k..1000", "use --rate"),
            ("1k..200M", "at most 100 M/s"),
        ] {
            let wrong = parse_ramp(text).unwrap_err();
            assert!(wrong.contains(right), "{text}: {wrong}");
        }
    }

    #[test]
    fn cores_are_numbers_and_ranges() {
        assert_eq!(parse_cores("1,3-5"), Ok(Cores(vec![1, 3, 4, 5])));
        assert_eq!(parse_cores("7,0"), Ok(Cores(vec![7, 0])));
        for (text, right) in [
            ("", "such as 1,3-5"),
            ("1,", "such as 1,3-5"),
            ("-1", "such as 1,3-5"),
            ("1-", "such as 1,3-5"),
            ("+1", "such as 1,3-5"),
            ("1024", "from 0 to 1023"),
            ("0-999999999999", "from 0 to 1023"),
            ("5-3", "the range 5-3 ends before it begins"),
            ("1,0-2", "has processor 1 twice"),
        ] {
            let wrong = parse_cores(text).unwrap_err();
            assert!(wrong.contains(right), "{text}: {wrong}");
        }
    }

    #[test]
    fn times_have_bounds() {
        assert_eq!(parse_wait("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_run_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_heartbeat("4s"), Ok(Duration::from_secs(4)));
        for wrong in [
            parse_run_duration("99ms"),
            parse_run_duration("25h"),
            parse_wait("61m"),
            parse_heartbeat("9ms"),
        ] {
            assert!(wrong.unwrap_err().starts_with("must lie between"));
        }
        let wrong = parse_run_duration("10").unwrap_err();
        assert!(wrong.contains("a number with a unit"), "{wrong}");
    }
}
