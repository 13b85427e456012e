//! The examples of docs/PROTOCOL.md, run with the server and compared to the byte. Their
//! syntax is described there, under "The examples".

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bullhorn::ServerConfig;
use bullhorn::config::{ServiceKind, Switch};
use bullhorn::wire::reply::{NO_NEWCOMERS, PEER_LIMIT, PROVE};
use bullhorn::wire::v2::{ClientFrame, ServerFrame, parse_server};
use clap::Parser;
use common::v2_peer::datagram;
use common::{Client, TestServer};

#[test]
fn the_server_follows_the_examples_of_the_specification() {
    let page = include_str!("../docs/PROTOCOL.md");
    let blocks = blocks_of(page);
    let examples = blocks.iter().filter(|block| block.kind == "text");
    assert!(examples.clone().count() >= MIN_EXAMPLES);
    for block in &blocks {
        match block.kind {
            "text" => run(block),
            "layout" => {}
            kind => panic!("line {}: a block of kind {kind:?}", block.first_line),
        }
    }
}

/// A fenced block.
struct Block<'a> {
    kind: &'a str,
    first_line: usize,
    lines: Vec<&'a str>,
}

fn blocks_of(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut is_inside = false;
    for (index, line) in page.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(kind) if !is_inside => {
                blocks.push(Block {
                    kind,
                    first_line: index + 2,
                    lines: Vec::new(),
                });
                is_inside = true;
            }
            Some(rest) => {
                assert_eq!(rest, "", "line {}", index + 1);
                is_inside = false;
            }
            None if is_inside => blocks.last_mut().unwrap().lines.push(line),
            None => assert!(!line.contains("```"), "line {}", index + 1),
        }
    }
    assert!(!is_inside, "the last block has no end");
    blocks
}

/// A client of an example.
struct Participant {
    client: Client,
    /// The value of SESSION, after a WELCOME.
    session: Option<u64>,
    /// The values of INCARNATION in the last datagram, in their order.
    incarnations: Vec<u64>,
    /// The value of TOKEN, after a request for a proof.
    token: Option<String>,
    /// It has sent a datagram, was not refused as a newcomer, and has not left.
    is_registered: bool,
}

type Participants = BTreeMap<String, Participant>;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    server: ServerConfig,
}

fn run(block: &Block<'_>) {
    let mut lines = block.lines.iter().zip(block.first_line..).peekable();
    let flags = lines.next_if(|(line, _)| line.starts_with(SERVER));
    let config = config_of(flags.map_or("", |(line, _)| &line[SERVER.len()..]));
    let (has_commands, service) = (config.commands == Switch::On, config.service);
    let server = TestServer::start(config);
    let mut participants = Participants::new();
    for (line, number) in lines {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        // Shown only when the test fails.
        println!("docs/PROTOCOL.md:{number}: {line}");
        step(&server, &mut participants, line);
    }
    if has_commands && service == ServiceKind::Chat {
        expect_end(&participants);
    }
    for (name, participant) in &participants {
        assert!(participant.client.inbox_is_empty(), "{name} receives more");
    }
}

/// Returns the configuration of a server with one worker, so events have one order.
fn config_of(flags: &str) -> ServerConfig {
    let usual = ["server", "--workers", "1", "--bind", "127.0.0.1:0"];
    let words = usual.into_iter().chain(flags.split_whitespace());
    match Flags::try_parse_from(words) {
        Ok(flags) => flags.server,
        Err(error) => panic!("{flags:?}: {error}"),
    }
}

/// Runs one line: a client sends or receives a datagram.
fn step(server: &TestServer, participants: &mut Participants, line: &str) {
    let end = line.find(|char: char| !char.is_ascii_lowercase());
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    assert!(!name.is_empty(), "no name");
    if name == "operator" {
        return act(server, rest);
    }
    participants
        .entry(name.to_owned())
        .or_insert_with(|| Participant {
            client: server.unregistered_client(),
            session: None,
            incarnations: Vec::new(),
            token: None,
            is_registered: false,
        });
    if let Some(frames) = rest.strip_prefix(">> ") {
        let bytes = bytes_of(participants, &participants[name], frames);
        let participant = participants.get_mut(name).unwrap();
        participant.client.send(&bytes);
        participant.is_registered = !bytes.ends_with(BYE);
    } else if let Some(frames) = rest.strip_prefix("<< ") {
        let received = participants[name].client.receive();
        let participant = participants.get_mut(name).unwrap();
        participant.learn(&received);
        let expected = bytes_of(participants, &participants[name], frames);
        assert_eq!(received, expected, "{received:02x?} is not {expected:02x?}");
    } else if let Some(text) = rest.strip_prefix('>') {
        let text = with_addresses(participants, text.strip_prefix(' ').unwrap_or(text));
        let participant = participants.get_mut(name).unwrap();
        let text = participant.with_token(&text);
        participant.client.send(text.as_bytes());
        participant.is_registered = !text.is_empty() && !text.eq_ignore_ascii_case("quit");
    } else if let Some(text) = rest.strip_prefix("< ") {
        let expected = with_addresses(participants, text);
        let received = participants[name].client.receive_text();
        let participant = participants.get_mut(name).unwrap();
        participant.learn(received.as_bytes());
        assert_eq!(received, participant.with_token(&expected));
    } else {
        panic!("not a line of an example");
    }
}

