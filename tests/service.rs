//! The program `server` as a service: the states that its service manager receives.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::{ServerProgram, StoppedThread, TIMEOUT, TestFile, V4, server_command, uninterrupted};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::geteuid;

#[test]
fn the_manager_receives_the_start_the_state_and_the_stop() {
    let manager = Manager::new();
    let mut server = ServerProgram::start_command(manager.command(&[]));
    assert_eq!(manager.receive(), "READY=1");
    assert_eq!(
        manager.receive(),
        "STATUS=peers: 0, rooms: 1, deliveries: 0/s"
    );
    let [ann, bob] = [server.client(), server.client()];
    server.expect_echo(&ann, "hi");
    server.expect_echo(&bob, "hi");
    let status = manager.find("STATUS=peers: 2, rooms: 1, deliveries: ");
    assert!(status.ends_with("/s"), "{status}");
    server.signal(Signal::SIGTERM);
    manager.find("STOPPING=1");
    server.expect_success();
    assert_eq!(manager.rest(), [""; 0]);
}

#[test]
fn a_drain_is_shown_at_once() {
    let manager = Manager::new();
    let mut command = manager.command(&[]);
    // 100 signs of life come in the time between two lines about the server.
    command.env("WATCHDOG_USEC", "200000");
    let mut server = ServerProgram::start_command(command);
    let printed = server.printed();
    let ann = server.client();
    server.expect_echo(&ann, "hi");
    server.type_line("drain 60s");
    printed.find("newcomers are refused");
    let mut states = manager.rest();
    let is_shown = |state: &String| state.starts_with("STATUS=draining; peers: 1, rooms: 1, ");
    if !states.iter().any(is_shown) {
        states = std::iter::repeat_with(|| manager.receive())
            .take(3)
            .collect();
    }
    // A report may have been on its way. The next one has both, in this order.
    assert!(states.iter().any(is_shown), "{states:?}");
    server.signal(Signal::SIGTERM);
    manager.find("STOPPING=1");
    server.expect_success();
}

#[test]
fn the_rate_of_deliveries_is_that_of_the_time_since_the_last_line() {
    let manager = Manager::new();
    let server = ServerProgram::start_command(manager.command(&[]));
    manager.find("STATUS=peers: 0, ");
    let ann = server.client();
    // Enough for more than one per second within several lines.
    for number in 0..100 {
        server.expect_echo(&ann, &format!("{number}"));
    }
    let mut states = manager.rest();
    states.push(manager.find("STATUS="));
    let is_busy = |state: &String| !state.ends_with("deliveries: 0/s");
    assert!(states.iter().any(is_busy), "{states:?}");
    assert_eq!(
        manager.find("STATUS="),
        "STATUS=peers: 1, rooms: 1, deliveries: 0/s"
    );
}

#[test]
fn a_reload_is_shown_from_its_begin_to_its_end_also_with_a_mistake() {
    let manager = Manager::new();
    let file = TestFile::new("manager", "");
    let mut server = ServerProgram::start_command(manager.command(&["--config", file.path()]));
    let log = server.log();
    manager.find("READY=1");
    for (text, logged) in [
        ("max-peers = 5", "configuration read again: "),
        ("max-peers = many", "configuration not read again: "),
    ] {
        file.write(text);
        let before = monotonic_us();
        server.signal(Signal::SIGHUP);
        let reloading = manager.find_before("RELOADING=1", "READY=1");
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let time: u128 = time.unwrap().parse().unwrap();
        assert!((before..=monotonic_us()).contains(&time), "{time}");
        manager.find_before("READY=1", "RELOADING=1");
        log.find(logged);
    }
}

/// Returns the time of the clock that the manager compares with the time of a reload.
fn monotonic_us() -> u128 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    Duration::from(time).as_micros()
}

#[test]
fn more_than_two_signs_of_life_come_within_a_limit() {
    let manager = Manager::new();
    let mut command = manager.command(&[]);
    command.env("WATCHDOG_USEC", "1000000");
    let _server = ServerProgram::start_command(command);
    manager.find("STATUS=");
    // Five limits lie between two lines about the server. A machine that is busy may delay the
    // signs between some lines, but not between all.
    let mut counts = Vec::new();
    while counts.last().is_none_or(|count| *count <= 2 * 5) {
        assert!(counts.len() < 3, "{counts:?}");
        let states = std::iter::repeat_with(|| manager.receive());
        let states = states.take_while(|state| !state.starts_with("STATUS="));
        counts.push(states.filter(|state| state == ALIVE).count());
    }
}

