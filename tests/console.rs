//! The console of the program `server` at a pseudo-terminal.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use common::{
    Client, ServerProgram, Terminal, V4, all_threads_sleep, server_command, terminal_to_close,
    wait_until,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn the_console_prompts_lists_and_quits() {
    let arguments = ["--bind", V4, "--workers", "2"];
    for command in [server_command(&arguments), started_by(&SESSION, &arguments)] {
        let (mut server, mut terminal) = at_a_terminal(command);
        terminal.expect_output(">>>>: ");
        let ann = server.client();
        server.expect_echo(&ann, "hi");

        terminal.type_in("who\n");
        let listing = terminal.expect_output(">>>>: ");
        for row in ["thread ", "worker-0 ", "worker-1 ", "peers: 1 now"] {
            assert!(listing.contains(row), "{listing}");
        }
        terminal.type_in("  QuIt \n");
        server.expect_success();
    }
}

#[test]
fn ctrl_d_ends_the_console_but_not_the_server() {
    let (server, mut terminal) = at_a_terminal(server_command(&["--bind", V4]));
    terminal.expect_output(">>>>: ");
    terminal.type_in("\x04");
    terminal.expect_output("The console is closed, and the server goes on. Ctrl-C stops it.");
    let ann = server.client();
    server.expect_echo(&ann, "hi");
    terminal.type_in("quit\n");
    // The terminal echoes the line, but nothing reads it.
    terminal.expect_output("quit");
    server.expect_echo(&ann, "hi again");
}

#[test]
fn ctrl_c_stops_the_server_with_exit_code_0() {
    let (mut server, mut terminal) = at_a_terminal(started_by(&SESSION, &["--bind", V4]));
    terminal.expect_output(">>>>: ");
    terminal.type_in("\x03");
    server.expect_success();
}

#[test]
fn a_terminal_that_is_closed_stops_the_server() {
    let mut command = started_by(&SESSION, &["--bind", V4]);
    let terminal = terminal_to_close(&mut command);
    let mut server = ServerProgram::with_errors_piped(command);
    let log = server.log();
    drop(terminal);
    log.find("the terminal was closed: stopping");
    server.expect_success();
}

#[test]
fn the_log_is_written_above_the_line_that_is_typed() {
    let mut command = started_by(&SESSION, &["--bind", V4, "--log", "info"]);
    let (mut process, mut terminal) = Terminal::start(&mut command);
    // It may come before the prompt, and after.
    terminal.expect_output("listening on ");
    let address = terminal.expect_output("\r");
    terminal.type_in("pee");
    terminal.expect_last_lines(&[">>>>: pee"]);
    let ann = Client::connect(address.parse().unwrap());
    ann.send(b"/ping 1");
    assert_eq!(ann.receive(), b"* pong 1");
    terminal.expect_output(&format!("{} is here", ann.address()));
    terminal.expect_last_lines(&[">>>>: pee"]);
    terminal.type_in("rs\n");
    terminal.expect_output("peers: 1");
    terminal.type_in("quit\n");
    assert!(process.exit_status().success());
}

#[test]
fn a_line_that_is_not_utf8_is_refused_and_the_console_goes_on() {
    let (mut server, mut terminal) = at_a_terminal(server_command(&["--bind", V4]));
    terminal.expect_output(">>>>: ");
    terminal.type_bytes(b"caf\xe9\r");
    terminal.expect_output("This is not UTF-8.");
    terminal.type_in("quit\n");
    server.expect_success();
}

#[test]
fn a_server_that_ends_gives_the_terminal_back() {
    let shell = [&SESSION[..], &["sh", "-c", "\"$@\"; stty -a", "sh"]].concat();
    // At the last one, a line is being edited.
    for keys in ["quit\n", "\x03", "drain 1s\nqui"] {
        let mut command = started_by(&shell, &["--bind", V4]);
        let (mut process, mut terminal) = Terminal::start(&mut command);
        terminal.expect_output("listening on ");
        let address = terminal.expect_output("\r");
        // The server does not stop before its time while somebody is there.
        let ann = Client::connect(address.parse().unwrap());
        ann.send(b"/ping 1");
        assert_eq!(ann.receive(), b"* pong 1");
        // Before the prompt, Ctrl-C would end the shell, too.
        terminal.expect_last_lines(&[">>>>: "]);
        terminal.type_in(keys);
        terminal.expect_output("isig icanon iexten echo ");
        assert!(process.exit_status().success());
    }
}

