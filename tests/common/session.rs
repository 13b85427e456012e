//! Sessions of the library, and what they tell.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use bullhorn::client::{DownReason, Event, Protocol, ProtocolChoice, Session, SessionConfig};

use super::LIMIT;

/// Settings with which a session notices soon, and tries again soon.
pub(crate) fn quick(server: SocketAddr) -> SessionConfig {
    let mut config = SessionConfig::new(server.into());
    config.heartbeat = Duration::from_millis(50);
    config.retry = Duration::from_millis(20);
    config.settle = Duration::from_millis(100);
    config
}

/// The same with the times that v2 has besides.
pub(crate) fn quick_v2(server: SocketAddr) -> SessionConfig {
    let mut config = quick(server);
    config.greet_within = GREET;
    config.answer_within = ANSWER;
    config
}

/// A session with the usual patience, so that a busy machine makes nothing seem
/// down.
#[track_caller]
pub(crate) fn connect_as(protocol: ProtocolChoice, server: SocketAddr) -> Session {
    let mut config = SessionConfig::new(server.into());
    config.protocol = protocol;
    config.retry = Duration::from_millis(20);
    // A fallback would hide what fails.
    config.greet_within = LIMIT;
    Session::connect(config).unwrap()
}

pub(crate) fn is_open(session: &Session) -> bool {
    session.protocol() == Some(Protocol::V2)
}

#[track_caller]
pub(crate) fn next(session: &Session) -> Event {
    match session.events().recv_timeout(LIMIT) {
        Ok(event) => event,
        Err(error) => panic!("no event: {error}"),
    }
}

#[track_caller]
pub(crate) fn next_line(session: &Session) -> String {
    let event = next(session);
    let Some(line) = event.line() else {
        panic!("{event:?}");
    };
    line.into_owned()
}

/// Says a command, and waits for that answer.
#[track_caller]
pub(crate) fn ask(session: &Session, command: &str, answer: &str) {
    session.say(command).unwrap();
    hears(session, answer);
}

/// Waits for that line; others before it are no matter.
#[track_caller]
pub(crate) fn hears(session: &Session, line: &str) {
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != line) {
        match session.events().recv_timeout(LIMIT) {
            Ok(event) => heard.extend(event.line().map(Cow::into_owned)),
            Err(error) => panic!("no {line:?}: {error}; there were {heard:#?}"),
        }
    }
}

pub(crate) fn refused() -> DownReason {
    DownReason::Unreachable(ErrorKind::ConnectionRefused)
}

/// Long enough for an answer on a busy machine.
pub(crate) const GREET: Duration = Duration::from_millis(600);
pub(crate) const ANSWER: Duration = Duration::from_millis(600);
