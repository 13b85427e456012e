//! The client against a server that the test plays, and that speaks v1: real
//! sockets, and real `client` processes. Nothing waits for a fixed time; each wait is for
//! something that must happen, with a bound far beyond what it takes.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also outside of its function, that is how it fails"
)]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::client::{
    DownReason, Event, NotAText, ProtocolChoice, ServerAddress, Session, SessionConfig,
    SessionError,
};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

// The session as a library type.

#[test]
fn registers_at_once_and_keeps_beating() {
    let server = Server::start();
    let _session = connect(&server);
    let (first, from) = server.receive();
    assert_eq!(first, b"@im@");
    for _ in 0..3 {
        assert_eq!(server.receive(), (b"@im@".to_vec(), from));
    }
}

#[test]
fn no_text_outruns_the_first_heartbeat() {
    for _ in 0..50 {
        let server = Server::start();
        let session = connect(&server);
        session.say("me first").unwrap();
        assert_eq!(server.receive().0, b"@im@");
        assert_eq!(server.receive().0, b"me first");
    }
}

#[test]
fn hears_texts_and_survives_anything_else() {
    let server = Server::start();
    let session = connect(&server);
    let client = server.client();
    for datagram in [&b""[..], b"\n", b"not \xff utf-8", b"", b"a text\n"] {
        server.send(datagram, client);
    }
    assert_eq!(next(&session), Event::Text("not \u{fffd} utf-8".to_owned()));
    assert_eq!(next(&session), Event::Text("a text".to_owned()));
    assert!(session.is_up());
}

#[test]
fn says_texts_as_they_are() {
    let server = Server::start();
    let session = connect(&server);
    let long = "x".repeat(60_000);
    for text in [" spaces ", "/who", "ümlaut", &long] {
        session.say(text).unwrap();
        assert_eq!(server.receive_text(), text.as_bytes());
    }
}

#[test]
fn refuses_what_nobody_would_hear() {
    let server = Server::start();
    let session = connect(&server);
    for (text, reason) in [
        ("", NotAText::Blank),
        ("@IM@", NotAText::Heartbeat),
        ("Quit", NotAText::Leave),
    ] {
        match session.say(text) {
            Err(SessionError::NotAText(why)) => assert_eq!(why, reason),
            other => panic!("{text:?}: {other:?}"),
        }
    }
    let too_long = "x".repeat(70_000);
    match session.say(&too_long) {
        Err(SessionError::TooLong { bytes }) => assert_eq!(bytes, 70_000),
        other => panic!("{other:?}"),
    }
    session.say("still here").unwrap();
    assert_eq!(server.receive_text(), b"still here");
}

#[test]
fn leaving_and_dropping_tell_the_server() {
    let server = Server::start();
    let session = connect(&server);
    let speaker = session.speaker();
    server.client();
    session.leave();
    assert_eq!(server.receive_text(), b"quit");
    assert!(matches!(speaker.say("late"), Err(SessionError::Ended)));

    drop(connect(&server));
    assert_eq!(server.receive_text(), b"quit");
}

#[test]
fn a_refusal_is_down_and_a_heartbeat_that_is_not_refused_is_back() {
    let server = Server::start_alone();
    let session = connect(&server);
    server.client();
    let address = server.stop();
    let refused = DownReason::Unreachable(ErrorKind::ConnectionRefused);
    assert_eq!(next(&session), Event::Down(refused));
    assert!(!session.is_up());

    let server = Server::restart(address);
    assert_eq!(server.receive().0, b"@im@");
    assert_eq!(next(&session), Event::Up);
    assert!(session.is_up());
    session.say("again").unwrap();
    assert_eq!(server.receive_text(), b"again");
}

#[test]
fn a_text_from_the_server_is_back_without_waiting() {
    let server = Server::start_alone();
    let mut config = config_for(&server);
    config.settle = 2 * PATIENCE;
    let session = Session::connect(config).unwrap();
    server.client();
    let address = server.stop();
    assert!(matches!(next(&session), Event::Down(_)));

    let server = Server::restart(address);
    let client = server.client();
    server.send(b"welcome back", client);
    assert_eq!(next(&session), Event::Up);
    assert_eq!(next(&session), Event::Text("welcome back".to_owned()));
}

