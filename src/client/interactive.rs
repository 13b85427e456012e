//! The chat program: lines go out as texts, and what is received is printed.

use std::fmt::{self, Write};
use std::io::{self, IsTerminal};
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender};
use crossbeam::select;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::address::ServerAddress;
use super::config::SessionConfig;
use super::echo::Awaited;
use super::error::SessionError;
use super::event::Event;
use super::input::{Editor, Input, read_plain};
use super::liveness::DownReason;
use super::pace::Pace;
use super::screen::Screen;
use super::session::{Session, Speaker};

/// Chats on standard input and output until the user leaves: by the line
/// `quit`, by the end of the input, or by a signal that asks for it.
///
/// On a terminal there is a prompt with line editing and history. Otherwise the
/// input is plain lines, which are said no faster than their echoes come; when it
/// ends, the last text's echo is waited for, up to `linger`, so that whoever pipes
/// a text in sees it arrive.
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
    let echoes = Arc::new(Echoes::default());
    let (ended_sender, ended) = channel::bounded(1);
    let typist = Typist {
        source,
        server: server.clone(),
        speaker: session.speaker(),
        echoes: Arc::clone(&echoes),
    };
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || typist.run(&ended_sender))
        .map_err(InteractiveError::Start)?;
    let mut chat = Chat {
        server,
        session,
        screen,
        echoes,
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

/// What the one who says texts and the one who hears them have to tell each
/// other.
#[derive(Default)]
struct Echoes {
    expected: Mutex<Expected>,
    /// An echo came.
    came: Condvar,
}

#[derive(Default)]
struct Expected {
    last: Awaited,
    pace: Pace,
}

impl Echoes {
    fn lock(&self) -> MutexGuard<'_, Expected> {
        // A panic elsewhere leaves nothing half done in there.
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, line: &str) {
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
struct Typist {
    source: Source,
    server: ServerAddress,
    speaker: Speaker,
    echoes: Arc<Echoes>,
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
        match self.speaker.say(line) {
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

/// Prints what happens, and decides when it is over.
struct Chat {
    server: ServerAddress,
    session: Session,
    screen: Screen,
    echoes: Arc<Echoes>,
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
            if let Some(line) = event.line() {
                self.echoes.heard(&line);
                lines.push_str(&line);
                lines.push('\n');
                continue;
            }
            // Writing to a String cannot fail.
            let _ = match event {
                Event::Down(DownReason::Unreachable(io::ErrorKind::ConnectionRefused)) => {
                    writeln!(lines, "{} is down", self.server)
                }
                Event::Down(reason) => writeln!(lines, "{} is down ({reason})", self.server),
                Event::Up => writeln!(lines, "{} is back", self.server),
                Event::Missed(texts) => writeln!(lines, "({texts} texts came too fast to show)"),
                _ => Ok(()),
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
            let until = match self.echoes.lock().last {
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
        let is_answered = matches!(self.echoes.lock().last, Awaited::Nothing | Awaited::More);
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

/// One message comes when a signal asks the program to end. If whoever reads
/// our output holds it up, so that nobody takes the message, the program ends
/// all the same.
fn watch_signals() -> io::Result<(Receiver<()>, Handle)> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    let is_over = signals.handle();
    let (sender, receiver) = channel::bounded(1);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if signals.forever().next().is_some() {
                // The other end has gone only when all is over.
                let _ = sender.send(());
                thread::sleep(LEAVE_WITHIN);
                if !is_over.is_closed() {
                    process::exit(0);
                }
            }
        })?;
    Ok((receiver, handle))
}

/// In any case, and with blanks around it.
const QUIT: &str = "quit";

/// Far longer than it takes to say `quit`.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

const FAREWELL: &str = "bye bye\n";

/// Enough that a flood costs few redraws, few enough that lines appear steadily.
const EVENTS_AT_ONCE_MAX: usize = 64;

/// A server sends all datagrams of an answer in one go, so a longer gap is the
/// end.
const MORE: Duration = Duration::from_millis(100);

/// How long piped input waits for the echoes of what was said: above a round trip
/// across the world. After that, as many texts go out as may at once.
const ECHO_WITHIN: Duration = Duration::from_millis(500);
