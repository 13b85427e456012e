//! The client in protocol v2: against the real server, through a relay that makes
//! faults, and against servers that the test plays. Nothing waits for a fixed
//! time; each wait is for something that must happen, with a bound far beyond
//! what it takes.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also outside of its function, that is how it fails"
)]

#[path = "common/relay.rs"]
mod relay;

use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::client::{
    DownReason, Event, Message, Protocol, ProtocolChoice, Session, SessionConfig, SessionError,
};
use bullhorn::net::{Packet, PeerAddr, Sender, can_segment};
use bullhorn::wire::frame::{
    self, BUNDLE_BYTES, ClientFrame, ServerFrame, Welcome, parse_client, push_padding,
    push_server_frame, push_server_header,
};
use bullhorn::{Server, ServerConfig};

use relay::{Did, Relay};

// Against the real server.

#[test]
fn peers_of_both_protocols_hear_each_other_and_see_the_same() {
    let server = start(2);
    let address = server.local_addr();
    let sessions = [ProtocolChoice::V1, ProtocolChoice::V2, ProtocolChoice::Auto]
        .map(|choice| connect_as(choice, address));
    let stock = stock_client(address);
    wait_until(|| server.stats().peers == 4);
    let expected = [Protocol::V1, Protocol::V2, Protocol::V2].map(Some);
    wait_until(|| sessions.each_ref().map(Session::protocol) == expected);

    for (at, session) in sessions.iter().enumerate() {
        let from = local_addr(session, address);
        session.say(&format!("text {at} \x1b[2J ümlaut\n")).unwrap();
        let expected = format!("{from} text {at} \\x1b[2J ümlaut");
        for hearing in &sessions {
            assert_eq!(next_line(hearing), expected);
        }
        assert_eq!(receive(&stock), expected.as_bytes());
    }
    sessions[2].say_bytes(b"\xff\0").unwrap();
    let from = local_addr(&sessions[2], address);
    assert_eq!(next_line(&sessions[0]), format!("{from} \u{fffd}\\x00"));
    let payload = b"\xff\0".to_vec();
    assert_eq!(
        next(&sessions[1]),
        Event::Message(Message { from, payload })
    );
    stock.send(b"@im@ not").unwrap();
    let from = stock.local_addr().unwrap();
    assert_eq!(next_line(&sessions[1]), format!("{from} @im@ not"));
}

#[test]
fn everyone_hears_everyone_on_many_workers_and_nothing_is_lost() {
    let server = start(4);
    let sessions: Vec<_> = (0..12).map(|_| connect(server.local_addr())).collect();
    wait_until(|| sessions.iter().all(is_open));
    let mut expected = HashSet::new();
    for session in &sessions {
        for text in ["one", "two", "three"] {
            session.say(text).unwrap();
            let from = local_addr(session, server.local_addr());
            expected.insert(format!("{from} {text}"));
        }
    }
    for session in &sessions {
        let heard: HashSet<_> = expected.iter().map(|_| next_line(session)).collect();
        assert_eq!(heard, expected);
        let stats = session.stats();
        assert_eq!(stats.messages.received, 36);
        assert_eq!((stats.messages.lost, stats.messages.repeated), (0, 0));
        assert_eq!((stats.malformed, stats.sessions), (0, 1));
        let received: u64 = stats.streams.iter().map(|each| each.counts.received).sum();
        assert_eq!(received, 36);
    }
}

#[test]
fn a_server_that_stops_says_goodbye_and_one_that_starts_gives_a_new_session() {
    let server = start_at("127.0.0.78:0");
    let address = server.local_addr();
    let session = connect(address);
    session.say("one").unwrap();
    assert!(next_line(&session).ends_with(" one"));
    server.stop().unwrap();
    assert_eq!(next(&session), Event::Down(DownReason::Goodbye));
    assert!(!session.is_up());
    assert!(matches!(session.say("lost"), Err(SessionError::Down)));

    let _server = restart_at(address);
    assert_eq!(next(&session), Event::Up);
    assert_eq!(session.stats().sessions, 2);
    // The new server counts from the beginning; that is no repetition.
    session.say("two").unwrap();
    assert!(next_line(&session).ends_with(" two"));
    let messages = session.stats().messages;
    assert_eq!((messages.received, messages.repeated), (2, 0));
}

#[test]
fn leaving_takes_the_peer_out_at_once() {
    let server = start(1);
    let session = connect(server.local_addr());
    wait_until(|| server.stats().peers == 1);
    wait_until(|| is_open(&session));
    session.leave();
    wait_until(|| server.stats().peers == 0);
    assert_eq!(server.stats().expired, 0);
}

