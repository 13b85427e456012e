//! The session: what an application holds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver};
use mio::{Poll, Waker};

use super::config::{Protocol, SessionConfig};
use super::conversation::Conversation;
use super::engine::{Engine, WAKE};
use super::error::SessionError;
use super::event::Event;
use super::identity::Identity;
use super::link::{Link, SendError};
use super::payload::{CannotSay, Payload, Say};
use super::stats::{SessionStats, StreamStats};
use crate::wire::{Name, RoomName};

/// A place in a server's chat, from [`Session::connect`] until it is dropped.
///
/// A thread of its own registers at the server, sends heartbeats, receives, and
/// keeps trying while the server is down. Nothing that the server or the
/// network does ends a session; it ends when it is dropped or
/// [`left`](Session::leave), and tells the server so.
///
/// UDP promises nothing: a text may be lost on the way, and while the server is
/// down it is. Whoever must know compares with what comes back: the server
/// sends every text to its sender too.
#[derive(Debug)]
pub struct Session {
    speaker: Speaker,
    events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Resolves the server's name, opens a socket and starts the thread that
    /// registers. It does not wait for the server: if that is down, an
    /// [`Event::Down`] will say so.
    ///
    /// A name with several addresses is tried in the resolver's order: the next
    /// one at once when one refuses, and in turn as long as none answers.
    ///
    /// # Errors
    /// The name cannot be resolved, there is no way to any of its addresses, or
    /// the system has no socket or thread to give.
    pub fn connect(config: SessionConfig) -> Result<Self, SessionError> {
        let addresses = match config.server.resolve() {
            Ok(addresses) => addresses,
            Err(source) => {
                let server = config.server;
                return Err(SessionError::Resolve { server, source });
            }
        };
        Self::connect_to(addresses, config)
    }

    fn connect_to(addresses: Vec<SocketAddr>, config: SessionConfig) -> Result<Self, SessionError> {
        let server = config.server.clone();
        let (link, at) = match open_first(&addresses) {
            Ok(opened) => opened,
            Err(source) => return Err(SessionError::Connect { server, source }),
        };
        let (sender, events) = channel::bounded(config.events_max.max(1));
        let poll = Poll::new().map_err(SessionError::Thread)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(SessionError::Thread)?;
        let state = State {
            link,
            conversation: Conversation::new(
                config.protocol,
                config.limits(),
                Identity::new(config.nick, config.room),
                Instant::now(),
            ),
            refused: None,
            out: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            waker,
            is_leaving: AtomicBool::new(false),
            texts_missed: AtomicU64::new(0),
        });
        let engine = Engine::new(Arc::clone(&shared), poll, sender, addresses, at)
            .map_err(SessionError::Thread)?;
        let thread = thread::Builder::new()
            .name("session".to_owned())
            .spawn(move || engine.run())
            .map_err(SessionError::Thread)?;
        Ok(Self {
            speaker: Speaker { shared },
            events,
            thread: Some(thread),
        })
    }

    /// Says a text. See [`Speaker::say`].
    ///
    /// # Errors
    /// As [`Speaker::say`].
    pub fn say(&self, text: &str) -> Result<(), SessionError> {
        self.speaker.say(text)
    }

    /// Says any bytes, in v2. See [`Speaker::say_bytes`].
    ///
    /// # Errors
    /// As [`Speaker::say_bytes`].
    pub fn say_bytes(&self, payload: &[u8]) -> Result<(), SessionError> {
        self.speaker.say_bytes(payload)
    }

    /// Measures a round trip. See [`Speaker::ping`].
    ///
    /// # Errors
    /// As [`Speaker::ping`].
    pub fn ping(&self) -> Result<(), SessionError> {
        self.speaker.ping()
    }

    /// What happens, in order. The channel holds up to
    /// [`SessionConfig::events_max`]; when it is full, texts are dropped and
    /// counted, and one [`Event::Missed`] takes their place. It is closed only
    /// when the operating system takes away the means to go on.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// A handle for other threads to say texts with.
    pub fn speaker(&self) -> Speaker {
        self.speaker.clone()
    }

    /// False while the server counts as gone.
    pub fn is_up(&self) -> bool {
        self.speaker.is_up()
    }

    /// How many texts were dropped because nobody took them from
    /// [`Session::events`] in time.
    pub fn texts_missed(&self) -> u64 {
        self.speaker.shared.texts_missed.load(Ordering::Relaxed)
    }

    /// What is spoken with the server, if that is clear: not before it has
    /// answered, or [`SessionConfig::greet_within`] is over, and not while it is
    /// greeted anew.
    pub fn protocol(&self) -> Option<Protocol> {
        self.speaker.shared.lock().conversation.protocol()
    }

    /// What we are called, as the server has confirmed.
    pub fn nick(&self) -> Option<Name> {
        self.speaker.shared.lock().conversation.identity.nick()
    }

    /// The room that we are in, as the server has confirmed. Nobody is told of the
    /// lobby, in which everyone starts.
    pub fn room(&self) -> Option<RoomName> {
        self.speaker.shared.lock().conversation.identity.room()
    }

    /// What was counted so far.
    pub fn stats(&self) -> SessionStats {
        let shared = &self.speaker.shared;
        let state = shared.lock();
        let v2 = state.conversation.v2();
        let streams = v2.sequences.streams();
        let mut streams: Vec<_> = streams
            .map(|(room, stream, counts)| StreamStats {
                room,
                stream,
                counts,
            })
            .collect();
        streams.sort_by_key(|stream| (stream.room, stream.stream));
        SessionStats {
            messages: v2.sequences.total(),
            streams,
            malformed: v2.malformed,
            sessions: v2.sessions,
            unsent: state.conversation.unsent,
            texts_missed: shared.texts_missed.load(Ordering::Relaxed),
        }
    }

    /// The address that this session sends from. It can change when the server
    /// is down.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.speaker.shared.lock().link.local_addr()
    }

    /// Tells the server that this peer leaves, and stops the thread. What was said
    /// goes out before: if it waits for the server's answer to the greeting, so
    /// does this, for [`SessionConfig::greet_within`] at most. Dropping the
    /// session does the same.
    pub fn leave(self) {
        drop(self);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let shared = &self.speaker.shared;
        shared.is_leaving.store(true, Ordering::Release);
        // Without the wake, the thread notices at the next heartbeat.
        let _ = shared.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported there.
            let _ = thread.join();
        }
    }
}

