//! The token of the admin server, and its file.

use std::fmt::{self, Debug};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use constant_time_eq::constant_time_eq;

use super::AdminError;
use crate::server::files::{self, shown};
use crate::server::ops::log::Log;

/// The token that a request must have to change something, and its file.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    token: ArcSwap<Token>,
}

/// A token that has been read, and is not yet in force.
pub struct Token(Vec<u8>);

impl TokenFile {
    /// Reads the token of a file.
    ///
    /// # Errors
    /// [`AdminError::TokenFile`] or [`AdminError::Token`].
    pub(super) fn open(path: &Path, log: &Log) -> Result<Arc<Self>, AdminError> {
        let token = Token::read(path)?;
        let file = Self {
            path: path.to_path_buf(),
            token: ArcSwap::from_pointee(token),
        };
        if let Some(warning) = file.warning() {
            log.warn_at_start(warning);
        }
        Ok(Arc::new(file))
    }

    /// Returns a sentence for the log if other users may read or change the file.
    pub fn warning(&self) -> Option<String> {
        let mode = fs::metadata(&self.path).ok()?.permissions().mode();
        let path = shown(&self.path);
        (mode & 0o077 != 0).then(|| {
            format!(
                "--admin-token-file {path}: other users may read or change it: chmod 600 {path}"
            )
        })
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// [`AdminError::TokenFile`] or [`AdminError::Token`].
    pub fn read(&self) -> Result<Token, AdminError> {
        Token::read(&self.path)
    }

    /// Replaces the token.
    pub fn set(&self, token: Token) {
        self.token.store(Arc::new(token));
    }

    /// Returns true if a request has this token.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        constant_time_eq(&self.token.load().0, given)
    }
}

#[cfg(test)]
impl TokenFile {
    pub(super) fn of(token: &str) -> Arc<Self> {
        Arc::new(Self {
            path: PathBuf::new(),
            token: ArcSwap::from_pointee(Token(token.into())),
        })
    }
}

impl Debug for Token {
    /// Writes nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads the token of a file, without blanks and line ends around it.
    fn read(path: &Path) -> Result<Self, AdminError> {
        let path_buf = || path.to_path_buf();
        let text = files::read(path, MAX_FILE_BYTES).map_err(|error| AdminError::TokenFile {
            path: path_buf(),
            error,
        })?;
        let token = text.trim_ascii();
        let is_visible = token.iter().all(u8::is_ascii_graphic);
        if !is_visible || !(16..=256).contains(&token.len()) {
            return Err(AdminError::Token { path: path_buf() });
        }
        Ok(Self(token.to_owned()))
    }
}

/// Maximum size of the file. It has space for a token and the blanks around it.
const MAX_FILE_BYTES: u64 = 4 << 10;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_file_that_others_may_read_or_change_is_a_warning() {
        let name = format!("bullhorn-token-{}", std::process::id());
        let file = TokenFile {
            path: std::env::temp_dir().join(name),
            token: ArcSwap::from_pointee(Token(Vec::new())),
        };
        fs::write(&file.path, "").unwrap();
        for (mode, is_warned) in [(0o600, false), (0o400, false), (0o640, true), (0o602, true)] {
            fs::set_permissions(&file.path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(file.warning().is_some(), is_warned, "{mode:o}");
        }
        fs::remove_file(&file.path).unwrap();
    }
}
