//! Protocol v2 as a client speaks it: datagrams in, datagrams and what was heard
//! out. No I/O and no clock: the caller says what came and what time it is.
//!
//! ```text
//!            ┌───────── HELLO, again and again ────────┐
//!            ▼                                         │
//!        Greeting ──WELCOME──▶ Open ──GOODBYE, a refusal, or no answer: down
//! ```
//!
//! Every heartbeat has a PING with it, so the server's being there is proven
//! anew each time, and its being gone shows: after three probes in a row that
//! nothing answers. A server that has restarted does not know the session and
//! answers no PING either, but it does answer the HELLO that follows.

use std::io;
use std::time::{Duration, Instant};

use super::config::HEARTBEAT_MIN;
use super::heard::Frame;
use super::liveness::{DownReason, Limits};
use super::sequence::{Arrival, Sequences};
use crate::wire::v2::{
    ClientFrame, Message, ServerFrame, SessionId, Welcome, parse_server, push_client_frame,
    push_client_header, push_hello,
};

/// A client's side of protocol v2.
#[derive(Debug)]
pub(crate) struct V2 {
    limits: Limits,
    state: State,
    down: Option<Down>,
    /// The last one that the server gave us, which it may still know.
    session: Option<SessionId>,
    /// When the next datagram, or a conclusion, is due.
    due_at: Instant,
    /// PINGs sent in this session.
    pings: u64,
    pub(crate) sequences: Sequences,
    /// Datagrams from the server that are not of this protocol.
    pub(crate) malformed: u64,
    /// How many sessions the server gave us.
    pub(crate) sessions: u64,
}

#[derive(Debug)]
enum State {
    /// There is no session, or the server may have forgotten it.
    Greeting {
        /// HELLOs that were neither answered nor refused so far.
        hellos: u32,
    },
    Open {
        /// What was sent since the last sign of the server, and should have
        /// been answered.
        unanswered: u32,
        heartbeat: Duration,
        /// When the next heartbeat is due, if all is well.
        beat_at: Instant,
    },
}

#[derive(Debug)]
struct Down {
    reason: DownReason,
    /// How long to wait before the next HELLO.
    retry_in: Duration,
}

