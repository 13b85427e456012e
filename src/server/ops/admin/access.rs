//! Who may read and who may change: the token, and the names by which a browser may know the admin
//! server.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use constant_time_eq::constant_time_eq;

use super::AdminError;

/// The rules for requests.
pub(super) struct Access {
    address: SocketAddr,
    token: Option<Token>,
}

/// A secret that a request must have to change something.
pub(super) struct Token(Vec<u8>);

impl Access {
    /// The admin server listens on `address`.
    pub(super) fn new(address: SocketAddr, token: Option<Token>) -> Self {
        Self { address, token }
    }
}

impl Token {
    /// Reads the token of a file, without blanks and line ends around it.
    pub(super) fn read(path: &Path) -> Result<Self, AdminError> {
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

    /// Returns true if a request has this token.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        constant_time_eq(&self.0, given)
    }
}
