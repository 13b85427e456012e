//! Sleeping until something is due or something comes.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The sleep of a thread.
pub(super) struct Pause {
    poll: Poll,
    events: Events,
    /// The timeout of a poll counts milliseconds, and may come 50 µs late (the slack of
    /// prctl(2)); a timer does neither.
    timer: TimerFd,
    spin: bool,
}

impl Pause {
    /// A place to wait for `sockets`; with `spin`, without sleeping.
    pub(super) fn new(sockets: &mut [UdpSocket], spin: bool) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (place, socket) in sockets.iter_mut().enumerate() {
            poll.registry()
                .register(socket, Token(place), Interest::READABLE)?;
        }
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let fd = timer.as_fd().as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            timer,
            spin,
        })
    }

    /// Waits until `next_ns`, or until a socket can be read, and adds those that can be
    /// to `readable`.
    pub(super) fn wait(
        &mut self,
        now_ns: u64,
        next_ns: u64,
        readable: &mut Vec<u32>,
    ) -> io::Result<()> {
        let wait_ns = next_ns.saturating_sub(now_ns);
        if self.spin || !readable.is_empty() || wait_ns < SHORTEST_NS {
            return self.poll(Some(Duration::ZERO), readable);
        }
        let wait = TimeSpec::from_duration(Duration::from_nanos(wait_ns));
        self.timer
            .set(Expiration::OneShot(wait), TimerSetTimeFlags::empty())?;
        self.poll(None, readable)
    }

    /// Adds the sockets that can be read.
    pub(super) fn look(&mut self, readable: &mut Vec<u32>) -> io::Result<()> {
        self.poll(Some(Duration::ZERO), readable)
    }

    fn poll(&mut self, timeout: Option<Duration>, readable: &mut Vec<u32>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            let Token(place) = event.token();
            let place = place as u32;
            // One that was not read to its end is there already.
            if event.token() != TIMER && !readable.contains(&place) {
                readable.push(place);
            }
        }
        Ok(())
    }
}

const TIMER: Token = Token(usize::MAX);

/// Sockets that are told of at once; the others, the next time.
const EVENTS: usize = 256;

/// The shortest sleep that the system can do.
const SHORTEST_NS: u64 = 5_000;
