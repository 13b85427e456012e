//! The chat program: lines go out as texts, and what is received is printed.

use std::io::{self, IsTerminal};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver};
use crossbeam::select;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::echo::Awaited;
use super::input::Editor;
use super::known::Known;
use super::look::Look;
use super::screen::Screen;
use super::typist::{Echoes, Ended, Source, Typist, complain};
use bullhorn::client::Event;
use bullhorn::client::ServerAddress;
use bullhorn::client::Session;
use bullhorn::client::SessionConfig;
use bullhorn::client::SessionError;

/// Chats on standard input and output until the user leaves: by the line
/// `quit`, by the end of the input, or by a signal that asks for it.
///
/// On a terminal there is a prompt with line editing, completion and history, and
/// speakers have colours. Otherwise the input is plain lines, which are said no
/// faster than their echoes come; when it ends, the last text's echo is waited for,
/// up to [`Options::linger`], so that whoever pipes a text in sees it arrive.
///
/// # Errors
/// The session cannot start, standard input or output fails, or the input ended
/// and its last text cannot have arrived, as the server is down.
pub(crate) fn run(config: SessionConfig, options: Options) -> Result<(), InteractiveError> {
    let server = config.server.clone();
    let (signals, signals_handle) = watch_signals().map_err(InteractiveError::Start)?;
    let session = Session::connect(config)?;
    let known = Arc::new(Mutex::new(Known::default()));
    let is_at_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let editor = match is_at_terminal && !options.is_json {
        true => Editor::open(Arc::clone(&known)),
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
        known: is_editing.then_some(known),
        look: Look::new(options.is_json),
        linger: options.linger,
    };
    let result = chat.run(&ended, &signals);
    signals_handle.close();
    match result {
        // Whoever read our output has read enough.
        Err(InteractiveError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// How the program behaves, beside its session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How long to wait for the last echo when piped input has ended.
    pub linger: Duration,
    /// Print each event as a JSON object in a line. There is no prompt then.
    pub is_json: bool,
}

/// Why a chat ended badly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InteractiveError {
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

/// Prints what happens, and decides when it is over.
struct Chat {
    server: ServerAddress,
    session: Session,
    screen: Screen,
    echoes: Arc<Echoes>,
    /// What an editor completes, if there is one.
    known: Option<Arc<Mutex<Known>>>,
    look: Look,
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
                        Ok(Ended::End) | Err(_) => self.finish(signals, self.is_editing()),
                    };
                }
                recv(signals) -> _ => {
                    self.screen.end_editor();
                    return match self.is_editing() {
                        true => self.bid_farewell(),
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
            if let Some(known) = &self.known {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                known.learn(&event);
            }
            let line = event.line();
            if let Some(line) = &line {
                self.echoes.heard(line);
            }
            let of = (&self.server, &self.session);
            self.look.push(&event, line.as_deref(), of, &mut lines);
        }
        // Some events say nothing, and the editor would print an empty line for it.
        if lines.is_empty() {
            return Ok(());
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
        while !self.is_editing() && self.session.is_up() {
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
            self.bid_farewell()?;
        }
        let is_answered = matches!(self.echoes.lock().last, Awaited::Nothing | Awaited::More);
        if self.is_editing() || is_answered {
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

    fn is_editing(&self) -> bool {
        self.known.is_some()
    }

    fn bid_farewell(&mut self) -> Result<(), InteractiveError> {
        match self.look {
            Look::Json => Ok(()),
            Look::Plain | Look::Coloured => self.print(FAREWELL),
        }
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

/// Far longer than it takes to say `quit`.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

const FAREWELL: &str = "bye bye\n";

/// Enough that a flood costs few redraws, few enough that lines appear steadily.
const EVENTS_AT_ONCE_MAX: usize = 64;

/// A server sends all datagrams of an answer in one go, so a longer gap is the
/// end.
const MORE: Duration = Duration::from_millis(100);
