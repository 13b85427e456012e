//! The chat and fan-out server: arguments, call, exit code.

mod arguments;
mod configuration;
mod output;
mod requests;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use bullhorn::config::ServiceKind;
use bullhorn::net::{InheritedSockets, in_call, share_one_arena};
use bullhorn::program::SERVER;
use bullhorn::server::Managed;
use bullhorn::server::clock::Clock;
use bullhorn::server::ops::manager::ServiceManager;
use bullhorn::server::ops::sandbox::{Feature, Sandbox, Threads};
use bullhorn::server::ops::signals::{HeldSignals, SignalWatch};
use bullhorn::server::ops::{console, log, supervise};
use bullhorn::{Server, StartError};

use configuration::Configuration;
use output::{print, within_limit};
use requests::Requests;

fn main() -> ExitCode {
    share_one_arena();
    // Before a file is opened, whose descriptor could be taken for that of a socket.
    let sockets = InheritedSockets::from_env().map_err(Box::<dyn Error>::from);
    let signals = HeldSignals::hold().map_err(in_call("cannot watch for signals"));
    let run = sockets.and_then(|sockets| {
        let configuration = Configuration::read(sockets.as_ref());
        run(configuration, sockets, signals?)
    });
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (line, error) = (format!("{}: {error}\n", SERVER.called()), error.to_string());
            within_limit(move || {
                if !log::write_error(&error) {
                    let _ = io::stderr().write_all(line.as_bytes());
                }
            });
            ExitCode::FAILURE
        }
    }
}

fn run(
    configuration: Configuration,
    sockets: Option<InheritedSockets>,
    signals: HeldSignals,
) -> Result<(), Box<dyn Error>> {
    let arguments = configuration.arguments();
    let had_terminal = io::stdin().is_terminal();
    supervise::keep_panics_quiet();
    let logs_texts = arguments.log.texts.are_on(&arguments.server.bind);
    log::install(arguments.log.clone(), logs_texts);
    let mut features = arguments.server.features();
    let config_file = configuration.config_file().map(Path::to_owned);
    features.extend(config_file.map(Feature::ConfigFile));
    // Its drop is the last, when no line can be edited any more.
    let (terminal, _mode) = console::Terminal::open().unzip();
    let (manager, no_manager) = match ServiceManager::from_env() {
        Ok(manager) => (manager, None),
        Err(error) => (None, Some(error)),
    };
    // Before the first thread.
    let sandbox = Sandbox::enter(&arguments.sandbox, features)?;
    let signals = SignalWatch::start(signals).map_err(in_call("cannot watch for signals"))?;
    let is_greeting = arguments.server.service == ServiceKind::Greet;
    let user = arguments.sandbox.user.clone();
    let started = Instant::now();
    let managed = Managed {
        manager: manager.clone(),
        sockets,
    };
    let config = arguments.server.clone();
    let server = Server::start_managed(config, Clock::monotonic(), managed, |log| {
        if let Some(error) = no_manager {
            log.warn_at_start(format!(
                "the service manager does not receive the server's states: NOTIFY_SOCKET: {error}"
            ));
        }
        log.info(configuration.summary(logs_texts));
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
    let requests = Requests::new(configuration, server.handle(), manager, had_terminal);
    let received = signals.requests();
    server.spawn_companion("requests", move || requests.run(received))?;
    let handle = server.handle();
    let ended = server.wait();
    // The thread of the log has ended.
    within_limit(move || log::write_totals(&handle.stats(), started.elapsed()));
    Ok(ended?)
}
