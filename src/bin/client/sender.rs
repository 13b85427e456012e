//! The thread that reads what the user enters, and hands it to the session.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::client::{
    Answer, DisplayName, Event, MAX_TEXT_BYTES, Name, NoticeCode, ProtocolVersion, RequestError,
    RoomName, SayError, Session, SessionConfig, Ticket,
};
use bullhorn::wire::{Command, LOBBY, MAX_NAME_BYTES, MAX_TEXT_DATAGRAM};
use crossbeam::channel::Sender;

use super::commands::{Line, parse_line};
use super::input::{Editor, Input, PlainReader};
use super::line::escape;

/// The source of lines.
pub(super) enum Source {
    Editor(Box<Editor>),
    Plain,
}

/// The end of the input.
pub(super) enum Ended {
    /// The user left. The last line before was delivered, or was not for this reason.
    Quit(Result<(), String>),
    /// There is no more input. The last line was delivered, or was not for this reason.
    End(Result<(), String>),
    Failed(io::Error),
}

/// Something to print that did not come from the session.
pub(super) enum Local {
    Help,
    Event(Event),
}

/// The name and the room that the user asked for.
pub(super) struct Expected {
    name: Option<Name>,
    room: Option<RoomName>,
}

pub(super) struct LineSender {
    pub(super) source: Source,
    /// The session belongs to the other thread. It ends there while this one waits for input.
    pub(super) session: Weak<Session>,
    pub(super) expected: Expected,
    /// The reason why the last line was sent without what the user asked for.
    pub(super) missing: Option<String>,
    /// A wait for that has ended without it. The next lines do not wait again.
    pub(super) has_waited: bool,
    pub(super) local: Sender<Local>,
    /// Maximum time to wait for the result of the last line.
    pub(super) wait: Duration,
    pub(super) lines: Arc<Mutex<Lines>>,
}

/// The lines that may not have been delivered. The other thread looks at them when it must end.
#[derive(Default)]
pub(super) struct Lines {
    /// The lines that have no result, the oldest first.
    pending: VecDeque<Pending>,
    /// The reason why the last line failed, if that is known.
    failure: Option<String>,
}

/// Waits for the result of a line that has none.
type Pending = Arc<dyn Fn(Duration) -> Result<(), RequestError> + Send + Sync>;

impl LineSender {
    /// Reads lines until the user leaves, or the input ends.
    pub(super) fn run(mut self, ended: &Sender<Ended>) {
        let mut plain = PlainReader::default();
        let end = loop {
            let input = match &mut self.source {
                Source::Editor(editor) => editor.read(),
                Source::Plain => plain.read(&mut io::stdin().lock()),
            };
            match input {
                // A pasted text may have several lines.
                Ok(Input::Line(lines)) => {
                    let mut lines = lines.lines().map(parse_line);
                    if lines.any(|line| self.enter(line)) {
                        break Ended::Quit(self.last_result());
                    }
                }
                Ok(Input::NotUtf8) => self.fail("the line is not UTF-8"),
                Ok(Input::TooLong) => self.fail("the line is too long for a datagram"),
                Ok(Input::Utf16) => {
                    let error = io::Error::other("the input is UTF-16; write UTF-8");
                    break Ended::Failed(error);
                }
                Ok(Input::End) => break Ended::End(self.last_result()),
                Err(error) => break Ended::Failed(error),
            }
        };
        // The editor must be gone before anyone prints without it.
        drop(self.source);
        // Fails when the other thread has left already.
        let _ = ended.send(end);
    }

    /// Does what a line says. Returns true if the user leaves.
    fn enter(&mut self, line: Line<'_>) -> bool {
        match line {
            Line::Nothing => return false,
            Line::Quit => return true,
            Line::Command(Command::Help) => {
                // Fails when the other thread has left.
                let _ = self.local.send(Local::Help);
                return false;
            }
            _ => self.lines().failure = None,
        }
        if matches!(self.source, Source::Plain) {
            self.missing = self.await_identity();
        }
        match line {
            Line::Mistake(reason) => self.mistake(reason),
            Line::Text(text) => self.say(text),
            Line::Command(command) => return self.request(command).is_none(),
            Line::Nothing | Line::Quit => {}
        }
        false
    }

