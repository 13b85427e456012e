//! Networks of their own for tests: network namespaces, and virtual cables between them.
//!
//! A namespace belongs to threads. A thread that enters one takes the sockets, threads and
//! programs with it that it starts there.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::process::{self, Command};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// A network with its own interfaces, addresses and routes. It vanishes when the last thread
/// and the last socket in it are gone.
pub(crate) struct Network {
    namespace: File,
}

/// Runs a test that makes networks. Without the right to make them, the test runs once more
/// as the root of a user namespace. Where that is forbidden too, it is skipped, which is a
/// failure in CI.
///
/// # Panics
/// The test fails.
pub(crate) fn with_networks(test: impl FnOnce()) {
    if Network::try_new().is_ok() {
        return test();
    }
    let is_possible = |command: &mut Command| command.status().is_ok_and(|it| it.success());
    if std::env::var_os(IS_IN_USER_NAMESPACE).is_some() || !is_possible(&mut user_root("true")) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{FORBIDDEN}");
        println!("skipped: {FORBIDDEN}");
        return;
    }
    let program = std::env::current_exe().expect("it runs");
    let program = program.to_str().expect("its path is UTF-8");
    let name = thread::current().name().expect("it runs a test").to_owned();
    let mut command = user_root(program);
    command.args(["--exact", &name, "--nocapture"]);
    assert!(
        is_possible(command.env(IS_IN_USER_NAMESPACE, "1")),
        "{name}"
    );
}

/// Returns a command that runs `program` as the root of a user namespace.
fn user_root(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", program]);
    command
}

impl Network {
    /// Returns a network with a loopback interface only.
    ///
    /// # Panics
    /// The kernel refuses it. See [`with_networks`].
    pub(crate) fn new() -> Self {
        let network = Self::try_new().expect(FORBIDDEN);
        network.ip("link set lo up");
        // Otherwise an IPv6 address could not be used for a second.
        network.sysctl("ipv6/conf/default/accept_dad", "0");
        network
    }

    fn try_new() -> io::Result<Self> {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        };
        let namespace = thread::spawn(make).join().expect("it does not panic")?;
        Ok(Self { namespace })
    }

    /// Runs `body` on a thread in this network.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let enter_and_run = || {
            setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("it was made here");
            body()
        };
        let result = thread::scope(|scope| scope.spawn(enter_and_run).join());
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs `ip` of iproute2 with these words.
    #[track_caller]
    pub(crate) fn ip(&self, words: &str) {
        self.command("ip", words);
    }

    /// Runs a program with these words, which must succeed.
    #[track_caller]
    pub(crate) fn command(&self, program: &str, words: &str) {
        let mut command = Command::new(program);
        command.args(words.split_whitespace());
        let output = self.run(|| command.output()).expect("it is installed");
        assert!(output.status.success(), "{program} {words}: {output:?}");
    }

    /// Sets a variable below `/proc/sys/net`.
    #[track_caller]
    pub(crate) fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        self.run(|| fs::write(&path, value)).expect(&path);
    }

    /// Lays a cable to `other`, and returns when both ends are up. The ends have these names
    /// and addresses (`10.77.0.1/24`), and a link-local one.
    #[track_caller]
    pub(crate) fn cable(
        &self,
        (name, addresses): (&str, &[&str]),
        other: &Self,
        (other_name, other_addresses): (&str, &[&str]),
    ) {
        let (pid, descriptor) = (process::id(), other.namespace.as_raw_fd());
        self.ip(&format!(
            "link add {name} type veth peer name {other_name} netns /proc/{pid}/fd/{descriptor}"
        ));
        for (network, name, addresses) in [
            (self, name, addresses),
            (other, other_name, other_addresses),
        ] {
            for address in addresses {
                // An IPv6 address is in use at once only if no duplicate of it is looked for.
                let nodad = if address.contains(':') { "nodad" } else { "" };
                network.ip(&format!("address add {address} dev {name} {nodad}"));
            }
            network.ip(&format!("link set {name} up"));
        }
    }

    /// Returns the number of an interface, which is the zone of its link-local addresses.
    #[track_caller]
    pub(crate) fn zone(&self, name: &str) -> u32 {
        self.run(|| nix::net::if_::if_nametoindex(name))
            .expect(name)
    }
}

const FORBIDDEN: &str = "this user may not make network namespaces";

const IS_IN_USER_NAMESPACE: &str = "BULLHORN_TEST_IS_IN_USER_NAMESPACE";
