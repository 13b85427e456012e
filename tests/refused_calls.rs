//! A server on a system that refuses some calls: an old kernel, or a filter (seccomp). It
//! works, or ends with a message that names the call. Without such filters, the tests are
//! skipped.

mod common;

use std::fmt::Write as _;
use std::process::{Command, Output};

use common::{ServerProgram, has_sandbox, server_command};
use nix::libc;
use nix::sys::signal::Signal;

/// Calls, the errors that they return, and if they are refused with this argument only.
type Refused<'a> = &'a [(libc::c_long, i32, Option<(u32, u32)>)];

#[test]
fn calls_that_can_be_replaced_are() {
    for refused in [
        &[(libc::SYS_recvmmsg, libc::ENOSYS, None)][..],
        &[(libc::SYS_recvmmsg, libc::EPERM, None)],
        &[(libc::SYS_sendmmsg, libc::ENOSYS, None)],
        &[(libc::SYS_sendmmsg, libc::EPERM, None)],
        &[(libc::SYS_ioctl, libc::EPERM, None)],
        &[(libc::SYS_getrandom, libc::ENOSYS, None)],
        &[
            (libc::SYS_recvmmsg, libc::EACCES, None),
            (libc::SYS_sendmmsg, libc::EACCES, None),
        ],
    ] {
        let Some(server) = start(refused) else {
            return;
        };
        let [ann, bob] = [server.client(), server.client()];
        server.expect_echo(&ann, "one");
        server.expect_echo(&bob, "two");
        ann.expect_text_from(&bob, "two");
        // More than a batch.
        for number in 0..200 {
            bob.send(format!("{number}").as_bytes());
        }
        for number in 0..200 {
            ann.expect_text_from(&bob, &number.to_string());
        }
    }
}

#[test]
fn calls_that_only_help_are_missed_with_a_warning() {
    for (refused, warning) in [
        ((libc::SYS_sched_setaffinity, None), "is not pinned"),
        ((libc::SYS_sched_getaffinity, None), "no worker is pinned"),
        ((libc::SYS_connect, None), "are not set apart"),
        (
            (
                libc::SYS_setsockopt,
                Some((2, libc::SO_BINDTOIFINDEX as u32)),
            ),
            "processes of the same user can join the sockets of",
        ),
    ] {
        let (call, argument) = refused;
        let Some(server) = start(&[(call, libc::EPERM, argument)]) else {
            return;
        };
        server.expect_echo(&server.client(), "hi");
        let log = server.startup_lines.concat();
        assert!(log.contains(warning), "{log}");
    }
}

#[test]
fn an_error_that_stays_is_logged_once_and_the_server_rests() {
    let Some(mut server) = start(&[(libc::SYS_recvmmsg, libc::ENOMEM, None)]) else {
        return;
    };
    // It tries the other call, which works.
    server.expect_echo(&server.client(), "hi");
    server.signal(Signal::SIGTERM);
    server.expect_success();
    let log = server.log().rest();
    let lines = server.startup_lines.iter().chain(&log);
    let warnings = lines
        .filter(|line| line.contains("recvmmsg fails again and again"))
        .count();
    // One per worker at most.
    assert!((1..=2).contains(&warnings), "{warnings}");
}

