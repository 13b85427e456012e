//! The requests of SIGHUP and SIGUSR1.

use std::io::{self, IsTerminal};

use bullhorn::ServerHandle;
use bullhorn::server::ops::console::Listing;
use bullhorn::server::ops::log;
use bullhorn::server::ops::signals::SignalRequest;

use crate::arguments::Arguments;

/// Carries the requests out, until there are no more.
pub(crate) struct Requests {
    arguments: Arguments,
    server: ServerHandle,
    /// Standard input was a terminal at the start.
    had_terminal: bool,
}

impl Requests {
    pub(crate) fn new(arguments: Arguments, server: ServerHandle) -> Self {
        Self {
            arguments,
            server,
            had_terminal: io::stdin().is_terminal(),
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
        let reloaded = self.server.reload(&self.arguments.server);
        let reloaded = reloaded.map_err(|error| error.to_string());
        let reloaded =
            reloaded.and_then(|()| log::reload_filter(self.arguments.log.filter.clone()));
        match reloaded {
            Ok(()) => self.server.log().info("configuration read again".into()),
            Err(error) => self
                .server
                .log()
                .warn(format!("configuration not read again: {error}")),
        }
    }
}

const TERMINAL_CLOSED: &str = "the terminal was closed: stopping";
