//! The sandbox of the program `server`. Injected code is refused what the server does not need.
//! Without Landlock or seccomp, the tests are skipped, and without root those of `--user`.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use bullhorn::ServerConfig;
use bullhorn::net::RefusedCalls;
use bullhorn::server::ops::log::Log;
use bullhorn::server::ops::sandbox::{Sandbox, SandboxConfig, Threads};
use common::{
    Folder, ServerProgram, has_sandbox, server_command, stranger, two_machines, with_networks,
};
use nix::libc;
use nix::unistd::{Pid, User, geteuid};

#[test]
fn every_thread_is_in_the_sandbox_and_the_log_says_so() {
    if !has_sandbox() {
        return;
    }
    for (mode, seccomp) in [("on", "2"), ("strict", "2"), ("off", "0")] {
        let server = ServerProgram::start(&["--sandbox", mode]);
        server.expect_echo(&server.client(), "hi");
        let log = server.startup_lines.concat();
        match mode {
            "off" => assert!(log.contains("sandbox: off"), "{log}"),
            _ => {
                let (_, line) = log.split_once("sandbox: Landlock (ABI ").expect(&log);
                assert!(line.contains(") and seccomp, "), "{log}");
            }
        }
        for status in statuses(server.pid()) {
            assert_eq!(field(&status, "Seccomp"), seccomp, "{status}");
        }
    }
}

/// The same on every processor, and through the standard library.
#[test]
fn a_thread_in_the_sandbox_starts_no_process_and_opens_no_file_or_connection() {
    if !has_sandbox() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let confined = move || {
        let sandbox = Sandbox::enter(
            &SandboxConfig::default(),
            ServerConfig::default().features(),
        )
        .unwrap();
        let (log, _writer) = Log::new();
        sandbox.close(Threads::Calling, &log).unwrap();
        let attempts = [
            Command::new("/bin/sh").spawn().err(),
            File::open("/etc/passwd").err(),
            File::create("/tmp/bullhorn_created").err(),
            TcpStream::connect(address).err(),
            UnixDatagram::unbound().err(),
        ];
        let kinds = attempts.map(|error| error.map(|error| error.kind()));
        // What it may do: all that a server does, also in a thread that it starts.
        let socket = thread::spawn(|| UdpSocket::bind("127.0.0.1:0").is_ok());
        (kinds, socket.join().unwrap())
    };
    let (kinds, socket) = thread::spawn(confined).join().unwrap();
    assert_eq!(kinds, [Some(ErrorKind::PermissionDenied); 5]);
    assert!(socket);
    let refused = RefusedCalls::default().take();
    assert!(
        refused.contains(&libc::SYS_socket.try_into().unwrap()),
        "{refused:?}"
    );
    // The other threads of the process are not in it.
    File::open("/etc/passwd").unwrap();
}

#[cfg(target_arch = "x86_64")]
mod injection {
    use super::*;

