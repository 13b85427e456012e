//! The command line of the server.

use bullhorn::ServerConfig;
use bullhorn::program::SERVER;
use bullhorn::server::ops::log;
use bullhorn::server::ops::sandbox::SandboxConfig;
use clap::Parser;
use tracing_subscriber::filter::Targets;

/// A multi-core UDP chat and fan-out server.
///
/// A peer registers by sending, and stays registered by heartbeats (`@im@`). Every text is
/// sent to all peers in the sender's room, as `ip:port text`, or as `name text` after the
/// sender has taken a name. `/help` lists the commands for peers.
#[derive(Parser)]
#[command(name = "server", after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) server: ServerConfig,

    #[command(flatten)]
    pub(crate) sandbox: SandboxConfig,

    /// Log level: off, error, warn, info, debug or trace, or levels by target, such as
    /// `info,bullhorn::text=off`
    ///
    /// Targets: bullhorn::text for texts, bullhorn::peer for peers that register, leave and
    /// expire, bullhorn::greet for greetings, bullhorn::server for all else.
    #[arg(
        long,
        env = "BULLHORN_LOG",
        value_name = "LEVEL",
        help_heading = "Operation",
        default_value = "info",
        value_parser = log::parse_filter
    )]
    pub(crate) log: Targets,
}

impl Arguments {
    /// Returns the arguments of this process. Ends it with exit code 2 if they are not valid, or go
    /// not together.
    pub(crate) fn read() -> Self {
        let arguments: Self = SERVER.parse();
        let server_check = arguments.server.check().map_err(|error| error.to_string());
        let sandbox_check = || arguments.sandbox.check().map_err(|error| error.to_string());
        if let Err(error) = server_check.and_then(|()| sandbox_check()) {
            SERVER.refuse::<Self>(error);
        }
        arguments
    }
}

const EXAMPLES: &str = "\
Examples:
  server --workers 8                        chat on 127.0.0.1:9999
  server --bind '0.0.0.0:9999,[::]:9999'    chat on all addresses
  server --admin 127.0.0.1:9990             chat, and a dashboard at http://127.0.0.1:9990/
  server --service greet --once             greet one client

`help` on its console lists the commands there.";
