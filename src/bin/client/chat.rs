//! The chat: what the user enters goes out, and what the session receives is printed.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bullhorn::client::{
    ConnectError, Event, ProtocolVersion, ServerAddress, Session, SessionConfig,
};
use crossbeam::channel::{self, Receiver};
use crossbeam::select;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::completion::Completions;
use super::input::Editor;
use super::render::{Form, Renderer};
use super::screen::Screen;
use super::sender::{Ended, Expected, LineSender, Lines, Local, Source};

/// Options of the program, beside those of its session.
#[derive(Debug)]
pub(crate) struct Options {
    /// Maximum time to wait for the result of the last line when piped input has ended.
    pub(crate) wait: Duration,
    /// Print JSON. There is no editor then.
    pub(crate) is_json: bool,
    /// A file to which all that is printed is appended.
    pub(crate) log: Option<File>,
}

/// The reason why a chat failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChatError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    #[error("cannot read the input: {0}")]
    Input(#[source] io::Error),
    #[error("cannot print: {0}")]
    Output(#[source] io::Error),
    #[error("cannot write the log: {0}")]
    Log(#[source] io::Error),
    /// The last line of piped input was not delivered.
    #[error("{0}")]
    Undelivered(String),
    #[error("the session has ended unexpectedly")]
    SessionEnded,
}

/// Chats until the user leaves, the input ends, or a signal asks for it.
///
/// On a terminal there is an editor with completion and history. Otherwise the input is plain
/// lines, and when it ends, this waits until the last one is delivered.
///
/// # Errors
/// [`ChatError`]
pub(crate) fn chat(config: SessionConfig, options: Options) -> Result<(), ChatError> {
    let completions = Completions::default();
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let editor = match is_terminal && !options.is_json {
        true => Editor::open(completions.clone()),
        false => None,
    };
    // After the editor: threads inherit the mask of signals that it sets.
    let (signals, signals_handle) = watch_signals().map_err(ChatError::Start)?;
    let expected = Expected::of(&config);
    let server = config.server.clone();
    let session = Arc::new(Session::connect(config)?);
    let (source, printer) = match editor {
        Some((editor, printer)) => (Source::Editor(Box::new(editor)), Some(printer)),
        None => (Source::Plain, None),
    };
    let screen = Screen::new(printer, !options.is_json);
    let is_editing = matches!(source, Source::Editor(_));
    let lines = Arc::<Mutex<Lines>>::default();
    let (ended_sender, ended) = channel::bounded(1);
    let (local_sender, local) = channel::bounded(MAX_LOCAL);
    let sender = LineSender {
        source,
        session: Arc::downgrade(&session),
        expected,
        missing: None,
        has_waited: false,
        local: local_sender,
        wait: options.wait,
        lines: Arc::clone(&lines),
    };
    let mut chat = Chat {
        events: session.events().clone(),
        session,
        screen,
        completions,
        is_editing,
        lines,
        renderer: Renderer {
            form: Form::new(options.is_json),
            server: server.to_string(),
            is_connecting: is_editing,
            was_down: false,
            was_up: false,
            has_changed: false,
            told_of_ghost: false,
        },
        log: options.log,
    };
    if is_editing {
        chat.print_start(&server)?;
    }
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || sender.run(&ended_sender))
        .map_err(ChatError::Start)?;
    let result = chat.run(&ended, &local, &signals);
    signals_handle.close();
    match result {
        // Whoever read the output has read enough.
        Err(ChatError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            chat.end_early()
        }
        result => result,
    }
}

/// Prints what happens, and decides when it is over.
struct Chat {
    events: Receiver<Event>,
    session: Arc<Session>,
    screen: Screen,
    completions: Completions,
    is_editing: bool,
    lines: Arc<Mutex<Lines>>,
    renderer: Renderer,
    log: Option<File>,
}

impl Chat {
    fn run(
        &mut self,
        ended: &Receiver<Ended>,
        local: &Receiver<Local>,
        signals: &Receiver<()>,
    ) -> Result<(), ChatError> {
        let events = self.events.clone();
        let mut local = local.clone();
        loop {
            select! {
                recv(events) -> event => self.show(event.map_err(|_| ChatError::SessionEnded)?)?,
                recv(local) -> line => match line {
                    Ok(line) => self.show_local(line)?,
                    Err(_) => local = channel::never(),
                },
                recv(ended) -> end => {
                    self.screen.editor_ended();
                    return self.finish(end.unwrap_or(Ended::Quit(Ok(()))), &local);
                }
                recv(signals) -> _ => {
                    self.screen.end_editor();
                    return match self.is_editing {
                        true => self.say_goodbye(),
                        false => self.end_early(),
                    };
                }
            }
        }
    }

    /// Ends before the input does.
    fn end_early(&self) -> Result<(), ChatError> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match self.is_editing || lines.is_delivered() {
            true => Ok(()),
            false => Err(ChatError::Undelivered(
                "stopped before the last line was delivered".to_owned(),
            )),
        }
    }

    /// Prints an event, and those that wait behind it, because printing beside the editor
    /// costs a redraw.
    fn show(&mut self, first: Event) -> Result<(), ChatError> {
        let mut lines = String::new();
        let events = self.events.clone();
        let waiting = events.try_iter().take(MAX_EVENTS_AT_ONCE - 1);
        for event in std::iter::once(first).chain(waiting) {
            if self.is_editing {
                self.completions.learn(&event);
                if event == Event::Up(ProtocolVersion::V2) {
                    // The answer is printed as any other one. Without it nothing is lost.
                    let _ = self.session.who();
                }
            }
            self.renderer.push(&event, &self.session, &mut lines);
        }
        // The editor would print an empty line for no text.
        match lines.is_empty() {
            true => Ok(()),
            false => self.print(&lines),
        }
    }

    fn show_local(&mut self, line: Local) -> Result<(), ChatError> {
        match line {
            Local::Event(event) => self.show(event),
            Local::Help => {
                let help = self.renderer.help();
                self.print(&help)
            }
        }
    }

    /// Prints what came until the end of the input, and leaves.
    fn finish(&mut self, end: Ended, local: &Receiver<Local>) -> Result<(), ChatError> {
        // In a flood there are always more.
        let last = std::time::Instant::now() + LEAVE_TIMEOUT;
        while std::time::Instant::now() < last
            && let Ok(event) = self.events.try_recv()
        {
            self.show(event)?;
        }
        while let Ok(line) = local.try_recv() {
            self.show_local(line)?;
        }
        let (result, is_leaving) = match end {
            Ended::Failed(error) => return Err(ChatError::Input(error)),
            Ended::Quit(result) => (result, true),
            Ended::End(result) => (result, self.is_editing),
        };
        if is_leaving {
            self.say_goodbye()?;
        }
        match result {
            Err(reason) if !self.is_editing => Err(ChatError::Undelivered(reason)),
            _ => Ok(()),
        }
    }

    /// Prints the first line on a terminal. The editor is not reading yet.
    fn print_start(&mut self, server: &ServerAddress) -> Result<(), ChatError> {
        let from = self.session.local_addr();
        let from = from.map(|from| format!(" from {from}")).unwrap_or_default();
        let line = format!(
            "* Connecting to {server}{from}. Enter sends a line, /help lists commands, /quit leaves.\n"
        );
        self.write_log(&line)?;
        io::stdout()
            .write_all(line.as_bytes())
            .map_err(ChatError::Output)
    }

    fn say_goodbye(&mut self) -> Result<(), ChatError> {
        match self.renderer.form {
            Form::Json => Ok(()),
            Form::Plain | Form::Coloured => self.print(GOODBYE),
        }
    }

    fn print(&mut self, lines: &str) -> Result<(), ChatError> {
        self.write_log(lines)?;
        self.screen.print(lines).map_err(ChatError::Output)
    }

    fn write_log(&mut self, lines: &str) -> Result<(), ChatError> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let plain = self.renderer.plain(lines);
        log.write_all(plain.as_bytes()).map_err(ChatError::Log)
    }
}

/// Returns a channel with one message when a signal asks the program to end. If the reader of
/// the output blocks it, so that nobody takes the message, the program ends all the same.
fn watch_signals() -> io::Result<(Receiver<()>, Handle)> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    let is_over = signals.handle();
    let (sender, receiver) = channel::bounded(1);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if signals.forever().next().is_some() {
                // Fails when the chat has ended.
                let _ = sender.send(());
                thread::sleep(LEAVE_TIMEOUT);
                if !is_over.is_closed() {
                    process::exit(0);
                }
            }
        })?;
    Ok((receiver, handle))
}

/// Far longer than it takes to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

const GOODBYE: &str = "bye bye\n";

/// Enough for few redraws in a flood, and few enough that lines appear steadily.
const MAX_EVENTS_AT_ONCE: usize = 64;

/// Maximum number of lines from the input thread that wait to be printed.
const MAX_LOCAL: usize = 64;
