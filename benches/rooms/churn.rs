//! A room of many peers, some of which come, go and change their names.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::Error;
use crate::harness::peers::Peers;

/// Peers that change, at one server.
pub(crate) struct Churn<'a> {
    pub(crate) peers: &'a Peers,
    pub(crate) server: SocketAddr,
}

impl Churn<'_> {
    /// Everyone registers, in portions that the server's socket holds.
    pub(crate) fn register(&self) -> Result<(), Error> {
        self.each_within(Duration::from_secs(1), |_| b"@im@".to_vec())
    }

    /// Everyone joins, within a second.
    pub(crate) fn join_all(&self) -> Result<(), Error> {
        self.each_within(Duration::from_secs(1), |_| JOIN.to_vec())
    }

    /// Joins, leaves and renames until it is `over`, so many a second of each.
    pub(crate) fn run(&self, a_second: u32, over: &AtomicBool) -> Result<(), Error> {
        let start = Instant::now();
        let pause = Duration::from_secs(1) / a_second;
        for round in 0_u32.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep((start + pause * round).saturating_duration_since(Instant::now()));
            let peer = round as usize % self.peers.len();
            let nick = format!("/nick n{}", round % NAMES);
            for command in [nick.as_bytes(), b"/leave", JOIN] {
                self.peers.send(peer, command, self.server)?;
            }
        }
        Ok(())
    }

    fn each_within(
        &self,
        window: Duration,
        datagram: impl Fn(usize) -> Vec<u8>,
    ) -> Result<(), Error> {
        let start = Instant::now();
        let pause = window / self.peers.len() as u32;
        for peer in 0..self.peers.len() {
            let due = start + pause * peer as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.peers.send(peer, &datagram(peer), self.server)?;
        }
        Ok(())
    }
}

const JOIN: &[u8] = b"/join large";

/// Most of these are free when they are asked for.
const NAMES: u32 = 20_000;
