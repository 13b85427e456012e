//! The chat client, and the greeting client: arguments, call, exit code.

mod complete;
mod echo;
mod greet;
mod input;
mod interactive;
mod json;
mod known;
mod look;
mod pace;
mod paint;
mod screen;
mod typist;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use bullhorn::client::{self, Name, ProtocolChoice, RoomName, ServerAddress, SessionConfig};
use bullhorn::config::parse_duration;
use clap::builder::{BoolishValueParser, NonEmptyStringValueParser};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::greet::{Greeting, greet};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Not `conflicts_with`, to which a variable that says false is a conflict too.
    if arguments.json && arguments.greet.is_some() {
        let conflict = ErrorKind::ArgumentConflict;
        let mut command = Arguments::command();
        command
            .error(conflict, "--json cannot be used with --greet")
            .exit();
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without anyone to read it, the exit code still says it.
            let _ = writeln!(io::stderr(), "client: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Chats at a bullhorn server: each line you enter goes to everyone in your
/// room, and what they say appears here. The line `quit` leaves.
///
/// What begins with / is a command: /help lists them, the tab key completes them,
/// and /ping alone measures how far away the server is.
///
/// Standard input may be a pipe: `echo hello | client`. Speakers have colours on a
/// terminal, unless NO_COLOR is set.
#[derive(Parser)]
#[command(name = "client", version, next_line_help = true)]
struct Arguments {
    /// Where the server is: a name or an IPv4 address and a port, or an IPv6
    /// address in brackets, as `[::1]:9999`
    #[arg(
        value_name = "HOST:PORT",
        env = "BULLHORN_SERVER",
        default_value = "127.0.0.1:9999"
    )]
    server: ServerAddress,

    /// What to speak with the server: v2, v1, or auto, which is v2 and falls back
    /// to v1 if the server does not answer in it. You see the same. A simple server
    /// that fails at what is not UTF-8 needs v1
    #[arg(long, value_name = "VERSION", env = "BULLHORN_CLIENT_PROTOCOL")]
    #[arg(default_value = "auto")]
    protocol: ProtocolChoice,

    /// What to be called: 1 to 24 of A-Z a-z 0-9 _ -. Asked for again when the
    /// server comes back, as is the name that you take later with /nick
    #[arg(long, value_name = "NAME", env = "BULLHORN_CLIENT_NICK")]
    nick: Option<Name>,

    /// The room to go to: 1 to 32 of A-Z a-z 0-9 _ -. The same goes for it
    #[arg(long, value_name = "ROOM", env = "BULLHORN_CLIENT_ROOM")]
    room: Option<RoomName>,

    /// Print a JSON object a line for each event, for programs; input is said as ever.
    /// Its field `event` is message or private (with from, text, and payload_base64
    /// if that is not UTF-8), notice (code, text), room (room), text (text: a line of
    /// protocol v1), pong (round_trip_ms, lost, expected), up, down (reason) or
    /// missed (count)
    #[arg(long, env = "BULLHORN_CLIENT_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

    /// Time between heartbeats, 10ms to 1m. The server forgets a client that it
    /// has not heard for 10 s
    #[arg(long, value_name = "TIME", env = "BULLHORN_CLIENT_HEARTBEAT")]
    #[arg(default_value_t = client::HEARTBEAT.into(), value_parser = from_10ms_to_1m)]
    heartbeat: humantime::Duration,

    /// The server counts as down when nothing comes for this long after you
    /// said something, 10ms to 1m
    #[arg(long, value_name = "TIME", env = "BULLHORN_CLIENT_ANSWER_WITHIN")]
    #[arg(default_value_t = client::ANSWER_WITHIN.into(), value_parser = from_10ms_to_1m)]
    answer_within: humantime::Duration,

    /// Time before the first try while the server is down, 10ms to 1m; it
    /// doubles with each, up to the time between heartbeats
    #[arg(long, value_name = "TIME", env = "BULLHORN_CLIENT_RETRY")]
    #[arg(default_value_t = client::RETRY.into(), value_parser = from_10ms_to_1m)]
    retry: humantime::Duration,

    /// After it was down, the server counts as back when it has not refused a
    /// heartbeat for this long, 10ms to 1m
    #[arg(long, value_name = "TIME", env = "BULLHORN_CLIENT_SETTLE")]
    #[arg(default_value_t = client::SETTLE.into(), value_parser = from_10ms_to_1m)]
    settle: humantime::Duration,

    /// At the end of piped input, wait at most this long for the echo of the
    /// last text, 0s to 1m
    #[arg(long, value_name = "TIME", env = "BULLHORN_CLIENT_LINGER")]
    #[arg(default_value_t = LINGER.into(), value_parser = up_to_1m)]
    linger: humantime::Duration,

    /// Do not chat: send this text once, print the socket's addresses before
    /// and after connecting, then the answer, and end
    #[arg(long, value_name = "TEXT", env = "BULLHORN_CLIENT_GREET")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    greet: Option<String>,

    /// With --greet: how often to send it if nothing answers, 1 to 100 times
    #[arg(
        long,
        value_name = "COUNT",
        env = "BULLHORN_CLIENT_ATTEMPTS",
        default_value_t = 3
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,

    /// With --greet: how long to wait for an answer each time, 10ms to 1m
    #[arg(long, value_name = "TIME", env = "BULLHORN_CLIENT_WAIT")]
    #[arg(default_value_t = WAIT.into(), value_parser = from_10ms_to_1m)]
    wait: humantime::Duration,
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    if let Some(text) = arguments.greet {
        let greeting = Greeting {
            text,
            attempts: arguments.attempts,
            wait: arguments.wait.into(),
        };
        greet(&arguments.server, &greeting, &mut io::stdout())?;
        return Ok(());
    }
    let mut config = SessionConfig::new(arguments.server);
    config.protocol = arguments.protocol;
    config.nick = arguments.nick;
    config.room = arguments.room;
    config.heartbeat = arguments.heartbeat.into();
    config.answer_within = arguments.answer_within.into();
    config.retry = arguments.retry.into();
    config.settle = arguments.settle.into();
    let options = interactive::Options {
        linger: arguments.linger.into(),
        is_json: arguments.json,
    };
    interactive::run(config, options)?;
    Ok(())
}

fn from_10ms_to_1m(written: &str) -> Result<humantime::Duration, String> {
    parse_duration(written, &(TIME_MIN..=TIME_MAX)).map(Into::into)
}

fn up_to_1m(written: &str) -> Result<humantime::Duration, String> {
    parse_duration(written, &(Duration::ZERO..=TIME_MAX)).map(Into::into)
}

/// A round trip across the world fits in three times; a person waits this long.
const LINGER: Duration = Duration::from_secs(1);

/// As [`LINGER`].
const WAIT: Duration = Duration::from_secs(1);

/// Below this, timers of the system are not exact, and heartbeats are a flood.
const TIME_MIN: Duration = client::HEARTBEAT_MIN;

/// Above this, a wait is more likely a mistake than a wish.
const TIME_MAX: Duration = Duration::from_secs(60);
