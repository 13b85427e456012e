//! Sessions of the client library, and their events.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use bullhorn::client::{DownReason, Event, Protocol, ProtocolChoice, Session, SessionConfig};

use super::TIMEOUT;

/// Returns settings with which a session soon notices that a server is down, and soon
/// tries again.
pub(crate) fn quick_config(server: SocketAddr) -> SessionConfig {
    let mut config = SessionConfig::new(server.into());
    config.heartbeat = Duration::from_millis(50);
    config.retry = Duration::from_millis(20);
    config.settle = Duration::from_millis(100);
    config
}

/// Returns [`quick_config`] with short timeouts of protocol v2 as well.
pub(crate) fn quick_v2_config(server: SocketAddr) -> SessionConfig {
    let mut config = quick_config(server);
    config.greet_within = GREET_TIMEOUT;
    config.answer_within = REPLY_TIMEOUT;
    config
}

/// Connects with the default timeouts, so that a server on a busy machine does not seem
/// to be down.
#[track_caller]
pub(crate) fn connect_with(protocol: ProtocolChoice, server: SocketAddr) -> Session {
    let mut config = SessionConfig::new(server.into());
    config.protocol = protocol;
    config.retry = Duration::from_millis(20);
    // A fallback would hide a failure of v2.
    config.greet_within = TIMEOUT;
    Session::connect(config).unwrap()
}

pub(crate) fn has_v2_session(session: &Session) -> bool {
    session.protocol() == Some(Protocol::V2)
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
    let Some(line) = event.line() else {
        panic!("{event:?}");
    };
    line.into_owned()
}

/// Sends a command, and waits for a line that is its reply.
#[track_caller]
pub(crate) fn expect_reply(session: &Session, command: &str, reply: &str) {
    session.say(command).unwrap();
    expect_line(session, reply);
}

/// Waits for a line, and skips those before it.
#[track_caller]
pub(crate) fn expect_line(session: &Session, line: &str) {
    let mut received = Vec::new();
    while received.last().is_none_or(|last| last != line) {
        match session.events().recv_timeout(TIMEOUT) {
            Ok(event) => received.extend(event.line().map(Cow::into_owned)),
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
