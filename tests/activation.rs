//! The program `server` with sockets that a service manager has opened for it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};

use common::{Client, Lines, Process, ServerProgram, V4, has_sandbox, output_of, without_settings};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use socket2::{Domain, Protocol, Socket, Type};

#[test]
fn each_socket_has_a_worker_and_texts_reach_all_of_both_families() {
    let sockets = [["udp 127.0.0.1"; 4], ["udp ::1"; 4]].concat();
    let mut server = start(&sockets, &[]);
    let printed = server.printed();
    let v6 = {
        let line = server.log().find("listening on [::1]");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    expect_fan_out(&[server.address, v6], &mut server, &printed, 4);
    server.type_line("quit");
    server.expect_success();
}

#[test]
fn sockets_of_root_serve_another_user_and_nobody_else_joins_them() {
    if !geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    for address in ["0.0.0.0", "127.0.0.1", "::", "::1"] {
        let mut command = activated(&[&*format!("udp {address}"); 2], &[]);
        command.env("RUN_AS_NOBODY", "1");
        let mut server = ServerProgram::start_command(command);
        let lines = server.startup_lines.join("");
        assert!(!lines.contains("set apart"), "{lines}");
        assert!(!lines.contains("can join"), "{lines}");
        let printed = server.printed();
        let to = match address {
            "0.0.0.0" => SocketAddr::from(([127, 0, 0, 1], server.address.port())),
            "::" => format!("[::1]:{}", server.address.port()).parse().unwrap(),
            _ => server.address,
        };
        expect_fan_out(&[to], &mut server, &printed, 2);
        for address in [server.address, to] {
            let error = join(address).map(drop).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{address}");
        }
        server.type_line("quit");
        server.expect_success();
    }
}

#[test]
fn at_a_port_of_root_another_user_has_no_spares_and_says_so() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first: u16 = first.unwrap().trim().parse().unwrap();
    if !geteuid().is_root() || first <= LOW_PORT {
        println!("skipped: only root can become another user, and have such a port");
        return;
    }
    let mut command = activated(&["low 127.0.0.80"; 2], &[]);
    command.env("RUN_AS_NOBODY", "1");
    let mut server = ServerProgram::start_command(command);
    assert_eq!(server.address.port(), LOW_PORT);
    let warning = "whose packets do not leave this machine are not set apart, and can slow down \
        others: bind: Permission denied";
    let lines = &server.startup_lines;
    assert!(lines.iter().any(|line| line.contains(warning)), "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains("can join")),
        "{lines:?}"
    );
    let printed = server.printed();
    expect_fan_out(&[server.address], &mut server, &printed, 2);
    server.type_line("quit");
    server.expect_success();
}

/// Tries to bind a socket as a process that shares its addresses with all others.
fn join(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[test]
fn a_number_of_workers_or_an_address_may_be_given_if_it_is_that_of_the_sockets() {
    let mut server = start(&["udp 127.0.0.1"; 2], &["--workers", "2"]);
    server.expect_echo(&server.client(), "hi");
    server.type_line("quit");
    server.expect_success();

    let addresses = ["127.0.0.83", "127.0.0.84"].map(free_address);
    let sockets = addresses.map(|address| format!("udp {address}"));
    let [first, second] = addresses;
    // In another order.
    let bind = format!("{second},{first}");
    let server = start(&[&sockets[0], &sockets[1]], &["--bind", &bind]);
    for address in addresses {
        server.expect_echo(&Client::connect(address), "hi");
    }
}

/// Returns an address with a port that is free. Another socket could take it, but not at an IP
/// address that no other test uses.
fn free_address(ip: &str) -> SocketAddr {
    UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap()
}

#[test]
fn sockets_that_do_not_fit_are_refused_with_the_remedy() {
    let refusals: [(&[&str], &[&str], i32, &str); 9] = [
        (
            &["udp 127.0.0.1"; 2],
            &["--workers", "3"],
            2,
            "has opened 2 sockets for each address, one for each worker. Leave out --workers",
        ),
        (
            &["udp 127.0.0.1"],
            &["--bind", "127.0.0.2:9999"],
            2,
            "Leave out --bind",
        ),
        (
            &["tcp 127.0.0.1"],
            &[],
            1,
            "file descriptor 3 is no UDP socket",
        ),
        (
            &["udp 127.0.0.1", "unix"],
            &[],
            1,
            "file descriptor 4 is no UDP socket",
        ),
        (
            &["connected 127.0.0.1"],
            &[],
            1,
            "is connected to 127.0.0.1:9",
        ),
        (&["unshared 127.0.0.1"; 2], &[], 1, "set ReusePort=yes"),
        (&["both ::"], &[], 1, "set BindIPv6Only=ipv6-only"),
        (
            &["udp 127.0.0.1", "udp 127.0.0.1", "udp ::1"],
            &[],
            1,
            "give ListenDatagram= as many times for each",
        ),
        // The rules for addresses hold for those of sockets, too.
        (
            &["udp ::ffff:127.0.0.1"],
            &[],
            2,
            "must be written as an IPv4 address",
        ),
    ];
    for (sockets, arguments, code, expected) in refusals {
        let (end, _, errors) = output_of(&mut activated(sockets, arguments));
        assert_eq!(end, Some(code), "{sockets:?}: {errors}");
        assert!(errors.contains(expected), "{sockets:?}: {errors}");
    }
}

#[test]
fn a_number_of_sockets_that_is_none_is_refused() {
    for count in ["4097", "-1", "abc", ""] {
        // A server that did not take it would listen here.
        let mut command = activated(&["udp 127.0.0.1"], &["--workers", "1", "--bind", V4]);
        let (end, _, errors) = output_of(command.env("WRONG_COUNT", count));
        assert_eq!(end, Some(1), "{count}: {errors}");
        let expected = format!("a number of sockets up to 4096, not {count:?}");
        assert!(
            errors.contains(&format!("LISTEN_FDS must be {expected}")),
            "{errors}"
        );
    }
}

#[test]
fn a_socket_of_udp_lite_is_refused() {
    if Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::from(UDP_LITE))).is_err() {
        println!("skipped: this kernel has no UDP-Lite");
        return;
    }
    let (end, _, errors) = output_of(&mut activated(&["udp 127.0.0.1", "lite 127.0.0.1"], &[]));
    assert_eq!(end, Some(1), "{errors}");
    let expected = "file descriptor 4 is no UDP socket";
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn the_sockets_of_another_process_are_not_taken() {
    for pid in ["1", ""] {
        let mut command = activated(&["tcp 127.0.0.1"], &["--bind", V4]);
        command.env("WRONG_PID", pid);
        let mut server = ServerProgram::start_command(command);
        server.expect_echo(&server.client(), "hi");
        server.type_line("quit");
        server.expect_success();
    }
}

