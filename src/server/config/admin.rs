//! The flags of the admin server.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::ConfigError;
use crate::server::ops::admin::{Admin, AdminError};
use crate::server::ops::log::Log;

/// The flags of the admin server, which is off unless it has an address.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Admin server")]
pub struct AdminConfig {
    /// Address of the admin server, such as 127.0.0.1:9990: metrics, health, an API and a dashboard
    /// over HTTP [default: none]
    ///
    /// At a loopback address, all users of this machine may read it. Any other address needs a
    /// token.
    #[arg(
        long = "admin",
        env = "BULLHORN_ADMIN",
        value_name = "IP:PORT",
        value_parser = parse_address,
        id = "admin"
    )]
    pub address: Option<SocketAddr>,

    /// File with the token of the admin server, 16 to 256 visible characters of ASCII. Without it
    /// nothing can be changed
    ///
    /// A request has it as `Authorization: Bearer TOKEN`.
    #[arg(
        long = "admin-token-file",
        env = "BULLHORN_ADMIN_TOKEN_FILE",
        value_name = "FILE",
        id = "admin-token-file"
    )]
    pub token_file: Option<PathBuf>,
}

impl AdminConfig {
    /// Checks that the flags go together.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match (self.address, &self.token_file) {
            (None, Some(_)) => Err(ConfigError::TokenWithoutAdmin),
            (Some(address), None) if !address.ip().to_canonical().is_loopback() => {
                Err(ConfigError::PublicAdmin(address))
            }
            _ => Ok(()),
        }
    }

    /// Opens the socket of the admin server, and reads its token. Returns `None` without an address.
    pub(in crate::server) fn bind(&self, log: &Log) -> Result<Option<Admin>, AdminError> {
        let bind = |address| Admin::bind(address, self.token_file.as_deref(), log);
        self.address.map(bind).transpose()
    }
}

/// Parses the address of the admin server.
fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let address = text.parse();
    address.map_err(|_| "must be an IP address and a port, such as 127.0.0.1:9990 or [::1]:9990")
}
