//! The program `server` as its operator meets it: signals, pipes, exit codes,
//! logs.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::thread;

use common::{Client, Lines, Process, ServerProgram, V4, server_command, wait_until};
use nix::sys::signal::Signal;

/// Runs the program to its end, which must come by itself, and returns its
/// exit code and what it wrote to its standard output and error.
#[track_caller]
fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = server_command(arguments);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(&mut command);
    let output = Lines::new(process.child.stdout.take().unwrap());
    let errors = Lines::new(process.child.stderr.take().unwrap());
    let code = process.exit_status().code();
    (code, output.rest().join("\n"), errors.rest().join("\n"))
}

#[test]
fn sigterm_and_sigint_stop_it_with_exit_code_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        for workers in ["1", "8"] {
            let mut server = ServerProgram::start(&["--workers", workers]);
            server.expect_echo(&server.client(), "hi");
            server.signal(signal);
            server.expect_success();
        }
    }
}

#[test]
fn quit_on_the_console_stops_it_with_exit_code_0() {
    for line in ["quit", "QUIT", "  Quit \r"] {
        let mut server = ServerProgram::start(&[]);
        server.expect_echo(&server.client(), "hi");
        server.type_line(line);
        server.expect_success();
    }
}

#[test]
fn any_other_line_lists_the_threads_and_the_peers() {
    let mut server = ServerProgram::start(&["--workers", "2", "--no-pin"]);
    let printed = server.printed();
    let [ann, bob] = [server.client(), server.client()];
    server.expect_echo(&ann, "hi");
    server.expect_echo(&bob, "hi");
    ann.expect_text_from(&bob, "hi");
    // A delivery is counted a moment after it was heard.
    wait_until("the count of deliveries", || {
        server.type_line("");
        listing(&printed) == (2, 3)
    });
    for line in ["who is there?", "quit now", "\t"] {
        server.type_line(line);
        assert_eq!(listing(&printed), (2, 3), "after {line:?}");
    }
    server.expect_echo(&ann, "it goes on");
}

/// Reads the listing of two workers that are not pinned, and of two peers, and
/// returns how many datagrams came in, and deliveries went out.
fn listing(printed: &Lines) -> (u64, u64) {
    let head = printed.next();
    let words: Vec<&str> = head.split_whitespace().collect();
    let titles = ["thread", "core", "datagrams", "in", "deliveries", "out"];
    assert_eq!(words, [&[">>>>:"], &titles[..]].concat());
    let (mut datagrams, mut deliveries) = (0, 0);
    for name in ["worker-0", "worker-1"] {
        let row = printed.next();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!((words.len(), words[0], words[1]), (4, name, "-"), "{row}");
        datagrams += words[2].parse::<u64>().unwrap();
        deliveries += words[3].parse::<u64>().unwrap();
    }
    assert_eq!(printed.next(), "peers: 2 now, 0 expired");
    for (what, sum) in [("datagrams", datagrams), ("deliveries", deliveries)] {
        let line = printed.next();
        let (title, parts) = line.split_once(' ').unwrap();
        assert_eq!(title, format!("{what}:"));
        // What is under way is in the sum, and in no row.
        let numbers = parts.split(' ').filter_map(|word| word.parse().ok());
        let numbers: Vec<u64> = numbers.collect();
        assert!(numbers[0] >= sum, "{line}");
        assert_eq!(numbers[0], numbers[1..].iter().sum::<u64>(), "{line}");
    }
    (datagrams, deliveries)
}

#[test]
fn a_line_that_is_not_utf8_does_not_end_the_console() {
    let mut server = ServerProgram::start(&[]);
    let printed = server.printed();
    std::io::Write::write_all(server.input.as_mut().unwrap(), b"\xff\xfe\n").unwrap();
    printed.find("peers: 0 now");
    server.type_line("quit");
    server.expect_success();
}

