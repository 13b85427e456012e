//! The program `client` at a terminal, which here is a pseudo-terminal.

mod common;

use common::{FakeServer, Process, Terminal, v1_client_command};
use nix::sys::signal::Signal;

#[test]
fn a_received_line_leaves_the_typed_one_alone() {
    let server = FakeServer::start();
    let (mut client, mut terminal) = at_a_terminal(&server);
    let from = server.client();
    terminal.shows_lines(&["> "]);
    terminal.type_in("half a li");
    terminal.shows_lines(&["> half a li"]);
    server.send(b"127.0.0.1:7 news\x1b[2J", from);
    server.send(b"127.0.0.1:7 more", from);
    terminal.shows_lines(&[
        "127.0.0.1:7 news\\x1b[2J",
        "127.0.0.1:7 more",
        "> half a li",
    ]);

    terminal.type_in("ne\r");
    assert_eq!(server.receive_text(), b"half a line");
    terminal.shows_lines(&["> half a line", "> "]);
    // The arrow key brings the last line back.
    terminal.type_in("\x1b[A");
    terminal.shows_lines(&["> half a line", "> half a line"]);
    terminal.type_in("\x15 Quit\r");
    assert_eq!(server.receive_text(), b"quit");
    terminal.shows_lines(&[">  Quit", "bye bye", ""]);
    assert_eq!(client.exit_status().code(), Some(0));
}

#[test]
fn control_d_control_c_and_sigterm_leave_a_terminal_properly() {
    for key in [Some("\x04"), Some("\x03"), None] {
        let server = FakeServer::start();
        let (mut client, mut terminal) = at_a_terminal(&server);
        server.client();
        terminal.shows_lines(&["> "]);
        match key {
            Some(key) => terminal.type_in(key),
            None => client.signal(Signal::SIGTERM),
        }
        assert_eq!(server.receive_text(), b"quit", "{key:?}");
        terminal.shows_lines(&["bye bye", ""]);
        assert_eq!(client.exit_status().code(), Some(0), "{key:?}");
    }
}

#[test]
fn pasted_lines_are_texts_of_their_own() {
    let server = FakeServer::start();
    let (_client, mut terminal) = at_a_terminal(&server);
    terminal.shows_lines(&["> "]);
    terminal.type_in("\x1b[200~one\ntwo\n\x1b[201~\r");
    assert_eq!(server.receive_text(), b"one");
    assert_eq!(server.receive_text(), b"two");
}

/// Starts a client at a terminal.
fn at_a_terminal(server: &FakeServer) -> (Process, Terminal) {
    let mut command = v1_client_command();
    command.arg(server.address().to_string());
    let terminal = Terminal::of(&mut command);
    (Process::spawn(&mut command), terminal)
}
