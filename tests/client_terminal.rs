//! The program `client` at a pseudo-terminal.

mod common;

use std::process::Command;

use common::{ClientProgram, FakeServer, Process, Terminal, client_command, v1_client_command};
use nix::sys::signal::Signal;

#[test]
fn a_received_line_does_not_disturb_the_line_being_typed() {
    let server = FakeServer::start();
    let (mut client, mut terminal) = at_a_terminal(&server);
    let from = server.receive_heartbeat();
    terminal.expect_last_lines(&["> "]);
    terminal.type_in("half a li");
    terminal.expect_last_lines(&["> half a li"]);
    server.send(b"127.0.0.1:7 news\x1b[2J", from);
    server.send(b"127.0.0.1:7 more", from);
    terminal.expect_last_lines(&[
        "127.0.0.1:7 news\\x1b[2J",
        "127.0.0.1:7 more",
        "> half a li",
    ]);

    terminal.type_in("ne\r");
    assert_eq!(server.receive_text(), b"half a line");
    terminal.expect_last_lines(&["> half a line", "> "]);
    // The arrow key recalls the last line.
    terminal.type_in("\x1b[A");
    terminal.expect_last_lines(&["> half a line", "> half a line"]);
    terminal.type_in("\x15 Quit\r");
    assert_eq!(server.receive_text(), b"quit");
    terminal.expect_last_lines(&[">  Quit", "bye bye", ""]);
    assert_eq!(client.exit_status().code(), Some(0));
}

#[test]
fn ctrl_d_ctrl_c_and_sigterm_end_the_client_with_exit_code_0() {
    for key in [Some("\x04"), Some("\x03"), None] {
        let server = FakeServer::start();
        let (mut client, mut terminal) = at_a_terminal(&server);
        server.receive_heartbeat();
        terminal.expect_last_lines(&["> "]);
        match key {
            Some(key) => terminal.type_in(key),
            None => client.signal(Signal::SIGTERM),
        }
        assert_eq!(server.receive_text(), b"quit", "{key:?}");
        terminal.expect_last_lines(&["bye bye", ""]);
        assert_eq!(client.exit_status().code(), Some(0), "{key:?}");
    }
}

#[test]
fn a_line_that_wraps_is_indented() {
    let server = FakeServer::start();
    let (_client, mut terminal) = at_a_terminal(&server);
    let from = server.receive_heartbeat();
    terminal.expect_last_lines(&["> "]);
    terminal.type_in("draft");
    for columns in [80_u16, 40, 100] {
        terminal.resize(columns.try_into().unwrap());
        let blanks = " ".repeat(usize::from(columns) - "ada no".len());
        let forgery = format!("ada no{blanks}bob I agree");
        server.send(forgery.as_bytes(), from);
        terminal.expect_last_lines(&[&format!("ada no{blanks}"), "    bob I agree", "> draft"]);
        // A wide character that has half of its space goes to the next row.
        let wide = format!("ada {}世", "x".repeat(usize::from(columns) - 5));
        server.send(wide.as_bytes(), from);
        terminal.expect_last_lines(&[wide.strip_suffix('世').unwrap(), "    世", "> draft"]);
    }
}

#[test]
fn a_line_that_is_piped_stays_one() {
    let server = FakeServer::start();
    for options in [&[][..], &["--json"]] {
        let mut client = ClientProgram::start(&server, options);
        let from = server.receive_heartbeat();
        let text = "a word ".repeat(50);
        server.send(format!("ada {text}").as_bytes(), from);
        client.expect_output(&text);
    }
}

#[test]
fn every_line_typed_ahead_is_said() {
    let server = FakeServer::start();
    let (mut client, mut terminal) = at_a_terminal(&server);
    terminal.expect_last_lines(&["> "]);
    terminal.type_in("p1\rp2\rp3\rquit\r");
    terminal.expect_last_lines(&["> p3", "> quit", "bye bye", ""]);
    for text in ["p1", "p2", "p3", "quit"] {
        assert_eq!(server.receive_text(), text.as_bytes());
    }
    assert_eq!(client.exit_status().code(), Some(0));
}

#[test]
fn ctrl_c_clears_the_line_before_it_ends_the_client() {
    let server = FakeServer::start();
    let (mut client, mut terminal) = at_a_terminal(&server);
    terminal.expect_last_lines(&["> "]);
    // The cursor is in the middle of the line, and the draft has two lines.
    for (keys, draft) in [
        ("half a li\x1b[D", &["> half a li"][..]),
        ("\x1b[200~one\ntwo\x1b[201~", &["> one", "two"]),
    ] {
        terminal.type_in(keys);
        terminal.expect_last_lines(draft);
        terminal.type_in("\x03");
        terminal.expect_last_lines(&["> "]);
    }
    terminal.type_in("whole\r");
    terminal.expect_last_lines(&["> whole", "> "]);
    terminal.type_in("\x03");
    terminal.expect_last_lines(&["> ", "bye bye", ""]);
    assert_eq!(server.receive_text(), b"whole");
    assert_eq!(server.receive_text(), b"quit");
    assert_eq!(client.exit_status().code(), Some(0));
}

