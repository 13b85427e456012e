//! Changes to the configuration of a running server.

use std::sync::Arc;

use super::ServerHandle;
use super::config::{ConfigError, ServerConfig};
use super::moderation::StateError;

/// The reason why a server goes on as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is out of bounds, or contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The bans in [`ServerConfig::state_dir`] cannot be read.
    #[error("--state-dir: {0}")]
    State(#[from] StateError),
    /// The token of the admin server cannot be read.
    #[cfg(feature = "admin")]
    #[error(transparent)]
    Admin(#[from] super::ops::admin::AdminError),
}

impl ServerHandle {
    /// Applies the values of `config` that can change while the server runs, which are those of the
    /// flags [`RELOADED`]. Reads the file of bans and that of the admin server's token again.
    ///
    /// Peers that are registered stay, also beyond a new limit. A shorter timeout also counts for
    /// peers that were told the longer one.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing has changed.
    ///
    /// [`RELOADED`]: super::settings::RELOADED
    pub fn reload(&self, config: &ServerConfig) -> Result<(), ReloadError> {
        config.check()?;
        #[cfg(feature = "admin")]
        let token_file = self.admin_token.as_ref();
        #[cfg(feature = "admin")]
        let token = token_file.map(|file| file.read()).transpose()?;
        if let Some(moderation) = self.moderation() {
            moderation.reload_bans()?;
        }
        // From here on, nothing can fail.
        #[cfg(feature = "admin")]
        if let (Some(file), Some(token)) = (token_file, token) {
            file.set(token);
            if let Some(warning) = file.warning() {
                self.log.warn(warning);
            }
        }
        self.settings.apply(config);
        self.limits.store(Arc::new(config.limits_in_force()));
        Ok(())
    }
}