#[test]
fn help_lists_every_command() {
    let mut server = ServerProgram::start(&[]);
    let printed = server.printed();
    server.type_line("help");
    for verb in [
        "stats", "peers", "rooms", "say", "kick", "mute", "unmute", "ban", "unban", "bans",
        "limits", "log", "drain", "help", "quit",
    ] {
        let line = printed.next();
        assert!(line.starts_with(&format!("{verb} ")), "{line}");
    }
    server.type_line("quit");
    server.expect_success();
}

#[test]
fn a_server_that_is_drained_stops_when_nobody_is_left() {
    let mut server = ServerProgram::start(&[]);
    let printed = server.printed();
    let ann = server.client();
    server.expect_echo(&ann, "hi");
    server.type_line("drain 1h");
    printed.find("newcomers are refused, and the server stops in 1h: said to 1 peer");
    assert!(ann.receive().starts_with(b"* "));
    server.expect_echo(&ann, "still here");
    ann.send(b"quit");
    server.expect_success();
}

#[test]
fn the_log_can_be_changed_while_the_server_runs() {
    let mut server = ServerProgram::start(&["--log", "info"]);
    let (log, printed) = (server.log(), server.printed());
    let ann = server.client();
    server.expect_echo(&ann, "one");
    log.find("one");
    server.type_line("log info,bullhorn::text=off");
    printed.find("logging info,bullhorn::text=off");
    server.expect_echo(&ann, "two");
    server.type_line("log info");
    printed.find("logging info");
    server.expect_echo(&ann, "three");
    loop {
        let line = log.next();
        assert!(!line.contains(" two"), "{line}");
        if line.contains(" three") {
            break;
        }
    }
}

#[test]
fn texts_that_are_not_logged_cannot_be_switched_on() {
    let mut server = ServerProgram::start(&["--log-texts", "off"]);
    let printed = server.printed();
    for filter in ["bullhorn::text=info", "warn,bullhorn::text=trace"] {
        server.type_line(&format!("log {filter}"));
        printed.find("texts are not logged: start the server with --log-texts on");
    }
    server.type_line("log info,bullhorn::text=off");
    printed.find("logging info,bullhorn::text=off");
}

#[test]
fn a_reload_of_the_same_configuration_keeps_the_levels_of_the_console() {
    let mut server = ServerProgram::start(&["--log", "info"]);
    let (log, printed) = (server.log(), server.printed());
    server.type_line("log info,bullhorn::peer=off");
    printed.find("logging info,bullhorn::peer=off");
    server.signal(Signal::SIGHUP);
    log.find("configuration read again: no flag has changed");
    server.expect_echo(&server.client(), "hi");
    server.signal(Signal::SIGTERM);
    server.expect_success();
    let rest = log.rest();
    assert!(
        !rest.iter().any(|line| line.contains("is here")),
        "{rest:#?}"
    );
}

#[test]
fn the_terminal_does_not_stop_a_server_in_the_background() {
    // With `-m`, a shell puts each job into its own process group, and keeps the
    // terminal.
    let job = "\"$@\" & echo job $! started; wait";
    let shell = [&SESSION[..], &["sh", "-m", "-c", job, "sh"]].concat();
    let command = started_by(&shell, &["--bind", V4]);
    let (mut shell, mut terminal) = at_a_terminal(command);
    terminal.expect_output("job ");
    let pid = terminal.expect_output(" started").parse().unwrap();
    let job = Job(Pid::from_raw(pid));

    // The console has run once all threads of the server sleep. The threads of a process
    // that the terminal has stopped do not sleep.
    let ann = shell.client();
    wait_until("the sleep of all threads", || {
        shell.expect_echo(&ann, "hi");
        all_threads_sleep(job.0)
    });
    shell.expect_echo(&ann, "hi again");
    kill(job.0, Signal::SIGTERM).unwrap();
    shell.expect_success();
}