/// Runs a line of the operator.
fn act(server: &TestServer, line: &str) {
    let handle = server.handle();
    let moderation = handle.moderation().unwrap();
    let (verb, rest) = line.strip_prefix("> ").unwrap().split_once(' ').unwrap();
    let told = match verb {
        "say" => moderation.say(None, rest),
        "drain" => moderation.drain(humantime::parse_duration(rest).unwrap()),
        verb => panic!("not a line of the operator: {verb}"),
    };
    assert!(told.unwrap() > 0);
}

impl Participant {
    /// Takes the values that the next lines refer to from a datagram.
    fn learn(&mut self, datagram: &[u8]) {
        self.is_registered &= !is_newcomers_refusal(datagram);
        if let Some(token) = datagram.strip_prefix(b"* say /in ") {
            self.token = Some(String::from_utf8(token[..8].to_vec()).unwrap());
        }
        let mut incarnations = Vec::new();
        for frame in parse_server(datagram).into_iter().flatten() {
            match frame {
                ServerFrame::Welcome(welcome) => self.session = Some(welcome.session.get()),
                ServerFrame::Room(room) | ServerFrame::Subscribed(room) => {
                    incarnations.push(room.incarnation);
                }
                _ => {}
            }
        }
        self.incarnations = incarnations;
    }

    fn with_token(&self, text: &str) -> String {
        match &self.token {
            Some(token) => text.replace("TOKEN", token),
            None => text.to_owned(),
        }
    }
}

/// Returns true for the refusal of a server that is full or about to stop, in either version, and for
/// a request for a proof.
fn is_newcomers_refusal(datagram: &[u8]) -> bool {
    let contains = |sentence: &str| {
        let mut parts = datagram.windows(sentence.len());
        parts.any(|part| part == sentence.as_bytes())
    };
    contains(PEER_LIMIT) || contains(PROVE) || contains(NO_NEWCOMERS)
}

/// Pings the server from each registered client. The reply must be the next datagram.
fn expect_end(participants: &Participants) {
    let registered = participants.iter().filter(|(_, one)| one.is_registered);
    for (name, participant) in registered {
        let client = &participant.client;
        let Some(session) = participant.session else {
            client.send(b"/ping end");
            assert_eq!(client.receive_text().trim_end(), "* pong end", "{name}");
            continue;
        };
        client.send(&datagram(session, &[ClientFrame::Ping(b"end")]));
        let received = client.receive();
        // One that was not registered is told its room, and one that has moved has ended.
        let mut frames = parse_server(&received).unwrap();
        let answer = frames.find(|frame| !matches!(frame, ServerFrame::Room(_)));
        let answers = [ServerFrame::Pong(b"end"), ServerFrame::UnknownSession];
        assert!(answers.map(Some).contains(&answer), "{name}: {answer:?}");
    }
}

/// Returns `text` with addresses and ports instead of names in capitals.
fn with_addresses(participants: &Participants, text: &str) -> String {
    let mut text = text.to_owned();
    for (name, participant) in participants {
        let (name, address) = (name.to_uppercase(), participant.client.address());
        text = text.replace(&format!("{name}.PORT"), &address.port().to_string());
        text = text.replace(&name, &address.to_string());
    }
    text
}

/// Returns the bytes of hexadecimal digits, quoted texts and names such as SESSION.
fn bytes_of(participants: &Participants, participant: &Participant, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut incarnations = participant.incarnations.iter();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (quoted, after) = quoted.split_once('"').expect("a closing quote");
            bytes.extend(with_addresses(participants, quoted).bytes());
            rest = after.trim_start();
            continue;
        }
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        bytes.extend(match word {
            "INCARNATION" => incarnations.next().expect("a ROOM").to_be_bytes().to_vec(),
            _ => bytes_of_word(participants, participant, word),
        });
        rest = after.trim_start();
    }
    bytes
}

fn bytes_of_word(participants: &Participants, participant: &Participant, word: &str) -> Vec<u8> {
    if word == "SESSION" {
        let session = participant.session.expect("the session of a WELCOME");
        return session.to_be_bytes().to_vec();
    }
    if word == "TOKEN" {
        return participant.token.clone().expect("a request").into_bytes();
    }
    if let Some((name, part)) = word.split_once('.') {
        let other = &participants[&name.to_lowercase()];
        let address = other.client.address();
        return match part {
            "SESSION" => other.session.expect("its session").to_be_bytes().to_vec(),
            "IP" => ipv4_of(address).to_vec(),
            "PORT" => address.port().to_be_bytes().to_vec(),
            _ => panic!("not bytes: {word:?}"),
        };
    }
    if let Some((byte, count)) = word.split_once('x') {
        return hex(byte).repeat(count.parse().unwrap());
    }
    hex(word)
}

fn ipv4_of(address: SocketAddr) -> [u8; 4] {
    match address.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => panic!("not IPv4: {ip}"),
    }
}

fn hex(digits: &str) -> Vec<u8> {
    assert!(
        digits.len().is_multiple_of(2) && digits.is_ascii(),
        "not bytes: {digits:?}"
    );
    let starts = (0..digits.len()).step_by(2);
    starts
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// The number of examples when this test was written.
const MIN_EXAMPLES: usize = 25;

/// The beginning of a line with the flags of the server.
const SERVER: &str = "# server ";

/// The end of a datagram in which a v2 peer leaves.
const BYE: &[u8] = &[3, 0, 0];
