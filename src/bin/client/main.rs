//! The chat client, and the greeting client: arguments, call, exit code.

mod chat;
mod commands;
mod completion;
mod greet;
mod input;
mod json;
mod line;
mod render;
mod screen;
mod sender;
mod wrap;

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bullhorn::client::{self, Name, ProtocolChoice, RoomName, ServerAddress, SessionConfig};
use bullhorn::program::CLIENT;
use clap::Parser;
use clap::builder::{
    BoolishValueParser, NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser,
};

use crate::greet::{Greeting, greet};

fn main() -> ExitCode {
    let arguments: Arguments = CLIENT.parse();
    // Not `conflicts_with`, for which a variable that says false is a conflict, too.
    if arguments.json && arguments.greet.is_some() {
        CLIENT.refuse::<Arguments>("--json cannot be used with --greet");
    }
    if arguments.servers.len() > 1 && arguments.greet.is_some() {
        CLIENT.refuse::<Arguments>("--greet has one server");
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a reader, the exit code still says it.
            let _ = writeln!(io::stderr(), "{}: {error}", CLIENT.called());
            ExitCode::FAILURE
        }
    }
}

/// A chat client: each line that you enter goes to everyone in your room, and what they say
/// appears here.
///
/// A line that begins with / is a command: /help lists them, and the tab key completes them.
/// //text says a text that begins with /.
///
/// Standard input may be a pipe: `echo hello | client`. The exit code is 0 only if the last
/// line was delivered. Senders have colours on a terminal, unless NO_COLOR is set.
#[derive(Parser)]
#[command(name = "client", next_line_help = true)]
struct Arguments {
    /// The server: a name or an IPv4 address, or an IPv6 address in brackets, and a port,
    /// which is 9999 by default: `chat.example`, `192.0.2.1:9999`, `[::1]:9999`
    ///
    /// Of several servers of a cluster, the first is used, and another one when it is gone. The
    /// variable has them with commas between them.
    #[arg(
        value_name = "HOST[:PORT]",
        env = "BULLHORN_SERVER",
        default_value = "127.0.0.1:9999",
        value_delimiter = ',',
        num_args = 1..
    )]
    servers: Vec<ServerAddress>,

    /// Version of the protocol: v2, v1, or auto, which falls back to v1 if the server does not
    /// answer in v2. A simple server that fails at bytes that are not UTF-8 needs v1
    #[arg(long, value_name = "VERSION", env = "BULLHORN_CLIENT_PROTOCOL")]
    #[arg(default_value = "auto", hide_possible_values = true)]
    #[arg(value_parser = PossibleValuesParser::new(["auto", "v1", "v2"])
        .try_map(|text| text.parse::<ProtocolChoice>()))]
    #[arg(help_heading = CONNECTION)]
    protocol: ProtocolChoice,

    /// Your name: 1 to 24 of A-Z a-z 0-9 _ -. It is requested again when the server was down,
    /// as is a name that you take later with /nick
    #[arg(long, value_name = "NAME", env = "BULLHORN_CLIENT_NICK")]
    #[arg(help_heading = CHAT)]
    nick: Option<Name>,

    /// Your room: 1 to 32 of A-Z a-z 0-9 _ -. It is joined again when the server was down
    #[arg(long, value_name = "ROOM", env = "BULLHORN_CLIENT_ROOM")]
    #[arg(help_heading = CHAT)]
    room: Option<RoomName>,

    /// Print a JSON object per line for each event, for programs
    ///
    /// Its field `event` is message or private (with from, text, and payload_base64 if it is not
    /// UTF-8), notice (code, text), room (room), pong (round_trip_ms, lost, expected), up
    /// (protocol), down (reason), server (address), name_lost (name), undelivered (texts, sent), forgotten, limited (resource,
    /// per_second), or missed (count).
    #[arg(long, env = "BULLHORN_CLIENT_JSON", value_parser = BoolishValueParser::new())]
    #[arg(help_heading = OUTPUT)]
    json: bool,

    /// Append all that is printed to this file, as plain text
    #[arg(long, value_name = "FILE", env = "BULLHORN_CLIENT_TRANSCRIPT")]
    #[arg(help_heading = OUTPUT)]
    transcript: Option<PathBuf>,

    /// The server does not send texts back to their sender. They count as delivered when they
    /// are sent
    #[arg(long, env = "BULLHORN_CLIENT_NO_ECHO", value_parser = BoolishValueParser::new())]
    #[arg(help_heading = CHAT)]
    no_echo: bool,

    /// Time between heartbeats, 10ms to 1m. The server drops a client that was silent for 10 s
    #[arg(long, value_name = "DURATION", env = "BULLHORN_CLIENT_HEARTBEAT")]
    #[arg(default_value_t = client::HEARTBEAT_INTERVAL.into(), value_parser = from_10ms_to_1m)]
    #[arg(help_heading = CONNECTION)]
    heartbeat: humantime::Duration,

    /// Time after which the server counts as down if nothing has come after you said something,
    /// 10ms to 1m
    #[arg(long, value_name = "DURATION", env = "BULLHORN_CLIENT_ANSWER_WITHIN")]
    #[arg(default_value_t = client::ANSWER_TIMEOUT.into(), value_parser = from_10ms_to_1m)]
    #[arg(help_heading = CONNECTION)]
    answer_within: humantime::Duration,

    /// Time before the first attempt while the server is down, 10ms to 1m. It doubles with each
    /// attempt, up to the time between heartbeats. Each wait is up to a quarter shorter or longer,
    /// at random
    #[arg(long, value_name = "DURATION", env = "BULLHORN_CLIENT_RETRY")]
    #[arg(default_value_t = client::RETRY_DELAY.into(), value_parser = from_10ms_to_1m)]
    #[arg(help_heading = CONNECTION)]
    retry: humantime::Duration,

    /// Time after which a server counts as up again if it has not refused a heartbeat, 10ms to
    /// 1m
    #[arg(long, value_name = "DURATION", env = "BULLHORN_CLIENT_SETTLE")]
    #[arg(default_value_t = client::SETTLE_TIME.into(), value_parser = from_10ms_to_1m)]
    #[arg(help_heading = CONNECTION)]
    settle: humantime::Duration,

    /// Time to wait at the end of piped input until the last line is delivered, or with
    /// --greet for the answer to each attempt, 0s to 1m [default: 5s, or 1s with --greet]
    #[arg(long, value_name = "DURATION", env = "BULLHORN_CLIENT_WAIT", value_parser = up_to_1m)]
    #[arg(help_heading = CONNECTION)]
    wait: Option<humantime::Duration>,

    /// Do not chat: send this text once, print the socket's addresses before and after
    /// connecting, then the answer, and exit
    #[arg(long, value_name = "TEXT", env = "BULLHORN_CLIENT_GREET")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    #[arg(help_heading = TUTORIAL)]
    greet: Option<String>,

    /// With --greet: number of attempts if nothing answers, 1 to 100
    #[arg(
        long,
        value_name = "COUNT",
        env = "BULLHORN_CLIENT_ATTEMPTS",
        default_value_t = 3
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    #[arg(help_heading = TUTORIAL)]
    attempts: u32,
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let wait = arguments.wait.map(Duration::from);
    let mut servers = arguments.servers.into_iter();
    // There is a default.
    let server = servers.next().ok_or("no server")?;
    if let Some(text) = arguments.greet {
        let greeting = Greeting {
            text,
            attempts: arguments.attempts,
            wait: wait.unwrap_or(GREETING_WAIT),
        };
        greet(&server, &greeting, &mut io::stdout())?;
        return Ok(());
    }
    let mut config = SessionConfig::new(server);
    config.other_servers = servers.filter(has_address).collect();
    config.protocol = arguments.protocol;
    config.nick = arguments.nick;
    config.room = arguments.room;
    config.heartbeat_interval = arguments.heartbeat.into();
    config.answer_timeout = arguments.answer_within.into();
    config.retry_delay = arguments.retry.into();
    config.settle_time = arguments.settle.into();
    config.expects_echo = !arguments.no_echo;
    // A text that is shown twice does less harm than a line of a file that is missing.
    config.repeat_limited = true;
    let open = |path: PathBuf| {
        let file = File::options().append(true).create(true).open(&path);
        file.map_err(|error| format!("cannot open {}: {error}", path.display()))
    };
    let options = chat::Options {
        wait: wait.unwrap_or(WAIT),
        is_json: arguments.json,
        log: arguments.transcript.map(open).transpose()?,
    };
    chat::chat(config, options)?;
    Ok(())
}

