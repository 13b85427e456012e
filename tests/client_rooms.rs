//! Names, rooms and direct messages in the program `client`, with the real server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::process::Command;

use bullhorn::Server;
use common::{
    ClientProgram, OutputText, TestServer, V4, client_command, run_with_input, unpinned_config,
    wait_until,
};

#[test]
fn name_and_room_can_come_from_arguments_or_the_environment() {
    let server = TestServer::start(unpinned_config(1, V4));
    for protocol in ["v1", "v2"] {
        let mut command = client_to(&server, &["--nick", "ada", "--protocol", protocol]);
        command.env("BULLHORN_CLIENT_ROOM", "chess");
        let output = run_with_input(&mut command, &["hi".to_owned()]);
        let expected = "* you are ada\n* you are in chess (1 here)\nada hi\n";
        assert_eq!(output.text(), expected, "{output:?}");
        assert_eq!(output.status.code(), Some(0));
        wait_until("the leave", || server.stats().peers == 0);
    }
}

#[test]
fn bad_names_and_rooms_are_refused_with_what_is_expected() {
    for (arguments, expected) in [
        (["--nick", "a b"], "1 to 24 of A-Z a-z 0-9 _ -"),
        (["--nick", ""], "1 to 24"),
        (["--room", "a/b"], "1 to 32 of A-Z a-z 0-9 _ -"),
        (["--room", &"x".repeat(33)], "1 to 32"),
        (["--json", "--greet=hi"], "cannot be used with"),
    ] {
        let output = ClientProgram::spawn(client_command().args(arguments)).wait_with_output();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.errors().contains(expected),
            "{arguments:?}: {output:?}"
        );
    }
    for (variable, wrong) in [("NICK", "ü"), ("ROOM", "")] {
        let mut command = client_command();
        command.env(format!("BULLHORN_CLIENT_{variable}"), wrong);
        let output = ClientProgram::spawn(&mut command).wait_with_output();
        assert_eq!(output.status.code(), Some(2), "{variable}");
    }
}

#[test]
fn both_protocols_print_the_same_lines() {
    let server = TestServer::start(unpinned_config(2, V4));
    let bob = server.client();
    bob.send(b"/nick bob");
    assert_eq!(bob.receive_text(), "* you are bob");
    for protocol in ["v1", "v2"] {
        let arguments = ["--nick", "ada", "--protocol", protocol];
        let mut client = ClientProgram::spawn(&mut client_to(&server, &arguments));
        client.expect_output("* you are ada\n");
        bob.send(b"/msg ada psst");
        assert_eq!(bob.receive_text(), "* to ada: psst");
        client.expect_output("* bob to you: psst\n");
        client.type_in("/msg bob hi\n");
        client.expect_output("* to bob: hi\n");
        assert_eq!(bob.receive_text(), "* ada to you: hi");
        client.type_in("/who 1\n");
        client.expect_output("* 2 in lobby: bob ada\n");
        client.type_in("/presence on\n");
        client.expect_output("* presence is on\n");
        client.end_input();
        assert_eq!(client.wait_with_output().status.code(), Some(0));
        wait_until("the leave", || server.stats().peers == 1);
    }
}

#[test]
fn messages_are_shown_whole_and_a_cut_is_marked() {
    let server = TestServer::start(unpinned_config(1, V4));
    let mut whole = ClientProgram::spawn(&mut client_to(&server, &["--protocol", "v2"]));
    let mut cut = ClientProgram::spawn(&mut client_to(&server, &["--protocol", "v1"]));
    wait_until("the clients", || server.stats().peers == 2);
    let arguments = ["--protocol", "v2", "--nick", "ada"];
    let mut ada = ClientProgram::spawn(&mut client_to(&server, &arguments));
    ada.expect_output("* you are ada\n");
    let text = "x".repeat(1151) + "y";
    ada.type_in(&format!("{text}\n"));
    for client in [&mut ada, &mut whole] {
        client.expect_output(&format!("ada {text}\n"));
    }
    let datagram = "x".repeat(1024 - "ada ".len());
    cut.expect_output(&format!("ada {datagram}…\n"));
    let text = "x".repeat(1000);
    ada.type_in(&format!("{text}\n"));
    cut.expect_output(&format!("ada {text}\n"));
}

#[test]
fn output_to_a_pipe_contains_no_escape_sequences() {
    let server = TestServer::start(unpinned_config(1, V4));
    let lines = ["/nick ada", "hi \x1b[31m", "/who"].map(str::to_owned);
    for json in [&[][..], &["--json"]] {
        let mut command = client_to(&server, json);
        command.env("TERM", "xterm");
        let output = run_with_input(&mut command, &lines);
        assert!(output.text().contains("ada"), "{output:?}");
        assert!(!output.stdout.contains(&0x1b), "{output:?}");
        wait_until("the leave", || server.stats().peers == 0);
    }
}

fn client_to(server: &Server, arguments: &[&str]) -> Command {
    let mut command = client_command();
    command.args(["--wait", "20s"]).args(arguments);
    command.arg(server.local_addr().to_string());
    command
}