#[test]
fn starts_before_the_server_does() {
    let address = Server::start_alone().stop();
    let session = Session::connect(quick(address)).unwrap();
    assert!(matches!(next(&session), Event::Down(_)));
    let server = Server::restart(address);
    assert_eq!(server.receive().0, b"@im@");
    assert_eq!(next(&session), Event::Up);
}

#[test]
fn a_server_that_answers_no_text_is_down_until_it_sends_something() {
    let server = Server::start();
    let mut config = config_for(&server);
    config.answer_within = Duration::from_millis(100);
    let session = Session::connect(config).unwrap();
    let client = server.client();
    session.say("anyone?").unwrap();
    let silent = DownReason::NoAnswer(Duration::from_millis(100));
    assert_eq!(next(&session), Event::Down(silent));

    assert_eq!(server.receive_text(), b"anyone?");
    // It goes on from the same port, by which the server knows it.
    assert_eq!(server.receive(), (b"@im@".to_vec(), client));
    server.send(b"here", client);
    assert_eq!(next(&session), Event::Up);
    assert_eq!(next(&session), Event::Text("here".to_owned()));
}

#[test]
fn texts_beyond_the_bound_are_counted() {
    let server = Server::start();
    let mut config = config_for(&server);
    config.events_max = 2;
    // What is told late must not wait for this.
    config.heartbeat = 2 * PATIENCE;
    let session = Session::connect(config).unwrap();
    let client = server.client();
    for n in 0..10 {
        server.send(format!("text {n}").as_bytes(), client);
    }
    wait_until(|| session.texts_missed() == 8);
    assert_eq!(next(&session), Event::Text("text 0".to_owned()));
    assert_eq!(next(&session), Event::Text("text 1".to_owned()));
    assert_eq!(next(&session), Event::Missed(8));
    server.send(b"after", client);
    assert_eq!(next(&session), Event::Text("after".to_owned()));
}

#[test]
fn a_name_is_tried_at_each_of_its_addresses() {
    // Often the name has an IPv6 address too, and comes to that first.
    let server = Server::start();
    let name = format!("localhost:{}", server.address().port());
    let mut config = SessionConfig::new(name.parse().unwrap());
    config.protocol = ProtocolChoice::V1;
    let session = Session::connect(config).unwrap();
    let client = server.client();
    server.send(b"found", client);
    assert_eq!(next(&session), Event::Text("found".to_owned()));
}

#[test]
fn a_name_without_an_address_is_an_error() {
    let config = SessionConfig::new("no-such-host.invalid:9999".parse().unwrap());
    let error = Session::connect(config).unwrap_err();
    assert!(matches!(error, SessionError::Resolve { .. }), "{error}");
}

#[test]
fn speaks_ipv6() {
    let Some(server) = Server::start_ipv6() else {
        return;
    };
    let session = connect(&server);
    let client = server.client();
    assert!(client.is_ipv6());
    session.say("six").unwrap();
    assert_eq!(server.receive_text(), b"six");
    server.send(b"[::1]:7 six", client);
    assert_eq!(next(&session), Event::Text("[::1]:7 six".to_owned()));
}

// The chat program, over pipes.

#[test]
fn a_piped_text_is_echoed_before_the_client_leaves() {
    let server = Server::start();
    let mut client = Process::start(&server, &["--linger", "1m"]);
    client.type_in("hi\n");
    client.end_input();
    let from = server.client();
    assert_eq!(server.receive_text(), b"hi");
    server.send(b"ann something else", from);
    server.send(b"127.0.0.1:7 hi", from);
    let output = client.finish();
    assert_eq!(output.text(), "ann something else\n127.0.0.1:7 hi\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(server.receive_text(), b"quit");
}

#[test]
fn a_piped_command_shows_all_of_its_answer() {
    let server = Server::start();
    let mut client = Process::start(&server, &["--linger", "1m"]);
    client.type_in("/who\n");
    client.end_input();
    let from = server.client();
    assert_eq!(server.receive_text(), b"/who");
    server.send(b"* ann", from);
    server.send(b"* bob", from);
    let output = client.finish();
    assert_eq!(output.text(), "* ann\n* bob\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_piped_text_without_an_echo_ends_in_time_and_says_so() {
    let server = Server::start();
    let mut client = Process::start(&server, &["--linger", "50ms"]);
    client.type_in("hi\n");
    client.end_input();
    let output = client.finish();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.errors().contains("did not echo"), "{output:?}");
}

#[test]
fn a_piped_text_to_a_server_that_is_down_is_a_failure() {
    let address = Server::start_alone().stop();
    let mut client = Process::start_at(&address.to_string(), &["--linger", "1m"]);
    client.wait_for(&format!("{address} is down\n"));
    client.type_in("hi\n");
    client.end_input();
    let output = client.finish();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.errors().contains("not delivered"), "{output:?}");
}

