//! The file in which the bans are kept: one ban per line, as people write it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::server::files::{self, shown};
use crate::server::ingress::bans::{Ban, MAX_BANS};

/// The file `bans` in the folder of `--state-dir`.
pub struct BanFile {
    folder: PathBuf,
}

/// The reason why the bans cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A line of the file is damaged.
    #[error(
        "{}:{line}: must be a ban such as `192.0.2.0/24 until 2027-01-31T12:00:00Z` or \
         `192.0.2.0/24 for ever`",
        shown(.path)
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
    },
    /// The file has too many lines.
    #[error("{} has more than {MAX_BANS} bans", shown(.0))]
    TooMany(PathBuf),
    /// A file or the folder cannot be read or written.
    #[error("{}: {error}", shown(.path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

impl BanFile {
    /// Reads the bans in a folder, which must exist. Those that are over are left out. The file is
    /// written anew, to find out now if it cannot be.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(folder: &Path) -> Result<(Self, Vec<Ban>), StateError> {
        let mut file = Self {
            folder: folder.to_owned(),
        };
        fs::metadata(folder).map_err(|error| StateError::Io {
            path: folder.to_owned(),
            error,
        })?;
        let bans = file.read()?;
        file.write(&bans)?;
        Ok((file, bans))
    }

    /// Reads the bans in the file, but not those that are over.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn read(&self) -> Result<Vec<Ban>, StateError> {
        let path = self.path();
        let text = match files::read(&path, MAX_FILE_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StateError::Io { path, error }),
        };
        let mut bans = Vec::new();
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let ban = Ban::parse(line).ok_or_else(|| StateError::Line {
                path: path.clone(),
                line: number,
            })?;
            if !ban.is_over() {
                bans.push(ban);
            }
            if bans.len() > MAX_BANS {
                return Err(StateError::TooMany(path));
            }
        }
        Ok(bans)
    }

    /// Replaces the bans in the file. At any moment, also if the machine halts, it has all of the
    /// former ones or all of these.
    ///
    /// # Errors
    /// [`StateError::Io`]; the file has the former bans.
    pub fn write(&mut self, bans: &[Ban]) -> Result<(), StateError> {
        let mut text = String::from(HEAD);
        for ban in bans {
            text += &format!("{ban}\n");
        }
        let (path, new_path) = (self.path(), self.folder.join("bans.new"));
        let write_new = || {
            let mut file = File::create(&new_path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        let at = |path: &Path| {
            let path = path.to_owned();
            |error| StateError::Io { path, error }
        };
        write_new().map_err(at(&new_path))?;
        fs::rename(&new_path, &path).map_err(at(&path))?;
        let sync_folder = || File::open(&self.folder)?.sync_all();
        sync_folder().map_err(at(&self.folder))
    }

    fn path(&self) -> PathBuf {
        self.folder.join("bans")
    }
}

/// Maximum size of the file. It has space for [`MAX_BANS`] bans, which take up to 75 bytes each, and as much
/// of comments.
const MAX_FILE_BYTES: u64 = 150 * MAX_BANS as u64;

const HEAD: &str = "# The bans of a bullhorn server, which reads this file when it starts and at \
    SIGHUP, and\n# replaces it when the bans change.\n";