#[test]
fn the_end_of_its_input_leaves_it_running_without_using_cpu() {
    for at_once in [false, true] {
        let mut command = server_command(&["--bind", V4, "--timeout", "1500ms"]);
        command.args(["--reap-interval", "100ms"]);
        // Not a pipe, which would hold up a console that prompts without end.
        command.stdout(Stdio::null()).stdin(match at_once {
            true => Stdio::null(),
            false => Stdio::piped(),
        });
        let mut server = ServerProgram::with_errors_piped(command);
        let log = server.log();
        drop(server.input.take());

        server.expect_echo(&server.client(), "hi");
        let before = cpu_ticks(&server);
        // A second and a half, in which nothing is to be done.
        log.find("is down: not heard any more");
        let used = cpu_ticks(&server) - before;
        assert!(used <= 10, "{used} ticks of 10 ms");
        server.expect_echo(&server.client(), "hi again");
        server.signal(Signal::SIGTERM);
        server.expect_success();
    }
}

/// User and system time of a process so far: /proc/PID/stat, fields 14 and 15.
fn cpu_ticks(server: &ServerProgram) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_second_server_on_the_same_address_is_refused() {
    for workers in ["1", "8"] {
        let first = ServerProgram::start(&["--workers", workers]);
        let client = first.client();
        first.expect_echo(&client, "before");
        let address = first.address.to_string();
        let (code, _, errors) = output(&["--bind", &address, "--workers", workers]);
        assert_eq!(code, Some(1));
        let told = format!("server: {address} is already in use");
        assert!(errors.contains(&told), "{errors}");
        first.expect_echo(&client, "after");
        // New clients, too, all find the first.
        for _ in 0..16 {
            let newcomer = first.client();
            first.expect_echo(&newcomer, "hi");
            newcomer.send(b"quit");
        }
    }
}

#[test]
fn tcp_on_the_same_port_number_is_free_for_others() {
    let server = ServerProgram::start(&[]);
    let listener = TcpListener::bind(server.address).unwrap();
    server.expect_echo(&server.client(), "hi");
    drop(listener);
}

#[test]
fn it_starts_where_others_have_tcp() {
    // The same port may be taken in UDP: then another one is tried.
    for _ in 0..100 {
        let listener = TcpListener::bind(V4).unwrap();
        let address = listener.local_addr().unwrap();
        if std::net::UdpSocket::bind(address).is_err() {
            continue;
        }
        let command = server_command(&["--bind", &address.to_string()]);
        let server = ServerProgram::start_command(command);
        assert_eq!(server.address, address);
        server.expect_echo(&server.client(), "hi");
        return;
    }
    panic!("no port was free in UDP");
}

#[test]
fn wrong_arguments_end_it_with_exit_code_2_and_what_is_right() {
    for (arguments, help) in [
        (&["--workers", "0"][..], "1..=256"),
        (&["--workers", "many"], "--workers"),
        (&["--bind", "localhost"], "127.0.0.1:9999"),
        (&["--timeout", "10"], "10s"),
        (&["--service", "dance"], "chat, greet"),
        (&["--once"], "--service greet"),
        (&["--log", "bullhorn=loud"], "--log"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["surplus"], "surplus"),
    ] {
        let (code, printed, errors) = output(arguments);
        assert_eq!((code, &*printed), (Some(2), ""), "{arguments:?}");
        assert!(errors.contains(help), "{arguments:?}: {errors}");
    }
}

#[test]
fn an_address_of_another_machine_ends_it_with_exit_code_1() {
    // Kept for documentation: no machine has it (RFC 5737).
    let (code, _, errors) = output(&["--bind", "192.0.2.1:0"]);
    assert_eq!(code, Some(1));
    let told = "server: 192.0.2.1:0 is not an address of this machine";
    assert!(errors.contains(told), "{errors}");
}

#[test]
fn it_tells_its_flags_and_their_environment_variables() {
    let (code, help, errors) = output(&["--help"]);
    assert_eq!((code, &*errors), (Some(0), ""));
    for flag in [
        "workers",
        "bind",
        "service",
        "once",
        "timeout",
        "reap-interval",
        "max-peers",
        "no-pin",
        "spin",
        "receive-buffer",
        "send-buffer",
        "log",
    ] {
        assert!(help.contains(&format!("--{flag}")), "{flag}");
        let variable = flag.to_uppercase().replace('-', "_");
        assert!(help.contains(&format!("BULLHORN_{variable}=")), "{flag}");
    }
}

