//! A configuration in one line, for the log.

use humantime::format_duration;

use super::{Proof, ServerConfig, ServiceKind, Trust};
use crate::server::files::shown;
use crate::wire::reply::Thousands;

impl ServerConfig {
    /// Returns the values that an operator looks for first, such as `chat, 2 workers, up to 1,000,000
    /// peers, timeout 10s, proof auto, trust loopback, bans in memory`.
    pub(in crate::server) fn summary(&self) -> String {
        let workers = match self.workers {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        };
        let workers = match &self.cores {
            None => workers,
            Some(cores) => format!("{workers} on cores {cores}"),
        };
        if self.service == ServiceKind::Greet {
            return format!("greetings, {workers}");
        }
        let proof = match self.proof {
            Proof::Auto => "auto",
            Proof::Always => "always",
            Proof::Never => "never",
        };
        let trusted = self.trust.iter().map(|trust| match trust {
            Trust::Nobody => "none".to_owned(),
            Trust::Net(net) => net.to_string(),
        });
        let trust = match self.trust.is_empty() {
            true => "loopback".to_owned(),
            false => trusted.collect::<Vec<_>>().join(" "),
        };
        let bans = match &self.state_dir {
            None => "memory".to_owned(),
            Some(folder) => shown(folder),
        };
        format!(
            "chat, {workers}, up to {} peers, timeout {}, proof {proof}, trust {trust}, bans in {bans}",
            Thousands(self.max_peers.into()),
            format_duration(self.timeout),
        )
    }
}
