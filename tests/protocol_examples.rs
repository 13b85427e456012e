//! The examples of docs/PROTOCOL.md, run against the server and compared to the
//! byte. How they are written is said there, under "The examples".

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bullhorn::ServerConfig;
use bullhorn::config::{ServiceKind, Switch};
use bullhorn::wire::v2::{ClientFrame, ServerFrame, parse_server};
use clap::Parser;
use common::v2_peer::datagram;
use common::{Client, TestServer};

#[test]
fn the_examples_of_the_specification_are_true() {
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

/// What stands between two fences.
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

/// Who speaks in an example.
struct Speaker {
    client: Client,
    /// What stands for SESSION, once a WELCOME has told it.
    session: Option<u64>,
    /// It has spoken, and has not left.
    is_here: bool,
}

type Speakers = BTreeMap<String, Speaker>;

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
    let mut speakers = Speakers::new();
    for (line, number) in lines {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        // Shown only when the test fails.
        println!("docs/PROTOCOL.md:{number}: {line}");
        step(&server, &mut speakers, line);
    }
    if has_commands && service == ServiceKind::Chat {
        all_was_told(&speakers);
    }
    for (name, speaker) in &speakers {
        assert!(speaker.client.inbox_is_empty(), "{name} hears more");
    }
}

/// A server with one worker, so that what happens has one order.
fn config_of(flags: &str) -> ServerConfig {
    let usual = ["server", "--workers", "1", "--bind", "127.0.0.1:0"];
    let words = usual.into_iter().chain(flags.split_whitespace());
    match Flags::try_parse_from(words) {
        Ok(flags) => flags.server,
        Err(error) => panic!("{flags:?}: {error}"),
    }
}

/// Does one line: someone sends a datagram, or gets one.
fn step(server: &TestServer, speakers: &mut Speakers, line: &str) {
    let end = line.find(|char: char| !char.is_ascii_lowercase());
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    assert!(!name.is_empty(), "nobody speaks");
    speakers.entry(name.to_owned()).or_insert_with(|| Speaker {
        client: server.unregistered_client(),
        session: None,
        is_here: false,
    });
    if let Some(frames) = rest.strip_prefix(">> ") {
        let bytes = bytes_of(speakers, &speakers[name], frames);
        let speaker = speakers.get_mut(name).unwrap();
        speaker.client.send(&bytes);
        speaker.is_here = !bytes.ends_with(BYE);
    } else if let Some(frames) = rest.strip_prefix("<< ") {
        let heard = speakers[name].client.receive();
        let speaker = speakers.get_mut(name).unwrap();
        speaker.session = session_in(&heard).or(speaker.session);
        let expected = bytes_of(speakers, &speakers[name], frames);
        assert_eq!(heard, expected, "{heard:02x?} is not {expected:02x?}");
    } else if let Some(text) = rest.strip_prefix('>') {
        let text = with_addresses(speakers, text.strip_prefix(' ').unwrap_or(text));
        let speaker = speakers.get_mut(name).unwrap();
        speaker.client.send(text.as_bytes());
        speaker.is_here = !text.is_empty() && !text.eq_ignore_ascii_case("quit");
    } else if let Some(text) = rest.strip_prefix("< ") {
        let expected = with_addresses(speakers, text);
        assert_eq!(speakers[name].client.receive_text(), expected);
    } else {
        panic!("it is no line of an example");
    }
}

/// The session that a WELCOME tells.
fn session_in(heard: &[u8]) -> Option<u64> {
    match parse_server(heard).ok()?.next()? {
        ServerFrame::Welcome(welcome) => Some(welcome.session),
        _ => None,
    }
}

/// Has whoever is here ask for an answer, behind which nothing else comes.
fn all_was_told(speakers: &Speakers) {
    for (name, speaker) in speakers.iter().filter(|(_, speaker)| speaker.is_here) {
        let client = &speaker.client;
        let Some(session) = speaker.session else {
            client.send(b"/ping end");
            assert_eq!(client.receive_text().trim_end(), "* pong end", "{name}");
            continue;
        };
        client.send(&datagram(session, &[ClientFrame::Ping(b"end")]));
        let heard = client.receive();
        let frames: Vec<_> = parse_server(&heard).unwrap().collect();
        assert_eq!(frames, [ServerFrame::Pong(b"end")], "{name}");
    }
}

/// `text` with addresses and ports in place of names in capitals.
fn with_addresses(speakers: &Speakers, text: &str) -> String {
    let mut text = text.to_owned();
    for (name, speaker) in speakers {
        let (name, address) = (name.to_uppercase(), speaker.client.address());
        text = text.replace(&format!("{name}.PORT"), &address.port().to_string());
        text = text.replace(&name, &address.to_string());
    }
    text
}

/// The bytes that are written as hexadecimal digits, as text in quotes, or as a
/// name that stands for some.
fn bytes_of(speakers: &Speakers, speaker: &Speaker, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (quoted, behind) = quoted.split_once('"').expect("a quote has an end");
            bytes.extend(with_addresses(speakers, quoted).bytes());
            rest = behind.trim_start();
            continue;
        }
        let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        bytes.extend(bytes_of_word(speakers, speaker, word));
        rest = behind.trim_start();
    }
    bytes
}

fn bytes_of_word(speakers: &Speakers, speaker: &Speaker, word: &str) -> Vec<u8> {
    if word == "SESSION" {
        let session = speaker.session.expect("a WELCOME tells it");
        return session.to_be_bytes().to_vec();
    }
    if let Some((name, part)) = word.split_once('.') {
        let address = speakers[&name.to_lowercase()].client.address();
        return match part {
            "IP" => ipv4_of(address).to_vec(),
            "PORT" => address.port().to_be_bytes().to_vec(),
            _ => panic!("{word:?} is no bytes"),
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
        IpAddr::V6(ip) => panic!("{ip} has 16 bytes"),
    }
}

fn hex(digits: &str) -> Vec<u8> {
    assert!(
        digits.len().is_multiple_of(2) && digits.is_ascii(),
        "{digits:?} is no bytes"
    );
    let starts = (0..digits.len()).step_by(2);
    starts
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// So many were there when this was written.
const MIN_EXAMPLES: usize = 17;

/// How the line begins that says with which flags the server runs.
const SERVER: &str = "# server ";

/// How a datagram ends with which a v2 peer leaves.
const BYE: &[u8] = &[3, 0, 0];