#[test]
fn every_command_is_carried_out() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console_state");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let state_dir = format!("--state-dir={}", folder.display());
    let mut server = ServerProgram::start(&["--workers=1", &state_dir]);
    let printed = server.printed();
    let ada = server.client();
    let who = ada.address();
    ada.send(b"/nick ada");
    assert_eq!(ada.receive(), b"* you are ada");

    server.type_line("peers");
    printed.find("peers: 1");
    let row = printed.next();
    let words: Vec<&str> = row.split_whitespace().collect();
    let expected = format!("{who} ada in lobby v1 silent for {} s trusted", words[7]);
    assert_eq!(words.join(" "), expected);
    server.type_line("peers den");
    printed.find("peers: 0");

    ada.send(b"/join den");
    assert_eq!(ada.receive(), b"* you are in den (1 here)");
    server.type_line("rooms DE");
    printed.find("rooms: 1");
    let row = printed.next();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["den", "1"]);
    server.type_line("say den we stop at noon");
    printed.find("said to 1 peer");
    assert_eq!(ada.receive(), b"* operator: we stop at noon");
    server.type_line("say attic hi");
    printed.find("no such room: attic");
    ada.send(b"/leave");
    assert_eq!(ada.receive(), b"* you are in lobby (1 here)");

    server.type_line("mute ada 1h 30m");
    printed.find(&format!("ada at {who} is muted for 1h 30m"));
    assert_eq!(ada.receive(), b"* muted by the operator for 5400 s");
    server.type_line("PEERS ADA");
    assert!(printed.find(" ada ").ends_with("  trusted  muted"));
    ada.send(b"hi");
    ada.send(b"/ping 1");
    assert_eq!(ada.receive(), b"* pong 1");
    server.type_line("");
    printed.find("messages dropped, sender muted: 1");
    server.type_line(&format!("unmute {who}"));
    printed.find(&format!("ada at {who} is not muted any more"));
    assert_eq!(ada.receive(), b"* not muted any more");
    server.type_line("mute ada");
    printed.find("is muted for 10m");
    assert_eq!(ada.receive(), b"* muted by the operator for 600 s");

    server.type_line("kick ADA");
    printed.find(&format!("ada at {who} is removed, and refused for 30s"));
    assert_eq!(ada.receive(), b"* removed by the operator");
    ada.send(b"@im@");
    wait_until("a dropped heartbeat", || {
        server.type_line("");
        printed.find("peers: 0 now");
        let lines = [printed.next(), printed.next(), printed.next()];
        lines.contains(&"dropped, removed: 1".to_owned())
    });

    let bob = server.client();
    server.expect_echo(&bob, "hi");
    server.type_line("ban 127.0.0.0/8 2h");
    let banned = printed.find("banned 127.0.0.0/8 until ");
    assert!(banned.ends_with("Z, 1 peer removed"), "{banned}");
    assert_eq!(bob.receive(), b"* removed by the operator");
    server.type_line("ban 192.0.2.7");
    printed.find("banned 192.0.2.7/32 for ever, 0 peers removed");
    server.type_line("bans");
    printed.find("bans: 2");
    let listed = [printed.next(), printed.next()];
    assert!(listed[0].starts_with("127.0.0.0/8 until 2"), "{listed:?}");
    assert_eq!(listed[1], "192.0.2.7/32 for ever");
    let kept = fs::read_to_string(folder.join("bans")).unwrap();
    assert!(
        kept.ends_with(&format!("{}\n", listed.join("\n"))),
        "{kept}"
    );
    server.type_line("unban 127.0.0.0/8");
    printed.find("127.0.0.0/8 is not banned any more");
    server.expect_echo(&bob, "hi again");

    server.type_line("limits");
    printed.find("limits:");
    for (flag, value) in [
        ("max-peers", "1,000,000"),
        ("max-rooms", "100,000"),
        ("max-room-members", "100,000"),
        ("max-names", "100,000"),
        ("texts-per-peer", "20 per second"),
        ("bytes-per-peer", "65,536 per second"),
    ] {
        let words = printed.next();
        let words: Vec<&str> = words.split_whitespace().collect();
        assert_eq!(words.join(" "), format!("{flag} {value}"));
    }
    server.type_line("quit");
    server.expect_success();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_command_that_cannot_be_carried_out_says_what_is_right() {
    let mut server = ServerProgram::start(&[]);
    let printed = server.printed();
    for (line, answer) in [
        ("kick", "usage: kick WHOM, a name or an address such as"),
        ("kick ada", "no such peer: ada"),
        (
            "kick \x1b[2J",
            r#""\u{1b}[2J" is neither a name nor an address"#,
        ),
        ("mute ada", "no such peer: ada"),
        (
            "mute ada now",
            "usage: mute WHOM [TIME], such as mute ada 10m",
        ),
        (
            "mute ada 200years",
            "a time must lie between 1s and 100years",
        ),
        ("unmute 192.0.2.7:5000", "192.0.2.7:5000 is not muted"),
        ("unmute", "usage: unmute WHOM"),
        (
            "ban 192.0.2.0/40",
            "usage: ban CIDR [TIME], such as ban 192.0.2.0/24 2h",
        ),
        (
            "ban 192.0.2.0/24 0s",
            "a time must lie between 1s and 100years",
        ),
        (
            "ban 192.0.2.9/24",
            "banned 192.0.2.0/24 for ever, 0 peers removed: in memory only, as there is no --state-dir",
        ),
        (
            "unban 192.0.2.0/25",
            "192.0.2.0/25 is not banned by itself, but as part of 192.0.2.0/24 for ever",
        ),
        ("unban 10.0.0.0/8", "10.0.0.0/8 is not banned"),
        ("unban 192.0.2.0/24", "192.0.2.0/24 is not banned any more"),
        ("bans", "bans: 0"),
        ("bans all", "usage: bans"),
        (
            "peers a b",
            "usage: peers [PART], of an address, name or room",
        ),
        ("limits off", "usage: limits"),
        ("log", "usage: log FILTER"),
        ("log loud", "must be off, error, warn, info, debug or trace"),
        ("log info,bullhorn::txt=off", "must be off, error,"),
        ("log warn", "logging warn"),
    ] {
        server.type_line(line);
        let answered = printed.next();
        assert!(answered.starts_with(answer), "{line}: {answered}");
        assert_eq!(printed.next(), "", "{line}");
    }
    server.type_line("quit");
    server.expect_success();

    let mut greeter = ServerProgram::start(&["--service=greet"]);
    let printed = greeter.printed();
    greeter.type_line("peers");
    printed.find("the greeting service has no peers");
}

