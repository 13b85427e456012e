//! The lines of the program `client` about a server that is down, full, or has forgotten the
//! client.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use bullhorn::ServerConfig;
use common::{
    ClientProgram, FakeServer, ServerProgram, TestServer, V4, client_command, server_command,
    unpinned_config, wait_until,
};
use nix::sys::signal::Signal;

#[test]
fn prints_that_the_server_is_down_and_back() {
    let server = FakeServer::start_unshared();
    let mut client = ClientProgram::start(&server, &QUICK);
    server.receive_heartbeat();
    let address = server.stop();
    client.expect_output(&format!("{address} is down: nothing listens there\n"));
    let server = FakeServer::restart(address);
    client.expect_output(&format!("{address} is back\n"));
    assert_eq!(server.receive().0, b"@im@");
}

#[test]
fn prints_that_the_server_does_not_answer_and_then_what_that_cost() {
    let server = FakeServer::start();
    let mut client = ClientProgram::start(&server, &["--answer-within", "500ms"]);
    client.type_in("hi\n\u{7}ho\n");
    let address = server.address();
    let first = client.expect_output(&format!(
        "* {address} is down: no answer within 500ms\n* maybe lost: hi | \\x07ho\n"
    ));
    assert_eq!(first, "");
}

#[test]
fn prints_that_nobody_answers_the_greeting() {
    let server = FakeServer::start();
    let mut command = client_command();
    command.args(["--protocol", "v2"]);
    let mut client = ClientProgram::spawn(command.arg(server.address().to_string()));
    let address = server.address();
    client.type_in("hi\n");
    client.expect_output(&format!(
        "{address} is down: no answer within 1s\n* not sent: hi\n"
    ));
}

#[test]
fn prints_that_the_server_is_full_and_when_it_has_a_place() {
    for protocol in ["v1", "v2", "auto"] {
        let server = TestServer::start(ServerConfig {
            max_peers: 1,
            ..unpinned_config(1, V4)
        });
        let peer = server.client();
        let mut command = client_command();
        command.args(["--protocol", protocol]).args(QUICK);
        let mut client = ClientProgram::spawn(command.arg(server.local_addr().to_string()));
        let address = server.local_addr();
        client.expect_output(&format!("{address} is down: it is full\n"));
        peer.send(b"quit");
        client.expect_output(&format!("{address} is back\n"));
        client.type_in("hi\n");
        client.expect_output(" hi\n");
    }
}

#[test]
fn names_the_texts_that_a_crashed_server_may_have_lost() {
    for protocol in ["v1", "v2"] {
        let server = unshared_server(&[]);
        let address = server.address;
        let mut command = client_to(&server);
        command.args(["--protocol", protocol, "--answer-within", "2s"]);
        let mut client = ClientProgram::spawn(&mut command);
        client.type_in("one\n");
        client.expect_output(" one\n");
        // It does not run any more, and nothing tells so.
        server.signal(Signal::SIGSTOP);
        wait_until("the stop of all threads", || is_stopped(&server));
        client.type_in("two\nthree\n");
        client.expect_output(&format!(
            "{address} is down: no answer within 2s\n* maybe lost: two | three\n"
        ));
        server.signal(Signal::SIGCONT);
        client.expect_output(&format!("{address} is back\n"));
    }
}

#[test]
fn a_v1_server_that_was_restarted_unnoticed_hears_the_name_and_the_room_first() {
    let mut server = unshared_server(&[]);
    let address = server.address;
    let mut command = client_to(&server);
    command.args(["--protocol", "v1", "--nick", "ada", "--room", "den"]);
    let mut client = ClientProgram::spawn(&mut command);
    client.expect_output("* you are in den (1 here)\n");
    let joined_at = Instant::now();
    server.signal(Signal::SIGKILL);
    server.exit_status();
    let server = ServerProgram::start_command(server_command(&["--bind", &address.to_string()]));
    let ann = server.client();
    ann.send(b"/join den");
    assert_eq!(ann.receive_text(), "* you are in den (1 here)");
    let lobby = server.registered_client();
    // The client takes a server for the same one for 250 ms.
    wait_until("300 ms", || {
        joined_at.elapsed() > Duration::from_millis(300)
    });
    client.type_in("hello\n");
    assert_eq!(ann.receive_text(), "ada hello");
    client.expect_output("ada hello\n");
    assert!(lobby.inbox_is_empty());
}

#[test]
fn a_text_that_a_restarted_v1_server_told_the_lobby_is_admitted() {
    let server = FakeServer::start();
    let arguments = ["--nick", "ada", "--room", "den"];
    let mut client = ClientProgram::start(&server, &arguments);
    let from = server.receive_heartbeat();
    assert_eq!(server.receive_text(), b"/nick ada");
    server.send(b"* you are ada", from);
    assert_eq!(server.receive_text(), b"/join den");
    server.send(b"* you are in den (1 here)", from);
    client.expect_output("* you are in den (1 here)\n");
    client.type_in("hi\n");
    while server.receive_text() != b"hi" {}
    server.send(b"127.0.0.1:7 hi", from);
    client.expect_output(&format!(
        "{} had forgotten you, so this went to the lobby. ",
        server.address()
    ));
    client.expect_output("\n127.0.0.1:7 hi\n");
    assert_eq!(server.receive_text(), b"/nick ada");
    assert_eq!(server.receive_text(), b"/join den");
}

#[test]
fn a_name_that_an_earlier_session_of_the_user_holds_is_explained_and_taken_later() {
    let server = unshared_server(&["--timeout", "2s", "--reap-interval", "50ms"]);
    let client_as_ada = || {
        let mut command = client_to(&server);
        ClientProgram::spawn(command.args(["--protocol", "v2", "--nick", "ada"]))
    };
    let mut ghost = client_as_ada();
    ghost.expect_output("* you are ada\n");
    ghost.signal(Signal::SIGKILL);
    ghost.wait_with_output();
    let mut client = client_as_ada();
    client.expect_output("* ada is taken. If that was you a moment ago, you have it again ");
    let between = client.expect_output("* you are ada\n");
    assert!(!between.contains("taken"), "it was said again: {between}");
    let bob = server.registered_client();
    client.type_in("hi\n");
    assert_eq!(bob.receive_text(), "ada hi");
}

#[test]
fn a_name_that_is_taken_is_explained_once() {
    let server = unshared_server(&[]);
    let bob = server.client();
    bob.send(b"/nick ada");
    assert_eq!(bob.receive_text(), "* you are ada");
    let mut client = ClientProgram::spawn(client_to(&server).args(["--protocol", "v2"]));
    client.type_in("/nick ada\n");
    client.expect_output("* ada is taken. If that was you a moment ago, ");
    client.type_in("/nick ada\n");
    client.expect_output("\n* ada is taken\n");
}

/// Starts a server whose port stays free after its end.
#[track_caller]
fn unshared_server(arguments: &[&str]) -> ServerProgram {
    let mut command = server_command(&["--bind", "127.0.0.77:0"]);
    command.args(arguments);
    ServerProgram::start_command(command)
}

/// Returns true if no thread of the server runs.
fn is_stopped(server: &ServerProgram) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let stats = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("stat")).unwrap());
    let mut states = stats.map(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('T'));
    states.all(|is_stopped| is_stopped)
}

fn client_to(server: &ServerProgram) -> Command {
    let mut command = client_command();
    command.arg(server.address.to_string());
    command
}

/// Options with which the client soon notices that the server is down, and soon tries
/// again.
const QUICK: [&str; 6] = [
    "--heartbeat",
    "50ms",
    "--retry",
    "20ms",
    "--settle",
    "100ms",
];