#[test]
fn quit_says_bye_bye_and_blank_lines_say_nothing() {
    let server = Server::start();
    let mut client = Process::start(&server, &[]);
    client.type_in("\n   \n\t\n  QuiT \r\nnever said\n");
    assert_eq!(server.receive().0, b"@im@");
    assert_eq!(server.receive().0, b"quit");
    let output = client.finish();
    assert_eq!(output.text(), "bye bye\n");
    assert_eq!(output.errors(), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn nothing_received_can_drive_the_terminal() {
    let server = Server::start();
    let mut client = Process::start(&server, &[]);
    let from = server.client();
    server.send(b"eve \x1b[2J\r\x07\ttab\n\xff \xc2\x9b", from);
    server.send("eve \u{202e}".as_bytes(), from);
    client.wait_for("eve \\x1b[2J\\x0d\\x07\ttab\\x0a\u{fffd} \\x9b\n");
    client.wait_for("eve \\u{202e}\n");
}

#[test]
fn says_when_the_server_is_down_and_back() {
    let server = Server::start_alone();
    let mut client = Process::start(&server, &QUICK);
    server.client();
    let address = server.stop();
    client.wait_for(&format!("{address} is down\n"));
    let server = Server::restart(address);
    client.wait_for(&format!("{address} is back\n"));
    assert_eq!(server.receive().0, b"@im@");
}

#[test]
fn says_when_the_server_does_not_answer() {
    let server = Server::start();
    let mut client = Process::start(&server, &["--answer-within", "50ms"]);
    client.type_in("hi\n");
    let address = server.address();
    client.wait_for(&format!("{address} is down (no answer within 50ms)\n"));
}

#[test]
fn says_what_was_not_sent_and_goes_on() {
    let server = Server::start();
    let mut client = Process::start(&server, &[]);
    let from = server.client();
    client.type_in(&format!("{}\n@im@\n", "x".repeat(65_520)));
    client.type_in(&format!("{}\nstill here\n", "x".repeat(200_000)));
    assert_eq!(server.receive_text(), b"still here");
    client.type_in("quit\n");
    server.send(b"me still here", from);
    let errors = client.finish().errors();
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(lines[0].contains("65520 bytes does not fit"), "{errors}");
    assert!(lines[1].contains("heartbeat"), "{errors}");
    assert!(lines[2].contains("too long"), "{errors}");
}

#[test]
fn signals_make_it_leave_properly() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let server = Server::start();
        let client = Process::start(&server, &[]);
        server.client();
        client.signal(signal);
        assert_eq!(server.receive_text(), b"quit", "{signal}");
        assert_eq!(client.finish().status.code(), Some(0), "{signal}");
    }
}

#[test]
fn takes_its_options_from_the_environment() {
    let server = Server::start();
    let mut command = command();
    command.env("BULLHORN_SERVER", server.address().to_string());
    command.env("BULLHORN_CLIENT_HEARTBEAT", "20ms");
    let _client = Process::spawn(&mut command);
    for _ in 0..3 {
        assert_eq!(server.receive().0, b"@im@");
    }
}

// The greeting program.

