//! Mistakes in a configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::process;

use bullhorn::program::SERVER;
use bullhorn::server::files::shown;

use crate::arguments::Arguments;
use crate::output::print;

/// The first mistake in a configuration. The text says what is right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A line of the file.
    #[error("{}:{line}: {text}", shown(path))]
    Line {
        path: PathBuf,
        line: usize,
        text: String,
    },
    /// The file as a whole.
    #[error("{}: {text}", shown(path))]
    File { path: PathBuf, text: String },
    /// Flags and environment variables that do not go together.
    #[error("{0}")]
    Flags(String),
    /// A flag or environment variable.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
}

impl Error {
    pub(super) fn line(path: &Path, line: usize, text: impl Into<String>) -> Self {
        Self::Line {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }

    pub(super) fn file(path: &Path, text: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            text: text.into(),
        }
    }

    /// Prints the error and ends the process with exit code 2, or 0 if it is the help.
    pub(super) fn exit(self) -> ! {
        match self {
            Self::Arguments(error) => error.exit(),
            Self::Flags(text) => SERVER.refuse::<Arguments>(text),
            Self::Line { .. } | Self::File { .. } => {
                print(io::stderr, format!("error: {self}\n"));
                process::exit(2);
            }
        }
    }
}
