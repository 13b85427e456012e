//! Measures round trips. No I/O and no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::wire::v2::NoticeCode;
use crate::wire::{Command, Reply, ServerLine, parse_command};

/// The pings that were not answered yet.
#[derive(Debug)]
pub(crate) struct Pings {
    /// Nobody else's numbers lie near it, so that nobody else's answer is ours.
    last_number: u64,
    /// The oldest first. With one more than [`WAITING_MAX`], it is given up.
    waiting: VecDeque<(u64, Instant)>,
}

impl Pings {
    /// None so far. `seed`: any random number.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            last_number: seed,
            waiting: VecDeque::new(),
        }
    }

    /// Appends to `out` the command that asks for an answer in v1.
    pub(crate) fn push_line(&mut self, now: Instant, out: &mut Vec<u8>) {
        let number = self.begin(now);
        out.extend_from_slice(format!("/ping {number:016x}").as_bytes());
    }

    /// What a PONG is to bring back, in v2.
    pub(crate) fn token(&mut self, now: Instant) -> [u8; TOKEN_BYTES] {
        let mut token = [MARK; TOKEN_BYTES];
        token[1..].copy_from_slice(&self.begin(now).to_be_bytes());
        token
    }

    /// The round trip that ends with this line of v1, if one does. A server that
    /// knows no commands sends it back as a text, which is an answer all the same.
    pub(crate) fn line_came(&mut self, line: &str, now: Instant) -> Option<Duration> {
        if self.waiting.is_empty() {
            return None;
        }
        let token = pong(line).or_else(|| echoed_token(line))?;
        let number = u64::from_str_radix(str::from_utf8(token).ok()?, 16).ok()?;
        self.answered(number, now)
    }

    /// The round trip that ends with a PONG, if one does.
    pub(crate) fn token_came(&mut self, token: &[u8], now: Instant) -> Option<Duration> {
        let (mark, number) = token.split_first()?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        (*mark == MARK).then(|| self.answered(number, now))?
    }

    fn begin(&mut self, now: Instant) -> u64 {
        self.last_number = self.last_number.wrapping_add(1);
        self.waiting.push_back((self.last_number, now));
        if self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
        }
        self.last_number
    }

    fn answered(&mut self, number: u64, now: Instant) -> Option<Duration> {
        let is_it = |(waiting, _): &(u64, Instant)| *waiting == number;
        let at = self.waiting.iter().position(is_it)?;
        let (_, sent_at) = self.waiting[at];
        self.waiting.remove(at);
        Some(now.saturating_duration_since(sent_at))
    }
}

/// The token in the server's answer to a `/ping`.
pub(crate) fn pong(line: &str) -> Option<&[u8]> {
    let Some(ServerLine::Notice(sentence)) = ServerLine::parse(line.as_bytes()) else {
        return None;
    };
    match Reply::parse(NoticeCode::Done, sentence) {
        Some(Reply::Pong(token)) => Some(token),
        _ => None,
    }
}

/// The token of a `/ping` that came back as a text.
fn echoed_token(line: &str) -> Option<&[u8]> {
    let Some(ServerLine::Text { text, .. }) = ServerLine::parse(line.as_bytes()) else {
        return None;
    };
    match parse_command(text) {
        Some(Ok(Command::Ping(token))) => Some(token),
        _ => None,
    }
}

/// It is the line of who wants to know how far away the server is: `/ping` alone.
pub fn is_ping(line: &str) -> bool {
    line.trim().eq_ignore_ascii_case("/ping")
}

/// A mark and a number: longer than the token of a heartbeat, which so is never
/// taken for it.
const TOKEN_BYTES: usize = 9;

const MARK: u8 = b'?';

/// More than anyone types within the time in which an answer may come.
const WAITING_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_answer_ends_its_own_round_trip_once() {
        let mut pings = Pings::new(u64::MAX);
        let now = Instant::now();
        let (first, second) = (pings.token(now), pings.token(now + MS));
        assert_eq!(pings.token_came(&second, now + 3 * MS), Some(2 * MS));
        assert_eq!(pings.token_came(&first, now + 3 * MS), Some(3 * MS));
        assert_eq!(pings.token_came(&first, now + 4 * MS), None);
        for not_it in [&b""[..], b"?", b"12345678", b"?12345678"] {
            assert_eq!(pings.token_came(not_it, now), None);
        }
    }

    #[test]
    fn in_v1_the_answer_is_a_line_or_the_echo() {
        let mut pings = Pings::new(0xABCD);
        let now = Instant::now();
        for answer in [
            "* pong 000000000000abce",
            "1.2.3.4:5 /ping 000000000000abcf",
        ] {
            let mut line = Vec::new();
            pings.push_line(now, &mut line);
            assert!(parse_command(&line).is_some_and(|command| command.is_ok()));
            for not_it in ["* pong ", "* pong 77", "* pong x", "ada abce", ""] {
                assert_eq!(pings.line_came(not_it, now), None, "{not_it:?}");
            }
            assert_eq!(pings.line_came(answer, now + MS), Some(MS), "{answer}");
        }
        assert!(pings.waiting.is_empty());
    }

    #[test]
    fn only_the_newest_are_waited_for() {
        let mut pings = Pings::new(0);
        let now = Instant::now();
        let first = pings.token(now);
        for _ in 0..WAITING_MAX {
            pings.token(now);
        }
        assert_eq!(pings.waiting.len(), WAITING_MAX);
        assert_eq!(pings.token_came(&first, now), None);
    }

    #[test]
    fn only_the_word_alone_measures() {
        for line in ["/ping", " /PING  "] {
            assert!(is_ping(line));
        }
        for line in ["/ping x", "ping", "/pin"] {
            assert!(!is_ping(line));
        }
    }
}
