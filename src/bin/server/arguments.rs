//! The command line of the server.

use std::path::PathBuf;

use bullhorn::ServerConfig;
use bullhorn::server::ops::log::LogConfig;
use bullhorn::server::ops::sandbox::SandboxConfig;
use clap::Parser;

/// A multi-core UDP chat and fan-out server.
///
/// A peer registers by sending, and stays registered by heartbeats (`@im@`). Every text is
/// sent to all peers in the sender's room, as `ip:port text`, or as `name text` after the
/// sender has taken a name. `/help` lists the commands for peers.
#[derive(Clone, Parser)]
#[command(name = "server", after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) server: ServerConfig,

    #[command(flatten)]
    pub(crate) sandbox: SandboxConfig,

    #[command(flatten)]
    pub(crate) log: LogConfig,

    /// File with the values of flags, in TOML, such as `max-peers = 1000`. Flags and environment
    /// variables override it
    ///
    /// A key is the long name of a flag. A flag that may be given several times takes a list, and one
    /// without a value takes true or false.
    #[arg(
        long,
        env = "BULLHORN_CONFIG",
        value_name = "FILE",
        help_heading = "Operation"
    )]
    pub(crate) config: Option<PathBuf>,

    /// Check the configuration, and exit: with code 2 if it is not valid
    #[arg(long, help_heading = "Operation")]
    pub(crate) check_config: bool,

    /// Print the configuration as a file, with the origin of each value, and exit
    #[arg(long, help_heading = "Operation", conflicts_with = "check_config")]
    pub(crate) print_config: bool,
}

const EXAMPLES: &str = "\
Examples:
  server --workers 8                        chat on 127.0.0.1:9999
  server --bind '0.0.0.0:9999,[::]:9999'    chat on all addresses
  server --admin 127.0.0.1:9990             chat, and a dashboard at http://127.0.0.1:9990/
  server --service greet --once             greet one client

`help` on its console lists the commands there.";