/// Says texts in a [`Session`], from any thread.
#[derive(Clone, Debug)]
pub struct Speaker {
    shared: Arc<Shared>,
}

impl Speaker {
    /// Says a text to everyone in the room. One that begins with `/` may be a command
    /// to the server, which takes a command that it does not know for a text. Until
    /// the server has answered the greeting, the text waits; while the server is down,
    /// it is sent if it can be, as the server may be back.
    ///
    /// In v1 the server delivers at most 1024 bytes, with the sender's address
    /// before them, and longer texts arrive cut; in v2 they are refused if they
    /// are longer than a message may be.
    ///
    /// # Errors
    /// The text means something else in the protocol, it does not fit into a
    /// datagram, there is no way to the server, or the session has ended.
    pub fn say(&self, text: &str) -> Result<(), SessionError> {
        self.say_payload(Payload::Text(text))
    }

    /// Says any bytes to everyone in the room; they never are a command. Those who
    /// speak v1 hear a text, in which what cannot be printed is escaped.
    ///
    /// # Errors
    /// As [`Self::say`], and that v1 is spoken, which has texts only.
    pub fn say_bytes(&self, payload: &[u8]) -> Result<(), SessionError> {
        self.say_payload(Payload::Bytes(payload))
    }

    /// Asks the server for an answer: an [`Event::Pong`] will say how long that
    /// took, unless it is lost. A server that speaks v1 and knows no commands tells
    /// this to everyone in the room.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub fn ping(&self) -> Result<(), SessionError> {
        self.say_payload(Payload::Ping)
    }

    /// False while the server counts as gone.
    pub fn is_up(&self) -> bool {
        self.shared.lock().conversation.down().is_none()
    }

    fn say_payload(&self, payload: Payload<'_>) -> Result<(), SessionError> {
        for _ in 0..SEND_TRIES_MAX {
            match self.try_say(payload) {
                Err(SessionError::Full) => thread::sleep(SEND_PAUSE),
                result => return result,
            }
        }
        Err(SessionError::Full)
    }

    fn try_say(&self, payload: Payload<'_>) -> Result<(), SessionError> {
        let mut locked = self.shared.lock();
        // Asked under the lock, so that nothing goes out after the farewell,
        // which would register us again.
        if self.shared.is_leaving.load(Ordering::Acquire) {
            return Err(SessionError::Ended);
        }
        let state = &mut *locked;
        let now = Instant::now();
        match state.conversation.say(payload, now, &mut state.out) {
            Ok(Say::Held) => return Ok(()),
            Ok(Say::Send) => {}
            Err(why) => return Err(SessionError::of(why, payload)),
        }
        let result = state.link.send(&state.out);
        let is_news = match &result {
            Ok(sent) => {
                state.refused = state.refused.or(sent.earlier_refused);
                state.conversation.said(now) || state.refused.is_some()
            }
            Err(SendError::Unreachable(kind)) => {
                state.refused = Some(*kind);
                true
            }
            Err(_) => false,
        };
        drop(locked);
        if is_news {
            // The thread has a new deadline. If it cannot be woken, it learns
            // of that at the next heartbeat.
            let _ = self.shared.waker.wake();
        }
        match result {
            Ok(_) => Ok(()),
            Err(SendError::Unreachable(kind)) => Err(SessionError::Unreachable(kind)),
            Err(SendError::TooLong) => Err(SessionError::of(CannotSay::TooLong, payload)),
            Err(SendError::Full) => Err(SessionError::Full),
            Err(SendError::Other(source)) => Err(SessionError::Send(source)),
        }
    }
}

/// What the session's thread and its speakers share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Held for a few system calls at most, none of which blocks.
    state: Mutex<State>,
    waker: Waker,
    pub(super) is_leaving: AtomicBool,
    pub(super) texts_missed: AtomicU64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) link: Link,
    pub(super) conversation: Conversation,
    /// A refusal that a speaker saw, for the thread to deal with.
    pub(super) refused: Option<io::ErrorKind>,
    /// The datagram that is to be sent.
    pub(super) out: Vec<u8>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half done in there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first address that a socket can be connected to, and which one it is.
fn open_first(addresses: &[SocketAddr]) -> io::Result<(Link, usize)> {
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (at, address) in addresses.iter().enumerate() {
        match Link::open(*address) {
            Ok(link) => return Ok((link, at)),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

/// With [`SEND_PAUSE`], a second in which the kernel must take a datagram.
const SEND_TRIES_MAX: u32 = 1000;

/// About the time in which a slow interface sends a datagram of 1 KiB.
const SEND_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