#[test]
fn what_is_said_at_once_and_left_behind_arrives() {
    let server = start(1);
    let hearing = connect(server.local_addr());
    wait_until(|| is_open(&hearing));
    for _ in 0..20 {
        let session = connect(server.local_addr());
        session.say("and gone").unwrap();
        drop(session);
        assert!(next_line(&hearing).ends_with(" and gone"));
    }
}

#[test]
fn starts_before_the_server_does() {
    let address = start_at("127.0.0.78:0").local_addr();
    let session = connect(address);
    assert_eq!(next(&session), Event::Down(refused()));
    let _server = restart_at(address);
    assert_eq!(next(&session), Event::Up);
    wait_until(|| is_open(&session));
}

// Through a relay that makes faults.

#[test]
fn the_counts_are_exactly_what_happened() {
    for seed in 1..=5 {
        check_counts(seed);
    }
}

fn check_counts(seed: u64) {
    let server = start(4);
    let relay = Relay::start(server.local_addr(), 0x9E37_79B9_7F4A_7C15 ^ seed);
    let mut config = quick(relay.address());
    config.protocol = ProtocolChoice::V2;
    let hearing = Session::connect(config).unwrap();
    let speaking: Vec<_> = (0..6).map(|_| connect(server.local_addr())).collect();
    wait_until(|| is_open(&hearing) && speaking.iter().all(is_open));

    let mut said = 0;
    let mut say = |burst: usize, what: &str| {
        for speaking in &speaking {
            for _ in 0..burst {
                said += 1;
                speaking.say(&format!("{what} {said}")).unwrap();
            }
        }
        wait_until(|| relay.seen() == said);
    };
    // The first and the last one of each stream arrive: before the one and after
    // the other no loss can be told.
    say(1, "first");
    relay.set_faulty(true);
    for burst in [1, 2, 9, 1, 30, 5, 1, 1, 17, 1, 2, 3, 1, 1] {
        say(burst, "text");
    }
    relay.set_faulty(false);
    say(1, "last");

    let did = relay.did();
    let matches = || {
        let streams = hearing.stats().streams;
        let total: u64 = streams.iter().map(|stream| stream.counts.received).sum();
        let repeated: u64 = streams.iter().map(|stream| stream.counts.repeated).sum();
        total == did.values().map(|did| did.passed).sum::<u64>()
            && repeated == did.values().map(|did| did.repeated).sum::<u64>()
    };
    wait_until(matches);
    let stats = hearing.stats();
    assert_eq!(stats.streams.len(), did.len());
    for stream in &stats.streams {
        let counts = stream.counts;
        let counted = Did {
            passed: counts.received,
            dropped: counts.lost,
            repeated: counts.repeated,
            swapped: counts.reordered,
        };
        assert_eq!(counted, did[&(stream.room, stream.stream)], "{stream:?}");
        assert_eq!(counts.too_late, 0);
        assert_eq!(counts.expected, counts.received + counts.lost);
    }
    let total = stats.messages;
    assert_eq!(total.expected, said);
    for (what, count) in [
        ("lost", total.lost),
        ("repeated", total.repeated),
        ("reordered", total.reordered),
    ] {
        assert!(count > 0, "seed {seed} had nothing {what}");
    }

    // The application has heard each one that came, once.
    let heard: Vec<_> = (0..total.received).map(|_| next_line(&hearing)).collect();
    let distinct: HashSet<_> = heard.iter().collect();
    assert_eq!(distinct.len(), heard.len());
    assert!(hearing.events().is_empty());
    assert_eq!(
        (stats.malformed, stats.texts_missed, stats.sessions),
        (0, 0, 1)
    );
}

// Against servers that the test plays.

#[test]
fn falls_back_to_v1_and_loses_no_text_by_it() {
    let server = Fake::start();
    let session = Session::connect(quick(server.address())).unwrap();
    session.say("early").unwrap();
    for _ in 0..3 {
        assert_eq!(server.receive_hello(), 64);
    }
    let (heartbeat, client) = server.receive();
    assert_eq!(heartbeat, b"@im@");
    assert_eq!(server.receive_text(), b"early");
    assert_eq!(session.protocol(), Some(Protocol::V1));
    server.send(b"1.2.3.4:5 early", client);
    assert_eq!(next(&session), Event::Text("1.2.3.4:5 early".to_owned()));
    drop(session);
    assert_eq!(server.receive_text(), b"quit");
}

