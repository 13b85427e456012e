//! The requests of SIGHUP and SIGUSR1.

use std::error::Error;
use std::io::{self, IsTerminal};

use bullhorn::ServerHandle;
use bullhorn::server::ops::console::Listing;
use bullhorn::server::ops::log;
use bullhorn::server::ops::manager::ServiceManager;
use bullhorn::server::ops::signals::SignalRequest;
use bullhorn::server::settings::RELOADED;

use crate::configuration::Configuration;

/// Carries the requests out, until there are no more.
pub(crate) struct Requests {
    /// The configuration of the start, and the one that was read last.
    first: Configuration,
    last: Configuration,
    server: ServerHandle,
    manager: Option<ServiceManager>,
    /// Standard input was a terminal at the start.
    had_terminal: bool,
}

impl Requests {
    pub(crate) fn new(
        configuration: Configuration,
        server: ServerHandle,
        manager: Option<ServiceManager>,
        had_terminal: bool,
    ) -> Self {
        Self {
            first: configuration.clone(),
            last: configuration,
            server,
            manager,
            had_terminal,
        }
    }

    pub(crate) fn run(mut self, requests: impl IntoIterator<Item = SignalRequest>) {
        for request in requests {
            match request {
                SignalRequest::Report => self.report(),
                // The kernel sends the signal, too, when a terminal is closed.
                SignalRequest::Reload if self.had_terminal && !io::stdin().is_terminal() => {
                    self.server.log().info(TERMINAL_CLOSED.into());
                    self.server.stop();
                }
                SignalRequest::Reload => self.reload(),
            }
        }
    }

    /// Writes the statistics to the log.
    fn report(&self) {
        let listing = Listing(&self.server.stats()).to_string();
        for line in listing.lines() {
            self.server.log().info(line.to_owned());
        }
    }

    /// Reads the configuration again. With a mistake in it, nothing changes.
    fn reload(&mut self) {
        if let Some(manager) = &self.manager {
            manager.reloading();
        }
        match self.read_again() {
            Ok(changes) => self
                .server
                .log()
                .info(format!("configuration read again: {changes}")),
            Err(error) => self
                .server
                .log()
                .warn(format!("configuration not read again: {error}")),
        }
        if let Some(manager) = &self.manager {
            manager.ready();
        }
    }

    /// Returns the changes in words.
    fn read_again(&mut self) -> Result<String, Box<dyn Error>> {
        let new = self.first.read_again()?;
        self.server.reload(&new.arguments().server)?;
        let is_applied = |flag: &String| flag == "log" || RELOADED.contains(&flag.as_str());
        let mut applied = new.changes_since(&self.last);
        applied.retain(is_applied);
        // The console may have changed it since.
        if applied.iter().any(|flag| flag == "log") {
            log::reload_filter(new.arguments().log.filter.clone());
        }
        let mut waiting = new.changes_since(&self.first);
        waiting.retain(|flag| !is_applied(flag));
        self.last = new;
        let mut changes = Vec::new();
        if !applied.is_empty() {
            changes.push(format!("changed {}", applied.join(", ")));
        }
        if !waiting.is_empty() {
            changes.push(format!("changes at the next start: {}", waiting.join(", ")));
        }
        Ok(match changes.is_empty() {
            true => "no flag has changed".to_owned(),
            false => changes.join("; "),
        })
    }
}

const TERMINAL_CLOSED: &str = "the terminal was closed: stopping";