    /// Waits until the session has the name and the room that the user asked for. Others in a cluster may
    /// be asked about a name. Returns what is missing.
    fn await_identity(&mut self) -> Option<String> {
        let mut since = Instant::now();
        loop {
            let session = self.session.upgrade()?;
            let missing = self.expected.missing(&session)?;
            if session.protocol().is_none() {
                since = Instant::now();
            }
            self.has_waited |= since.elapsed() >= IDENTITY_TIMEOUT;
            if session.down().is_some() || self.has_waited {
                return Some(missing);
            }
            drop(session);
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Requests something from the server. Returns `None` if the session has ended.
    fn request(&mut self, command: Command<'_>) -> Option<()> {
        let session = self.session.upgrade()?;
        if let Command::Msg { to, text } = command {
            self.private(&session, to, &String::from_utf8_lossy(text));
            return Some(());
        }
        self.note(|| match command {
            Command::Nick(name) => session.nick(name).map(pending),
            Command::Join(room) => session.join(room).map(pending),
            Command::Leave => session.join(lobby()).map(pending),
            Command::Who(first) => session.who_from(first).map(pending),
            Command::Rooms(first) => session.rooms_from(first).map(pending),
            Command::Presence(is_on) => session.presence(is_on).map(pending),
            Command::Ping(_) => session.ping().map(pending),
            Command::Help | Command::Msg { .. } => unreachable!("it is done before"),
        });
        Some(())
    }

    fn private(&mut self, session: &Session, to: &[u8], text: &str) {
        let Some(peer) = DisplayName::parse(to) else {
            let sentence = format!("no such peer: {}", String::from_utf8_lossy(to));
            return self.mistake(sentence);
        };
        let max_bytes = max_text_bytes(session, text).saturating_sub(PRIVATE_BYTES);
        if printable_bytes(session, text) > max_bytes {
            return self.fail(too_long(text, max_bytes));
        }
        self.note(|| session.private(&peer, text).map(pending));
    }

    fn say(&mut self, text: &str) {
        self.make_space();
        let Some(session) = self.session.upgrade() else {
            return;
        };
        let max_bytes = max_text_bytes(&session, text);
        let is_too_long = |text: &str| printable_bytes(&session, text) > max_bytes;
        if !is_too_long(text) {
            return self.note(|| session.say(text).map(pending));
        }
        let parts = split(text, max_bytes);
        let sentence = too_long(text, max_bytes);
        let can_split = !parts.iter().any(|part| is_too_long(part));
        // The session may end while the user thinks.
        drop(session);
        let Source::Editor(editor) = &mut self.source else {
            return self.fail(sentence);
        };
        if !can_split {
            return self.fail(sentence);
        }
        let question = format!("{sentence}. Send {} texts? [y/N] ", parts.len());
        if editor.ask(&question)
            && let Some(session) = self.session.upgrade()
        {
            for part in parts {
                self.note(|| session.say(part).map(pending));
            }
        }
    }

    /// Waits until few texts are on their way. A pipe gives lines far faster than a server
    /// takes them from one peer, or than a socket's buffer holds their echoes.
    fn make_space(&mut self) {
        while self.lines().pending.len() >= MAX_PENDING {
            let Some(oldest) = self.lines().pending.front().cloned() else {
                return;
            };
            let result = oldest(ECHO_TIMEOUT);
            let session = self.session.upgrade();
            let is_limited = session.is_some_and(|session| session.texts_per_second().is_some());
            // The session reports a text that is not delivered.
            match result {
                // The session sends them one by one, and each has a result in the end.
                Err(RequestError::Waiting) if is_limited => {}
                Err(RequestError::NoAnswer | RequestError::Waiting) if !is_limited => {
                    // The others have waited nearly as long. Waiting for each would take minutes.
                    self.lines().pending.clear();
                }
                _ => drop(self.lines().pending.pop_front()),
            }
        }
    }

    /// Sends a line, and notes that it has no result yet.
    fn note(&mut self, send: impl FnOnce() -> Result<Pending, SayError>) {
        let is_piped = matches!(self.source, Source::Plain);
        // A signal may end the program as soon as the line is sent.
        let mut lines = self.lines();
        match send() {
            Ok(pending) if is_piped => lines.pending.push_back(pending),
            // At a terminal nobody waits for the last line.
            Ok(_) => {}
            Err(error) => {
                drop(lines);
                self.fail(error);
            }
        }
    }

    /// Reports a line that was not sent.
    fn fail(&mut self, reason: impl fmt::Display) {
        complain(format_args!("not sent: {reason}"));
        self.lines().failure = Some(format!("the last line was not sent: {reason}"));
    }

    fn mistake(&mut self, text: String) {
        self.lines().failure = Some(format!("the last line was not sent: {text}"));
        let code = NoticeCode::Misuse;
        let _ = self.local.send(Local::Event(Event::Notice { code, text }));
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the result of the last line.
    fn last_result(&mut self) -> Result<(), String> {
        let mut result = None;
        // The session may send them slowly, so the time counts from the result of each.
        for line in self.lines().pending.clone() {
            result = Some(line(self.wait));
            if let Some(Err(RequestError::Waiting)) = result {
                break;
            }
        }
        if let Some(failure) = self.lines().failure.clone() {
            return Err(failure);
        }
        let Some(session) = self.session.upgrade() else {
            return Ok(());
        };
        let error = match (result, session.down()) {
            (None, _) => return Ok(()),
            (Some(Ok(())), _) => {
                return match self.missing.take() {
                    Some(missing) => Err(format!("the last line was sent {missing}")),
                    None => Ok(()),
                };
            }
            (Some(Err(RequestError::NoAnswer | RequestError::Waiting)), Some(reason)) => {
                RequestError::Down(reason)
            }
            (Some(Err(RequestError::NoAnswer | RequestError::Waiting)), None) => {
                return Err("no echo of the last line: it may be lost".to_owned());
            }
            (Some(Err(error)), _) => error,
        };
        Err(format!("the last line was not delivered: {error}"))
    }
}

impl Lines {
    /// Returns true if the last line has been delivered, or there was none.
    pub(super) fn is_delivered(&self) -> bool {
        let last = self.pending.back();
        self.failure.is_none() && last.is_none_or(|last| last(Duration::ZERO).is_ok())
    }
}

impl Expected {
    pub(super) fn of(config: &SessionConfig) -> Self {
        Self {
            name: config.nick,
            room: config.room,
        }
    }

    /// Returns what the session lacks of what the user asked for.
    fn missing(&self, session: &Session) -> Option<String> {
        match (self.name, self.room) {
            (Some(name), _) if session.name().is_none() => Some(format!("without the name {name}")),
            (_, Some(room)) if session.room().is_none() => {
                Some(format!("to the lobby, not to {room}"))
            }
            _ => None,
        }
    }
}

fn pending<T: TryFrom<Answer> + 'static>(ticket: Ticket<T>) -> Pending {
    Arc::new(move |timeout| ticket.wait(timeout).map(drop))
}

/// Maximum length of a text. In version 1 a datagram also holds the sender, and a blank before
/// a text that looks like a command.
fn max_text_bytes(session: &Session, text: &str) -> usize {
    if text.len() > MIN_MAX_TEXT_BYTES {
        // The first answer of the server, or the lack of one, tells the version.
        while session.protocol().is_none() && session.down().is_none() {
            thread::sleep(POLL_INTERVAL);
        }
    }
    if session.protocol() != Some(ProtocolVersion::V1) {
        return MAX_TEXT_BYTES;
    }
    let name = session.name();
    let sender_bytes = name.map_or(MAX_ADDRESS_BYTES, |name| name.as_str().len());
    let blank_bytes = usize::from(text.starts_with('/'));
    MAX_TEXT_DATAGRAM - sender_bytes.max(MAX_NAME_BYTES) - 1 - blank_bytes
}

/// Length of a text as the server sends it, which escapes it in version 1.
fn printable_bytes(session: &Session, text: &str) -> usize {
    match session.protocol() {
        Some(ProtocolVersion::V1) => escape(text).len(),
        _ => text.len(),
    }
}

fn too_long(text: &str, max_bytes: usize) -> String {
    let bytes = text.len();
    format!("{bytes} bytes are too long for one text of {max_bytes}")
}

/// Splits a text into parts of at most `max_bytes`, at blanks where there are any.
fn split(mut text: &str, max_bytes: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    while text.len() > max_bytes {
        let is_boundary = |index: &usize| text.is_char_boundary(*index);
        let longest = (0..=max_bytes).rev().find(is_boundary).unwrap_or(max_bytes);
        let end = match text[..longest].rfind(' ') {
            _ if text[longest..].starts_with(' ') => longest,
            Some(blank) if blank > 0 => blank,
            _ => longest,
        };
        parts.push(&text[..end]);
        text = text[end..].trim_start();
    }
    parts.push(text);
    parts
}

fn lobby() -> RoomName {
    LOBBY.parse().expect("a valid name")
}

/// Prints a sentence to standard error, if there is a reader. The user is not typing now, so
/// it disturbs no editor.
pub(super) fn complain(sentence: fmt::Arguments<'_>) {
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{sentence}\n"));
}

/// Maximum number of piped lines without a result. The buffer of a socket holds 277 small
/// datagrams by default, and others need space there, too.
const MAX_PENDING: usize = 64;

/// Time for which piped input waits for an echo: longer than a round trip across the world.
const ECHO_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum length of an address with its port: `[ffff:...:ffff]:65535`.
const MAX_ADDRESS_BYTES: usize = 47;

/// Length of a text that fits in any version, even if each of its bytes is escaped as `\x1b`.
const MIN_MAX_TEXT_BYTES: usize = 200;

/// Bytes before a direct message in version 1, beside those before a text: `* `, ` to you:`.
const PRIVATE_BYTES: usize = 11;

/// Maximum time to wait for the name and the room once the server has answered. A server of a cluster
/// answers within half a second.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two looks at the session.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_split_at_blanks() {
        assert_eq!(split("one two three", 7), ["one two", "three"]);
        assert_eq!(split("one two three", 8), ["one two", "three"]);
        assert_eq!(split("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(split("üüü", 3), ["ü", "ü", "ü"]);
        assert_eq!(split("short", 10), ["short"]);
        let text = "word ".repeat(1000);
        let parts = split(text.trim(), 100);
        assert!(parts.iter().all(|part| part.len() <= 100));
        assert_eq!(parts.join(" "), text.trim());
    }
}
