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

use super::address::ServerAddress;
use super::engine::{Engine, WAKE};
use super::link::{Link, SendError};
use super::liveness::{DownReason, Limits, Liveness};
use super::v1::{self, NotAText};

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
            liveness: Liveness::new(config.limits(), Instant::now()),
            refused: None,
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

    /// The address that this session sends from. It can change when the server
    /// is down.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.speaker.shared.lock().link.local_addr()
    }

    /// Tells the server that this peer leaves, and stops the thread. Dropping
    /// the session does the same.
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
    /// Says a text to everyone in the room: sends it as one datagram, as it is.
    /// A text that begins with `/` may be a command to the server. While the
    /// server is down the text is sent too, as it may be back.
    ///
    /// The server delivers at most 1024 bytes, with the sender's address before
    /// them; longer texts arrive cut.
    ///
    /// # Errors
    /// The text means something else in the protocol, it does not fit into a
    /// datagram, there is no way to the server, or the session has ended.
    pub fn say(&self, text: &str) -> Result<(), SessionError> {
        let datagram = v1::encode(text)?;
        for _ in 0..SEND_TRIES_MAX {
            match self.send(datagram) {
                Err(SessionError::Full) => thread::sleep(SEND_PAUSE),
                result => return result,
            }
        }
        Err(SessionError::Full)
    }

    /// False while the server counts as gone.
    pub fn is_up(&self) -> bool {
        self.shared.lock().liveness.down().is_none()
    }

    fn send(&self, datagram: &[u8]) -> Result<(), SessionError> {
        let mut state = self.shared.lock();
        // Asked under the lock, so that nothing goes out after the farewell,
        // which would register us again.
        if self.shared.is_leaving.load(Ordering::Acquire) {
            return Err(SessionError::Ended);
        }
        let result = state.link.send(datagram);
        let is_news = match &result {
            Ok(sent) => {
                state.refused = state.refused.or(sent.earlier_refused);
                state.liveness.said(Instant::now()) || state.refused.is_some()
            }
            Err(SendError::Unreachable(kind)) => {
                state.refused = Some(*kind);
                true
            }
            Err(_) => false,
        };
        drop(state);
        if is_news {
            // The thread has a new deadline. If it cannot be woken, it learns
            // of that at the next heartbeat.
            let _ = self.shared.waker.wake();
        }
        match result {
            Ok(_) => Ok(()),
            Err(SendError::Unreachable(kind)) => Err(SessionError::Unreachable(kind)),
            Err(SendError::TooLong) => Err(SessionError::TooLong {
                bytes: datagram.len(),
            }),
            Err(SendError::Full) => Err(SessionError::Full),
            Err(SendError::Other(source)) => Err(SessionError::Send(source)),
        }
    }
}

/// What happens in a [`Session`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A datagram from the server, without its line end. What was not UTF-8 has
    /// become `U+FFFD`. Pass it through [`escape`](super::escape()) before it
    /// reaches a terminal.
    Text(String),
    /// The server counts as gone, and the session keeps trying.
    Down(DownReason),
    /// The server is there again, and knows us again.
    Up,
    /// So many texts were dropped here, because the channel was full.
    Missed(u64),
}

/// How a [`Session`] behaves.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Where the server is.
    pub server: ServerAddress,
    /// Between heartbeats; 5 s, at least [`HEARTBEAT_MIN`]. The server drops a
    /// peer that it has not heard for 10 s.
    pub heartbeat: Duration,
    /// The server counts as gone when nothing at all comes for so long after a
    /// text was said; 3 s.
    pub answer_within: Duration,
    /// The wait before the first try while the server is down; it doubles up to
    /// [`SessionConfig::heartbeat`]. 500 ms.
    pub retry: Duration,
    /// After a refusal, the server counts as back when a heartbeat was not
    /// refused for so long; 1 s.
    pub settle: Duration,
    /// How many events wait for the application; 1024, at least one. Texts
    /// beyond that are dropped and counted.
    pub events_max: usize,
}

impl SessionConfig {
    /// The usual behaviour, at this server.
    pub fn new(server: ServerAddress) -> Self {
        Self {
            server,
            heartbeat: HEARTBEAT,
            answer_within: ANSWER_WITHIN,
            retry: RETRY,
            settle: SETTLE,
            events_max: EVENTS_MAX,
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            heartbeat: self.heartbeat.max(HEARTBEAT_MIN),
            answer: self.answer_within,
            retry: self.retry.max(HEARTBEAT_MIN),
            settle: self.settle,
        }
    }
}

