//! The session, which an application holds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use mio::Poll;

use super::address::ServerAddress;
use super::config::{ProtocolVersion, SessionConfig};
use super::engine::Engine;
use super::event::{Answer, DownReason, Event, Joined, Listing, Members};
use super::event_queue::EventQueue;
use super::protocol::requests::{Request, random_number};
use super::protocol::{Outgoing, Protocol};
use super::route::Route;
use super::shared::{SessionStats, Shared, ToEngine};
use super::socket::Socket;
use super::ticket::{Responder, Ticket};
use crate::wire::v2::MAX_PAYLOAD_BYTES;
use crate::wire::{ClientDatagram, DisplayName, Name, RoomName, classify};

/// A place in a server's chat, from [`Session::connect`] until it is dropped.
///
/// A thread of its own registers with the server, sends heartbeats, receives, and keeps
/// trying while the server is down. Nothing that the server or the network does ends a
/// session. It ends when it is dropped, and tells the server so.
///
/// Requests are commands to the server. One without commands tells them to everyone in the room,
/// direct messages as well. Where a method fails with a [`SayError`], nothing was sent, and the
/// session goes on.
///
/// Any thread may use a session, by reference or in an [`Arc`]. No method but
/// [`Session::leave`] blocks. Each request and each text returns a
/// [`Ticket`], with which its result can be waited for.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    messages: Sender<ToEngine>,
    events: Receiver<Event>,
    next_ticket: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

/// Error of [`Session::connect`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server's name has no address.
    #[error("cannot resolve {server}: {source}")]
    Resolve {
        /// The address as it was written.
        server: ServerAddress,
        /// The error of the resolver.
        source: io::Error,
    },
    /// There is no way to any address of the server.
    #[error("cannot reach {server}: {source}")]
    Unreachable {
        /// The address as it was written.
        server: ServerAddress,
        /// The error for the last of its addresses.
        source: io::Error,
    },
    /// The system has no thread, or no file descriptor.
    #[error("cannot start the session: {0}")]
    System(#[from] io::Error),
}

/// The reason why a session did not take a text or a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SayError {
    /// Nothing, or only a line end.
    #[error("a text must not be empty")]
    Blank,
    /// `@im@` in any case, which is the heartbeat of version 1.
    #[error("@im@ is the heartbeat of the protocol, so nobody would receive it")]
    Heartbeat,
    /// `quit` in any case, which leaves a server of version 1.
    #[error("quit is how the protocol leaves, so nobody would receive it")]
    Quit,
    /// The text is longer than [`MAX_TEXT_BYTES`].
    #[error("the text has {bytes} bytes; at most {MAX_TEXT_BYTES} fit into a message")]
    TooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// The server is down.
    #[error("the server is down: {0}")]
    Down(DownReason),
    /// More than 1024 texts and requests wait to be sent, or 4096 texts for their echoes.
    #[error("too much waits to be sent")]
    Full,
    /// The session has ended, because the system took away the means to go on.
    #[error("the session has ended")]
    Ended,
}

