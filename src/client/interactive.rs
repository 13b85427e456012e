//! The chat program: lines go out as texts, and what is received is printed.

use std::fmt::{self, Write};
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender};
use crossbeam::select;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::address::ServerAddress;
use super::echo::Awaited;
use super::escape::escape;
use super::input::{Editor, Input, read_plain};
use super::liveness::DownReason;
use super::screen::Screen;
use super::session::{Event, Session, SessionConfig, SessionError, Speaker};

/// Chats on standard input and output until the user leaves: by the line
/// `quit`, by the end of the input, or by a signal that asks for it.
///
/// On a terminal there is a prompt with line editing and history. Otherwise the
/// input is plain lines; when it ends, the last text's echo is waited for, up to
/// `linger`, so that whoever pipes a text in sees it arrive.
///
/// # Errors
/// The session cannot start, standard input or output fails, or the input ended
/// and its last text cannot have arrived, as the server is down.
pub fn run(config: SessionConfig, linger: Duration) -> Result<(), InteractiveError> {
    let server = config.server.clone();
    let (signals, signals_handle) = watch_signals().map_err(InteractiveError::Start)?;
    let session = Session::connect(config)?;
    let editor = match io::stdin().is_terminal() && io::stdout().is_terminal() {
        true => Editor::open(),
        false => None,
    };
    let (source, screen) = match editor {
        Some((editor, printer)) => {
            greet_user(&server, &session);
            (
                Source::Editor(Box::new(editor)),
                Screen::beside_editor(printer),
            )
        }
        None => (Source::Plain, Screen::default()),
    };
    let is_editing = matches!(source, Source::Editor(_));
    let awaited = Arc::new(Mutex::new(Awaited::default()));
    let (ended_sender, ended) = channel::bounded(1);
    let typist = Typist {
        source,
        server: server.clone(),
        speaker: session.speaker(),
        awaited: Arc::clone(&awaited),
    };
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || typist.run(&ended_sender))
        .map_err(InteractiveError::Start)?;
    let mut chat = Chat {
        server,
        session,
        screen,
        awaited,
        is_editing,
        linger,
    };
    let result = chat.run(&ended, &signals);
    signals_handle.close();
    match result {
        // Whoever read our output has read enough.
        Err(InteractiveError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Why a chat ended badly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InteractiveError {
    /// The session could not start.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The system gave no thread, or no signals.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// Reading failed.
    #[error("cannot read the input: {0}")]
    Input(#[source] io::Error),
    /// Printing failed.
    #[error("cannot print: {0}")]
    Output(#[source] io::Error),
    /// The input has ended, and the server is down.
    #[error("{0} is down: the last text was not delivered")]
    Undelivered(ServerAddress),
    /// The operating system took away the means to go on.
    #[error("the session has ended unexpectedly")]
    SessionEnded,
}

/// How the input came to its end.
enum Ended {
    /// The user said `quit`.
    Quit,
    /// There is no more.
    End,
    Failed(io::Error),
}

enum Source {
    Editor(Box<Editor>),
    Plain,
}

/// Reads lines and says them, on a thread of its own, as nothing can interrupt
/// its reading.
struct Typist {
    source: Source,
    server: ServerAddress,
    speaker: Speaker,
    awaited: Arc<Mutex<Awaited>>,
}

impl Typist {
    fn run(mut self, ended: &Sender<Ended>) {
        let how = loop {
            let input = match &mut self.source {
                Source::Editor(editor) => editor.read(),
                Source::Plain => read_plain(&mut io::stdin().lock()),
            };
            match input {
                Ok(Input::Line(line)) if line.trim().eq_ignore_ascii_case(QUIT) => {
                    break Ended::Quit;
                }
                // A pasted text can have several lines, and each is a text.
                Ok(Input::Line(line)) => line.lines().for_each(|line| self.say(line)),
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
        lock(&self.awaited).said(line);
        match self.speaker.say(line) {
            Ok(()) if is_up => {}
            Ok(()) => complain(format_args!("{} is down, so this may be lost", self.server)),
            Err(error) => {
                *lock(&self.awaited) = Awaited::Nothing;
                complain(format_args!("not sent: {error}"));
            }
        }
    }
}

/// Prints what happens, and decides when it is over.
struct Chat {
    server: ServerAddress,
    session: Session,
    screen: Screen,
    awaited: Arc<Mutex<Awaited>>,
    is_editing: bool,
    linger: Duration,
}

impl Chat {
    fn run(
        &mut self,
        ended: &Receiver<Ended>,
        signals: &Receiver<()>,
    ) -> Result<(), InteractiveError> {
        let events = self.session.events().clone();
        loop {
            select! {
                recv(events) -> event => {
                    let event = event.map_err(|_| InteractiveError::SessionEnded)?;
                    self.show(event)?;
                }
                recv(ended) -> how => {
                    self.screen.editor_ended();
                    return match how {
                        Ok(Ended::Quit) => self.finish(signals, true),
                        Ok(Ended::Failed(error)) => Err(InteractiveError::Input(error)),
                        Ok(Ended::End) | Err(_) => self.finish(signals, self.is_editing),
                    };
                }
                recv(signals) -> _ => {
                    self.screen.end_editor();
                    return match self.is_editing {
                        true => self.print(FAREWELL),
                        false => Ok(()),
                    };
                }
            }
        }
    }

    /// Prints an event, and with it those that wait behind it, as printing
    /// beside the editor costs a redraw.
    fn show(&mut self, first: Event) -> Result<(), InteractiveError> {
        let mut lines = String::new();
        let waiting = self
            .session
            .events()
            .try_iter()
            .take(EVENTS_AT_ONCE_MAX - 1);
        for event in std::iter::once(first).chain(waiting) {
            // Writing to a String cannot fail.
            let _ = match event {
                Event::Text(text) => {
                    let line = escape(&text);
                    lock(&self.awaited).heard(&line);
                    writeln!(lines, "{line}")
                }
                Event::Down(DownReason::Unreachable(io::ErrorKind::ConnectionRefused)) => {
                    writeln!(lines, "{} is down", self.server)
                }
                Event::Down(reason) => writeln!(lines, "{} is down ({reason})", self.server),
                Event::Up => writeln!(lines, "{} is back", self.server),
                Event::Missed(texts) => writeln!(lines, "({texts} texts came too fast to show)"),
            };
        }
        self.print(&lines)
    }

    /// There is no more input: waits for what was said last to come back, if it
    /// was piped in.
    fn finish(
        &mut self,
        signals: &Receiver<()>,
        bids_farewell: bool,
    ) -> Result<(), InteractiveError> {
        let events = self.session.events().clone();
        let linger_until = Instant::now() + self.linger;
        while !self.is_editing && self.session.is_up() {
            let until = match *lock(&self.awaited) {
                Awaited::Nothing => break,
                Awaited::More => linger_until.min(Instant::now() + MORE),
                Awaited::Echo { .. } | Awaited::Answer { .. } => linger_until,
            };
            select! {
                recv(events) -> event => {
                    let event = event.map_err(|_| InteractiveError::SessionEnded)?;
                    self.show(event)?;
                }
                recv(signals) -> _ => break,
                recv(channel::at(until)) -> _ => break,
            }
        }
        if let Ok(event) = events.try_recv() {
            self.show(event)?;
        }
        if bids_farewell {
            self.print(FAREWELL)?;
        }
        let is_answered = matches!(*lock(&self.awaited), Awaited::Nothing | Awaited::More);
        if self.is_editing || is_answered {
            return Ok(());
        }
        if !self.session.is_up() {
            return Err(InteractiveError::Undelivered(self.server.clone()));
        }
        complain(format_args!(
            "{} did not echo the last text: it may be lost",
            self.server
        ));
        Ok(())
    }

    fn print(&mut self, lines: &str) -> Result<(), InteractiveError> {
        self.screen.print(lines).map_err(InteractiveError::Output)
    }
}

fn greet_user(server: &ServerAddress, session: &Session) {
    let from = match session.local_addr() {
        Ok(address) => format!(" from {address}"),
        Err(_) => String::new(),
    };
    // If this fails, so does the next line, which says so.
    let _ = io::Write::write_fmt(
        &mut io::stdout(),
        format_args!("Chatting at {server}{from}. Enter says a line, quit leaves.\n"),
    );
}

/// Says what is wrong, if there is anyone to read it. The user is not typing
/// now, so it disturbs no editor.
fn complain(what: fmt::Arguments<'_>) {
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{what}\n"));
}

/// One message comes when a signal asks the program to end.
fn watch_signals() -> io::Result<(Receiver<()>, Handle)> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    let (sender, receiver) = channel::bounded(1);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                // If one waits there already, a second says nothing new.
                let _ = sender.try_send(());
            }
        })?;
    Ok((receiver, handle))
}

fn lock(awaited: &Mutex<Awaited>) -> MutexGuard<'_, Awaited> {
    // A panic elsewhere leaves nothing half done in there.
    awaited.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In any case, and with blanks around it.
const QUIT: &str = "quit";

const FAREWELL: &str = "bye bye\n";

/// Enough that a flood costs few redraws, few enough that lines appear steadily.
const EVENTS_AT_ONCE_MAX: usize = 256;

/// A server sends all datagrams of an answer in one go, so a longer gap is the
/// end.
const MORE: Duration = Duration::from_millis(100);
