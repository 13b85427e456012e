//! The service manager, such as systemd, and the states that a service sends it.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager that has started this process, and waits for its states.
///
/// Sending never blocks. A state that the manager cannot take at the moment is lost, except that it
/// is ready.
#[derive(Debug, Clone)]
pub struct ServiceManager {
    socket: Arc<UnixDatagram>,
    watchdog: Option<Duration>,
    /// The manager does not know yet that the service is ready.
    owes_ready: Arc<AtomicBool>,
    is_stopping: Arc<AtomicBool>,
}

impl ServiceManager {
    /// Connects to the manager (`NOTIFY_SOCKET`), which the sandbox would refuse later. Returns
    /// `None` if there is none.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn from_env() -> io::Result<Option<Self>> {
        let path = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty());
        let Some(path) = path else {
            return Ok(None);
        };
        let watchdog = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        Self::connect(&path, watchdog).map(Some)
    }

    fn connect(path: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        socket.connect_addr(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Arc::new(socket),
            watchdog,
            owes_ready: Arc::default(),
            is_stopping: Arc::default(),
        })
    }

    /// The time after which the manager ends a silent service. `None` if it never does.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Reports that the service is ready, after its start or after [`Self::reloading`].
    pub fn ready(&self) {
        let is_sent = self.send(&[NotifyState::Ready]);
        self.owes_ready.store(!is_sent, Ordering::Relaxed);
    }

    /// Reports again that the service is ready if the manager could not take that before.
    pub fn repeat_ready(&self) {
        if self.owes_ready.load(Ordering::Relaxed) {
            self.ready();
        }
    }

    /// Reports that the service reads its configuration again. [`Self::ready`] must follow.
    pub fn reloading(&self) {
        // It would end the reload.
        self.owes_ready.store(false, Ordering::Relaxed);
        // The manager takes `ready` for that of this reload if it came after this time.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.send(&[NotifyState::Reloading, now]);
        }
    }

    /// Reports that the service stops. Nothing is reported after that.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Sets the line about the service that the manager shows. Returns false if it is lost.
    pub fn status(&self, line: &str) -> bool {
        self.send(&[NotifyState::Status(line)])
    }

    /// Reports that the service does its work.
    pub fn keep_alive(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Returns false if the manager has not taken the states.
    fn send(&self, states: &[NotifyState<'_>]) -> bool {
        if self.is_stopping.load(Ordering::Relaxed) {
            return true;
        }
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        self.socket.send(lines.join("\n").as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_arrive_by_an_abstract_name_and_ready_is_repeated() {
        let name = format!("bullhorn-test-manager-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let path = format!("@{name}");
        let manager = ServiceManager::connect(OsStr::new(&path), None).unwrap();
        let receive = || {
            let mut buffer = [0; 256];
            let len = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        };
        manager.ready();
        assert_eq!(receive(), "READY=1");
        manager.reloading();
        let reloading = receive();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        assert!(time.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
        manager.repeat_ready();
        // Its queue is full.
        let mut statuses = 0;
        while manager.status("busy") {
            statuses += 1;
        }
        manager.ready();
        for _ in 0..statuses {
            assert_eq!(receive(), "STATUS=busy");
        }
        manager.repeat_ready();
        manager.repeat_ready();
        manager.stopping();
        assert_eq!([receive(), receive()], ["READY=1", "STOPPING=1"]);
        // A reload that ends while the service stops.
        manager.ready();
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 256]).is_err());
    }

    #[test]
    fn a_manager_that_is_not_there_is_an_error() {
        for path in ["/nowhere/notify", "@bullhorn-test-nobody", "vsock:2:1", ""] {
            assert!(ServiceManager::connect(OsStr::new(path), None).is_err());
        }
    }
}
