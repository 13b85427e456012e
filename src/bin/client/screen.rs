//! The standard output, and an editor on it.

use std::io::{self, Write};

use nix::sys::termios::{self, SetArg, Termios};
use rustyline::ExternalPrinter;

/// The standard output, with or without an editor that it must not disturb.
#[derive(Default)]
pub(super) struct Screen {
    editor: Option<BesideEditor>,
}

struct BesideEditor {
    /// Prints above the line that is being edited.
    printer: Box<dyn ExternalPrinter + Send>,
    /// The mode of the terminal before the editor changed it.
    mode: Option<Termios>,
}

impl Screen {
    /// A terminal with an editor on it, which has not read yet.
    pub(super) fn beside_editor(printer: Box<dyn ExternalPrinter + Send>) -> Self {
        let mode = termios::tcgetattr(io::stdin()).ok();
        Self {
            editor: Some(BesideEditor { printer, mode }),
        }
    }

    /// Prints lines, each with its end.
    pub(super) fn print(&mut self, lines: &str) -> io::Result<()> {
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
        let _ = self.print(BRACKETED_PASTE_OFF_AND_NEW_LINE);
    }
}

/// The editor has switched it on, and a shell that does not use it would show
/// its marks around pasted texts.
const BRACKETED_PASTE_OFF_AND_NEW_LINE: &str = "\x1b[?2004l\n";