#[test]
fn without_a_call_that_it_needs_the_server_ends_and_names_it() {
    for (refused, message) in [
        (
            &[
                (libc::SYS_recvmmsg, libc::EPERM, None),
                (libc::SYS_recvmsg, libc::EPERM, None),
            ][..],
            "recvmmsg",
        ),
        (
            &[
                (libc::SYS_sendmmsg, libc::ENOSYS, None),
                (libc::SYS_sendmsg, libc::ENOSYS, None),
            ],
            "sendmmsg",
        ),
        (
            &[(libc::SYS_epoll_create1, libc::EPERM, None)],
            "epoll_create1",
        ),
        (&[(libc::SYS_epoll_ctl, libc::EPERM, None)], "epoll_ctl"),
        (&[(libc::SYS_eventfd2, libc::EPERM, None)], "eventfd"),
        (
            &[(libc::SYS_epoll_pwait, libc::EPERM, None), WAIT],
            "epoll_wait",
        ),
        (&[(libc::SYS_clone3, libc::EAGAIN, None)], "clone"),
        (
            &[(libc::SYS_fcntl, libc::EPERM, Some((1, DUPLICATE)))],
            "F_DUPFD_CLOEXEC",
        ),
        (&[(libc::SYS_socket, libc::EPERM, None)], "socket"),
        (&[(libc::SYS_bind, libc::EPERM, None)], "bind"),
        (
            &[(
                libc::SYS_setsockopt,
                libc::EPERM,
                Some((2, libc::SO_REUSEPORT as u32)),
            )],
            "SO_REUSEPORT",
        ),
    ] {
        let Some(output) = run(refused) else {
            return;
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{message}: {errors}");
        assert!(
            last.starts_with("server: ") && last.contains(message),
            "{message}: {errors}"
        );
    }
}

#[test]
fn a_part_of_the_sandbox_that_is_missing_is_a_warning_or_with_strict_the_end() {
    let landlock = (libc::SYS_landlock_create_ruleset, libc::EOPNOTSUPP, None);
    let seccomp = (libc::SYS_seccomp, libc::EPERM, None);
    for (refused, warning, error) in [
        (
            &[landlock][..],
            ", without Landlock: this kernel has it switched off",
            "Landlock is not in force: this kernel has it switched off",
        ),
        (
            &[seccomp],
            ", without seccomp: Operation not permitted",
            "seccomp is not in force: Operation not permitted",
        ),
        (
            &[landlock, seccomp],
            "sandbox: none, without Landlock: this kernel has it switched off, and without seccomp: ",
            "Landlock is not in force",
        ),
    ] {
        let (Some(mut command), true) = (filtered(refused), has_sandbox()) else {
            return;
        };
        let server = start(refused).expect("there are filters");
        server.expect_echo(&server.client(), "hi");
        let of_sandbox = |line: &&String| line.contains("sandbox");
        let lines: Vec<_> = server.startup_lines.iter().filter(of_sandbox).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(warning), "{lines:?}");

        let output = command.args(["--sandbox", "strict"]).output();
        let output = output.expect("python3 runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("--sandbox strict: "), "{errors}");
        assert!(errors.contains(error), "{errors}");
    }
}

#[test]
fn too_few_open_files_are_counted() {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 64 && exec \"$0\" --workers 64 --bind 127.0.0.1:0",
    ]);
    command.arg(server_command(&[]).get_program());
    let output = command.output().expect("there is a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    let message = errors.strip_prefix("server: ").unwrap_or_default();
    let (needed, rest) = message.split_once(' ').unwrap_or_default();
    let needed: u32 = needed.parse().expect(&errors);
    assert!(
        rest.starts_with("open files are needed, and 64 are allowed"),
        "{errors}"
    );

    // That many are enough, and a soft limit is raised.
    let script = format!("ulimit -Sn 64 && ulimit -Hn {needed} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    command.arg(server_command(&[]).get_program());
    command.args(["--workers", "64", "--bind", "127.0.0.1:0", "--no-pin"]);
    let server = ServerProgram::start_command(command);
    server.expect_echo(&server.client(), "hi");
}

const DUPLICATE: u32 = libc::F_DUPFD_CLOEXEC as u32;

#[cfg(target_arch = "x86_64")]
const WAIT: (libc::c_long, i32, Option<(u32, u32)>) = (libc::SYS_epoll_wait, libc::EPERM, None);
#[cfg(not(target_arch = "x86_64"))]
const WAIT: (libc::c_long, i32, Option<(u32, u32)>) = (libc::SYS_epoll_pwait, libc::EPERM, None);

fn start(refused: Refused<'_>) -> Option<ServerProgram> {
    filtered(refused).map(ServerProgram::start_command)
}

/// Runs the server to its end.
fn run(refused: Refused<'_>) -> Option<Output> {
    let mut command = filtered(refused)?;
    Some(command.output().expect("python3 runs"))
}

/// Returns a command that runs the server with a filter. Returns `None`, and prints the
/// reason, where this is impossible.
fn filtered(refused: Refused<'_>) -> Option<Command> {
    let mut rules = String::new();
    for (call, error, argument) in refused {
        let (index, value) = argument.unwrap_or((0, u32::MAX));
        let is_any = u32::from(argument.is_none());
        write!(rules, "({call},{error},{is_any},{index},{value}),").expect("a string");
    }
    let filter = format!("RULES = [{rules}]\n{FILTER}");
    let python = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-c", &filter, program]).args(arguments);
        command
    };
    if !python("true", &[])
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("skipped: python3 cannot set a filter of system calls");
        return None;
    }
    let server = server_command(&[]);
    let program = server.get_program().to_str().expect("a path in UTF-8");
    let mut command = python(program, &["--bind", "127.0.0.1:0", "--workers", "2"]);
    for (setting, _) in server.get_envs() {
        command.env_remove(setting);
    }
    Some(command)
}

/// Sets the filter, and becomes the program of its arguments.
const FILTER: &str = r#"
import ctypes, os, struct, sys
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
code = []
for call, error, is_any, argument, value in RULES:
    if is_any:
        code += [(LOAD, 0, 0, 0), (EQUAL, 0, 1, call), (RETURN, 0, 0, ERROR | error)]
    else:
        code += [(LOAD, 0, 0, 0), (EQUAL, 0, 3, call), (LOAD, 0, 0, 16 + 8 * argument),
                 (EQUAL, 0, 1, value), (RETURN, 0, 0, ERROR | error)]
code.append((RETURN, 0, 0, ALLOW))
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(filters)))
libc = ctypes.CDLL(None, use_errno=True)
NO_NEW_PRIVILEGES, SECCOMP, FILTER_MODE = 38, 22, 2
if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER_MODE, program, 0, 0):
    sys.exit("no filter: " + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
"#;