/// Returns false if the server has no address, and says so. The chat goes on without it.
fn has_address(server: &ServerAddress) -> bool {
    let result = server.resolve();
    if let Err(error) = &result {
        let program = CLIENT.called();
        // Without a reader, the other servers are used all the same.
        let _ = writeln!(io::stderr(), "{program}: cannot resolve {server}: {error}");
    }
    result.is_ok()
}

fn from_10ms_to_1m(text: &str) -> Result<humantime::Duration, String> {
    parse_time(text, client::MIN_HEARTBEAT)
}

fn up_to_1m(text: &str) -> Result<humantime::Duration, String> {
    parse_time(text, Duration::ZERO)
}

fn parse_time(text: &str, min: Duration) -> Result<humantime::Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (min..=MAX_TIME).contains(&time) => Ok(time.into()),
        Ok(_) => {
            let (min, max) = (
                humantime::Duration::from(min),
                humantime::Duration::from(MAX_TIME),
            );
            Err(format!("must lie between {min} and {max}"))
        }
        Err(_) => Err("must be a number with a unit, such as 10s or 250ms".into()),
    }
}

const CHAT: &str = "Chat";
const OUTPUT: &str = "Output";
const CONNECTION: &str = "Connection";
const TUTORIAL: &str = "Tutorial";

/// More than the first answer of a server and an echo may take.
const WAIT: Duration = Duration::from_secs(5);

/// A round trip across the world fits in three times.
const GREETING_WAIT: Duration = Duration::from_secs(1);

/// A longer wait is more likely a mistake than a wish.
const MAX_TIME: Duration = Duration::from_secs(60);