    use common::Injected;
    use nix::libc::c_long;
    use nix::sys::signal::Signal;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn calls_of_injected_code_fail_and_are_logged_by_name() {
        let Some(mut server) = start(&["--sandbox", "on"]) else {
            return;
        };
        let log = server.log();
        let code = Injected::into(server.pid(), "worker-0");
        let permission = Some(-i64::from(libc::EPERM));
        let path = code.write("/bin/sh");
        assert_eq!(code.call(libc::SYS_execve, &[path, 0, 0]), permission);
        // No call is noted twice.
        for _ in 0..3 {
            assert_eq!(code.call(libc::SYS_fork, &[]), permission);
        }
        let read_only = (libc::O_RDONLY as u64, libc::AT_FDCWD as u64);
        let path = code.write("/etc/passwd");
        let open = [read_only.1, path, read_only.0];
        assert_eq!(code.call(libc::SYS_openat, &open), permission);
        for (number, arguments) in [
            (libc::SYS_socket, [libc::AF_INET, libc::SOCK_STREAM, 0]),
            (
                libc::SYS_socket,
                [libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP],
            ),
            (libc::SYS_socket, [libc::AF_PACKET, libc::SOCK_DGRAM, 0]),
            (libc::SYS_socket, [libc::AF_UNIX, libc::SOCK_STREAM, 0]),
            (libc::SYS_ptrace, [16, 1, 0]),
            (libc::SYS_kill, [1, 0, 0]),
            (libc::SYS_tgkill, [1, 1, 0]),
            (libc::SYS_setuid, [0, 0, 0]),
            (libc::SYS_prctl, [libc::PR_SET_DUMPABLE, 1, 0]),
            (libc::SYS_fcntl, [0, libc::F_SETOWN, 1]),
            (libc::SYS_ioctl, [0, libc::TIOCSTI as i32, 0]),
            (libc::SYS_mprotect, [0, 4096, libc::PROT_EXEC]),
            (libc::SYS_mmap, [0, 4096, libc::PROT_READ | libc::PROT_EXEC]),
        ] {
            let arguments = arguments.map(|argument| argument as u64);
            assert_eq!(code.call(number, &arguments), permission, "call {number}");
        }
        // A process as the C library starts one, and the call that it tries first.
        let child = libc::SIGCHLD as u64;
        assert_eq!(code.call(libc::SYS_clone, &[child]), permission);
        let unknown = Some(-i64::from(libc::ENOSYS));
        assert_eq!(code.call(libc::SYS_clone3, &[0, 0]), unknown);
        // A call of the other table of this processor (x32).
        let x32: c_long = 0x4000_0000 | libc::SYS_getpid;
        assert_eq!(code.call(x32, &[]), permission);
        // A call that is permitted.
        let pid = i64::from(server.pid().as_raw());
        assert_eq!(code.call(libc::SYS_getpid, &[]), Some(pid));
        drop(code);
        let names = [
            "execve",
            "fork",
            "openat",
            "socket",
            "ptrace",
            "kill",
            "tgkill",
            "setuid",
            "prctl",
            "fcntl",
            "ioctl",
            "mprotect",
            "mmap",
            "of an unknown number",
        ];
        let mut expected = names.map(|name| format!("sandbox: refused system call {name}"));
        expected.sort();
        let mut logged: Vec<String> = names.iter().map(|_| log.find("sandbox: refused")).collect();
        for line in &mut logged {
            line.drain(..line.find("sandbox").unwrap());
        }
        logged.sort();
        assert_eq!(logged, expected);

        server.expect_echo(&server.client(), "it goes on");
        let printed = server.printed();
        server.type_line("");
        printed.find("system calls refused, sandbox: 19");
        server.type_line("quit");
        server.expect_success();
        assert!(!log.rest().iter().any(|line| line.contains("sandbox")));
    }

    #[test]
    fn injected_code_reaches_the_files_of_the_state_and_no_others() {
        let folder = Folder::new("sandbox_files");
        let Some(server) = start(&["--sandbox", "on", "--state-dir", folder.path()]) else {
            return;
        };
        let code = Injected::into(server.pid(), "worker-1");
        let open = |path: &str, flags: i32| {
            let path = code.write(path);
            let folder = libc::AT_FDCWD as u64;
            code.call(libc::SYS_openat, &[folder, path, flags as u64, 0o600])
        };
        let create = libc::O_WRONLY | libc::O_CREAT;
        let outside = folder.0.with_extension("outside");
        let refused = Some(-i64::from(libc::EACCES));
        assert_eq!(open("/etc/passwd", libc::O_RDONLY), refused);
        assert_eq!(open(outside.to_str().unwrap(), create), refused);
        assert!(!outside.exists());
        let memory = format!("/proc/{}/environ", Pid::this());
        assert_eq!(open(&memory, libc::O_RDONLY), refused);
        let file = folder.0.join("file");
        assert!(open(file.to_str().unwrap(), create) > Some(0));
        assert!(file.exists());
    }

    #[test]
    fn in_a_strict_sandbox_a_refused_call_ends_the_server() {
        let Some(mut server) = start(&["--sandbox", "strict"]) else {
            return;
        };
        let code = Injected::into(server.pid(), "worker-1");
        let path = code.write("/bin/sh");
        assert_eq!(code.call(libc::SYS_execve, &[path, 0, 0]), None);
        drop(code);
        let status = server.exit_status();
        assert_eq!(status.signal(), Some(Signal::SIGSYS as i32), "{status}");
    }

