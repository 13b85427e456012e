//! The bots in `examples/`, and the one on the front page of the crate, which is the first of
//! them.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::process::{Command, Stdio};

use bullhorn::client::{Event, ProtocolChoice, Session};
use common::{Process, TIMEOUT, TestServer, V4, connect_with, unpinned_config, wait_until};

#[test]
fn the_front_page_has_the_echo_bot() {
    let page = include_str!("../src/lib.rs");
    let example = include_str!("../examples/echo_bot.rs");
    let (_, program) = example.split_once("```\n\n").unwrap();
    let block: String = program.lines().map(doc_line).collect();
    assert!(page.contains(&block), "the page has another program");
    assert!(program.lines().count() <= 25);
}

#[test]
fn the_echo_bot_repeats() {
    let server = TestServer::start(unpinned_config(1, V4));
    let (_bot, session) = start("echo_bot", &server, &[]);
    session.say("!echo hello").unwrap();
    expect_text(&session, |text| text.ends_with(" said: hello"));
}

#[test]
fn the_room_bot_counts_and_answers_in_private() {
    let server = TestServer::start(unpinned_config(1, V4));
    let (_bot, session) = start("room_bot", &server, &["den"]);
    session.join("den".parse().unwrap()).unwrap();
    // The bot counts from when it is there.
    wait_until("the bot", || {
        let members = session.who().unwrap().wait(TIMEOUT).unwrap();
        members.list.total == 2
    });
    for text in ["one", "two", "count?"] {
        session.say(text).unwrap();
    }
    expect_text(&session, |text| text == "2 texts");
}

#[test]
fn the_tokio_bot_greets() {
    let server = TestServer::start(unpinned_config(1, V4));
    let (_bot, session) = start("tokio_bot", &server, &["--features", "tokio"]);
    session.say("hello").unwrap();
    expect_text(&session, |text| text.starts_with("hello, "));
}

/// Starts an example, and returns a session that has seen it register.
fn start(example: &str, server: &TestServer, options: &[&str]) -> (Process, Session) {
    let session = connect_with(ProtocolChoice::V2, server.local_addr());
    let presence = session.presence(true).unwrap();
    presence.wait(TIMEOUT).unwrap();
    let (features, arguments) = match options {
        ["--features", _] => (options, &[][..]),
        _ => (&[][..], options),
    };
    let cargo = |verb| {
        let mut command = Command::new(env!("CARGO"));
        command
            .args([verb, "-q", "--example", example])
            .args(features);
        command
    };
    // Compiling may take longer than a test waits for an event.
    assert!(cargo("build").status().unwrap().success());
    let mut command = cargo("run");
    command.arg("--").arg(server.local_addr().to_string());
    command.args(arguments).stdout(Stdio::null());
    let bot = Process::spawn(&mut command);
    let joined = |event| matches!(event, Event::Notice { text, .. } if text.contains(" joined"));
    while !joined(session.events().recv_timeout(TIMEOUT).unwrap()) {}
    (bot, session)
}

/// Waits for a message for which `is_it` is true.
fn expect_text(session: &Session, is_it: impl Fn(&str) -> bool) {
    loop {
        let event = session.events().recv_timeout(TIMEOUT).unwrap();
        if let Event::Message(message) | Event::Private(message) = event
            && is_it(&message.text())
        {
            return;
        }
    }
}

fn doc_line(line: &str) -> String {
    match line {
        "" => "//!\n".to_owned(),
        line => format!("//! {line}\n"),
    }
}
