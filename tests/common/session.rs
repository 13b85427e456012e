//! Sessions of the client library, and their events.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use bullhorn::client::{
    DownReason, Event, Members, ProtocolChoice, ProtocolVersion, SayError, Session, SessionConfig,
    Ticket,
};
use bullhorn::wire::push_printable;

use super::TIMEOUT;

/// Returns settings with which a session soon notices that a server is down, and soon
/// tries again.
pub(crate) fn quick_config(server: SocketAddr) -> SessionConfig {
    let mut config = SessionConfig::new(server.into());
    config.heartbeat_interval = Duration::from_millis(50);
    config.retry_delay = Duration::from_millis(20);
    config.settle_time = Duration::from_millis(100);
    config
}

/// Returns [`quick_config`] with short timeouts of protocol v2 as well.
pub(crate) fn quick_v2_config(server: SocketAddr) -> SessionConfig {
    let mut config = quick_config(server);
    config.greeting_timeout = GREET_TIMEOUT;
    config.answer_timeout = REPLY_TIMEOUT;
    config
}

/// Connects with the default timeouts, so that a server on a busy machine does not seem
/// to be down.
#[track_caller]
pub(crate) fn connect_with(protocol: ProtocolChoice, server: SocketAddr) -> Session {
    let mut config = SessionConfig::new(server.into());
    config.protocol = protocol;
    config.retry_delay = Duration::from_millis(20);
    // A fallback would hide a failure of v2.
    config.greeting_timeout = TIMEOUT;
    Session::connect(config).unwrap()
}

pub(crate) fn has_v2_session(session: &Session) -> bool {
    session.protocol() == Some(ProtocolVersion::V2)
}

/// Returns the members of a room, by their names or addresses.
pub(crate) fn names(members: &Members) -> Vec<String> {
    let entries = members.list.entries.iter();
    entries.map(ToString::to_string).collect()
}

#[track_caller]
pub(crate) fn next_event(session: &Session) -> Event {
    match session.events().recv_timeout(TIMEOUT) {
        Ok(event) => event,
        Err(error) => panic!("no event: {error}"),
    }
}

#[track_caller]
pub(crate) fn next_line(session: &Session) -> String {
    let event = next_event(session);
    let Some(line) = line_of(&event) else {
        panic!("{event:?}");
    };
    line
}

/// Returns a message or a notice as a line of version 1.
pub(crate) fn line_of(event: &Event) -> Option<String> {
    let line = match event {
        Event::Message(message) => format!("{} {}", message.from, message.text()),
        Event::Private(message) => format!("* {} to you: {}", message.from, message.text()),
        Event::Notice { text, .. } => format!("* {text}"),
        _ => return None,
    };
    let mut printable = Vec::new();
    push_printable(line.as_bytes(), usize::MAX, &mut printable);
    String::from_utf8(printable).ok()
}

/// Takes the next event, which must be the first contact or the return of the server.
#[track_caller]
pub(crate) fn expect_up(session: &Session, version: ProtocolVersion) {
    assert_eq!(next_event(session), Event::Up(version));
}

/// Waits for the answer to a request, or for the delivery of a text.
#[track_caller]
pub(crate) fn answer<T: TryFrom<bullhorn::client::Answer>>(
    ticket: Result<Ticket<T>, SayError>,
) -> T {
    match ticket.unwrap().wait(TIMEOUT) {
        Ok(answer) => answer,
        Err(error) => panic!("no answer: {error}"),
    }
}

pub(crate) fn undelivered(payload: &str, were_sent: bool) -> Event {
    Event::Undelivered {
        payloads: vec![payload.as_bytes().to_vec()],
        were_sent,
    }
}

/// Waits for a line, and skips those before it.
#[track_caller]
pub(crate) fn expect_line(session: &Session, line: &str) {
    let mut received = Vec::new();
    while received.last().is_none_or(|last| last != line) {
        match session.events().recv_timeout(TIMEOUT) {
            Ok(event) => received.extend(line_of(&event)),
            Err(error) => panic!("no {line:?}: {error}; lines: {received:#?}"),
        }
    }
}

pub(crate) fn connection_refused() -> DownReason {
    DownReason::Unreachable(ErrorKind::ConnectionRefused)
}

/// Timeouts within which a busy machine replies.
pub(crate) const GREET_TIMEOUT: Duration = Duration::from_millis(600);
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_millis(600);