/// Why a session could not start, or a text was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The server's name has no address.
    #[error("cannot resolve {server}: {source}")]
    Resolve {
        /// As the user wrote it.
        server: ServerAddress,
        /// What the resolver says.
        source: io::Error,
    },
    /// There is no way to any address of the server.
    #[error("cannot reach {server}: {source}")]
    Connect {
        /// As the user wrote it.
        server: ServerAddress,
        /// About the last of its addresses.
        source: io::Error,
    },
    /// The system gave no thread, or no means to wake it.
    #[error("cannot start the session: {0}")]
    Thread(#[source] io::Error),
    /// In the protocol this is not a text.
    #[error(transparent)]
    NotAText(#[from] NotAText),
    /// The text does not fit into one datagram.
    #[error("a text of {bytes} bytes does not fit into one datagram")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// There is no way to the server now.
    #[error("there is no way to the server: {0}")]
    Unreachable(io::ErrorKind),
    /// The kernel could not take more for some time.
    #[error("the network does not keep up: the send buffer is full")]
    Full,
    /// Anything else that the operating system says.
    #[error("cannot send: {0}")]
    Send(#[source] io::Error),
    /// The session has been left.
    #[error("the session has ended")]
    Ended,
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
    pub(super) liveness: Liveness,
    /// A refusal that a speaker saw, for the thread to deal with.
    pub(super) refused: Option<io::ErrorKind>,
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

/// Half of what the server waits for, so that one lost heartbeat does no harm.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// More often than this is a flood and keeps nothing more alive.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// Far above any round trip and any queue in a server that still works.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// A restart takes about this long, so the first try often meets the new
/// server.
pub const RETRY: Duration = Duration::from_millis(500);

/// A refusal comes within one round trip, which is below this anywhere on earth.
pub const SETTLE: Duration = Duration::from_secs(1);

/// At 1 KiB each, 1 MiB at worst; a person reads none of that any more.
const EVENTS_MAX: usize = 1024;

/// With [`SEND_PAUSE`], a second in which the kernel must take a datagram.
const SEND_TRIES_MAX: u32 = 1000;

/// About the time in which a slow interface sends a datagram of 1 KiB.
const SEND_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// Far beyond what anything here takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn bind() -> UdpSocket {
        // An address that no other test uses, so that a port stays free.
        let socket = UdpSocket::bind("127.0.0.79:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn expect(socket: &UdpSocket, datagram: &[u8]) {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], datagram);
    }

    fn connect(servers: &[SocketAddr]) -> Session {
        let mut config = SessionConfig::new(servers[0].into());
        config.heartbeat = 2 * PATIENCE;
        config.retry = HEARTBEAT_MIN;
        config.answer_within = HEARTBEAT_MIN;
        Session::connect_to(servers.to_vec(), config).unwrap()
    }

    fn next(session: &Session) -> Event {
        session.events().recv_timeout(PATIENCE).unwrap()
    }

    #[test]
    fn goes_to_the_next_address_at_once_when_one_refuses() {
        let closed = bind().local_addr().unwrap();
        let server = bind();
        let session = connect(&[closed, server.local_addr().unwrap()]);
        expect(&server, v1::HEARTBEAT);
        let from = session.local_addr().unwrap();
        server.send_to(b"welcome", from).unwrap();
        // Not a word of the first one.
        assert_eq!(next(&session), Event::Text("welcome".to_owned()));
    }

    #[test]
    fn goes_to_the_next_address_when_one_is_silent() {
        let silent = bind();
        let server = bind();
        let addresses = [&silent, &server].map(|socket| socket.local_addr().unwrap());
        let session = connect(&addresses);
        expect(&silent, v1::HEARTBEAT);
        session.say("anyone?").unwrap();
        expect(&silent, b"anyone?");
        assert_eq!(
            next(&session),
            Event::Down(DownReason::NoAnswer(HEARTBEAT_MIN))
        );
        expect(&server, v1::HEARTBEAT);
        expect(&silent, v1::LEAVE);
    }

    #[test]
    fn is_down_when_all_addresses_refuse() {
        let closed = [bind(), bind()].map(|socket| socket.local_addr().unwrap());
        let session = connect(&closed);
        let refused = DownReason::Unreachable(io::ErrorKind::ConnectionRefused);
        assert_eq!(next(&session), Event::Down(refused));
    }
}