#[test]
fn systemd_starts_the_server_at_the_first_datagram_and_loses_none() {
    let activate = "systemd-socket-activate";
    if Command::new(activate).arg("--version").output().is_err() {
        println!("skipped: {activate} is missing; scripts/test installs it");
        return;
    }
    let addresses = ["127.0.0.78", "127.0.0.79"].map(free_address);
    let mut command = without_settings(activate);
    command.arg("--datagram");
    for address in addresses {
        command.arg(format!("--listen={address}"));
    }
    if has_sandbox() {
        command.arg("--setenv=BULLHORN_SANDBOX=strict");
    }
    command.arg(env!("CARGO_BIN_EXE_server"));
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(&mut command);
    let log = Lines::new(process.child.stderr.take().unwrap());
    for _ in addresses {
        log.find("Listening on ");
    }
    let [ann, bob] = addresses.map(Client::connect);
    ann.send(b"who is there?");
    ann.expect_text_from(&ann, "who is there?");
    let started = log.find("listening on ");
    assert!(started.contains("127.0.0.7"), "{started}");
    bob.send(b"me");
    bob.expect_text_from(&bob, "me");
    ann.expect_text_from(&bob, "me");
    process.signal(Signal::SIGTERM);
    assert!(process.exit_status().success());
}

/// Connects many clients to the addresses in turn. Each receives a text of the first, and every
/// worker has received datagrams.
#[track_caller]
fn expect_fan_out(
    addresses: &[SocketAddr],
    server: &mut ServerProgram,
    printed: &Lines,
    workers: usize,
) {
    let addresses = addresses.iter().cycle().take(64);
    let clients: Vec<Client> = addresses.map(|address| Client::connect(*address)).collect();
    for client in &clients {
        client.send(b"/ping 1");
        assert_eq!(client.receive_text(), "* pong 1");
    }
    clients[0].send(b"to all");
    for client in &clients {
        client.expect_text_from(&clients[0], "to all");
    }
    server.type_line("list");
    for worker in 0..workers {
        let row = printed.find(&format!("worker-{worker} "));
        let datagrams: u32 = row.split_whitespace().nth(2).unwrap().parse().unwrap();
        assert!(datagrams > 0, "{row}");
    }
}

#[track_caller]
fn start(sockets: &[&str], arguments: &[&str]) -> ServerProgram {
    ServerProgram::start_command(activated(sockets, arguments))
}

/// Returns a command that opens sockets as systemd does, and then becomes the server.
fn activated(sockets: &[&str], arguments: &[&str]) -> Command {
    let mut command = without_settings("python3");
    if has_sandbox() {
        command.env("BULLHORN_SANDBOX", "strict");
    }
    command.args([
        "-c",
        ACTIVATE,
        &sockets.join(","),
        env!("CARGO_BIN_EXE_server"),
    ]);
    command.args(arguments);
    command
}

/// A port for which a process needs a right. [`ACTIVATE`] has it, too.
const LOW_PORT: u16 = 907;

/// The number of UDP-Lite (RFC 3828), which [`ACTIVATE`] has, too.
const UDP_LITE: i32 = 136;

/// Sockets of the same kind and address have the same port. The program is opened before its folder
/// may be out of reach.
const ACTIVATE: &str = r#"
import fcntl, os, socket, sys
kinds = {"tcp": socket.SOCK_STREAM}
ports, files = {}, []
for kind, _, ip in (spec.partition(" ") for spec in sys.argv[1].split(",")):
    if kind == "unix":
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    else:
        given = ip.count(":") == 1
        ip, port = ip.split(":") if given else (ip, 0)
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        protocol = 136 if kind == "lite" else 0
        opened = socket.socket(family, kinds.get(kind, socket.SOCK_DGRAM), protocol)
        if family == socket.AF_INET6:
            dual = kind == "both" or "ffff" in ip
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        if kind != "unshared":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((ip, 907 if kind == "low" else ports.get((kind, ip), int(port))))
        ports[kind, ip] = opened.getsockname()[1]
        if kind == "connected":
            opened.connect((ip, 9))
    # Far above the numbers that they get below.
    files.append(fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 500))
server = fcntl.fcntl(os.open(sys.argv[2], os.O_RDONLY), fcntl.F_DUPFD_CLOEXEC, 500)
for number, file in enumerate(files):
    os.dup2(file, 3 + number)
os.environ["LISTEN_FDS"] = os.environ.get("WRONG_COUNT", str(len(files)))
os.environ["LISTEN_PID"] = os.environ.get("WRONG_PID", str(os.getpid()))
if os.environ.get("RUN_AS_NOBODY"):
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
os.execve(server, sys.argv[2:], os.environ)
"#;