#[test]
fn signs_of_life_come_while_all_workers_turn_their_loops() {
    let manager = Manager::new();
    let mut command = manager.command(&["--workers", "2", "--no-pin"]);
    command.env("WATCHDOG_USEC", "200000");
    let mut server = ServerProgram::start_command(command);
    let log = server.log();
    for _ in 0..3 {
        manager.find(ALIVE);
    }
    let stopped = StoppedThread::stop(server.pid(), "worker-1");
    log.find("worker-1 has been stuck for ");
    // A sign of life was sent before the worker was missed. Later ones would come before the status.
    manager.rest();
    loop {
        let state = manager.receive();
        assert_ne!(state, ALIVE);
        if state.starts_with("STATUS=") {
            break;
        }
    }
    drop(stopped);
    log.find("worker-1 goes on");
    manager.find(ALIVE);
    server.type_line("quit");
    manager.find("STOPPING=1");
    server.expect_success();
}

#[test]
fn a_worker_that_hangs_ends_the_service_without_another_sign_of_life() {
    for limit in ["60000000", "400000"] {
        let manager = Manager::new();
        let mut command = manager.command(&["--workers", "2", "--no-pin", "--watchdog", "1s"]);
        command.env("WATCHDOG_USEC", limit);
        let mut server = ServerProgram::start_command(command);
        let log = server.log();
        manager.find(ALIVE);
        let stopped = StoppedThread::stop(server.pid(), "worker-0");
        log.find("worker-0 has been stuck for ");
        manager.rest();
        log.find("server: thread worker-0 died: it has been stuck for ");
        let states = manager.rest();
        assert!(!states.iter().any(|state| state == ALIVE), "{states:?}");
        assert_eq!(states.last().unwrap(), "STOPPING=1");
        stopped.expect_end();
        assert_eq!(server.exit_status().code(), Some(1));
    }
}

#[test]
fn signs_of_life_need_no_watchdog_of_the_server() {
    let manager = Manager::new();
    let mut command = manager.command(&["--watchdog", "off"]);
    command.env("WATCHDOG_USEC", "200000");
    let _server = ServerProgram::start_command(command);
    for _ in 0..3 {
        manager.find(ALIVE);
    }
}

#[test]
fn a_limit_of_another_process_or_of_0_asks_for_no_signs_of_life() {
    for variables in [
        &[("WATCHDOG_USEC", "200000"), ("WATCHDOG_PID", "1")][..],
        &[("WATCHDOG_USEC", "0")],
    ] {
        let manager = Manager::new();
        let mut command = manager.command(&[]);
        command.envs(variables.iter().copied());
        let _server = ServerProgram::start_command(command);
        for _ in 0..2 {
            // The second comes after seconds.
            manager.find_before("STATUS=", ALIVE);
        }
    }
}

#[test]
fn a_manager_that_reads_nothing_delays_nothing_and_receives_the_start_later() {
    let manager = Manager::new();
    let filler = UnixDatagram::unbound().unwrap();
    filler.connect_addr(&manager.address()).unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send(b"STATUS=filler").is_ok() {}
    let mut command = manager.command(&[]);
    command.env("WATCHDOG_USEC", "200000");
    let mut server = ServerProgram::start_command(command);
    let ann = server.client();
    for number in 0..100 {
        server.expect_echo(&ann, &format!("{number}"));
    }
    manager.find("READY=1");
    manager.find(ALIVE);
    while filler.send(b"STATUS=filler").is_ok() {}
    server.type_line("quit");
    server.expect_success();
}

#[test]
fn a_server_of_another_user_reports_too() {
    if !geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let manager = Manager::new();
    let mut command = manager.command(&["--user", "nobody"]);
    command.env("WATCHDOG_USEC", "200000");
    let mut server = ServerProgram::start_command(command);
    manager.find("READY=1");
    manager.find(ALIVE);
    server.type_line("quit");
    manager.find("STOPPING=1");
    server.expect_success();
}