    fn start(arguments: &[&str]) -> Option<ServerProgram> {
        let workers = ["--workers", "2", "--no-pin"];
        has_sandbox().then(|| ServerProgram::start(&[&workers, arguments].concat()))
    }
}

#[test]
fn bans_are_kept_and_nothing_is_refused_in_the_sandbox() {
    let folder = Folder::new("sandbox_bans");
    let mut server = ServerProgram::start(&["--state-dir", folder.path(), "--bind", "[::]:0"]);
    let printed = server.printed();
    server.type_line("ban 192.0.2.0/24");
    printed.find("banned 192.0.2.0/24");
    let bans = fs::read_to_string(folder.bans()).unwrap();
    assert!(bans.contains("192.0.2.0/24 for ever"));
    server.type_line("quit");
    server.expect_success();
}

#[test]
fn the_user_is_dropped_and_the_server_works_on() {
    if !geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let folder = Folder::new("sandbox_user");
    chown(&folder.0, Some(nobody.uid.as_raw()), None).unwrap();
    let arguments = ["--user", "nobody", "--state-dir", folder.path()];
    let mut server = ServerProgram::start(&arguments);
    let log = server.startup_lines.concat();
    let line = format!("running as nobody ({}:{})", nobody.uid, nobody.gid);
    assert!(log.contains(&line), "{log}");
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    for status in statuses(server.pid()) {
        for (name, id) in [("Uid", &uid), ("Gid", &gid)] {
            assert_eq!(field(&status, name), [id.as_str(); 4].join("\t"));
        }
        assert_eq!(field(&status, "Groups"), "");
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(field(&status, set).trim_matches('0'), "", "{status}");
        }
    }
    server.expect_echo(&server.client(), "hi");
    let printed = server.printed();
    server.type_line("ban 192.0.2.0/24");
    printed.find("banned 192.0.2.0/24");
    let bans = fs::read_to_string(folder.bans()).unwrap();
    assert!(bans.contains("192.0.2.0/24 for ever"));
    server.type_line("quit");
    server.expect_success();

    // It finds that it cannot write before it serves.
    chown(&folder.0, Some(0), None).unwrap();
    let output = server_command(&["--bind", "127.0.0.1:0"])
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let last = errors.lines().last().unwrap();
    assert!(last.contains("bans.new: Permission denied"), "{errors}");
    assert!(last.contains("nobody"), "{errors}");
}

/// The thread `watch` reads the kernel's list of sockets, as another user than that of the sockets.
#[test]
fn the_watch_over_the_sockets_goes_on_when_the_user_is_dropped() {
    if !geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    with_networks(|| {
        let [machine, _other] = two_machines();
        let arguments = ["--user", "nobody", "--bind", "0.0.0.0:9999"];
        let start = || ServerProgram::start_command(server_command(&arguments));
        let mut server = machine.run(start);
        let log = server.log();
        // The kernel lets it in, as it is bound to an interface.
        if let Ok(_stranger) = machine.run(|| stranger(([0; 4], 9999).into())) {
            log.find("1 sockets of other processes have joined those of 0.0.0.0:9999");
        }
        server.type_line("quit");
        server.expect_success();
    });
}

#[test]
fn a_user_that_the_server_cannot_become_is_an_error_of_the_arguments() {
    for (user, reason) in [
        ("nobody-there", "there is no user of this name"),
        ("root", "must not be root"),
    ] {
        let output = server_command(&["--user", user]).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(reason), "{errors}");
    }
    let mut command = server_command(&["--user", "nobody"]);
    if geteuid().is_root() {
        command.uid(1);
    }
    match command.output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{errors}");
            assert!(errors.contains("only root can become another user"));
        }
        Err(error) => println!("skipped: user 1 cannot run the server: {error}"),
    }
}

/// Returns the files `status` of all threads of a process.
fn statuses(process: Pid) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let status = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status"));
    threads
        .map(|thread| status(thread.unwrap()).unwrap())
        .collect()
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    let value = fields.find_map(|(field, value)| (field == name).then_some(value));
    value.expect(name).trim()
}