#[test]
fn greets_and_prints_the_addresses_and_the_answer() {
    let server = Server::start();
    let client = Process::start(&server, &["--greet", "hello world"]);
    let (greeting, from) = server.receive();
    assert_eq!(greeting, b"hello world");
    server.send(b"", from);
    server.send(b"well met \x1b", from);
    let output = client.finish();
    let (port, remote) = (from.port(), server.address());
    let expected = format!(
        "before connecting: local 0.0.0.0:{port}, remote none\n\
         after connecting: local 127.0.0.1:{port}, remote {remote}\n\
         well met \\x1b\n"
    );
    assert_eq!(output.text(), expected);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn greets_again_when_nothing_answers() {
    let server = Server::start();
    let options = ["--greet", "hello", "--wait", "100ms", "--attempts", "100"];
    let client = Process::start(&server, &options);
    let first = server.receive();
    let second = server.receive();
    assert_eq!(first, second);
    server.send(b"at last", second.1);
    let output = client.finish();
    assert!(output.text().ends_with("\nat last\n"), "{output:?}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn greeting_in_vain_is_a_failure() {
    let server = Server::start();
    let options = ["--greet", "hello", "--wait", "10ms", "--attempts", "2"];
    let output = Process::start(&server, &options).finish();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("no answer from {} to 2 attempts", server.address());
    assert!(output.errors().contains(&expected), "{output:?}");
    for _ in 0..2 {
        assert_eq!(server.receive().0, b"hello");
    }
    assert!(server.is_idle(), "two attempts are two datagrams");
}

#[test]
fn greeting_where_nothing_listens_is_a_failure() {
    let address = Server::start_alone().stop().to_string();
    let options = ["--greet", "hello", "--wait", "10ms"];
    let output = Process::start_at(&address, &options).finish();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("{address} refused");
    assert!(output.errors().contains(&expected), "{output:?}");
}

#[test]
fn a_greeting_that_fits_no_datagram_is_a_failure() {
    let server = Server::start();
    let text = "x".repeat(70_000);
    let output = Process::start(&server, &["--greet", &text]).finish();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.errors().contains("does not fit"), "{output:?}");
}

#[test]
fn greets_over_ipv6_and_by_name() {
    let server = Server::start();
    let name = format!("localhost:{}", server.address().port());
    let client = Process::start_at(&name, &["--greet", "hello"]);
    server.send(b"hi", server.receive().1);
    assert!(client.finish().text().ends_with("\nhi\n"));

    let Some(server) = Server::start_ipv6() else {
        return;
    };
    let client = Process::start(&server, &["--greet", "hello"]);
    server.send(b"hi", server.receive().1);
    assert!(client.finish().text().ends_with("\nhi\n"));
}

// Arguments.

#[test]
fn bad_arguments_are_named_with_what_is_right() {
    for (arguments, right) in [
        (&["localhost"][..], "write HOST:PORT"),
        (&["localhost:70000"], "1 to 65535"),
        (&["::1:9999"], "[::1]:9999"),
        (&["127.0.0.1:9999", "more"], "unexpected argument"),
        (&["--heartbeat", "5"], "500ms, 5s or 1m"),
        (&["--heartbeat", "1ms"], "10ms to 1m"),
        (&["--settle", "2h"], "10ms to 1m"),
        (&["--linger", "2m"], "0s to 1m"),
        (&["--protocol", "v3"], "auto, v1 or v2"),
        (&["--greet", ""], "a value is required"),
        (&["--greet", "hi", "--attempts", "0"], "1..=100"),
        (&["--no-such"], "unexpected argument"),
    ] {
        let output = Process::spawn(command().args(arguments)).finish();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.errors().contains(right), "{arguments:?}: {output:?}");
    }
}

// The chat program on a terminal.