#[test]
fn a_text_said_to_a_v1_server_at_once_and_left_behind_arrives() {
    let server = Fake::start();
    let session = Session::connect(quick(server.address())).unwrap();
    session.say("and gone").unwrap();
    drop(session);
    for _ in 0..3 {
        server.receive_hello();
    }
    for expected in ["@im@", "and gone", "quit"] {
        assert_eq!(server.receive().0, expected.as_bytes());
    }
}

#[test]
fn a_v1_server_is_down_for_who_speaks_v2_only() {
    let server = Fake::start();
    let mut config = quick(server.address());
    config.protocol = ProtocolChoice::V2;
    let session = Session::connect(config).unwrap();
    session.say("never").unwrap();
    assert_eq!(next(&session), Event::Down(silent(GREET)));
    assert!(matches!(session.say("never"), Err(SessionError::Down)));
    assert_eq!(session.stats().unsent, 1);
    for _ in 0..6 {
        server.receive_hello();
    }
}

#[test]
fn a_v1_server_that_starts_late_is_found() {
    let address = Fake::start_at("127.0.0.82:0").unwrap().address();
    let session = Session::connect(quick(address)).unwrap();
    assert_eq!(next(&session), Event::Down(refused()));
    let server = Fake::restart(address);
    assert_eq!(next(&session), Event::Up);
    wait_until(|| session.protocol() == Some(Protocol::V1));
    assert_eq!(server.receive_text(), b"@im@");
}

#[test]
fn a_v1_server_in_whose_place_comes_one_of_v2_is_left_for_it() {
    let server = Fake::start_at("127.0.0.82:0").unwrap();
    let address = server.address();
    let session = Session::connect(quick(address)).unwrap();
    assert_eq!(server.receive_text(), b"@im@");
    drop(server);
    assert_eq!(next(&session), Event::Down(refused()));
    let _server = restart_at(address);
    assert_eq!(next(&session), Event::Up);
    wait_until(|| is_open(&session));
}

#[test]
fn silence_is_down_without_anything_said_and_an_answer_is_back() {
    let server = Fake::start();
    let session = Session::connect(quick(server.address())).unwrap();
    let client = server.welcome(7);
    // Heartbeats come, and no PONG goes back.
    assert_eq!(next(&session), Event::Down(silent(ANSWER)));
    server.receive_all_but_hello(7);
    assert_eq!(server.welcome(7), client);
    assert_eq!(next(&session), Event::Up);
    assert_eq!(session.stats().sessions, 1, "it knew us");
}

#[test]
fn a_server_that_has_forgotten_us_is_greeted_again() {
    let server = Fake::start();
    let session = Session::connect(quick(server.address())).unwrap();
    server.welcome(7);
    for _ in 0..5 {
        server.answer_ping(7);
    }
    assert!(session.is_up());
    // As after a restart that nobody noticed: another session is given.
    server.receive_all_but_hello(7);
    server.welcome(8);
    assert_eq!(next(&session), Event::Down(silent(ANSWER)));
    assert_eq!(next(&session), Event::Up);
    server.answer_ping(8);
    assert_eq!(session.stats().sessions, 2);
}

#[test]
fn no_datagram_disturbs_the_session() {
    let server = Fake::start();
    let mut config = quick(server.address());
    config.protocol = ProtocolChoice::V2;
    let session = Session::connect(config).unwrap();
    let client = server.welcome(7);
    let message = message(0, b"hi");
    let hi = datagram(&[message]);
    let unknown_kind = [&hi[..], &[0x99, 0, 0]].concat();
    let wrong_length = [&hi[..], &[0x84, 0xFF, 0xFF]].concat();
    let long = vec![0xEE; 60_000];
    let malformed = [
        b"1.2.3.4:5 text",
        &hi[..hi.len() - 1],
        &unknown_kind,
        &wrong_length,
        &long,
        b"\xff\x03",
        b"",
    ];
    for bad in malformed {
        server.send(bad, client);
    }
    // These are well formed, and say nothing new.
    let pong = ServerFrame::Pong(b"what?");
    for good in [&datagram(&[]), &datagram(&[pong]), &datagram(&[welcome(9)])] {
        server.send(good, client);
    }
    server.send(&hi, client);
    server.send(&hi, client);
    server.send(&datagram(&[ServerFrame::Notice(b"the end")]), client);
    assert_eq!(next_line(&session), "127.0.0.1:7 hi");
    assert_eq!(next_line(&session), "* the end");
    let stats = session.stats();
    assert_eq!(stats.malformed, malformed.len() as u64);
    assert_eq!((stats.messages.repeated, stats.sessions), (1, 1));
    server.answer_ping(7);
    assert!(session.is_up());
}

