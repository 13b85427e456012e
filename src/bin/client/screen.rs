//! The standard output, and an editor on it.

use std::env;
use std::io::{self, IsTerminal, Write};

use nix::sys::termios::{self, SetArg, Termios};
use rustyline::ExternalPrinter;
use terminal_size::{Width, terminal_size_of};

use super::wrap::wrap;

/// The standard output, with or without an editor that it must not disturb.
pub(super) struct Screen {
    editor: Option<BesideEditor>,
    /// Set if lines that are longer than a row of the terminal are broken here.
    wraps: bool,
    /// Set if the user's language is one whose terminals have wide symbols.
    is_east_asian: bool,
}

struct BesideEditor {
    /// Prints above the line that is being edited.
    printer: Box<dyn ExternalPrinter + Send>,
    /// The mode of the terminal before the editor changed it.
    mode: Option<Termios>,
}

impl Screen {
    /// Returns the standard output, with the printer of an editor that has not read yet. Lines
    /// `for_people` wrap at a terminal.
    pub(super) fn new(printer: Option<Box<dyn ExternalPrinter + Send>>, for_people: bool) -> Self {
        let editor = printer.map(|printer| BesideEditor {
            printer,
            mode: termios::tcgetattr(io::stdin()).ok(),
        });
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let language = set("LC_ALL")
            .or_else(|| set("LC_CTYPE"))
            .or_else(|| set("LANG"));
        let is_in = |start: &&str| {
            language
                .as_ref()
                .is_some_and(|name| name.starts_with(start))
        };
        Self {
            editor,
            wraps: for_people && io::stdout().is_terminal(),
            is_east_asian: EAST_ASIAN.iter().any(is_in),
        }
    }

    /// Prints lines, each with its end.
    pub(super) fn print(&mut self, lines: &str) -> io::Result<()> {
        // The terminal may have another size each time.
        let size = self.wraps.then(|| terminal_size_of(io::stdout())).flatten();
        match size {
            Some((Width(columns), _)) => {
                self.write(&wrap(lines, columns.into(), self.is_east_asian))
            }
            None => self.write(lines),
        }
    }

    fn write(&mut self, lines: &str) -> io::Result<()> {
        if let Some(editor) = &mut self.editor
            && editor.printer.print(lines.to_owned()).is_ok()
        {
            return Ok(());
        }
        // There is no editor, or it has gone since.
        let mut out = io::stdout().lock();
        out.write_all(lines.as_bytes())?;
        out.flush()
    }

    /// Notes that the editor has ended by itself, and left the terminal as it was.
    pub(super) fn editor_ended(&mut self) {
        self.editor = None;
    }

    /// Takes the terminal from an editor that is still reading.
    pub(super) fn end_editor(&mut self) {
        let Some(BesideEditor {
            mode: Some(mode), ..
        }) = self.editor.take()
        else {
            return;
        };
        // Where this fails there is no terminal any more.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &mode);
        let _ = self.write(BRACKETED_PASTE_OFF_AND_NEW_LINE);
    }
}

/// The editor has switched it on, and a shell that does not use it would show
/// its marks around pasted texts.
const BRACKETED_PASTE_OFF_AND_NEW_LINE: &str = "\x1b[?2004l\n";

/// The starts of the names of their locales.
const EAST_ASIAN: [&str; 3] = ["ja", "ko", "zh"];