impl V2 {
    /// Up until something says otherwise, and a HELLO is due at once.
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            state: State::Greeting { hellos: 0 },
            down: None,
            session: None,
            due_at: now,
            pings: 0,
            sequences: Sequences::default(),
            malformed: 0,
            sessions: 0,
        }
    }

    /// The server, or the way to it, is another one: greets it. What was
    /// counted stays.
    pub(crate) fn greet(&mut self, now: Instant) {
        self.state = State::Greeting { hellos: 0 };
        self.session = None;
        self.due_at = now;
    }

    /// Why the server counts as gone, if it does.
    pub(crate) fn down(&self) -> Option<&DownReason> {
        self.down.as_ref().map(|down| &down.reason)
    }

    /// A server has sent this in v2.
    pub(crate) fn understands(datagram: &[u8]) -> bool {
        parse_server(datagram).is_ok_and(|mut frames| frames.next().is_some())
    }

    /// The server counts as there, without having said so.
    pub(crate) fn presume_up(&mut self) {
        self.down = None;
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// The server gave us one, and may still know it.
    pub(crate) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// When [`Self::advance`] or [`Self::push_due`] is due next.
    pub(crate) fn deadline(&self) -> Instant {
        self.due_at
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.due_at
    }

    /// As many HELLOs as a server needs were sent, and none was refused or
    /// answered: who is there does not speak v2, if anyone is.
    pub(crate) fn is_not_understood(&self, now: Instant) -> bool {
        let may_be_there = matches!(self.down(), None | Some(DownReason::Unreachable(_)));
        let is_greeted = matches!(self.state, State::Greeting { hellos: PROBES.. });
        may_be_there && is_greeted && self.is_due(now)
    }

    /// The last HELLO was not refused where one before it was.
    pub(crate) fn is_hopeful(&self) -> bool {
        let was_refused = matches!(self.down(), Some(DownReason::Unreachable(_)));
        was_refused && matches!(self.state, State::Greeting { hellos: 1..=PROBES })
    }

    /// Draws the conclusions from the time that has passed.
    pub(crate) fn advance(&mut self, now: Instant) {
        if !self.is_due(now) {
            return;
        }
        match self.state {
            State::Greeting { hellos: PROBES.. } if self.down.is_none() => {
                self.go_down(DownReason::NoAnswer(self.limits.greet));
                self.due_at = now + self.take_retry();
            }
            State::Open {
                unanswered: PROBES..,
                ..
            } => {
                self.go_down(DownReason::NoAnswer(self.limits.answer));
                // It may have restarted, and be there.
                self.due_at = now;
            }
            _ => {}
        }
    }

    /// Writes to `out` what is due, and takes it for sent.
    pub(crate) fn push_due(&mut self, now: Instant, out: &mut Vec<u8>) {
        out.clear();
        let wait = match &mut self.state {
            State::Greeting { hellos } => {
                *hellos += 1;
                push_hello(out);
                self.hello_wait()
            }
            State::Open {
                unanswered,
                heartbeat,
                beat_at,
            } => {
                *unanswered += 1;
                *beat_at = now + *heartbeat;
                self.pings += 1;
                push_client_header(self.session, out);
                push_client_frame(&ClientFrame::Heartbeat, out);
                let token = token(self.session, self.pings);
                push_client_frame(&ClientFrame::Ping(&token), out);
                self.limits.answer / PROBES
            }
        };
        self.due_at = now + wait;
    }

    /// Writes to `out` a datagram with this frame.
    pub(crate) fn push_frame(&self, frame: &ClientFrame<'_>, out: &mut Vec<u8>) {
        out.clear();
        push_client_header(self.session, out);
        push_client_frame(frame, out);
    }

    /// Something was said, and should come back. True if that made a new
    /// deadline.
    pub(crate) fn said(&mut self, now: Instant) -> bool {
        let State::Open { unanswered, .. } = &mut self.state else {
            return false;
        };
        if *unanswered > 0 {
            return false;
        }
        *unanswered = 1;
        self.due_at = self.due_at.min(now + self.limits.answer / PROBES);
        true
    }

    /// Writes to `out` that we leave. False: there is nothing to leave.
    pub(crate) fn push_bye(&self, out: &mut Vec<u8>) -> bool {
        out.clear();
        if self.session.is_none() {
            return false;
        }
        push_client_header(self.session, out);
        push_client_frame(&ClientFrame::Bye, out);
        true
    }

    /// A datagram came. Hands on what the application is to hear: each message
    /// once.
    pub(crate) fn received(
        &mut self,
        datagram: &[u8],
        now: Instant,
        hear: &mut impl FnMut(Frame<'_>),
    ) {
        let Ok(frames) = parse_server(datagram) else {
            self.malformed += 1;
            return;
        };
        for frame in frames {
            match frame {
                ServerFrame::Welcome(welcome) => self.welcomed(&welcome, now),
                ServerFrame::Goodbye => self.dismissed(now),
                ServerFrame::Pong(token) if !self.is_recent(token) => hear(Frame::Pong(token)),
                ServerFrame::Pong(_) => {
                    self.answered();
                    self.sequences.server_answered();
                }
                ServerFrame::Room(number, name) => {
                    self.answered();
                    self.sequences.moved_to(number);
                    hear(Frame::Room(name));
                }
                ServerFrame::Private(from, payload) => {
                    self.answered();
                    hear(Frame::Private(from, payload));
                }
                ServerFrame::Notice(code, text) => {
                    self.answered();
                    hear(Frame::Notice(code, text));
                }
                ServerFrame::Message(message) => {
                    self.answered();
                    let Message {
                        room,
                        stream,
                        sequence,
                        ..
                    } = message;
                    match self.sequences.arrived(room, stream, sequence) {
                        Arrival::Repeated | Arrival::TooLate => {}
                        Arrival::New | Arrival::Reordered => hear(Frame::Message(message)),
                    }
                }
            }
        }
    }

    /// The network refused something that was sent.
    pub(crate) fn refused(&mut self, kind: io::ErrorKind, now: Instant) {
        let reason = DownReason::Unreachable(kind);
        match &mut self.down {
            None => self.go_down(reason),
            Some(down) => {
                down.reason = reason;
                // One HELLO may be refused in more than one way.
                if matches!(self.state, State::Greeting { hellos: 0 }) {
                    return;
                }
                self.state = State::Greeting { hellos: 0 };
            }
        }
        self.due_at = now + self.take_retry();
    }

    fn welcomed(&mut self, welcome: &Welcome, now: Instant) {
        // One that nobody asked for is a repeated one, maybe of long ago.
        if self.is_open() {
            return;
        }
        if self.session != Some(welcome.session) {
            self.session = Some(welcome.session);
            self.sessions += 1;
            self.pings = 0;
            self.sequences.restart(welcome.room);
        }
        // It knew us, but our being told of the last room may have been lost.
        self.sequences.moved_to(welcome.room);
        // So that one lost heartbeat does no harm.
        let half = Duration::from_millis(u64::from(welcome.timeout_ms)) / 2;
        let heartbeat = self.limits.heartbeat.min(half.max(HEARTBEAT_MIN));
        self.down = None;
        self.due_at = now + heartbeat;
        self.state = State::Open {
            unanswered: 0,
            heartbeat,
            beat_at: self.due_at,
        };
    }

    fn dismissed(&mut self, now: Instant) {
        self.session = None;
        if self.down.is_none() {
            self.go_down(DownReason::Goodbye);
            self.due_at = now + self.take_retry();
        }
    }

    /// The server is there, and knows us.
    fn answered(&mut self) {
        if let State::Open {
            unanswered,
            beat_at,
            ..
        } = &mut self.state
        {
            *unanswered = 0;
            self.due_at = *beat_at;
        }
    }

    /// A PONG proves something only if it answers what is not answered yet.
    fn is_recent(&self, pong: &[u8]) -> bool {
        let oldest = self.pings.saturating_sub(PROBES.into());
        (oldest..self.pings).any(|ping| token(self.session, ping + 1) == pong)
    }

    fn go_down(&mut self, reason: DownReason) {
        self.state = State::Greeting { hellos: 0 };
        self.down = Some(Down {
            reason,
            retry_in: self.limits.retry.min(self.limits.heartbeat),
        });
    }

    /// How long to wait after a HELLO. One that is not refused where the one
    /// before was may have met a server, which a few more will tell.
    fn hello_wait(&mut self) -> Duration {
        if self.down.is_none() || self.is_hopeful() {
            self.limits.greet / PROBES
        } else {
            self.take_retry()
        }
    }

    /// The wait before the next try, which doubles with each.
    fn take_retry(&mut self) -> Duration {
        let max = self.limits.heartbeat;
        let Some(down) = &mut self.down else {
            return max;
        };
        let wait = down.retry_in;
        down.retry_in = (wait * 2).min(max);
        wait
    }
}

/// Nobody can guess it who does not know the session.
fn token(session: Option<SessionId>, ping: u64) -> [u8; 8] {
    let session = session.map_or(0, SessionId::get);
    session.wrapping_add(ping).to_be_bytes()
}

/// So many in a row are not lost by chance on a way on which anything can be
/// said.
const PROBES: u32 = 3;

#[cfg(test)]
#[path = "v2_tests.rs"]
mod tests;
