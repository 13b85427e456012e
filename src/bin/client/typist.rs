//! The one who says what the user enters.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam::channel::Sender;

use super::echo::Awaited;
use super::input::{Editor, Input, read_plain};
use super::pace::Pace;
use bullhorn::client::ServerAddress;
use bullhorn::client::SessionError;
use bullhorn::client::Speaker;
use bullhorn::client::program::is_ping;
use bullhorn::wire::QUIT;

/// How the input came to its end.
pub(super) enum Ended {
    /// The user said `quit`.
    Quit,
    /// There is no more.
    End,
    Failed(io::Error),
}

pub(super) enum Source {
    Editor(Box<Editor>),
    Plain,
}

/// What the one who says texts and the one who hears them have to tell each
/// other.
#[derive(Default)]
pub(super) struct Echoes {
    expected: Mutex<Expected>,
    /// An echo came.
    came: Condvar,
}

#[derive(Default)]
pub(super) struct Expected {
    pub(super) last: Awaited,
    pace: Pace,
}

impl Echoes {
    pub(super) fn lock(&self) -> MutexGuard<'_, Expected> {
        // A panic elsewhere leaves nothing half done in there.
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn heard(&self, line: &str) {
        let mut expected = self.lock();
        expected.last.heard(line);
        expected.pace.heard(line);
        drop(expected);
        self.came.notify_one();
    }

    /// Waits until one more text may go out, and not for long.
    fn wait_for_space(&self) {
        let is_closed = |expected: &mut Expected| !expected.pace.is_open();
        let waited = self
            .came
            .wait_timeout_while(self.lock(), ECHO_WITHIN, is_closed);
        let (mut expected, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            expected.pace.give_up();
        }
    }
}

/// Reads lines and says them, on a thread of its own, as nothing can interrupt
/// its reading.
pub(super) struct Typist {
    pub(super) source: Source,
    pub(super) server: ServerAddress,
    pub(super) speaker: Speaker,
    pub(super) echoes: Arc<Echoes>,
}

impl Typist {
    pub(super) fn run(mut self, ended: &Sender<Ended>) {
        let how = loop {
            let input = match &mut self.source {
                Source::Editor(editor) => editor.read(),
                Source::Plain => read_plain(&mut io::stdin().lock()),
            };
            match input {
                Ok(Input::Line(line)) if is_quit(&line) => break Ended::Quit,
                // A pasted text can have several lines, and each is a text.
                Ok(Input::Line(line)) => line.lines().for_each(|line| self.say(line)),
                Ok(Input::NotUtf8) => complain(format_args!("not sent: the line is not UTF-8")),
                Ok(Input::TooLong) => complain(format_args!(
                    "not sent: the line is too long for a datagram"
                )),
                Ok(Input::End) => break Ended::End,
                Err(error) => break Ended::Failed(error),
            }
        };
        // The editor must be gone before anyone prints without it.
        drop(self.source);
        // The other side may have left already.
        let _ = ended.send(how);
    }

    fn say(&self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let is_up = self.speaker.is_up();
        // Whoever types is slow enough, and a server that is down echoes nothing.
        let is_paced = matches!(self.source, Source::Plain) && is_up;
        if is_paced {
            self.echoes.wait_for_space();
        }
        let mut expected = self.echoes.lock();
        expected.last.said(line);
        if is_paced {
            expected.pace.said(line);
        }
        drop(expected);
        let said = match is_ping(line) {
            true => self.speaker.ping(),
            false => self.speaker.say(line),
        };
        match said {
            Ok(()) if is_up => {}
            Ok(()) => complain(format_args!("{} is down, so this may be lost", self.server)),
            Err(error) => {
                let mut expected = self.echoes.lock();
                if is_paced {
                    expected.pace.unsaid();
                }
                // That it was not delivered is to be told at the end, too, if the
                // server is still down then.
                if !matches!(error, SessionError::Down) {
                    expected.last = Awaited::Nothing;
                }
                drop(expected);
                complain(format_args!("not sent: {error}"));
            }
        }
    }
}

/// In any case, and with blanks around it.
fn is_quit(line: &str) -> bool {
    line.trim().as_bytes().eq_ignore_ascii_case(QUIT)
}

/// Says what is wrong, if there is anyone to read it. The user is not typing
/// now, so it disturbs no editor.
pub(super) fn complain(what: fmt::Arguments<'_>) {
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{what}\n"));
}

/// How long piped input waits for the echoes of what was said: above a round trip
/// across the world. After that, as many texts go out as may at once.
const ECHO_WITHIN: Duration = Duration::from_millis(500);
