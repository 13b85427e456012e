//! The chat and fan-out server: arguments, call, exit code.

mod arguments;
mod output;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use bullhorn::config::ServiceKind;
use bullhorn::net::{in_call, share_one_arena};
use bullhorn::program::SERVER;
use bullhorn::server::clock::Clock;
use bullhorn::server::ops::sandbox::{Sandbox, Threads};
use bullhorn::server::ops::signals::SignalWatch;
use bullhorn::server::ops::{console, log, supervise};
use bullhorn::{Server, StartError};

use arguments::Arguments;
use output::print;

fn main() -> ExitCode {
    share_one_arena();
    match run(Arguments::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(io::stderr, format!("{}: {error}\n", SERVER.called()));
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
