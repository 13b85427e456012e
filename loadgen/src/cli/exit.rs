//! The exit codes of the program.

use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};

use crate::outcome::Outcome;
use crate::verdict::SloResult;

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The run is valid and every objective is met: 0.
    Good,
    /// The run failed, the server said goodbye or fell silent, or results could not be written: 1.
    Failed,
    /// The arguments are wrong: 2. Nothing was sent.
    WrongUse,
    /// The run is valid and an objective is missed: 3.
    SloMissed,
    /// The figures are no measure of the server, as the generator fell short or the server
    /// restarted: 4.
    Invalid,
    /// A signal ended the run: 128 and its number, which is 130 for SIGINT and 143 for SIGTERM.
    Signal(i32),
}

impl End {
    /// Returns the end of a run. A goodbye goes before a signal, a signal before an invalid
    /// run, and that before a missed objective: each makes the next one meaningless.
    pub fn of(outcome: &Outcome, is_valid: bool, slo: &[SloResult]) -> Self {
        if outcome.server_said_goodbye || outcome.silence.is_some() {
            Self::Failed
        } else if let Some(signal) = outcome.signal {
            Self::Signal(signal)
        } else if !is_valid {
            Self::Invalid
        } else if slo.iter().all(|result| result.is_met) {
            Self::Good
        } else {
            Self::SloMissed
        }
    }

    /// Returns the exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Failed => 1,
            Self::WrongUse => 2,
            Self::SloMissed => 3,
            Self::Invalid => 4,
            Self::Signal(signal) => signal_code(signal),
        }
    }
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(end.code())
    }
}

/// Returns the common name of a signal.
pub(crate) fn signal_name(signal: i32) -> String {
    match signal {
        SIGINT => "Ctrl-C".to_owned(),
        SIGTERM => "SIGTERM".to_owned(),
        SIGPIPE => "the end of its reader".to_owned(),
        _ => format!("signal {signal}"),
    }
}

/// Returns the exit code of a program that a signal ended.
pub fn signal_code(signal: i32) -> u8 {
    // Signals are numbered 1 to 64.
    u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::outcome;

    #[test]
    fn codes_are_those_that_are_documented() {
        for (end, code) in [
            (End::Good, 0),
            (End::Failed, 1),
            (End::WrongUse, 2),
            (End::SloMissed, 3),
            (End::Invalid, 4),
            (End::Signal(SIGINT), 130),
            (End::Signal(SIGTERM), 143),
            (End::Signal(-1), 255),
        ] {
            assert_eq!(end.code(), code);
        }
    }

    #[test]
    fn a_goodbye_goes_before_a_signal_that_before_invalid_and_that_before_an_objective() {
        let result = |is_met| SloResult {
            clause: "p99<1s".into(),
            is_met,
            measured: Vec::new(),
            sentence: "answer 2 s".into(),
            is_doubtful: false,
        };
        let missed = [result(true), result(false)];
        let mut outcome = outcome();
        assert_eq!(End::of(&outcome, true, &[]), End::Good);
        assert_eq!(End::of(&outcome, true, &[result(true)]), End::Good);
        assert_eq!(End::of(&outcome, true, &missed), End::SloMissed);
        assert_eq!(End::of(&outcome, false, &missed), End::Invalid);
        outcome.signal = Some(SIGINT);
        assert_eq!(End::of(&outcome, false, &missed), End::Signal(SIGINT));
        outcome.server_said_goodbye = true;
        assert_eq!(End::of(&outcome, true, &[]), End::Failed);
    }
}