#[test]
fn a_received_line_leaves_the_typed_one_alone() {
    let server = Server::start();
    let mut terminal = Terminal::start(&server);
    let from = server.client();
    terminal.wait_for(&["> "]);
    terminal.type_in("half a li");
    terminal.wait_for(&["> half a li"]);
    server.send(b"127.0.0.1:7 news\x1b[2J", from);
    server.send(b"127.0.0.1:7 more", from);
    terminal.wait_for(&[
        "127.0.0.1:7 news\\x1b[2J",
        "127.0.0.1:7 more",
        "> half a li",
    ]);

    terminal.type_in("ne\r");
    assert_eq!(server.receive_text(), b"half a line");
    terminal.wait_for(&["> half a line", "> "]);
    // The arrow key brings the last line back.
    terminal.type_in("\x1b[A");
    terminal.wait_for(&["> half a line", "> half a line"]);
    terminal.type_in("\x15 Quit\r");
    assert_eq!(server.receive_text(), b"quit");
    terminal.wait_for(&[">  Quit", "bye bye", ""]);
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn control_d_control_c_and_sigterm_leave_a_terminal_properly() {
    for key in [Some("\x04"), Some("\x03"), None] {
        let server = Server::start();
        let mut terminal = Terminal::start(&server);
        server.client();
        terminal.wait_for(&["> "]);
        match key {
            Some(key) => terminal.type_in(key),
            None => signal(&terminal.child, Signal::SIGTERM),
        }
        assert_eq!(server.receive_text(), b"quit", "{key:?}");
        terminal.wait_for(&["bye bye", ""]);
        assert_eq!(terminal.wait().code(), Some(0), "{key:?}");
    }
}

#[test]
fn pasted_lines_are_texts_of_their_own() {
    let server = Server::start();
    let mut terminal = Terminal::start(&server);
    terminal.wait_for(&["> "]);
    terminal.type_in("\x1b[200~one\ntwo\n\x1b[201~\r");
    assert_eq!(server.receive_text(), b"one");
    assert_eq!(server.receive_text(), b"two");
}

// What the tests are made of.

/// A bound for what must happen; it takes milliseconds unless something is
/// wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options that make the client notice and try again soon.
const QUICK: [&str; 6] = [
    "--heartbeat",
    "50ms",
    "--retry",
    "20ms",
    "--settle",
    "100ms",
];

fn quick(server: SocketAddr) -> SessionConfig {
    let mut config = SessionConfig::new(ServerAddress::from(server));
    config.protocol = ProtocolChoice::V1;
    config.heartbeat = Duration::from_millis(50);
    config.retry = Duration::from_millis(20);
    config.settle = Duration::from_millis(100);
    config
}

fn config_for(server: &Server) -> SessionConfig {
    quick(server.address())
}

fn connect(server: &Server) -> Session {
    Session::connect(config_for(server)).unwrap()
}

fn next(session: &Session) -> Event {
    session.events().recv_timeout(PATIENCE).unwrap()
}

fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to that");
        thread::yield_now();
    }
}

/// The server, as far as a test needs one.
struct Server {
    socket: UdpSocket,
}

impl Server {
    fn start() -> Self {
        Self::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    /// At an address that no other socket here uses, so that the port is free
    /// again after a stop.
    fn start_alone() -> Self {
        Self::bind("127.0.0.77:0".parse().unwrap()).unwrap()
    }

    /// None where the system has no IPv6.
    fn start_ipv6() -> Option<Self> {
        Self::bind("[::1]:0".parse().unwrap()).ok()
    }

    fn restart(address: SocketAddr) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::bind(address) {
                Ok(server) => return server,
                Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
            }
        }
    }

    fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    fn stop(self) -> SocketAddr {
        self.address()
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => {
                    let (length, from) = result.unwrap();
                    buffer.truncate(length);
                    return (buffer, from);
                }
            }
        }
    }

    /// The next datagram that is not a heartbeat.
    fn receive_text(&self) -> Vec<u8> {
        loop {
            let (datagram, _) = self.receive();
            if datagram != b"@im@" {
                return datagram;
            }
        }
    }

    /// Who sends the next datagram, which must be a heartbeat.
    fn client(&self) -> SocketAddr {
        let (datagram, from) = self.receive();
        assert_eq!(datagram, b"@im@");
        from
    }

    /// True if nothing has come that was not received.
    fn is_idle(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        self.socket.recv(&mut [0; 1]).is_err()
    }

    fn send(&self, datagram: &[u8], to: SocketAddr) {
        self.socket.send_to(datagram, to).unwrap();
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BULLHORN_") {
            command.env_remove(name);
        }
    }
    command.env("BULLHORN_CLIENT_PROTOCOL", "v1");
    command
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    kill(pid, signal).unwrap();
}

