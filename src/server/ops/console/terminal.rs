//! The console at a terminal: a line editor. The log is written above the line.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler,
    ExternalPrinter, KeyEvent, RepeatCount,
};

use super::{FOREGROUND_INTERVAL, Line, PROMPT, is_in_background};
use crate::server::ops::log;
use crate::server::ops::operated::Operated;

/// A terminal with a line editor. Lines of the log are written above the line that is being typed.
pub struct Terminal {
    editor: Editor<(), MemHistory>,
    is_suspended: Arc<AtomicBool>,
}

/// Gives the terminal back as it was, when it is dropped. The program must keep it to its end, as the
/// editor may be in use then.
pub struct TerminalMode(Termios);

impl Terminal {
    /// Takes the terminal, if the standard input and output are one that can edit lines. From now on
    /// the log is written there, unless the standard error leads elsewhere.
    ///
    /// It opens its files here, so a program calls this before it closes its sandbox.
    pub fn open() -> Option<(Self, TerminalMode)> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let mode = TerminalMode(tcgetattr(io::stdin()).ok()?);
        let mut editor = Editor::with_history(Config::default(), MemHistory::new()).ok()?;
        let mut printer = editor.create_external_printer().ok()?;
        let is_suspended = Arc::<AtomicBool>::default();
        let suspend = Suspend(Arc::clone(&is_suspended));
        editor.bind_sequence(
            KeyEvent::ctrl('Z'),
            EventHandler::Conditional(Box::new(suspend)),
        );
        if io::stderr().is_terminal() {
            log::write_to(Box::new(move |lines| {
                let lines = String::from_utf8_lossy(lines).into_owned();
                printer.print(lines).map_err(io::Error::other)
            }));
        }
        let terminal = Self {
            editor,
            is_suspended,
        };
        Some((terminal, mode))
    }

    /// Reads and executes commands until Ctrl-D, which ends the console, or until `quit` or Ctrl-C,
    /// which stop the server.
    pub(super) fn run(mut self, server: &impl Operated) {
        loop {
            // The kernel stops all threads of a program that changes its terminal in the background.
            while is_in_background(io::stdin()) {
                thread::sleep(FOREGROUND_INTERVAL);
            }
            match self.editor.readline(PROMPT) {
                Ok(lines) => {
                    // The history is in memory only, where nothing can fail.
                    let _ = self.editor.add_history_entry(lines.trim());
                    // An empty line lists the statistics, too.
                    for line in lines.split('\n') {
                        match Line::parse(line.as_bytes()) {
                            Line::Quit => return server.stop(),
                            line => print(&line.execute(server)),
                        }
                    }
                }
                Err(ReadlineError::Interrupted) => {
                    if !self.is_suspended.swap(false, Ordering::Relaxed) {
                        return server.stop();
                    }
                    // The terminal is as the shell left it, so the server may go on there.
                    let _ = raise(Signal::SIGTSTP);
                }
                Err(ReadlineError::Eof) => return print(CLOSED),
                Err(ReadlineError::Signal(_)) => {}
                Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                    print("This is not UTF-8.");
                }
                Err(_) => return print(CLOSED),
            }
        }
    }
}

impl Drop for TerminalMode {
    fn drop(&mut self) {
        if !is_in_background(io::stdin()) {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
        }
    }
}

/// Ctrl-Z leaves the editor, which stops the server only after that.
struct Suspend(Arc<AtomicBool>);

impl ConditionalEventHandler for Suspend {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        self.0.store(true, Ordering::Relaxed);
        Some(Cmd::Interrupt)
    }
}

fn print(text: &str) {
    let mut output = io::stdout();
    // Not `println!`, which panics when the terminal has gone.
    let _ = output
        .write_all(format!("{text}\n").as_bytes())
        .and_then(|()| output.flush());
}

pub(super) const CLOSED: &str = "The console is closed, and the server goes on. Ctrl-C stops it.";
