//! The program `server` from its operator's view: signals, pipes, exit codes and logs.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Stdio;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::Instant;

use common::{Client, Lines, ServerProgram, V4, output_of, server_command, wait_until};
use nix::sys::signal::Signal;

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
    // A delivery is counted shortly after it is received.
    wait_until("the count of deliveries", || {
        server.type_line("");
        listing(&printed) == (2, 3)
    });
    for line in ["who is there?", "quit now", "\t"] {
        server.type_line(line);
        assert_eq!(listing(&printed), (2, 3), "after {line:?}");
    }
    server.expect_echo(&ann, "it continues");
}

/// Reads a listing of two unpinned workers and two peers. Returns the numbers of
/// datagrams in and deliveries out.
fn listing(printed: &Lines) -> (u64, u64) {
    let head = printed.next();
    let words: Vec<&str> = head.split_whitespace().collect();
    let titles = ["thread", "core", "datagrams", "in", "deliveries", "out"];
    assert_eq!(words, titles);
    let (mut datagrams, mut deliveries) = (0, 0);
    for name in ["worker-0", "worker-1"] {
        let row = printed.next();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!((words.len(), words[0], words[1]), (4, name, "-"), "{row}");
        datagrams += words[2].parse::<u64>().unwrap();
        deliveries += words[3].parse::<u64>().unwrap();
    }
    assert_eq!(printed.next(), "peers: 2 now, 0 expired");
    for (title, sum) in [("datagrams", datagrams), ("deliveries", deliveries)] {
        let line = printed.next();
        let (printed_title, parts) = line.split_once(' ').unwrap();
        assert_eq!(printed_title, format!("{title}:"));
        // Counts that change in between are in the sum, but in no row.
        let numbers = parts.split(' ').filter_map(|word| word.parse().ok());
        let numbers: Vec<u64> = numbers.collect();
        assert!(numbers[0] >= sum, "{line}");
        assert_eq!(numbers[0], numbers[1..].iter().sum::<u64>(), "{line}");
    }
    // It ends the answer.
    assert_eq!(printed.next(), "");
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
fn the_end_of_its_input_does_not_stop_it_or_use_cpu() {
    for at_once in [false, true] {
        let mut command = server_command(&["--bind", V4, "--timeout", "1500ms"]);
        command.args(["--reap-interval", "100ms"]);
        // A full pipe would stop a console that prompts in an endless loop.
        command.stdout(Stdio::null()).stdin(match at_once {
            true => Stdio::null(),
            false => Stdio::piped(),
        });
        let mut server = ServerProgram::with_errors_piped(command);
        let log = server.log();
        drop(server.input.take());

        server.expect_echo(&server.client(), "hi");
        let before = cpu_ticks(&server);
        // The server has nothing to do for a second and a half.
        log.find("is down: not heard any more");
        let used = cpu_ticks(&server) - before;
        assert!(used <= 10, "{used} ticks of 10 ms");
        server.expect_echo(&server.client(), "hi again");
        server.signal(Signal::SIGTERM);
        server.expect_success();
    }
}

/// Returns the user and system time of a process: /proc/PID/stat, fields 14 and 15.
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
        let expected = format!("server: {address} is already in use");
        assert!(errors.contains(&expected), "{errors}");
        first.expect_echo(&client, "after");
        // New clients reach the first server as well.
        for _ in 0..16 {
            let newcomer = first.client();
            first.expect_echo(&newcomer, "hi");
            newcomer.send(b"quit");
        }
    }
}

#[test]
fn the_tcp_port_of_the_same_number_stays_free() {
    let server = ServerProgram::start(&[]);
    let listener = TcpListener::bind(server.address).unwrap();
    server.expect_echo(&server.client(), "hi");
    drop(listener);
}