#[test]
fn bundles_that_come_as_one_packet_are_told_apart() {
    let server = Fake::start();
    let session = Session::connect(quick(server.address())).unwrap();
    let client = server.welcome(7);
    if !can_segment(&server.socket) {
        return;
    }
    let mut payload = Vec::new();
    for bundle in 0..20 {
        let start = payload.len();
        payload.extend(datagram(&[
            message(2 * bundle, b"even"),
            message(2 * bundle + 1, b"odd"),
        ]));
        if bundle < 19 {
            push_padding(start, BUNDLE_BYTES, &mut payload);
        }
    }
    let packet = Packet {
        to: &PeerAddr::new(client, 0),
        payload: &payload,
        segment_bytes: BUNDLE_BYTES as u16,
        deliveries: 40,
    };
    assert_eq!(Sender::new(true).send(&server.socket, [packet]).sent, 40);
    for number in 0..40 {
        let parity = if number % 2 == 0 { "even" } else { "odd" };
        assert_eq!(next_line(&session), format!("127.0.0.1:7 {parity}"));
    }
    let messages = session.stats().messages;
    assert_eq!((messages.received, messages.lost), (40, 0));
}

// The chat program.

#[test]
fn piped_text_arrives_whole_in_either_protocol() {
    let server = start(2);
    for protocol in ["auto", "v1", "v2"] {
        let lines: Vec<String> = (1..=2000).map(|number| number.to_string()).collect();
        let output = chat(server.local_addr(), &["--protocol", protocol], &lines);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let heard: Vec<_> = printed
            .lines()
            .map(|line| line.split_once(' ').unwrap().1)
            .collect();
        assert_eq!(heard, lines, "{protocol}");
    }
}

#[test]
fn piped_text_without_echoes_goes_on() {
    let server = Fake::start();
    let address = server.address();
    let lines: Vec<String> = (1..=150).map(|number| number.to_string()).collect();
    let arguments = ["--linger", "0s", "--protocol", "v1"];
    let client = thread::spawn({
        let lines = lines.clone();
        move || chat(address, &arguments, &lines)
    });
    assert_eq!(server.receive().0, b"@im@");
    for line in &lines {
        assert_eq!(server.receive_text(), line.as_bytes());
    }
    client.join().unwrap();
}

#[test]
fn the_protocol_can_come_from_the_environment() {
    let server = Fake::start();
    let mut command = chat_command(server.address());
    command.env("BULLHORN_CLIENT_PROTOCOL", "v1");
    let output = pipe(&mut command, &[]);
    assert_eq!(server.receive().0, b"@im@");
    assert_eq!(output.status.code(), Some(0));
}

// What the tests are made of.

/// A bound for what must happen; it takes milliseconds unless something is
/// wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough for an answer on a busy machine.
const GREET: Duration = Duration::from_millis(600);
const ANSWER: Duration = Duration::from_millis(600);

/// Notices soon, and tries again soon.
fn quick(server: SocketAddr) -> SessionConfig {
    let mut config = SessionConfig::new(server.into());
    config.greet_within = GREET;
    config.answer_within = ANSWER;
    config.heartbeat = Duration::from_millis(50);
    config.retry = Duration::from_millis(20);
    config.settle = Duration::from_millis(100);
    config
}

/// With the usual patience, so that a busy machine makes nothing seem down.
fn connect_as(protocol: ProtocolChoice, server: SocketAddr) -> Session {
    let mut config = SessionConfig::new(server.into());
    config.protocol = protocol;
    config.retry = Duration::from_millis(20);
    // A fallback would hide what fails.
    config.greet_within = PATIENCE;
    Session::connect(config).unwrap()
}

fn connect(server: SocketAddr) -> Session {
    connect_as(ProtocolChoice::Auto, server)
}

fn is_open(session: &Session) -> bool {
    session.protocol() == Some(Protocol::V2)
}

fn next(session: &Session) -> Event {
    session.events().recv_timeout(PATIENCE).unwrap()
}

fn next_line(session: &Session) -> String {
    let event = next(session);
    let Some(line) = event.line() else {
        panic!("{event:?}");
    };
    line.into_owned()
}

/// The session's address as the server sees it.
fn local_addr(session: &Session, server: SocketAddr) -> SocketAddr {
    SocketAddr::new(server.ip(), session.local_addr().unwrap().port())
}

fn refused() -> DownReason {
    DownReason::Unreachable(ErrorKind::ConnectionRefused)
}

fn silent(time: Duration) -> DownReason {
    DownReason::NoAnswer(time)
}

fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to that");
        thread::sleep(Duration::from_millis(1));
    }
}

