//! A server that is a process of its own, on the core of the subject.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;

use core_affinity::CoreId;

use super::Error;
use super::cpu::pin;

/// A process that runs until this is dropped, and then is killed by its id.
pub(crate) struct Process(Child);

impl Process {
    /// Starts `command` on `core`; nobody hears what it prints.
    pub(crate) fn start(core: CoreId, mut command: Command) -> Result<Self, Error> {
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let spawn = move || -> Result<Child, Error> {
            // A child stays on the core of the thread that started it.
            pin(core)?;
            Ok(command.spawn()?)
        };
        let child = thread::spawn(spawn).join();
        Ok(Self(child.map_err(|_| "the starting thread panicked")??))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns its memory in bytes, shared pages included, and the most that it has had.
    pub(crate) fn memory(&self) -> Result<(u64, u64), Error> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let bytes = |name: &str| -> Result<u64, Error> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
            Ok(kib.ok_or("the process has ended")?.parse::<u64>()? * 1024)
        };
        Ok((bytes("VmRSS:")?, bytes("VmHWM:")?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loopback address at which nobody listens over TCP at the moment.
pub(crate) fn free_tcp_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The same over UDP.
pub(crate) fn free_udp_address() -> Result<SocketAddr, Error> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
