//! A speaker and a listener in one room, and the time between them.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::Server;

use crate::harness::Error;
use crate::harness::receivers::wait_until;
use crate::harness::stamps::{arrival, clear, now, stamp_arrivals};

/// Whose messages are timed.
pub(crate) struct Talk {
    listener: UdpSocket,
    speaker: UdpSocket,
    interval: Duration,
}

impl Talk {
    /// Two peers in `room`, of which the listener is the first, if the room is new.
    pub(crate) fn start(server: &Server, room: &str, interval: Duration) -> Result<Self, Error> {
        let peer = || -> Result<UdpSocket, Error> {
            let before = server.stats().total().commands;
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server.local_addr())?;
            socket.send(format!("/join {room}").as_bytes())?;
            wait_until(|| server.stats().total().commands > before);
            stamp_arrivals(&socket)?;
            Ok(socket)
        };
        let (listener, speaker) = (peer()?, peer()?);
        Ok(Self {
            listener,
            speaker,
            interval,
        })
    }

    /// Speaks for as long as `window`, and returns the milliseconds after which 99
    /// of 100 texts had arrived, as the kernel stamped them.
    pub(crate) fn p99_ms(&self, window: Duration) -> Result<f64, Error> {
        let start = Instant::now();
        let mut times_ms = Vec::new();
        while start.elapsed() < window {
            thread::sleep(self.interval);
            clear(std::slice::from_ref(&self.listener));
            let sent = now()?;
            self.speaker.send(b"the quick brown fox jumps over l")?;
            let mut arrived = None;
            wait_until(|| {
                arrived = arrival(&self.listener).ok().flatten();
                arrived.is_some()
            });
            let arrived = arrived.ok_or("a message did not arrive")?;
            times_ms.push(arrived.saturating_sub(sent).as_secs_f64() * 1e3);
        }
        clear(std::slice::from_ref(&self.speaker));
        times_ms.sort_by(f64::total_cmp);
        let index = (times_ms.len() * 99).div_ceil(100).saturating_sub(1);
        Ok(*times_ms.get(index).ok_or("nothing was said")?)
    }
}
