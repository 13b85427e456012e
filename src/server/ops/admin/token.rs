//! The token of the admin server, and its file.

use std::fmt::{self, Debug};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use constant_time_eq::constant_time_eq;

use super::AdminError;
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
        let others = fs::metadata(path).map_or(0, |file| file.permissions().mode() & 0o077);
        if others != 0 {
            let path = path.display();
            log.warn_at_start(format!(
                "--admin-token-file {path}: other users may read or change it: chmod 600 {path}"
            ));
        }
        let token = Token::read(path)?;
        Ok(Arc::new(Self {
            path: path.to_path_buf(),
            token: ArcSwap::from_pointee(token),
        }))
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
        let text = fs::read(path).map_err(|error| AdminError::TokenFile {
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