/// A client with pipes in place of a terminal.
struct Process {
    child: Child,
    output: Transcript,
}

impl Process {
    fn start(server: &Server, options: &[&str]) -> Self {
        Self::start_at(&server.address().to_string(), options)
    }

    fn start_at(server: &str, options: &[&str]) -> Self {
        Self::spawn(command().args(options).arg(server))
    }

    fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Transcript::of(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn type_in(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    fn end_input(&mut self) {
        self.child.stdin = None;
    }

    fn signal(&self, which: Signal) {
        signal(&self.child, which);
    }

    /// Waits until this has been printed.
    fn wait_for(&mut self, text: &str) {
        self.output
            .wait_until(|bytes| String::from_utf8_lossy(bytes).contains(text));
    }

    /// Waits until it ends by itself, its input still open.
    fn finish(mut self) -> Output {
        let stdin = self.child.stdin.take();
        let status = wait(&mut self.child);
        drop(stdin);
        let mut stderr = Vec::new();
        let mut errors = self.child.stderr.take().unwrap();
        errors.read_to_end(&mut stderr).unwrap();
        let stdout = self.output.rest();
        Output {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

trait OutputText {
    fn text(&self) -> String;
    fn errors(&self) -> String;
}

impl OutputText for Output {
    fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    fn errors(&self) -> String {
        String::from_utf8(self.stderr.clone()).unwrap()
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= deadline {
            child.kill().unwrap();
            panic!("the client does not end");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// All that was read from somewhere, by a thread of its own.
struct Transcript {
    chunks: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Transcript {
    fn of(mut source: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose last user has gone gives an error, not an end.
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            chunks,
            bytes: Vec::new(),
        }
    }

    fn wait_until(&mut self, is_so: impl Fn(&[u8]) -> bool) {
        while !is_so(&self.bytes) {
            match self.chunks.recv_timeout(PATIENCE) {
                Ok(chunk) => self.bytes.extend(chunk),
                Err(_) => panic!("it never came to that: {}", self.bytes.escape_ascii()),
            }
        }
    }

    fn rest(&mut self) -> Vec<u8> {
        while let Ok(chunk) = self.chunks.recv_timeout(PATIENCE) {
            self.bytes.extend(chunk);
        }
        std::mem::take(&mut self.bytes)
    }
}

/// A client on a pseudo-terminal.
struct Terminal {
    child: Child,
    keyboard: File,
    output: Transcript,
}

impl Terminal {
    fn start(server: &Server) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).unwrap();
        let other_end = || Stdio::from(pair.slave.try_clone().unwrap());
        let child = command()
            .arg(server.address().to_string())
            .env("TERM", "xterm")
            .stdin(other_end())
            .stdout(other_end())
            .stderr(other_end())
            .spawn()
            .unwrap();
        let keyboard = File::from(pair.master);
        let output = Transcript::of(keyboard.try_clone().unwrap());
        Self {
            child,
            keyboard,
            output,
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until these are the last lines on the screen.
    fn wait_for(&mut self, lines: &[&str]) {
        self.output.wait_until(|bytes| {
            let screen = screen(bytes);
            screen
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .ends_with(lines)
        });
    }

    fn wait(mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal shows after these bytes. It knows what a line editor needs
/// on one row; marks that change only modes and colours show nothing.
fn screen(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let mut column = 0;
    let text = String::from_utf8_lossy(bytes);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let line = lines.last_mut().unwrap();
        match c {
            '\r' => column = 0,
            '\n' => lines.push(Vec::new()),
            '\x1b' => {
                assert_eq!(chars.next(), Some('['));
                let mut number = String::new();
                let command = loop {
                    match chars.next() {
                        Some(c @ ('0'..='9' | ';' | '?')) => number.push(c),
                        Some(c) => break c,
                        // The rest has not come yet.
                        None => return Vec::new(),
                    }
                };
                match command {
                    'K' => line.truncate(column),
                    'C' => column += number.parse().unwrap_or(1),
                    'D' => column -= number.parse().unwrap_or(1),
                    _ => {}
                }
            }
            '\x07' => {}
            c => {
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    lines
        .into_iter()
        .map(|line| line.into_iter().collect())
        .collect()
}
