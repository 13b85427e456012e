//! Where the user's lines come from: an editor on a terminal, or plain lines.

use std::io::{self, BufRead, Read};
use std::sync::{Arc, Mutex};

use rustyline::config::Configurer;
use rustyline::error::{ReadlineError, Signal};
use rustyline::history::MemHistory;
use rustyline::{CompletionType, ExternalPrinter};

use super::complete::Completions;
use super::known::Known;
use bullhorn::client::program::into_text;

/// What the user did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Entered this. More than one line if it was pasted.
    Line(String),
    /// Entered a line that is longer than any datagram, and is not kept.
    TooLong,
    /// Typed or pasted what is not UTF-8, and the editor has thrown it away.
    NotUtf8,
    /// Ended the input, or interrupted it.
    End,
}

/// A terminal with a prompt, line editing, completion and history.
pub(super) struct Editor {
    editor: rustyline::Editor<Completions, MemHistory>,
}

impl Editor {
    /// The editor, and the way to print while a line is being edited; `None` if
    /// this terminal cannot do that.
    pub(super) fn open(
        known: Arc<Mutex<Known>>,
    ) -> Option<(Self, Box<dyn ExternalPrinter + Send>)> {
        let config = rustyline::Config::builder()
            .completion_type(CompletionType::List)
            .build();
        let mut editor = rustyline::Editor::with_history(config, MemHistory::new()).ok()?;
        editor.set_helper(Some(Completions { known }));
        let printer = editor.create_external_printer().ok()?;
        editor.set_max_history_size(HISTORY_LINES_MAX).ok()?;
        Some((Self { editor }, Box::new(printer)))
    }

    pub(super) fn read(&mut self) -> io::Result<Input> {
        loop {
            match self.editor.readline(PROMPT) {
                Ok(line) => {
                    // It is kept in memory only, where nothing can fail.
                    let _ = self.editor.add_history_entry(line.trim());
                    return Ok(Input::Line(line));
                }
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(Input::End),
                Err(ReadlineError::Signal(Signal::Resize)) => {}
                Err(ReadlineError::Signal(_)) => return Ok(Input::End),
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Ok(Input::NotUtf8);
                }
                Err(ReadlineError::Io(error)) => return Err(error),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

/// Reads one line, without its end. What is not UTF-8 becomes `U+FFFD`.
pub(super) fn read_plain(source: &mut impl BufRead) -> io::Result<Input> {
    let mut line = Vec::new();
    let bound = LINE_BYTES_MAX as u64 + 1;
    if source.by_ref().take(bound).read_until(b'\n', &mut line)? == 0 {
        return Ok(Input::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > LINE_BYTES_MAX {
        source.skip_until(b'\n')?;
        return Ok(Input::TooLong);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Input::Line(into_text(line)))
}

const PROMPT: &str = "> ";

/// As much as anyone scrolls back through with the arrow keys.
const HISTORY_LINES_MAX: usize = 1000;

/// What the length field of a UDP datagram allows. The system refuses a little
/// less, and says so.
const LINE_BYTES_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(mut bytes: &[u8]) -> Vec<Input> {
        std::iter::from_fn(|| match read_plain(&mut bytes).unwrap() {
            Input::End => None,
            input => Some(input),
        })
        .collect()
    }

    fn line(text: &str) -> Input {
        Input::Line(text.to_owned())
    }

    #[test]
    fn reads_lines_with_any_end() {
        let expected = ["one", "two", "", "three"].map(line);
        assert_eq!(inputs(b"one\ntwo\r\n\nthree"), expected);
    }

    #[test]
    fn reads_what_is_not_utf8() {
        assert_eq!(inputs(b"a\xffb\n"), [line("a\u{fffd}b")]);
    }

    #[test]
    fn skips_a_line_that_is_too_long() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX];
        bytes.extend_from_slice(b"\nafter\n");
        assert_eq!(inputs(&bytes)[1], line("after"));
        bytes.insert(0, b'x');
        assert_eq!(inputs(&bytes), [Input::TooLong, line("after")]);
    }
}
