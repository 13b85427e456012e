//! The cores of the workers of several servers.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use bullhorn::config::CoreList;
use common::{Network, ServerProgram, V4, output_of, server_command, wait_for, with_networks};
use nix::unistd::Pid;

#[test]
fn servers_of_one_machine_take_different_cores() {
    let cores = allowed_cores();
    if cores.len() < 2 {
        println!("skipped: there is one core only");
        return;
    }
    // Claims are those of a network. So no other server of this machine has any.
    with_networks(|| {
        let machine = Network::new();
        machine.run(|| {
            let start = || ServerProgram::start(&["--workers", "1"]);
            let first = start();
            assert_eq!(cores_of(&first, 1), [cores[0]]);
            let second = start();
            assert_eq!(cores_of(&second, 1), [cores[1]]);
            // Killed. Its claim is gone with it.
            drop(first);
            let third = start();
            assert_eq!(cores_of(&third, 1), [cores[0]]);
            drop((second, third));

            // A server with all cores, and one more with one.
            let count = cores.len().to_string();
            let all = ServerProgram::start(&["--workers", &count]);
            assert_eq!(cores_of(&all, cores.len()), cores);
            let one_more = start();
            assert_eq!(cores_of(&one_more, 1), [cores[0]]);
            let two_more = start();
            assert_eq!(cores_of(&two_more, 1), [cores[1]]);
        });
        // Other users see the claims, too.
        machine.run(|| {
            let first = ServerProgram::start(&["--workers", "1", "--cores", &cores[0].to_string()]);
            assert_eq!(cores_of(&first, 1), [cores[0]]);
            let second = ServerProgram::start(&["--workers", "1"]);
            assert_eq!(cores_of(&second, 1), [cores[1]]);
        });
    });
}

#[test]
fn servers_with_the_same_list_have_a_claim_each() {
    let core = allowed_cores()[0].to_string();
    with_networks(|| {
        Network::new().run(|| {
            let start = || ServerProgram::start(&["--cores", &core]);
            let are_taken = || {
                ["", "-2", "-3"].map(|end| {
                    let name = format!("bullhorn-core-{core}{end}");
                    let address = SocketAddr::from_abstract_name(name).unwrap();
                    UnixDatagram::bind_addr(&address).is_err()
                })
            };
            let first = start();
            assert_eq!(are_taken(), [true, false, false]);
            let _second = start();
            assert_eq!(are_taken(), [true, true, false]);
            drop(first);
            assert_eq!(are_taken(), [false, true, false]);
        });
    });
}

#[test]
fn workers_that_are_not_pinned_may_use_all_cores() {
    let server = ServerProgram::start(&["--no-pin", "--workers", "2"]);
    for name in ["worker-0", "worker-1"] {
        let allowed = wait_for("a worker", || allowed_of(server.pid(), name));
        assert_eq!(allowed.as_slice(), allowed_cores(), "{name}");
    }
}

#[test]
fn workers_are_pinned_to_a_list_of_cores_in_turn() {
    let cores = allowed_cores();
    let (first, last) = (cores[0], *cores.last().unwrap());
    if first == last {
        println!("skipped: there is one core only");
        return;
    }
    let list = format!("{last},{first}");
    let server = ServerProgram::start(&["--cores", &list]);
    assert_eq!(cores_of(&server, 2), [last, first]);
    let lines = &server.startup_lines;
    assert!(!lines.iter().any(|it| it.contains(" share ")), "{lines:?}");
    let server = ServerProgram::start(&["--cores", &list, "--workers", "3"]);
    assert_eq!(cores_of(&server, 3), [last, first, last]);
    let line = "3 workers share 2 cores";
    let lines = &server.startup_lines;
    assert!(lines.iter().any(|it| it.contains(line)), "{lines:?}");
}

#[test]
fn a_cpuset_is_respected_and_its_cores_are_named() {
    let cores = allowed_cores();
    let (first, last) = (cores[0], *cores.last().unwrap());
    let on_last = |arguments: &[&str]| {
        let server = server_command(&["--bind", V4]);
        let mut command = common::without_settings("taskset");
        command.args(["--cpu-list", &last.to_string()]);
        command.arg(server.get_program()).args(server.get_args());
        command.args(arguments);
        command
    };
    let server = ServerProgram::start_command(on_last(&["--workers", "2"]));
    assert_eq!(cores_of(&server, 2), [last, last]);
    let server = ServerProgram::start_command(on_last(&["--cores", &last.to_string()]));
    assert_eq!(cores_of(&server, 1), [last]);
    if first == last {
        println!("skipped in part: there is one core only");
        return;
    }
    let list = format!("{last},{first}");
    let (end, _, errors) = output_of(&mut on_last(&["--cores", &list]));
    let expected = format!("--cores: this process may not use core {first}, only {last}");
    assert!(
        errors.lines().any(|line| line.ends_with(&expected)),
        "{errors}"
    );
    assert_eq!(end, Some(1));
}

#[test]
fn a_list_of_cores_contradicts_workers_that_are_not_pinned() {
    let (end, _, errors) = output_of(&mut server_command(&["--cores", "0", "--no-pin"]));
    assert!(
        errors.contains("--cores does not go with --no-pin"),
        "{errors}"
    );
    assert_eq!(end, Some(2));
}

/// Returns the core of each worker.
#[track_caller]
fn cores_of(server: &ServerProgram, workers: usize) -> Vec<usize> {
    let core = |worker| {
        let name = format!("worker-{worker}");
        let allowed = wait_for("a worker", || allowed_of(server.pid(), &name));
        let [core] = allowed.as_slice() else {
            panic!("{name} is not pinned: {allowed}");
        };
        *core
    };
    (0..workers).map(core).collect()
}

/// Returns the cores that the thread `name` of a process may use.
fn allowed_of(process: Pid, name: &str) -> Option<CoreList> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let status = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok())
        .find(|status| status.lines().next() == Some(&format!("Name:\t{name}")))?;
    Some(allowed_in(&status))
}

fn allowed_in(status: &str) -> CoreList {
    let mut lines = status.lines();
    let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.unwrap().trim().parse().unwrap()
}

/// Returns the cores that this process may use.
fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    allowed_in(&status).as_slice().to_vec()
}
