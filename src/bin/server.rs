//! The chat and fan-out server: arguments, call, exit code.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use bullhorn::config::ServiceKind;
use bullhorn::net::{in_call, share_one_arena};
use bullhorn::server::clock::Clock;
use bullhorn::server::ops::sandbox::{Sandbox, SandboxConfig, Threads};
use bullhorn::server::ops::signals::{STOP_LIMIT, SignalWatch};
use bullhorn::server::ops::{console, log, supervise};
use bullhorn::{Server, ServerConfig, StartError};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use tracing_subscriber::filter::Targets;

/// A multi-core UDP chat and fan-out server.
///
/// A peer registers by sending, and stays registered by heartbeats (`@im@`). Every text is
/// sent to all peers in the sender's room, as `ip:port text`, or as `name text` after the
/// sender has taken a name. `/help` lists the commands for peers.
#[derive(Parser)]
#[command(name = "server", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    server: ServerConfig,

    #[command(flatten)]
    sandbox: SandboxConfig,

    /// Log level: off, error, warn, info, debug or trace, or levels by target, such as
    /// `info,bullhorn::text=off`
    ///
    /// Targets: bullhorn::text for texts, bullhorn::peer for peers that register, leave and
    /// expire, bullhorn::greet for greetings, bullhorn::server for all else.
    #[arg(
        long,
        help_heading = None::<&str>,
        env = "BULLHORN_LOG",
        value_name = "LEVEL",
        help_heading = None::<&str>,
        default_value = "info",
        value_parser = log::parse_filter
    )]
    log: Targets,
}

fn main() -> ExitCode {
    share_one_arena();
    let arguments = Arguments::parse();
    let server_check = arguments.server.check().map_err(|error| error.to_string());
    let sandbox_check = || arguments.sandbox.check().map_err(|error| error.to_string());
    if let Err(error) = server_check.and_then(|()| sandbox_check()) {
        Arguments::command()
            .error(ErrorKind::ArgumentConflict, error)
            .exit();
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(io::stderr, format!("server: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    supervise::keep_panics_quiet();
    log::install(arguments.log);
    let features = arguments.server.features();
    // Its drop is the last, when no line can be edited any more.
    let (terminal, _mode) = console::Terminal::open().unzip();
    // Before the first thread.
    let sandbox = Sandbox::enter(&arguments.sandbox, features)?;
    let signals = SignalWatch::start().map_err(in_call("cannot watch for signals"))?;
    let is_greeting = arguments.server.service == ServiceKind::Greet;
    let user = arguments.sandbox.user.clone();
    let server = Server::start_confined(arguments.server, Clock::monotonic(), |log| {
        Ok(sandbox.close(Threads::All, log)?)
    });
    let server = server.map_err(|error| match (user, &error) {
        (Some(user), StartError::State(_)) => {
            format!("{error}: the folder must belong to {user}").into()
        }
        _ => Box::<dyn Error>::from(error),
    })?;
    let handle = server.handle();
    signals.set_stop(move || handle.stop());
    if is_greeting {
        print(io::stdout, "UDP Server is Starting...\n".to_owned());
    }
    let handle = server.handle();
    server.spawn_companion("console", move || console::run(&handle, terminal))?;
    server.wait()?;
    Ok(())
}

/// Writes `text`, but waits for a bounded time only. The process must go on even if nobody
/// reads `output`.
fn print<W: Write + 'static>(output: fn() -> W, text: String) {
    let write = move || {
        let mut output = output();
        // Not `print!` or `eprint!`, which panic when the reader has gone.
        let _ = output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush());
    };
    let (done, is_done) = mpsc::channel();
    let write_there = write.clone();
    let thread = thread::Builder::new().spawn(move || {
        write_there();
        let _ = done.send(());
    });
    match thread {
        Ok(_) => drop(is_done.recv_timeout(STOP_LIMIT)),
        // That may be what the text says.
        Err(_) => write(),
    }
}

const EXAMPLES: &str = "\
Examples:
  server --workers 8                          chat on 127.0.0.1:9999
  server --bind 0.0.0.0:9999 --bind '[::]:9999'
                                              chat on all addresses
  server --admin 127.0.0.1:9990               chat, and a dashboard at http://127.0.0.1:9990/
  server --service greet --once               greet one client

`help` on its console lists the commands there.";
