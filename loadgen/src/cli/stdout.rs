//! Standard output of a run or a search, as people or programs want it.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use console::Term;
use signal_hook::consts::SIGPIPE;

use crate::cli::args::OutputOptions;
use crate::cli::exit::End;
use crate::cli::front::failed;
use crate::cli::json_lines::JsonLines;

/// The contents of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Text,
    Json,
    Verdict,
}

impl Report {
    pub(super) fn of(output: &OutputOptions) -> Self {
        match (output.json, output.quiet) {
            (true, _) => Self::Json,
            (false, true) => Self::Verdict,
            (false, false) => Self::Text,
        }
    }

    /// Returns true if the reasons of the exit code are for a program or a file, so that people
    /// need them on standard error.
    pub(super) fn hides_reasons(self) -> bool {
        match self {
            Self::Text => !io::stdout().is_terminal(),
            Self::Json => true,
            Self::Verdict => false,
        }
    }
}

/// Standard output, until writing to it fails.
pub(super) struct Stdout<W> {
    pub(super) report: Report,
    out: W,
    broken: Option<io::Error>,
}

impl<W: Write> Stdout<W> {
    pub(super) fn new(report: Report, out: W) -> Self {
        Self {
            report,
            out,
            broken: None,
        }
    }

    /// Writes a text. Returns false if nobody reads any more.
    pub(super) fn text(&mut self, text: &str) -> bool {
        self.write(|out| {
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    }

    /// Writes JSON lines. Returns false if nobody reads any more.
    pub(super) fn json(
        &mut self,
        lines: impl FnOnce(&mut JsonLines<&mut W>) -> io::Result<()>,
    ) -> bool {
        self.write(|out| lines(&mut JsonLines::new(out)))
    }

    /// Returns false if nobody reads any more.
    pub(super) fn is_read(&self) -> bool {
        self.broken.is_none()
    }

    /// Returns the end of a program whose output could not be written.
    pub(super) fn broken_end(&self) -> Option<End> {
        let error = self.broken.as_ref()?;
        Some(match error.kind() {
            io::ErrorKind::BrokenPipe => End::Signal(SIGPIPE),
            _ => failed(&format!("cannot write to standard output: {error}")),
        })
    }

    fn write(&mut self, write: impl FnOnce(&mut W) -> io::Result<()>) -> bool {
        if self.broken.is_none() {
            self.broken = write(&mut self.out).err();
        }
        self.is_read()
    }
}

/// Returns the line that ends a summary: the path of the page, if there is one.
pub(super) fn page_line(page: Option<PathBuf>) -> String {
    page.map_or_else(String::new, |page| {
        format!("\nReport: {}\n", page.display())
    })
}

/// Returns the width of the terminal, if standard output is one.
pub(super) fn columns() -> Option<usize> {
    let (_, columns) = Term::stdout().size_checked()?;
    io::stdout().is_terminal().then_some(columns.into())
}
