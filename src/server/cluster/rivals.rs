//! Servers that cannot be in one cluster with this one: those with its name, or with another version.

use std::collections::HashMap;
use std::mem;

use super::nodes::MAX_SILENCE_MS;
use crate::wire::cluster::NodeId;

/// The servers on the bus that are refused, or that refuse this one.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// The times of the last two heartbeats of an older server with the name of this one.
    older_ms: Option<(u64, u64)>,
    had_older: bool,
    /// The times at which the log had something of them.
    logged_ms: HashMap<NodeId, u64>,
}

impl Rivals {
    /// Takes note of a heartbeat of a server with the name of this one.
    pub(super) fn note(&mut self, is_older: bool, now_ms: u64) {
        if is_older {
            let last = self.older_ms.map_or(0, |(_, last)| last);
            self.older_ms = Some((last, now_ms));
        }
    }

    /// Returns true if an older server with the name of this one lives. Its last heartbeat alone may come
    /// late, after it was started again.
    pub(super) fn has_older(&self, now_ms: u64) -> bool {
        self.older_ms.is_some_and(|(first, last)| {
            now_ms <= last + MAX_SILENCE_MS && last <= first + MAX_SILENCE_MS && first > 0
        })
    }

    /// Returns true once after such a server has gone.
    pub(super) fn is_free_again(&mut self, now_ms: u64) -> bool {
        let has_older = self.has_older(now_ms);
        mem::replace(&mut self.had_older, has_older) && !has_older
    }

    /// Returns true if the log has had nothing of this server for a minute.
    pub(super) fn is_news(&mut self, from: NodeId, now_ms: u64) -> bool {
        self.logged_ms
            .retain(|_, logged_ms| now_ms < *logged_ms + LOG_INTERVAL_MS);
        if self.logged_ms.contains_key(&from) || self.logged_ms.len() >= MAX_LOGGED {
            return false;
        }
        self.logged_ms.insert(from, now_ms);
        true
    }
}

const LOG_INTERVAL_MS: u64 = 60_000;

/// Maximum number of servers that the log has something of in a minute.
const MAX_LOGGED: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_server_lives_after_two_heartbeats_until_it_is_silent() {
        let mut rivals = Rivals::default();
        rivals.note(false, 1_000);
        rivals.note(false, 2_000);
        assert!(!rivals.has_older(2_000));
        rivals.note(true, 3_000);
        assert!(!rivals.has_older(3_000), "it may be a late one");
        rivals.note(true, 6_501);
        assert!(!rivals.has_older(6_501), "too late to be the next");
        rivals.note(true, 7_501);
        assert!(!rivals.is_free_again(7_501));
        assert!(rivals.has_older(7_501 + MAX_SILENCE_MS));
        assert!(!rivals.is_free_again(7_501 + MAX_SILENCE_MS));
        assert!(!rivals.has_older(7_502 + MAX_SILENCE_MS));
        assert!(rivals.is_free_again(7_502 + MAX_SILENCE_MS));
        assert!(!rivals.is_free_again(7_503 + MAX_SILENCE_MS), "it was told");
    }

    #[test]
    fn each_server_is_logged_once_in_a_minute() {
        let mut rivals = Rivals::default();
        let id = |number: usize| format!("node-{number}").parse().unwrap();
        assert!(rivals.is_news(id(1), 0));
        assert!(!rivals.is_news(id(1), 59_999));
        assert!(rivals.is_news(id(2), 59_999));
        assert!(rivals.is_news(id(1), 60_000));
        let news = (3..1_000).filter(|number| rivals.is_news(id(*number), 60_000));
        assert_eq!(news.count(), 98);
    }
}
