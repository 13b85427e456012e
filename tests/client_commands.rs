//! The commands of the program `client`, in both versions of the protocol.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::process::Command;

use bullhorn::Server;
use common::{
    Client, ClientProgram, FakeServer, OutputText, TestServer, V4, client_command, unpinned_config,
    wait_until,
};

#[test]
fn quit_in_all_its_forms_leaves_and_is_not_said() {
    let server = TestServer::start(unpinned_config(1, V4));
    let peer = server.client();
    for protocol in PROTOCOLS {
        for quit in ["quit", "/quit", "/q", "/exit", " /QUIT "] {
            let mut client = start_as("ada", &server, protocol);
            client.type_in(&format!("{quit}\nnever said\n"));
            let output = client.wait_with_output();
            assert_eq!(output.text(), "* you are ada\nbye bye\n", "{quit}");
            assert_eq!(output.errors(), "");
            assert_eq!(output.status.code(), Some(0));
            wait_until("the leave", || server.stats().peers == 1);
        }
    }
    assert!(peer.inbox_is_empty());
    // The clients have left. They were not dropped for their silence.
    assert_eq!(server.stats().expired, 0);
}

#[test]
fn me_is_shown_as_an_action() {
    let server = TestServer::start(unpinned_config(1, V4));
    for protocol in PROTOCOLS {
        let mut eve = start_as("eve", &server, protocol);
        let mut ada = start_as("ada", &server, protocol);
        ada.type_in("/me waves\n");
        ada.expect_output("\n** ada waves\n");
        eve.expect_output("\n** ada waves\n");
        ada.type_in("I say /me waves\n");
        eve.expect_output("ada I say /me waves\n");
        for mut client in [ada, eve] {
            client.type_in("quit\n");
            client.wait_with_output();
        }
        wait_until("the leaves", || server.stats().peers == 0);
    }
}

#[test]
fn a_misspelt_command_is_not_sent() {
    let server = TestServer::start(unpinned_config(1, V4));
    let bob = named("bob", &server);
    for protocol in PROTOCOLS {
        let mut client = start_as("ada", &server, protocol);
        client.type_in("/mgs bob secret\n");
        client.expect_output("* unknown command /mgs: did you mean /msg?");
        client.type_in("/usr/bin/env\n");
        client.expect_output("* unknown command /usr/bin/env: /help lists all.");
        client.type_in("the end\n");
        assert_eq!(bob.receive_text(), "ada the end");
        client.type_in("quit\n");
        client.wait_with_output();
        wait_until("the leave", || server.stats().peers == 1);
    }
}

#[test]
fn wrong_arguments_are_explained_and_not_sent() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &[]);
    for (line, explanation) in [
        ("/join", "* usage: /join ROOM (1 to 32 of A-Z a-z 0-9 _ -)"),
        (
            "/nick a b",
            "* usage: /nick NAME (1 to 24 of A-Z a-z 0-9 _ -)",
        ),
        ("/presence maybe", "* usage: /presence on|off"),
        ("/msg bob", "* usage: /msg NAME TEXT"),
        ("/me", "* usage: /me TEXT"),
        ("/msg a/b hi", "* no such peer: a/b"),
    ] {
        client.type_in(&format!("{line}\n"));
        client.expect_output(&format!("{explanation}\n"));
    }
    client.type_in("the end\n");
    assert_eq!(server.receive_text(), b"the end");
}

#[test]
fn two_slashes_begin_a_text() {
    let server = TestServer::start(unpinned_config(1, V4));
    let peer = server.client();
    for protocol in PROTOCOLS {
        let mut client = start_as("ada", &server, protocol);
        for (line, said) in [
            ("//x y", "/x y"),
            ("///", "//"),
            ("//quit", "/quit"),
            ("  //me too", "/me too"),
        ] {
            client.type_in(&format!("{line}\n"));
            assert_eq!(peer.receive_text(), format!("ada {said}"));
        }
        client.expect_output("ada /x y\nada //\nada /quit\n");
        // In version 1 a blank before it keeps it from being a command.
        client.type_in("//join den\n");
        let blank = if protocol == "v1" { " " } else { "" };
        assert_eq!(peer.receive_text(), format!("ada {blank}/join den"));
        client.expect_output(&format!("ada {blank}/join den\n"));
        client.type_in("/who\n");
        client.expect_output("* 2 in lobby:");
        client.type_in("quit\n");
        client.wait_with_output();
        wait_until("the leave", || server.stats().peers == 1);
    }
}

#[test]
fn blanks_before_a_command_do_not_make_it_a_text() {
    let server = TestServer::start(unpinned_config(1, V4));
    let ada = named("ada", &server);
    let eve = named("eve", &server);
    for protocol in PROTOCOLS {
        let mut client = start_as("bob", &server, protocol);
        client.type_in(" /msg ada psst\n");
        assert_eq!(ada.receive_text(), "* bob to you: psst");
        client.expect_output("* to ada: psst\n");
        client.type_in("\t /join den\n");
        client.expect_output("* you are in den (1 here)\n");
        client.type_in("quit\n");
        client.wait_with_output();
        wait_until("the leave", || server.stats().peers == 2);
    }
    assert!(eve.inbox_is_empty());
}

#[test]
fn ping_prints_the_round_trip_and_the_losses() {
    let server = TestServer::start(unpinned_config(1, V4));
    for (protocol, losses) in [("v1", ""), ("v2", ", 0 of 1 messages lost")] {
        let mut client = ClientProgram::spawn(&mut client_to(&server, protocol, &[]));
        for (ping, losses) in [("/ping", ""), ("  /PING 77", losses)] {
            client.type_in(&format!("{ping}\n"));
            client.expect_output("* pong: ");
            let pong = client.expect_output("\n");
            let time = pong.strip_suffix(losses).unwrap();
            let time_ms = time.strip_suffix(" ms").unwrap();
            assert!(time_ms.parse::<f64>().is_ok(), "{pong}");
            client.type_in("hi\n");
            client.expect_output(" hi\n");
        }
        client.type_in("/ping\n");
        client.end_input();
        let output = client.wait_with_output();
        assert_eq!(
            output.text().matches("* pong: ").count(),
            3,
            "the client waits for the last one"
        );
        wait_until("the leave", || server.stats().peers == 0);
    }
}

#[test]
fn help_lists_the_commands_and_asks_nobody() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &[]);
    client.type_in("/help\n");
    for command in [
        "/nick NAME",
        "/msg NAME TEXT",
        "/me TEXT",
        "/quit",
        "//TEXT",
    ] {
        client.expect_output(&format!("{command} "));
    }
    client.type_in("the end\n");
    assert_eq!(server.receive_text(), b"the end");
}

/// Starts a client that has a name.
#[track_caller]
fn start_as(name: &str, server: &Server, protocol: &str) -> ClientProgram {
    let mut client = ClientProgram::spawn(&mut client_to(server, protocol, &["--nick", name]));
    client.expect_output(&format!("* you are {name}"));
    client
}

/// Registers a client that has a name.
#[track_caller]
fn named(name: &str, server: &TestServer) -> Client {
    let client = server.client();
    client.send(format!("/nick {name}").as_bytes());
    assert_eq!(client.receive_text(), format!("* you are {name}"));
    client
}

fn client_to(server: &Server, protocol: &str, arguments: &[&str]) -> Command {
    let mut command = client_command();
    command
        .args(["--wait", "20s", "--protocol", protocol])
        .args(arguments);
    command.arg(server.local_addr().to_string());
    command
}

const PROTOCOLS: [&str; 2] = ["v1", "v2"];
