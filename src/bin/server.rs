//! The chat and fan-out server: arguments, logs, signals, console, exit code.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::{self, ExitCode};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use bullhorn::config::ServiceKind;
use bullhorn::server::ops::{console, supervise};
use bullhorn::{Server, ServerConfig, ServerHandle};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// A multi-core UDP chat and fan-out server.
///
/// Peers register by sending, stay registered by heartbeats (`@im@`), and every
/// text that one of them sends reaches everyone in its room, as `ip:port text`, or as
/// `name text` once the sender has taken a name. `/help` lists what a peer can ask for.
#[derive(Parser)]
#[command(name = "server", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    server: ServerConfig,

    /// What to log: off, error, warn, info, debug or trace, or by target, as
    /// in `info,bullhorn::text=off`
    ///
    /// Targets: bullhorn::text for the texts, bullhorn::peer for the coming
    /// and going of peers, bullhorn::greet for the greetings.
    #[arg(
        long,
        env = "BULLHORN_LOG",
        value_name = "LEVEL",
        default_value = "info",
        value_parser = parse_log
    )]
    log: Targets,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(wrong) = arguments.server.check() {
        Arguments::command()
            .error(ErrorKind::ArgumentConflict, wrong)
            .exit();
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_at_last(format!("server: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    supervise::keep_panics_quiet();
    start_log(arguments.log);
    let server_handle = watch_signals()?;
    let is_greeting = arguments.server.service == ServiceKind::Greet;
    let server = Server::start(arguments.server)?;
    // Nobody else sets it.
    let _ = server_handle.set(server.handle());
    let handle = server.handle();
    server.spawn_companion("console", move || {
        if is_greeting {
            console::print("UDP Server is Starting...\n");
        }
        console::run(&handle);
    })?;
    server.wait()?;
    Ok(())
}

/// Ends the process, exit code 0, a second after a signal asks for it: by
/// stopping the server that is put into the cell, or, where there is none yet
/// or it hangs, without.
fn watch_signals() -> io::Result<Arc<OnceLock<ServerHandle>>> {
    let cell = Arc::new(OnceLock::<ServerHandle>::new());
    let server = Arc::clone(&cell);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let watch = move || {
        if signals.forever().next().is_some() {
            if let Some(server) = server.get() {
                server.stop();
                thread::sleep(STOP_LIMIT);
            }
            process::exit(0);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(cell)
}

/// Writes to the standard error, unless nobody reads there: the process must
/// end all the same.
fn say_at_last(text: String) {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        // Not `eprint!`, which panics when the reader has gone.
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = done.send(());
    });
    let _ = is_done.recv_timeout(STOP_LIMIT);
}

/// Parses levels and `target=level`. A word that is neither would be taken for
/// a target, and silence all others.
fn parse_log(text: &str) -> Result<Targets, String> {
    let is_known = |part: &str| match part.split_once('=') {
        Some((target, _)) => target.starts_with("bullhorn"),
        None => !part.is_empty() && part.parse::<LevelFilter>().is_ok(),
    };
    match text.parse() {
        Ok(targets) if text.split(',').all(is_known) => Ok(targets),
        _ => Err(
            "must be off, error, warn, info, debug or trace, or parts such as \
             info,bullhorn::text=off"
                .into(),
        ),
    }
}

fn start_log(targets: Targets) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // Reporting a failed write would itself write, and panic.
        .log_internal_errors(false);
    tracing_subscriber::registry()
        .with(targets)
        .with(lines)
        .init();
}

/// A stop is promised within a second.
const STOP_LIMIT: Duration = Duration::from_millis(900);

const EXAMPLES: &str = "\
Examples:
  server --workers 8                          chat on 127.0.0.1:9999
  server --bind 0.0.0.0:9999 --bind '[::]:9999'
                                              chat with the world
  server --service greet --once               greet one client

On its console, `quit` stops the server, and anything else lists its threads.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for text in [
            "off",
            "info",
            "WARN",
            "info,bullhorn::text=off",
            "bullhorn::peer=info",
        ] {
            assert!(parse_log(text).is_ok(), "{text}");
        }
        for text in [
            "nonsense",
            "inf",
            "",
            "info,bullhorn::text=loud",
            "info,other=off",
        ] {
            assert!(parse_log(text).is_err(), "{text}");
        }
    }
}