#[test]
fn a_manager_at_a_path_is_found_and_one_that_is_gone_is_a_warning() {
    let path = std::env::temp_dir().join(format!("bullhorn-notify-{}", std::process::id()));
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let start = || {
        let mut command = server_command(&["--bind", V4]);
        command.env("NOTIFY_SOCKET", &path);
        ServerProgram::start_command(command)
    };
    let server = start();
    let mut buffer = [0; 64];
    let len = uninterrupted(|| socket.recv(&mut buffer)).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(&buffer[..len], b"READY=1");
    drop((server, socket));

    let server = start();
    server.expect_echo(&server.client(), "hi");
    let warning = "the service manager does not receive the server's states: NOTIFY_SOCKET: ";
    let lines = &server.startup_lines;
    assert!(lines.iter().any(|line| line.contains(warning)), "{lines:?}");
}

#[test]
fn the_units_are_right_and_leave_the_service_few_rights() {
    let tool = "systemd-analyze";
    let Ok(version) = Command::new(tool).arg("--version").output() else {
        println!("skipped: {tool} is missing; scripts/test installs it");
        return;
    };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let version: u32 = version.split_whitespace().nth(1).unwrap().parse().unwrap();
    let folder = std::env::temp_dir().join(format!("bullhorn-units-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let units = ["bullhorn.service", "bullhorn.socket"];
    for unit in units {
        let path = format!("{}/contrib/systemd/{unit}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        // The program and its manual are not installed here.
        let text = text.replace("/usr/bin/bullhorn-server", env!("CARGO_BIN_EXE_server"));
        let is_known = |line: &&str| version >= 253 || *line != "Type=notify-reload";
        let lines = text.lines().filter(is_known);
        let lines = lines.filter(|line| !line.starts_with("Documentation=man:"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        fs::write(folder.join(unit), text).unwrap();
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new(tool);
        command.args(arguments).current_dir(&folder);
        let output = command.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}{errors}");
        assert_eq!(errors, "", "{printed}");
        printed
    };
    run(&["verify", "./bullhorn.service", "./bullhorn.socket"]);
    // Tenths: an exposure of 2.0.
    let printed = run(&[
        "security",
        "--offline=true",
        "--threshold=20",
        "./bullhorn.service",
    ]);
    assert!(printed.contains("Overall exposure level"), "{printed}");
    fs::remove_dir_all(&folder).unwrap();
}

/// A service manager: a socket in the name space of abstract names, which needs no folder.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bullhorn-test-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self { socket, name }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from_abstract_name(&self.name).unwrap()
    }

    /// Returns a command that runs the server as a service of this manager.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = server_command(&["--bind", V4]);
        command.args(arguments);
        command.env("NOTIFY_SOCKET", format!("@{}", self.name));
        command
    }

    /// Receives the next state.
    #[track_caller]
    fn receive(&self) -> String {
        let mut buffer = [0; 1024];
        match uninterrupted(|| self.socket.recv(&mut buffer)) {
            Ok(len) => String::from_utf8(buffer[..len].to_vec()).unwrap(),
            Err(error) => panic!("no state: {error}"),
        }
    }

    /// Receives until a state that begins with `text`.
    #[track_caller]
    fn find(&self, text: &str) -> String {
        self.find_before(text, "nothing")
    }

    /// Receives until a state that begins with `text`. None may begin with `early`.
    #[track_caller]
    fn find_before(&self, text: &str, early: &str) -> String {
        // Others may come without end.
        let deadline = Instant::now() + TIMEOUT;
        let mut state = self.receive();
        while !state.starts_with(text) {
            assert!(!state.starts_with(early), "{state}");
            assert!(Instant::now() < deadline, "no {text:?}, but {state:?}");
            state = self.receive();
        }
        state
    }

    /// Returns all states that have been sent and not received.
    fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 1024];
        let receive = || {
            let len = self.socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
        };
        let states = std::iter::from_fn(receive).collect();
        self.socket.set_nonblocking(false).unwrap();
        states
    }
}

const ALIVE: &str = "WATCHDOG=1";