impl Session {
    /// Resolves the server's name, opens a socket, and starts the thread that registers. This
    /// does not wait for the server. An [`Event::Up`] or [`Event::Down`] tells whether it is
    /// there.
    ///
    /// If a name has several addresses, they are tried in the resolver's order: the next one
    /// at once when one refuses, and after [`SessionConfig::greeting_timeout`] when one does
    /// not answer. Those of [`SessionConfig::other_servers`] follow in the same way. One of several
    /// servers whose name has no address is left out.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub fn connect(config: SessionConfig) -> Result<Self, ConnectError> {
        let resolve = |server: &ServerAddress| {
            server.resolve().map_err(|source| ConnectError::Resolve {
                server: server.clone(),
                source,
            })
        };
        let first = resolve(&config.server);
        let others = config.other_servers.iter().map(resolve);
        let others: Vec<_> = others.filter_map(Result::ok).collect();
        let servers = match first {
            Err(error) if others.is_empty() => return Err(error),
            first => [vec![first.unwrap_or_default()], others].concat(),
        };
        Self::connect_to(&servers, config)
    }

    /// Connects to one of these servers, by the addresses of each. The first may have none.
    fn connect_to(
        servers: &[Vec<SocketAddr>],
        config: SessionConfig,
    ) -> Result<Self, ConnectError> {
        let mut route = Route::new(servers);
        let (socket, index) =
            Socket::open_first(&route.addresses()).map_err(|source| ConnectError::Unreachable {
                server: config.server.clone(),
                source,
            })?;
        route.take(index, true);
        let mut protocol = Protocol::new(&config, random_number, Instant::now());
        let way = route.current();
        protocol.begin_at(servers[0].first().copied(), way.server, way.address);
        let (events_sender, events) = unbounded();
        let events_sender = EventQueue::new(events_sender, config.max_events);
        let (messages, messages_receiver) = bounded(MAX_MESSAGES);
        let poll = Poll::new()?;
        let shared = Arc::new(Shared::new(&poll)?);
        let engine = Engine::new(
            Arc::clone(&shared),
            poll,
            socket,
            route,
            protocol,
            messages_receiver,
            events_sender,
        )?;
        let thread = thread::Builder::new()
            .name("session".to_owned())
            .spawn(move || engine.run())?;
        Ok(Self {
            shared,
            messages,
            events,
            next_ticket: AtomicU64::new(1),
            thread: Some(thread),
        })
    }

    /// Says a text to everyone in the room, also one that begins with `/`. It is delivered
    /// when its echo has come back, which the server sends to the sender as well. The texts
    /// `quit` and `@im@` cannot be said, as they have a meaning in version 1.
    ///
    /// Until the server has answered for the first time, the text waits. Texts that are said
    /// in a row share a datagram in version 2. A server of version 1 puts the sender's name
    /// or address before the text, and cuts it at 1024 bytes in all.
    pub fn say(&self, text: &str) -> Result<Ticket<()>, SayError> {
        let payload = checked(text)?.as_bytes().to_vec();
        self.send(Outgoing::Say {
            room: None,
            payload,
            is_text: true,
        })
    }

    /// Says any bytes to everyone in the room. The ticket fails with a server of version 1.
    /// Peers of version 1 receive a text in which unprintable bytes are escaped.
    pub fn say_bytes(&self, payload: &[u8]) -> Result<Ticket<()>, SayError> {
        check_len(payload.len())?;
        self.send(Outgoing::Say {
            room: None,
            payload: payload.to_vec(),
            is_text: false,
        })
    }

    /// Says any bytes to everyone in a room that the session has subscribed to, or in its own. If
    /// the server has not answered the subscription, the message waits for it, and so does what is
    /// said after it. The ticket fails with [`Refusal::NotInRoom`] if the session does not receive
    /// the room, and with [`RequestError::OneRoom`] for another room of a server of version 1.
    ///
    /// [`Refusal::NotInRoom`]: super::Refusal::NotInRoom
    /// [`RequestError::OneRoom`]: super::RequestError::OneRoom
    pub fn say_to(&self, room: RoomName, payload: &[u8]) -> Result<Ticket<()>, SayError> {
        check_len(payload.len())?;
        self.send(Outgoing::Say {
            room: Some(room),
            payload: payload.to_vec(),
            is_text: classify(payload) == ClientDatagram::Text(payload),
        })
    }

    /// Says a text to one peer.
    pub fn private(&self, to: &DisplayName, text: &str) -> Result<Ticket<()>, SayError> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(SayError::Blank);
        }
        let (to, text) = (*to, text.to_owned());
        check_len(format!("/msg {to} {text}").len())?;
        self.send(Outgoing::Request(Request::Private { to, text }))
    }

    /// Takes a name. The session takes it again when the server was down.
    pub fn nick(&self, name: Name) -> Result<Ticket<()>, SayError> {
        self.send(Outgoing::Request(Request::Name(name)))
    }

    /// Goes to a room, which is created if it does not exist. The session goes there again
    /// when the server was down. Every session begins in the room `lobby`.
    pub fn join(&self, room: RoomName) -> Result<Ticket<Joined>, SayError> {
        self.send(Outgoing::Request(Request::Room(room)))
    }

    /// Receives the messages of a room as well, which is created if it does not exist. The session
    /// stays in its own room, and subscribes again when the server was down. A server lets a
    /// session be in up to 64 rooms. The ticket fails with [`RequestError::OneRoom`] if the server
    /// speaks version 1.
    ///
    /// [`RequestError::OneRoom`]: super::RequestError::OneRoom
    pub fn subscribe(&self, room: RoomName) -> Result<Ticket<()>, SayError> {
        self.send(Outgoing::Request(Request::Subscribe(room)))
    }

    /// Ends a subscription. Without one, the ticket succeeds at once.
    pub fn unsubscribe(&self, room: RoomName) -> Result<Ticket<()>, SayError> {
        self.send(Outgoing::Request(Request::Unsubscribe(room)))
    }

    /// Asks who is in the room. The answer may hold only a part: if it has fewer entries than
    /// its total, [`Session::who_from`] asks for the rest.
    pub fn who(&self) -> Result<Ticket<Members>, SayError> {
        self.who_from(1)
    }

    /// Asks who is in the room, from number `first` of the members on, counted from 1. One
    /// answer holds about 40 to 400 of them.
    pub fn who_from(&self, first: usize) -> Result<Ticket<Members>, SayError> {
        self.send(Outgoing::Request(Request::Members(first.max(1))))
    }

    /// Asks for the rooms of the server.
    pub fn rooms(&self) -> Result<Ticket<Listing<RoomName>>, SayError> {
        self.rooms_from(1)
    }

    /// Asks for the rooms of the server, from number `first` on, counted from 1.
    pub fn rooms_from(&self, first: usize) -> Result<Ticket<Listing<RoomName>>, SayError> {
        self.send(Outgoing::Request(Request::Rooms(first.max(1))))
    }

    /// Subscribes to [`Event::Presence`], or unsubscribes: who joins the room, leaves it and is
    /// renamed. The session subscribes again when the server was down.
    pub fn presence(&self, is_on: bool) -> Result<Ticket<()>, SayError> {
        self.send(Outgoing::Request(Request::Presence(is_on)))
    }

    /// Measures the round trip to the server. A server of version 1 that knows no commands
    /// tells this to everyone in the room.
    pub fn ping(&self) -> Result<Ticket<Duration>, SayError> {
        self.send(Outgoing::Request(Request::ping()))
    }

    /// The events, in their order. The channel holds up to [`SessionConfig::max_events`]. When
    /// it is full, messages and notices are dropped and counted, and one [`Event::Missed`]
    /// takes their place. The channel ends with the session, when it is dropped or has left.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Returns true if the server has answered, in version 2 with the room of the session, and does
    /// not count as down.
    pub fn is_up(&self) -> bool {
        self.shared.status().is_up
    }

    /// The reason why the server counts as down, if it does.
    pub fn down(&self) -> Option<DownReason> {
        self.shared.status().down.clone()
    }

    /// The version in use. `None` while the server is greeted: at the start, until it answers or
    /// [`SessionConfig::greeting_timeout`] is over, after it was down, and while the session moves to
    /// another address.
    pub fn protocol(&self) -> Option<ProtocolVersion> {
        self.shared.status().version
    }

    /// The name of the session, as the server has confirmed it.
    pub fn name(&self) -> Option<Name> {
        self.shared.status().name
    }

    /// The room of the session, as the server has confirmed it. `None` until then. In version 1 it
    /// is also `None` in the lobby, where every session begins, until the session has returned to
    /// it from another room.
    pub fn room(&self) -> Option<RoomName> {
        self.shared.status().room
    }

    /// The address that the session sends from. It can change while the server is down.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.shared.status().local_addr
    }

    /// The maximum of texts per second that the session keeps, since the server has told it in
    /// this session. `None` if it has told none. Texts wait in the session as long as they must.
    pub fn texts_per_second(&self) -> Option<u32> {
        self.shared.status().texts_per_second
    }

    /// The counts. Those of messages are as new as the events.
    pub fn stats(&self) -> SessionStats {
        self.shared.status().stats
    }

    /// Ends the session, as dropping it does. The texts that were said before are sent first.
    /// If they wait for the server's first answer, for echoes, or for space in the socket, so
    /// does this, for some seconds at most.
    pub fn leave(self) {
        drop(self);
    }

    fn send<T: TryFrom<Answer>>(&self, command: Outgoing) -> Result<Ticket<T>, SayError> {
        // In version 1 a text may bring the news that the server is back.
        if let Some(reason) = self.down().filter(|_| self.protocol().is_none()) {
            return Err(SayError::Down(reason));
        }
        let (responder, ticket) = Responder::new(self.next_ticket.fetch_add(1, Ordering::Relaxed));
        match self
            .messages
            .try_send(ToEngine::Command(command, responder))
        {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(SayError::Full),
            Err(TrySendError::Disconnected(_)) => return Err(SayError::Ended),
        }
        self.shared.wake();
        Ok(ticket)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Fails when the thread has ended.
        let _ = self.messages.send(ToEngine::Leave);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported there.
            let _ = thread.join();
        }
    }
}

/// Returns the text that the server would take, without its line end. The same texts are refused
/// in both versions, so that an application need not know which one is spoken.
fn checked(text: &str) -> Result<&str, SayError> {
    let text = text.trim_end_matches(['\r', '\n']);
    match classify(text.as_bytes()) {
        ClientDatagram::Text(line) => {
            check_len(line.len())?;
            // Only whole characters are removed at its ends.
            Ok(str::from_utf8(line).unwrap_or(text))
        }
        ClientDatagram::Heartbeat if text.contains('@') => Err(SayError::Heartbeat),
        ClientDatagram::Leave if !text.is_empty() => Err(SayError::Quit),
        _ => Err(SayError::Blank),
    }
}

fn check_len(bytes: usize) -> Result<(), SayError> {
    match bytes <= MAX_TEXT_BYTES {
        true => Ok(()),
        false => Err(SayError::TooLong { bytes }),
    }
}

/// Maximum length of a text, and of a direct message with its receiver.
pub const MAX_TEXT_BYTES: usize = MAX_PAYLOAD_BYTES;

/// Number of messages to the thread that wait.
const MAX_MESSAGES: usize = 1024;

#[cfg(test)]
mod tests;
