//! A server in a process of its own, which a test can stop, kill and start again.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use bullhorn::config::ServiceKind;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{V4, server};

/// A server process. Dropped, it is killed.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl ServerProcess {
    /// Starts one at a free port.
    pub(crate) fn start() -> Self {
        Self::start_at(V4)
    }

    /// Starts one at `address`. The test program must have the ignored test `a_server_process`,
    /// which calls [`serve`].
    pub(crate) fn start_at(address: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "a_server_process", "--nocapture"])
            .env(ADDRESS, address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let address = stdout.lines().find_map(|line| {
            let line = line.unwrap();
            let (_, address) = line.split_once(MARK)?;
            address.parse().ok()
        });
        let address = address.expect("it says where it listens");
        Self { child, address }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().try_into().unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Also one that stands still is killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves, in a process that a [`ServerProcess`] has started, until its standard input ends.
pub(crate) fn serve() {
    let Ok(address) = std::env::var(ADDRESS) else {
        return;
    };
    let server = server(1, ServiceKind::Chat, &address);
    println!("{MARK}{}", server.local_addr());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    server.stop().unwrap();
}

/// In the environment of the process that is to be the server.
const ADDRESS: &str = "LOADGEN_TEST_SERVES_AT";

const MARK: &str = "listening on ";