#[test]
fn environment_variables_stand_for_flags() {
    let mut command = server_command(&[]);
    command.env("BULLHORN_BIND", "127.0.0.1:0,[::1]:0");
    command.env("BULLHORN_SERVICE", "greet");
    command.env("BULLHORN_ONCE", "true");
    let mut server = ServerProgram::start_command(command);
    let second: SocketAddr = {
        let line = server.log().find("listening on [::1]");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let client = Client::connect(second);
    client.send(b"hello");
    assert!(client.receive_text().starts_with("hello,('::1', "));
    server.expect_success();
}

#[test]
fn nobody_needs_to_read_its_log_or_its_output() {
    for service in ["chat", "greet"] {
        let mut command = server_command(&["--bind", V4, "--service", service]);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdin(Stdio::piped()).stdout(writer);
        let mut server = ServerProgram::with_errors_piped(command);
        drop(server.errors.take());

        let client = server.client();
        for _ in 0..10 {
            client.send(b"hi");
            client.receive_text();
            server.type_line("list");
        }
        server.type_line("quit");
        server.expect_success();
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let mut server = ServerProgram::start(&["--workers", "2"]);
    let printed = server.printed();
    let [ann, bob] = [server.client(), server.client()];
    server.expect_echo(&ann, "I am here");
    server.expect_echo(&bob, "I am here");
    ann.expect_text_from(&bob, "I am here");
    // The pipe takes 64 KiB, the queue before it 1024 lines.
    let text = "x".repeat(900);
    for _ in 0..1500 {
        server.expect_echo(&ann, &text);
        bob.expect_text_from(&ann, &text);
    }
    server.type_line("");
    printed.find("log lines not written: ");
    server.expect_echo(&ann, "we can still talk");
    server.signal(Signal::SIGTERM);
    server.expect_success();
}

#[test]
fn it_logs_texts_and_who_comes_and_goes() {
    let mut server = ServerProgram::start(&["--timeout", "1s", "--reap-interval", "10ms"]);
    let log = server.log();
    let ann = server.client();
    let who = ann.address();
    for farewell in ["quit", ""] {
        ann.send("hi\x1b[2J, Grüße".as_bytes());
        assert!(log.next().ends_with(&format!("{who} is here")));
        assert!(log.next().ends_with(&format!(r"{who} hi\x1b[2J, Grüße")));
        ann.send(farewell.as_bytes());
        assert!(log.next().ends_with(&format!("{who} is down")));
    }
    // Nobody knows her any more: no word of it.
    ann.send(b"quit");
    ann.send(b"@im@");
    assert!(log.next().ends_with(&format!("{who} is here")));
    let expired = log.next();
    assert!(expired.ends_with(&format!("{who} is down: not heard any more")));
}

#[test]
fn what_is_logged_can_be_chosen() {
    let mut server = ServerProgram::start(&["--log", "info,bullhorn::text=off"]);
    let log = server.log();
    let ann = server.client();
    server.expect_echo(&ann, "not for the log");
    ann.send(b"quit");
    log.find("is here");
    assert!(log.next().ends_with("is down"));
}

#[test]
fn more_workers_than_cores_share_them_and_it_says_so() {
    let cores = thread::available_parallelism().unwrap().get();
    let workers = cores + 1;
    let mut server = ServerProgram::start(&["--workers", &workers.to_string()]);
    let warning = format!("{workers} workers share {cores} cores");
    let said = |line: &String| line.contains(&warning);
    assert!(server.startup_lines.iter().any(said), "{warning}");

    // The last one is on the first one's core again.
    let printed = server.printed();
    server.type_line("");
    let core_of = |row: String| row.split_whitespace().nth(1).unwrap().to_owned();
    let first = core_of(printed.find("worker-0 "));
    assert_eq!(core_of(printed.find(&format!("worker-{cores} "))), first);
}

#[test]
fn as_many_workers_as_cores_are_pinned_without_a_word() {
    // Buffers that every kernel grants.
    let buffers = ["--receive-buffer", "64KiB", "--send-buffer", "64KiB"];
    let mut server = ServerProgram::start(&buffers);
    assert_eq!(server.startup_lines.len(), 1, "{:?}", server.startup_lines);
    let printed = server.printed();
    server.type_line("");
    let cores = thread::available_parallelism().unwrap().get();
    for worker in 0..cores {
        let row = printed.find(&format!("worker-{worker} "));
        let core = row.split_whitespace().nth(1).unwrap().to_owned();
        core.parse::<usize>().expect("a core");
    }
}
