//! The exit code of the program `client` at the end of piped input: 0 only if the last line
//! was delivered. Otherwise the reason is on standard error.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::SocketAddr;
use std::process::Output;

use bullhorn::ServerConfig;
use common::{
    ClientProgram, FakeServer, OutputText, ServerProgram, TestServer, V4, client_command,
    run_client, run_with_input, server_command, unpinned_config, v1_client_command,
};
use nix::sys::signal::Signal;

#[test]
fn a_signal_before_the_last_line_is_delivered_is_an_error() {
    let server = FakeServer::start();
    for (echo, code) in [(None, 1), (Some(&b"127.0.0.1:7 hi"[..]), 0)] {
        let mut client = ClientProgram::start(&server, &[]);
        client.type_in("hi\n");
        let from = server.receive_heartbeat();
        assert_eq!(server.receive_text(), b"hi");
        if let Some(echo) = echo {
            server.send(echo, from);
            client.expect_output(" hi\n");
        }
        client.signal(Signal::SIGTERM);
        let output = client.wait_with_output();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(server.receive_text(), b"quit");
    }
}

#[test]
fn help_is_no_last_line() {
    let server = FakeServer::start();
    let lines = ["/mgs bob hi".to_owned(), "/help".to_owned()];
    let address = server.address().to_string();
    let output = run_with_input(v1_client_command().arg(address), &lines);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_text_longer_than_a_message_is_not_sent() {
    let server = TestServer::start(unpinned_config(1, V4));
    let peer = server.client();
    for (arguments, max_bytes) in [
        (&["--protocol", "v2"][..], 1152),
        (&["--protocol", "auto"], 1152),
        // A datagram of 1024 bytes, without an address of 47 and a blank.
        (&["--protocol", "v1"], 976),
    ] {
        let output = say(server.local_addr(), arguments, &["x".repeat(max_bytes + 1)]);
        let reason = format!(
            "{} bytes are too long for one text of {max_bytes}",
            max_bytes + 1
        );
        let errors = format!("not sent: {reason}\nclient: the last line was not sent: {reason}\n");
        assert_eq!(output.errors(), errors, "{arguments:?}");
        assert_eq!(output.text(), "");
        assert_eq!(output.status.code(), Some(1));

        let text = "x".repeat(max_bytes);
        let output = say(server.local_addr(), arguments, std::slice::from_ref(&text));
        assert!(output.text().ends_with(&format!(" {text}\n")), "{output:?}");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        peer.receive();
    }
    assert!(peer.inbox_is_empty(), "something too long was sent");
}

#[test]
fn a_text_that_version_1_would_cut_is_not_sent() {
    let server = TestServer::start(unpinned_config(1, V4));
    let peer = server.client();
    peer.send(b"/nick peer");
    assert_eq!(peer.receive_text(), "* you are peer");
    for text in [
        // The server writes 4 bytes for each.
        "\u{1}".repeat(300),
        // It needs a blank before it.
        format!("//nick {}", "x".repeat(970)),
        // The line to the receiver says more than that of a text.
        format!("/msg peer {}", "x".repeat(970)),
    ] {
        let output = say(server.local_addr(), &["--protocol", "v1"], &[text]);
        assert_failure(&output, "bytes are too long for one text");
    }
    assert!(peer.inbox_is_empty(), "something too long was sent");
}

#[test]
fn a_long_text_waits_until_the_version_is_known() {
    // It does not know version 2.
    let server = FakeServer::start();
    let output = say(
        server.address(),
        &["--protocol", "auto"],
        &["x".repeat(1000)],
    );
    assert_failure(&output, "1000 bytes are too long for one text of 976");
    while let (datagram, _) = server.receive()
        && datagram != b"quit"
    {
        assert!(!datagram.starts_with(b"x"), "it was sent");
    }
}

#[test]
fn a_text_without_an_echo_is_an_error_unless_none_is_expected() {
    for (option, exit_code, errors) in [
        (
            &["--wait", "200ms"][..],
            1,
            "client: no echo of the last line: it may be lost\n",
        ),
        (&["--settle", "20ms", "--no-echo"], 0, ""),
    ] {
        let server = FakeServer::start();
        let mut client = ClientProgram::start(&server, option);
        client.type_in("hi\n");
        client.end_input();
        let output = client.wait_with_output();
        assert_eq!(server.receive_text(), b"hi");
        assert_eq!(output.status.code(), Some(exit_code), "{option:?}");
        assert_eq!(output.errors(), errors);
    }
}

#[test]
fn a_full_server_is_an_error() {
    let server = TestServer::start(ServerConfig {
        max_peers: 1,
        ..unpinned_config(1, V4)
    });
    let peer = server.client();
    for protocol in PROTOCOLS {
        let output = say_hi(server.local_addr(), &["--protocol", protocol]);
        assert_failure(&output, "the server is down: it is full");
    }
    assert!(peer.inbox_is_empty());
}

#[test]
fn a_name_that_is_taken_is_an_error_although_the_text_is_delivered() {
    let server = TestServer::start(unpinned_config(1, V4));
    let peer = server.client();
    peer.send(b"/nick ada");
    assert_eq!(peer.receive_text(), "* you are ada");
    for protocol in ["v1", "v2"] {
        let arguments = ["--protocol", protocol, "--nick", "ada"];
        let output = say_hi(server.local_addr(), &arguments);
        assert_failure(&output, "the last line was sent without the name ada");
        assert!(output.text().starts_with("* ada is taken"), "{output:?}");
        let text = peer.receive_text();
        assert!(
            text.starts_with("127.0.0.1:") && text.ends_with(" hi"),
            "{text}"
        );
    }
}

/// A wait for each line would take longer than a test may.
#[test]
fn many_lines_wait_once_for_a_name_that_is_taken() {
    let server = TestServer::start(unpinned_config(1, V4));
    let peer = server.client();
    peer.send(b"/nick ada");
    assert_eq!(peer.receive_text(), "* you are ada");
    let lines = vec!["hi".to_owned(); 60];
    let output = say(server.local_addr(), &["--nick", "ada"], &lines);
    assert_failure(&output, "the last line was sent without the name ada");
}

#[test]
fn a_name_is_not_missed_where_nothing_is_said() {
    let server = FakeServer::start();
    let output = say(
        server.address(),
        &["--protocol", "v1", "--nick", "ada"],
        &[],
    );
    assert_eq!(output.errors(), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_full_room_is_an_error_although_the_text_goes_to_the_lobby() {
    let server = TestServer::start(ServerConfig {
        max_room_members: 1,
        ..unpinned_config(1, V4)
    });
    let member = server.client();
    member.send(b"/join den");
    assert_eq!(member.receive_text(), "* you are in den (1 here)");
    let lobby = server.client();
    for protocol in ["v1", "v2"] {
        let arguments = ["--protocol", protocol, "--room", "den"];
        let output = say_hi(server.local_addr(), &arguments);
        assert_failure(&output, "the last line was sent to the lobby, not to den");
        assert!(
            output.text().starts_with("* den is full (1)\n"),
            "{output:?}"
        );
        assert!(lobby.receive_text().ends_with(" hi"));
    }
    assert!(member.inbox_is_empty());
}

#[test]
fn a_command_that_the_server_refuses_is_an_error() {
    let server = TestServer::start(unpinned_config(1, V4));
    for protocol in ["v1", "v2"] {
        let arguments = ["--protocol", protocol];
        let lines = ["hi".to_owned(), "/msg bob psst".to_owned()];
        let output = say(server.local_addr(), &arguments, &lines);
        assert_failure(
            &output,
            "the last line was not delivered: no such peer: bob",
        );
        assert!(
            output.text().contains("* no such peer: bob\n"),
            "{output:?}"
        );
        // A later line that is delivered makes up for it.
        let lines = ["/msg bob psst".to_owned(), "hi".to_owned()];
        let output = say(server.local_addr(), &arguments, &lines);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

#[test]
fn a_command_that_the_program_refuses_is_an_error() {
    let server = TestServer::start(unpinned_config(1, V4));
    let peer = server.client();
    for (line, reason) in [
        ("/nosuch", "unknown command /nosuch"),
        ("/join", "usage: /join ROOM"),
        ("/join a/b", "usage: /join ROOM"),
        ("@im@", "@im@ is the heartbeat"),
    ] {
        let output = say(server.local_addr(), &[], &[line.to_owned()]);
        assert_failure(&output, &format!("the last line was not sent: {reason}"));
        // Neither a blank line nor the end of the session changes that.
        let lines = [line, "", "quit"].map(str::to_owned);
        let output = say(server.local_addr(), &[], &lines);
        assert_failure(&output, "the last line was not sent: ");
        // A line after it does.
        let lines = [line.to_owned(), "hi".to_owned()];
        let output = say(server.local_addr(), &[], &lines);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(peer.receive_text().ends_with(" hi"));
    }
    assert!(peer.inbox_is_empty());
}

#[test]
fn quit_does_not_hide_that_the_line_before_it_was_not_delivered() {
    let address = FakeServer::start_unshared().stop();
    for protocol in PROTOCOLS {
        let lines = ["hi".to_owned(), "quit".to_owned()];
        let output = say(address, &["--protocol", protocol], &lines);
        assert_failure(&output, "nothing listens there");
    }
}

#[test]
fn a_port_on_which_nothing_listens_is_an_error() {
    let address = FakeServer::start_unshared().stop();
    for protocol in PROTOCOLS {
        let output = say_hi(address, &["--protocol", protocol]);
        assert_failure(&output, "the server is down: nothing listens there");
        // The same after the client has noticed it.
        let mut command = client_command();
        command.args(["--protocol", protocol, "--answer-within", "100ms"]);
        let mut client = ClientProgram::spawn(command.arg(address.to_string()));
        client.expect_output(&format!("{address} is down: nothing listens there\n"));
        client.type_in("hi\n");
        client.end_input();
        assert_failure(&client.wait_with_output(), "the last line was not ");
    }
}

#[test]
fn a_server_that_went_away_before_the_last_line_is_an_error() {
    for protocol in ["v1", "v2"] {
        let command = server_command(&["--bind", "127.0.0.77:0"]);
        let mut server = ServerProgram::start_command(command);
        let mut command = client_command();
        command.args(["--protocol", protocol, "--wait", "20s"]);
        let mut client = ClientProgram::spawn(command.arg(server.address.to_string()));
        client.type_in("one\n");
        client.expect_output(" one\n");
        server.signal(Signal::SIGKILL);
        server.exit_status();
        client.type_in("two\n");
        client.end_input();
        let output = client.wait_with_output();
        assert_failure(
            &output,
            "the last line was not delivered: the server is down",
        );
        let expected = format!(
            "{} is down: nothing listens there\n* maybe lost: two\n",
            server.address
        );
        assert!(output.text().ends_with(&expected), "{output:?}");
    }
}

#[test]
fn a_server_that_stopped_before_the_last_line_is_an_error() {
    let server = TestServer::start(unpinned_config(1, "127.0.0.77:0"));
    let address = server.local_addr();
    let mut command = client_command();
    let mut client = ClientProgram::spawn(command.arg(address.to_string()));
    client.type_in("one\n");
    client.expect_output(" one\n");
    server.stop();
    client.expect_output(&format!("{address} is down: it said goodbye\n"));
    client.type_in("two\n");
    client.end_input();
    assert_failure(&client.wait_with_output(), "the last line was not ");
}

#[test]
fn the_reply_to_the_last_line_is_printed_before_the_end() {
    let server = FakeServer::start();
    for _ in 0..20 {
        let output = say(
            server.address(),
            &["--protocol", "v1"],
            &["/help".to_owned()],
        );
        assert!(output.text().contains("\n/msg NAME TEXT "), "{output:?}");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let output = say(
            server.address(),
            &["--protocol", "v1"],
            &["/nosuch".to_owned()],
        );
        assert!(output.text().starts_with("* unknown command"), "{output:?}");
    }
}

#[track_caller]
fn say_hi(server: SocketAddr, arguments: &[&str]) -> Output {
    say(server, arguments, &["hi".to_owned()])
}

/// Runs the client with these lines as its input. It waits longer than a busy machine takes.
#[track_caller]
fn say(server: SocketAddr, arguments: &[&str], lines: &[String]) -> Output {
    let arguments = [&["--wait", "20s"], arguments].concat();
    run_client(server, &arguments, lines)
}

/// Checks that the exit code is 1, and that the last line on standard error gives the reason.
#[track_caller]
fn assert_failure(output: &Output, reason: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = output.errors();
    let last = errors.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("client: ") && last.contains(reason),
        "{output:?}"
    );
}

const PROTOCOLS: [&str; 3] = ["v1", "v2", "auto"];