#[test]
fn a_list_of_bans_is_carried_out_to_its_end() {
    let mut server = ServerProgram::start(&[]);
    let printed = server.printed();
    let list: String = (0..250)
        .map(|host| format!("ban 192.0.2.{host}\n"))
        .collect();
    server.type_line(&format!("{list}bans"));
    printed.find("bans: 250");
}

#[test]
fn the_end_of_a_long_line_is_no_command() {
    let mut server = ServerProgram::start(&[]);
    let printed = server.printed();
    server.type_line(&format!("{}ban 127.0.0.0/8", "x".repeat(1024)));
    printed.find("peers: 0 now");
    server.type_line("bans");
    printed.find("bans: 0");
}

#[test]
fn a_damaged_state_dir_ends_the_program_with_an_error() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console_damaged");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("bans"), "everyone\n").unwrap();
    let mut command = server_command(&["--bind", V4]);
    command.env("BULLHORN_STATE_DIR", &folder);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let place = format!(
        "server: --state-dir: {}:1: must be",
        folder.join("bans").display()
    );
    assert!(errors.contains(&place), "{errors}");
    fs::remove_dir_all(&folder).unwrap();
}

/// Starts `command`, which must run the server, with its input and output at a
/// terminal.
#[track_caller]
fn at_a_terminal(mut command: Command) -> (ServerProgram, Terminal) {
    let terminal = Terminal::attach(&mut command);
    (ServerProgram::with_errors_piped(command), terminal)
}

/// Returns `starter` with the command of the server as its last arguments.
fn started_by(starter: &[&str], arguments: &[&str]) -> Command {
    let server = server_command(arguments);
    let mut command = Command::new(starter[0]);
    command.args(&starter[1..]);
    command.arg(server.get_program()).args(server.get_args());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// A job of a shell, which is killed if the test fails.
struct Job(Pid);

impl Drop for Job {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}

/// Starts the server in a new session with the terminal as its controlling terminal, as
/// a login does.
const SESSION: [&str; 2] = ["setsid", "--ctty"];