fn start(workers: u16) -> Server {
    Server::start(ServerConfig {
        workers,
        ..config("127.0.0.1:0".parse().unwrap())
    })
    .unwrap()
}

/// At an address that no other socket here uses, so that the port is free again
/// after a stop.
fn start_at(address: &str) -> Server {
    Server::start(config(address.parse().unwrap())).unwrap()
}

fn restart_at(address: SocketAddr) -> Server {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Server::start(config(address)) {
            Ok(server) => return server,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
    }
}

fn config(address: SocketAddr) -> ServerConfig {
    ServerConfig {
        workers: 2,
        bind: vec![address],
        no_pin: true,
        ..ServerConfig::default()
    }
}

/// Netcat, as far as the server can tell; it has registered.
fn stock_client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    socket.send(b"@im@").unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let length = socket.recv(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn datagram(frames: &[ServerFrame<'_>]) -> Vec<u8> {
    let mut datagram = Vec::new();
    push_server_header(&mut datagram);
    for frame in frames {
        push_server_frame(frame, &mut datagram);
    }
    datagram
}

fn message(sequence: u32, payload: &[u8]) -> ServerFrame<'_> {
    ServerFrame::Message(frame::Message {
        room: 0,
        stream: 0,
        sequence,
        from: "127.0.0.1:7".parse().unwrap(),
        payload,
    })
}

fn welcome(session: u64) -> ServerFrame<'static> {
    ServerFrame::Welcome(Welcome {
        session,
        timeout_ms: 10_000,
        bundle_bytes: BUNDLE_BYTES as u16,
        room: 0,
    })
}

/// A server that the test plays.
struct Fake {
    socket: UdpSocket,
}

impl Fake {
    fn start() -> Self {
        Self::start_at("127.0.0.1:0").unwrap()
    }

    fn start_at(address: &str) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    fn restart(address: SocketAddr) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::start_at(&address.to_string()) {
                Ok(server) => return server,
                Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
            }
        }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.socket.recv_from(&mut buffer).unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    fn send(&self, datagram: &[u8], to: SocketAddr) {
        self.socket.send_to(datagram, to).unwrap();
    }

    /// The next datagram of v1 that is the first heartbeat, or no heartbeat.
    fn receive_text(&self) -> Vec<u8> {
        let mut was_frames = false;
        loop {
            let (datagram, _) = self.receive();
            match &datagram[..] {
                [0xFF, ..] => was_frames = true,
                b"@im@" if !was_frames => {}
                _ => return datagram,
            }
        }
    }

    /// The length of the next datagram, which must be a HELLO.
    fn receive_hello(&self) -> usize {
        let (datagram, _) = self.receive();
        assert!(is_hello(&datagram), "{datagram:02x?}");
        datagram.len()
    }

    /// Waits until a HELLO is the next datagram. What comes before it must be of
    /// this session.
    fn receive_all_but_hello(&self, session: u64) {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = self.socket.peek(&mut buffer).unwrap();
            let (of, _) = parse_client(&buffer[..length]).unwrap();
            if of == 0 {
                return;
            }
            assert_eq!(of, session);
            self.receive();
        }
    }

    /// Answers the next datagram, which must be a HELLO, with that session.
    fn welcome(&self, session: u64) -> SocketAddr {
        let (hello, client) = self.receive();
        assert!(is_hello(&hello), "{hello:02x?}");
        self.send(&datagram(&[welcome(session)]), client);
        client
    }

    /// Answers the next heartbeat of that session.
    fn answer_ping(&self, session: u64) {
        loop {
            let (bytes, client) = self.receive();
            let (of, frames) = parse_client(&bytes).unwrap();
            let frames: Vec<_> = frames.collect();
            if let [ClientFrame::Heartbeat, ClientFrame::Ping(token)] = frames[..] {
                assert_eq!(of, session);
                return self.send(&datagram(&[ServerFrame::Pong(token)]), client);
            }
        }
    }
}

fn is_hello(datagram: &[u8]) -> bool {
    let Ok((0, mut frames)) = parse_client(datagram) else {
        return false;
    };
    frames.next() == Some(ClientFrame::Hello)
}

fn chat_command(server: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BULLHORN_") {
            command.env_remove(name);
        }
    }
    command.arg(server.to_string());
    command
}

/// What the program prints when these lines are piped into it at once.
fn chat(server: SocketAddr, arguments: &[&str], lines: &[String]) -> Output {
    pipe(chat_command(server).args(arguments), lines)
}

fn pipe(command: &mut Command, lines: &[String]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    let typing = thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    typing.join().unwrap();
    output
}
