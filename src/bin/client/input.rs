//! The user's lines, from an editor on a terminal, or from a pipe.

use std::io::{self, BufRead, Read};
use std::mem;

use nix::sys::signal::{SigSet, Signal as SystemSignal};
use rustyline::config::Configurer;
use rustyline::error::{ReadlineError, Signal};
use rustyline::history::MemHistory;
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Event, EventContext, EventHandler,
    ExternalPrinter, KeyEvent, Movement, RepeatCount,
};

use super::completion::Completions;

/// An action of the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A line. More than one if it was pasted.
    Line(String),
    /// A line that is longer than any datagram, and was dropped.
    TooLong,
    /// Something that is not UTF-8, which the editor has dropped.
    NotUtf8,
    /// Input in UTF-16.
    Utf16,
    /// The end of the input, or an interrupt.
    End,
}

/// A terminal with a prompt, line editing, completion and history.
pub(super) struct Editor {
    editor: rustyline::Editor<Completions, MemHistory>,
}

impl Editor {
    /// Returns the editor, and a printer for while a line is being edited. Returns `None` if
    /// the terminal cannot do that.
    ///
    /// With an editor, the calling thread and those that it starts later leave the signal
    /// of Ctrl-Z to the thread that calls [`read`](Self::read). Call this before any other
    /// thread starts.
    pub(super) fn open(
        completions: Completions,
    ) -> Option<(Self, Box<dyn ExternalPrinter + Send>)> {
        let config = rustyline::Config::builder()
            .completion_type(CompletionType::List)
            .build();
        let mut editor = rustyline::Editor::with_history(config, MemHistory::new()).ok()?;
        editor.set_helper(Some(completions));
        let printer = editor.create_external_printer().ok()?;
        editor.set_max_history_size(MAX_HISTORY_LINES).ok()?;
        let clear_or_leave = EventHandler::Conditional(Box::new(ClearOrLeave));
        editor.bind_sequence(KeyEvent::ctrl('C'), clear_or_leave);
        SigSet::from(SystemSignal::SIGTSTP).thread_block().ok()?;
        Some((Self { editor }, Box::new(printer)))
    }

    pub(super) fn read(&mut self) -> io::Result<Input> {
        // At Ctrl-Z, rustyline resets the terminal, sends this signal to the whole process
        // group, and prepares the terminal again. If another thread could take the signal,
        // the process would stop only after that, and the shell would undo it.
        SigSet::from(SystemSignal::SIGTSTP).thread_unblock()?;
        loop {
            match self.editor.readline(PROMPT) {
                Ok(line) => {
                    // The history is in memory only, where nothing can fail.
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

    /// Asks a question, and returns true if the answer is yes.
    pub(super) fn ask(&mut self, question: &str) -> bool {
        let answer = self.editor.readline(question).unwrap_or_default();
        matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }
}

/// Ctrl-C clears the line. On an empty line it does what the terminal says, which is to
/// leave.
struct ClearOrLeave;

impl ConditionalEventHandler for ClearOrLeave {
    fn handle(
        &self,
        _: &Event,
        _: RepeatCount,
        _: bool,
        context: &EventContext<'_>,
    ) -> Option<Cmd> {
        (!context.line().is_empty()).then_some(Cmd::Kill(Movement::WholeBuffer))
    }
}

/// Reads lines that come from a pipe or a file.
#[derive(Default)]
pub(super) struct PlainReader {
    has_begun: bool,
}

impl PlainReader {
    /// Reads one line, without its end. Bytes that are not UTF-8 become `U+FFFD`. A byte
    /// order mark at the start of the input is not part of the line.
    pub(super) fn read(&mut self, source: &mut impl BufRead) -> io::Result<Input> {
        let is_first = !mem::replace(&mut self.has_begun, true);
        let mark_bytes = if is_first { BYTE_ORDER_MARK.len() } else { 0 };
        let bound = MAX_LINE_BYTES + mark_bytes + 1;
        let mut line = Vec::new();
        let mut bounded = source.by_ref().take(bound as u64);
        if bounded.read_until(b'\n', &mut line)? == 0 {
            return Ok(Input::End);
        }
        if is_first && is_utf16(&line) {
            return Ok(Input::Utf16);
        }
        if is_first && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        let is_whole = line.pop_if(|last| *last == b'\n').is_some();
        if line.len() > MAX_LINE_BYTES {
            if !is_whole {
                source.skip_until(b'\n')?;
            }
            return Ok(Input::TooLong);
        }
        line.pop_if(|last| *last == b'\r');
        Ok(Input::Line(String::from_utf8_lossy(&line).into_owned()))
    }
}

/// Returns `true` if the input begins with a byte order mark of UTF-16, or if every second
/// byte of its first line is NUL and no other byte is, as in Latin text.
fn is_utf16(first_line: &[u8]) -> bool {
    let is_marked = [[0xff, 0xfe], [0xfe, 0xff]]
        .iter()
        .any(|mark| first_line.starts_with(mark));
    // The line feed may be half a character.
    let line = first_line.strip_suffix(b"\n").unwrap_or(first_line);
    let nul_at = |parity| {
        let mut bytes = line.iter().enumerate();
        line.len() > 1 && bytes.all(|(index, byte)| (index % 2 == parity) == (*byte == 0))
    };
    is_marked || nul_at(0) || nul_at(1)
}

/// Some programs begin UTF-8 with it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

const PROMPT: &str = "> ";

/// More lines than anyone goes back through with the arrow keys.
const MAX_HISTORY_LINES: usize = 1000;

/// Maximum of the length field of UDP.
const MAX_LINE_BYTES: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(mut bytes: &[u8]) -> Vec<Input> {
        let mut reader = PlainReader::default();
        std::iter::from_fn(|| match reader.read(&mut bytes).unwrap() {
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
        let mut bytes = vec![b'x'; MAX_LINE_BYTES];
        bytes.extend_from_slice(b"\nafter\n");
        assert_eq!(inputs(&bytes)[1], line("after"));
        bytes.insert(0, b'x');
        assert_eq!(inputs(&bytes), [Input::TooLong, line("after")]);
    }

    #[test]
    fn drops_a_byte_order_mark_at_the_start_only() {
        let bytes = "\u{feff}one\n\u{feff}two\n";
        let expected = ["one", "\u{feff}two"].map(line);
        assert_eq!(inputs(bytes.as_bytes()), expected);
        assert_eq!(inputs(BYTE_ORDER_MARK), [line("")]);
        let longest = "x".repeat(MAX_LINE_BYTES);
        let marked = format!("\u{feff}{longest}\nafter\n");
        assert_eq!(inputs(marked.as_bytes()), [line(&longest), line("after")]);
        let marked = format!("\u{feff}x{longest}\nafter\n");
        assert_eq!(inputs(marked.as_bytes()), [Input::TooLong, line("after")]);
        let unmarked = format!("xx{longest}\nafter\n");
        assert_eq!(inputs(unmarked.as_bytes()), [Input::TooLong, line("after")]);
    }

    #[test]
    fn recognises_utf16() {
        for bytes in [
            b"\xff\xfeh\0i\0\n\0",
            b"\xfe\xff\0h\0i\0\n",
            &b"h\0i\0\r\0\n\0"[..],
            b"\0h\0i\0\n",
            b"h\0",
        ] {
            assert_eq!(inputs(bytes)[0], Input::Utf16, "{bytes:?}");
        }
        for text in ["h\0ii\n", "\0\n", "\0\0\n", "x\n", "\n", "one\nh\0i\0\n"] {
            assert_ne!(inputs(text.as_bytes())[0], Input::Utf16, "{text:?}");
        }
    }
}
