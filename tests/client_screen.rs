//! The program `client` at a terminal: its first lines, its questions, and its log.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use common::{
    ClientProgram, FakeServer, OutputText, Process, Terminal, TestServer, V4, client_command,
    run_client, unpinned_config, v1_client_command, wait_until,
};

#[test]
fn the_first_lines_tell_where_the_user_is_and_who_else_is_there() {
    let server = TestServer::start(unpinned_config(1, V4));
    let bob = server.client();
    bob.send(b"/nick bob");
    assert_eq!(bob.receive_text(), "* you are bob");
    let address = server.local_addr();
    let (mut client, mut terminal) = at_a_terminal(address, &["--nick", "ada"]);
    let before = terminal.expect_output(&format!("* Connecting to {address} from 127.0.0.1:"));
    assert_eq!(before, "");
    terminal.expect_output("/help lists commands, /quit leaves.\r\n");
    terminal.expect_output(&format!("* Connected to {address}."));
    terminal.expect_output("* you are ada");
    terminal.expect_output("* 2 in lobby: bob ada");
    terminal.type_in("/quit\r");
    terminal.expect_output("bye bye");
    assert_eq!(client.exit_status().code(), Some(0));

    let (_client, mut terminal) = at_a_terminal(address, &["--protocol", "v1", "--nick", "ada"]);
    terminal.expect_output(&format!("* Connecting to {address} from 127.0.0.1:"));
    terminal.expect_output(&format!(
        "* Connected to {address}, in version 1 of the protocol."
    ));
}

#[test]
fn the_client_is_not_connected_before_the_server_has_answered() {
    let server = FakeServer::start();
    let mut command = v1_client_command();
    let (_client, mut terminal) = Terminal::start(command.arg(server.address().to_string()));
    let from = server.receive_heartbeat();
    terminal.expect_last_lines(&["> "]);
    terminal.type_in("hi\r");
    assert_eq!(server.receive_text(), b"hi");
    terminal.expect_last_lines(&["> hi", "> "]);
    server.send(b"ann welcome", from);
    let before = terminal.expect_output("Connected to ");
    assert!(before.contains("hi\x1b"), "{before:?}");
    terminal.expect_output(" welcome");
}

#[test]
fn a_server_that_is_down_from_the_start_is_shown() {
    let address = FakeServer::start_unshared().stop();
    for protocol in ["v1", "v2", "auto"] {
        let (mut client, mut terminal) = at_a_terminal(address, &["--protocol", protocol]);
        terminal.expect_output(&format!("* Connecting to {address} from 127.0.0.1:"));
        let between = terminal.expect_output(&format!("{address} is down: nothing listens there"));
        assert!(!between.contains("Connected"), "{between:?}");
        terminal.type_in("hi\r");
        match protocol {
            // In version 1 the text may bring the news that the server is back.
            "v1" => terminal.type_in("/quit\r"),
            _ => {
                terminal.expect_output("not sent: the server is down: nothing listens there");
                terminal.type_in("/quit\r");
            }
        }
        terminal.expect_output("bye bye");
        assert_eq!(client.exit_status().code(), Some(0), "{protocol}");
    }
}

#[test]
fn a_long_line_is_sent_in_parts_if_the_user_wants_it() {
    let server = TestServer::start(unpinned_config(1, V4));
    let address = server.local_addr();
    let mut command = client_command();
    let mut listener = ClientProgram::spawn(command.arg(address.to_string()));
    wait_until("the listener", || server.stats().peers == 1);
    let (_client, mut terminal) = at_a_terminal(address, &["--nick", "ada"]);
    terminal.expect_output("* 2 in lobby:");
    let words: Vec<String> = (1000..1240).map(|number| number.to_string()).collect();
    let line = words.join(" ");
    assert_eq!(line.len(), 1199);
    let question = "1199 bytes are too long for one text of 1152. Send 2 texts? [y/N] ";
    for answer in ["", "n", "nyes"] {
        terminal.type_in(&format!("{PASTE}{line}{PASTE_END}\r"));
        terminal.expect_output(question);
        terminal.type_in(&format!("{answer}\r"));
        terminal.type_in(&format!("I said {answer:?}\r"));
        let before = listener.expect_output(&format!("ada I said {answer:?}\n"));
        assert_eq!(before, "", "{answer}");
    }
    terminal.type_in(&format!("{PASTE}{line}{PASTE_END}\r"));
    terminal.expect_output(question);
    terminal.type_in("y\r");
    let parts = [&words[..230], &words[230..]];
    for part in parts.map(|part| part.join(" ")) {
        let before = listener.expect_output(&format!("ada {part}\n"));
        assert_eq!(before, "");
    }
    terminal.type_in("the end\r");
    assert_eq!(listener.expect_output("ada the end\n"), "");
}

#[test]
fn the_log_has_what_was_printed_without_colours() {
    let server = TestServer::start(unpinned_config(1, V4));
    let address = server.local_addr();
    let log = Log::new("terminal");
    let arguments = ["--nick", "ada", "--transcript", log.path()];
    let (mut client, mut terminal) = at_a_terminal(address, &arguments);
    terminal.expect_output("\x1b[2m* 1 in lobby: ada\x1b[0m");
    terminal.type_in("hi \u{7}\r");
    terminal.expect_output("ada\x1b[0m hi");
    terminal.type_in("/quit\r");
    terminal.expect_output("bye bye");
    client.exit_status();
    let logged = fs::read_to_string(log.path()).unwrap();
    assert!(!logged.contains('\x1b'), "{logged:?}");
    let lines: Vec<_> = logged.lines().collect();
    assert!(
        lines[0].starts_with(&format!("* Connecting to {address} from ")),
        "{logged}"
    );
    assert_eq!(
        lines[1..],
        [
            &format!("* Connected to {address}."),
            "* you are ada",
            "* 1 in lobby: ada",
            "ada hi",
            "bye bye",
        ]
    );
}

#[test]
fn the_log_of_piped_text_is_the_output_and_is_appended_to() {
    let server = TestServer::start(unpinned_config(1, V4));
    let log = Log::new("pipe");
    let mut printed = String::new();
    for text in ["one", "two \x1b[31m", "/who"] {
        let arguments = ["--nick", "ada", "--wait", "20s", "--transcript", log.path()];
        let output = run_client(server.local_addr(), &arguments, &[text.to_owned()]);
        printed += &output.text();
        wait_until("the leave", || server.stats().peers == 0);
    }
    assert!(printed.contains("ada two \\x1b[31m\n"), "{printed}");
    assert_eq!(fs::read_to_string(log.path()).unwrap(), printed);
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let output = run_client(
        SocketAddr::from(([127, 0, 0, 1], 1)),
        &["--transcript", folder],
        &[],
    );
    assert_eq!(output.status.code(), Some(1));
    let errors = output.errors();
    assert!(
        errors.contains(&format!("cannot open {folder}")),
        "{errors}"
    );
}

/// The path of a file that does not exist, and is removed at the end.
struct Log(PathBuf);

impl Log {
    fn new(name: &str) -> Self {
        let name = format!("{name}-{}.log", std::process::id());
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn at_a_terminal(server: SocketAddr, arguments: &[&str]) -> (Process, Terminal) {
    let mut command = client_command();
    command.env("NO_COLOR", "");
    Terminal::start(command.args(arguments).arg(server.to_string()))
}

/// The marks with which a terminal encloses a pasted text.
const PASTE: &str = "\x1b[200~";
const PASTE_END: &str = "\x1b[201~";