#[test]
fn it_starts_on_a_port_number_that_is_used_for_tcp() {
    // The UDP port of the same number may be in use. Then another one is tried.
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
fn bad_arguments_end_it_with_exit_code_2_and_a_hint() {
    for (arguments, hint) in [
        (&["--workers", "0"][..], "between 1 and 256"),
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
        assert!(errors.contains(hint), "{arguments:?}: {errors}");
    }
}

#[test]
fn an_address_of_another_machine_ends_it_with_exit_code_1() {
    // An address for documentation, which no machine has (RFC 5737).
    let (code, _, errors) = output(&["--bind", "192.0.2.1:0"]);
    assert_eq!(code, Some(1));
    let expected = "server: 192.0.2.1:0 is not an address of this machine";
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn help_lists_the_flags_and_their_environment_variables() {
    let (code, help, errors) = output(&["--help"]);
    assert_eq!((code, &*errors), (Some(0), ""));
    for flag in [
        "workers",
        "bind",
        "service",
        "once",
        "timeout",
        "reap-interval",
        "watchdog",
        "backlog",
        "max-peers",
        "cores",
        "no-pin",
        "spin",
        "receive-buffer",
        "send-buffer",
        "state-dir",
        "log",
    ] {
        assert!(help.contains(&format!("--{flag}")), "{flag}");
        let variable = flag.to_uppercase().replace('-', "_");
        assert!(help.contains(&format!("BULLHORN_{variable}=")), "{flag}");
    }
    assert!(help.contains("`help` on its console lists the commands there."));
}

#[test]
fn environment_variables_replace_flags() {
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
fn it_runs_with_a_closed_log_and_a_closed_output() {
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
fn a_log_that_is_not_read_does_not_block_the_server() {
    let mut server = ServerProgram::start(&["--workers", "2"]);
    let printed = server.printed();
    let [ann, bob] = [server.client(), server.client()];
    server.expect_echo(&ann, "I am here");
    server.expect_echo(&bob, "I am here");
    ann.expect_text_from(&bob, "I am here");
    // The pipe holds 64 KiB.
    let text = "x".repeat(900);
    for _ in 0..300 {
        server.expect_echo(&ann, &text);
        bob.expect_text_from(&ann, &text);
    }
    server.type_line("");
    printed.find("log lines suppressed, too many in a second: ");
    server.expect_echo(&ann, "we can still talk");
    server.signal(Signal::SIGTERM);
    server.expect_success();
}

#[test]
fn a_console_whose_output_nobody_reads_still_quits() {
    let mut server = ServerProgram::start(&["--workers", "64"]);
    let unread = server.output.take();
    // A listing has about 3 KB, and the pipe holds 64 KiB.
    for _ in 0..400 {
        server.type_line("");
    }
    server.type_line("quit");
    server.expect_success();
    drop(unread);
}

#[test]
fn a_flood_of_lines_takes_a_small_part_of_a_core_and_ends_with_quit() {
    let mut server = ServerProgram::start(&["--timeout", "1500ms", "--reap-interval", "100ms"]);
    let log = server.log();
    let printed = server.printed();
    let mut input = server.input.take().unwrap();
    let (stop, is_stopped) = channel::<()>();
    let flood = thread::spawn(move || {
        while is_stopped.try_recv() == Err(TryRecvError::Empty) {
            input.write_all(&[b'\n'; 4096]).unwrap();
        }
        input
    });
    printed.find("thread ");
    let (start, before) = (Instant::now(), cpu_ticks(&server));
    server.expect_echo(&server.client(), "hi");
    // A second and a half, or more on a busy machine.
    log.find("is down: not heard any more");
    let used = cpu_ticks(&server) - before;
    let elapsed = start.elapsed().as_millis() / 10;
    assert!(
        u128::from(used) <= elapsed / 2,
        "{used} of {elapsed} ticks of 10 ms"
    );
    drop(stop);
    server.input = Some(flood.join().unwrap());
    server.type_line("quit");
    server.expect_success();
}

#[test]
fn it_logs_texts_registrations_and_leaves() {
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
    // A leave of an unregistered client is not logged.
    ann.send(b"quit");
    ann.send(b"@im@");
    assert!(log.next().ends_with(&format!("{who} is here")));
    let expired = log.next();
    assert!(expired.ends_with(&format!("{who} is down: not heard any more")));
}

#[test]
fn the_log_filter_is_configurable() {
    let mut server = ServerProgram::start(&["--log", "info,bullhorn::text=off"]);
    let log = server.log();
    let ann = server.client();
    server.expect_echo(&ann, "not for the log");
    ann.send(b"quit");
    log.find("is here");
    assert!(log.next().ends_with("is down"));
}

#[test]
fn more_workers_than_cores_are_a_warning() {
    let cores = thread::available_parallelism().unwrap().get();
    let workers = cores + 1;
    let mut server = ServerProgram::start(&["--workers", &workers.to_string()]);
    let warning = format!("{workers} workers share {cores} cores");
    let is_warning = |line: &String| line.contains(&warning);
    assert!(server.startup_lines.iter().any(is_warning), "{warning}");

    // Each has a core. Which one depends on the servers of other tests.
    let printed = server.printed();
    server.type_line("");
    for worker in 0..workers {
        let row = printed.find(&format!("worker-{worker} "));
        let core = row.split_whitespace().nth(1).unwrap();
        core.parse::<usize>().expect("a core");
    }
}

#[test]
fn as_many_workers_as_cores_are_pinned_without_a_warning() {
    // Every kernel grants buffers of this size.
    let buffers = ["--receive-buffer", "64KiB", "--send-buffer", "64KiB"];
    let mut server = ServerProgram::start(&buffers);
    // The version, the configuration, the sandbox, and the address.
    assert_eq!(server.startup_lines.len(), 4, "{:?}", server.startup_lines);
    let printed = server.printed();
    server.type_line("");
    let cores = thread::available_parallelism().unwrap().get();
    for worker in 0..cores {
        let row = printed.find(&format!("worker-{worker} "));
        let core = row.split_whitespace().nth(1).unwrap().to_owned();
        core.parse::<usize>().expect("a core");
    }
}

/// Runs the program until it exits by itself. Returns its exit code, standard output and
/// standard error.
#[track_caller]
fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    output_of(&mut server_command(arguments))
}

#[test]
fn memory_goes_back_to_the_kernel_after_a_flood_of_peers() {
    const FLOOD: u32 = 100_000;
    let server = ServerProgram::start(&[
        "--workers=1",
        "--reap-interval=50ms",
        "--log=info,bullhorn::peer=off",
    ]);
    let client = server.client();
    let send_from_all = |datagram: &[u8]| {
        for number in 0..FLOOD {
            let from = Ipv4Addr::from_bits(0x7F10_0000 + number);
            let peer = UdpSocket::bind((from, 5000)).unwrap();
            peer.send_to(datagram, server.address).unwrap();
            // No more than fit into the smallest receive buffer in use.
            if number % 100 == 0 {
                client.send(b"/ping 1");
                assert_eq!(client.receive(), b"* pong 1");
            }
        }
    };
    // Without the pages of the program itself.
    let memory_kb = || -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let (_, after) = status.split_once("RssAnon:").unwrap();
        after.split_whitespace().next().unwrap().parse().unwrap()
    };
    client.send(b"/ping 1");
    assert_eq!(client.receive(), b"* pong 1");
    let before = memory_kb();
    send_from_all(b"@im@");
    let with_peers = memory_kb();
    assert!(with_peers > 3 * before, "{with_peers} of {before}");
    send_from_all(b"quit");
    wait_until("the memory is given back", || memory_kb() <= 2 * before);
}