#[test]
fn sigint_ends_the_client_although_a_line_is_being_typed() {
    let server = FakeServer::start();
    let (mut client, mut terminal) = at_a_terminal(&server);
    terminal.expect_last_lines(&["> "]);
    terminal.type_in("half a li");
    terminal.expect_last_lines(&["> half a li"]);
    client.signal(Signal::SIGINT);
    terminal.expect_last_lines(&["> half a li", "bye bye", ""]);
    assert_eq!(server.receive_text(), b"quit");
    assert_eq!(client.exit_status().code(), Some(0));
}

#[test]
fn ctrl_z_and_fg_leave_the_line_being_typed_as_it_was() {
    // Unlike bash, sh does not reset the terminal when a program stops.
    for shell in [&["bash", "--norc"][..], &["sh"]] {
        let server = FakeServer::start();
        let (_shell, mut terminal) = in_a_shell(shell, &server);
        let mut draft = "draft".to_owned();
        terminal.type_in(&draft);
        for round in 0..5 {
            terminal.expect_last_lines(&[&format!("> {draft}")]);
            terminal.type_in("\x1a");
            terminal.expect_last_lines(&["$ "]);
            terminal.type_in("fg\r");
            terminal.expect_last_lines(&[&format!("> {draft}")]);
            // The first key moves the cursor, unless the terminal echoes it.
            terminal.type_in(&format!("\x01{round}"));
            draft.insert_str(0, &round.to_string());
        }
        terminal.expect_last_lines(&[&format!("> {draft}")]);
        terminal.type_in("\r");
        terminal.expect_last_lines(&[&format!("> {draft}"), "> "]);
        terminal.type_in("quit\r");
        terminal.expect_last_lines(&["> quit", "bye bye", "$ "]);
        assert_eq!(server.receive_text(), draft.as_bytes(), "{shell:?}");
    }
}

#[test]
fn each_pasted_line_is_a_text() {
    let server = FakeServer::start();
    let (_client, mut terminal) = at_a_terminal(&server);
    terminal.expect_last_lines(&["> "]);
    terminal.type_in("\x1b[200~one\ntwo\n\x1b[201~\r");
    assert_eq!(server.receive_text(), b"one");
    assert_eq!(server.receive_text(), b"two");
}

#[test]
fn tab_completes_commands_and_received_names() {
    let server = FakeServer::start();
    let (_client, mut terminal) = at_a_terminal(&server);
    let from = server.receive_heartbeat();
    terminal.expect_last_lines(&["> "]);
    server.send(b"adalbert hi", from);
    server.send(b"* 2 rooms: lobby (1) chess (3)", from);
    terminal.expect_last_lines(&["adalbert hi", "* 2 rooms: lobby (1) chess (3)", "> "]);
    terminal.type_in("/jo\tch\t\r");
    assert_eq!(server.receive_text(), b"/join chess");
    terminal.type_in("/ms\tAD\tpsst\r");
    assert_eq!(server.receive_text(), b"/msg adalbert psst");
    // Two commands match, and both are shown.
    terminal.type_in("/p\t\t");
    terminal.expect_output("/ping");
    terminal.expect_output("/presence");
}

#[test]
fn names_are_coloured_unless_no_color_is_set() {
    for (no_color, line, notice) in [
        ("", "m\x1b[0m hi \\x1b[31m", "\x1b[2m* ada left\x1b[0m"),
        ("1", "\x1b[Kadam hi \\x1b[31m\r", "\x1b[K* ada left\r"),
    ] {
        let server = FakeServer::start();
        let mut command = v1_client_command();
        command.env("NO_COLOR", no_color);
        let (_client, mut terminal) = at_a_terminal_as(command, &server);
        let from = server.receive_heartbeat();
        terminal.expect_last_lines(&["> "]);
        server.send(b"* nobody is here", from);
        terminal.expect_last_lines(&["* nobody is here", "> "]);
        server.send(b"adam hi \x1b[31m", from);
        terminal.expect_output(line);
        server.send(b"* ada left", from);
        terminal.expect_output(notice);
    }
}

/// Returns a terminal on which a shell has started the client.
fn in_a_shell(shell: &[&str], server: &FakeServer) -> (Process, Terminal) {
    // It makes the terminal the controlling one, without which there is no job control.
    let mut command = Command::new("setsid");
    command.arg("--ctty").args(shell).arg("-i");
    command.env_remove("ENV").env("HOME", "/nonexistent");
    command.env("PS1", "$ ");
    command.env("CLIENT", client_command().get_program());
    command.env("SERVER", server.address().to_string());
    let (shell, mut terminal) = Terminal::start(&mut command);
    terminal.expect_last_lines(&["$ "]);
    terminal.type_in("\"$CLIENT\" --protocol v1 \"$SERVER\"\r");
    terminal.expect_last_lines(&["> "]);
    (shell, terminal)
}

fn at_a_terminal(server: &FakeServer) -> (Process, Terminal) {
    at_a_terminal_as(v1_client_command(), server)
}

fn at_a_terminal_as(mut command: Command, server: &FakeServer) -> (Process, Terminal) {
    command.arg(server.address().to_string());
    Terminal::start(&mut command)
}
