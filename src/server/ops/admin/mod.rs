//! The admin server: metrics, health, an API and a dashboard over HTTP.
//!
//! It has a thread of its own, with a runtime that runs on no other. It reads the server through
//! [`Operated`], which waits for no worker. No worker waits for it, but for a newcomer that waits for
//! a shard of the peers while they are counted, for 0.1 ms at 200,000 peers.

mod access;
mod api;
mod cluster;
mod connections;
mod error;
mod health;
mod metrics;
mod page;
mod routes;
mod sample;
mod sampler;
mod token;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{self, Runtime};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::access::Access;
use self::api::{Actions, MAX_ACTIONS, MAX_STREAMS};
use self::metrics::Process;
use self::sample::Sample;
use self::sampler::Sampler;
pub use self::token::TokenFile;
use super::log::Log;
use super::operated::Operated;
use super::supervise::Supervisor;
use crate::server::files::shown;

pub(crate) use self::connections::MAX_CONNECTIONS;

/// The reason why the admin server did not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Its address is not available.
    #[error("--admin {address}: {error}{}", in_use(.error))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The reason.
        error: io::Error,
    },
    /// The file with the token cannot be read.
    #[error("--admin-token-file {}: {error}", shown(.path))]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The file has no token.
    #[error(
        "--admin-token-file {}: a token has 16 to 256 visible characters of ASCII, such as those \
         of `openssl rand -hex 32`", shown(.path)
    )]
    Token {
        /// The file.
        path: PathBuf,
    },
}

/// An admin server that listens, and does not answer yet.
pub(crate) struct Admin {
    listener: std::net::TcpListener,
    address: SocketAddr,
    runtime: Runtime,
    access: Access,
    process: Option<Process>,
    log: Log,
}

/// The state that all requests share.
#[derive(Clone)]
struct State {
    server: Arc<dyn Operated + Send + Sync>,
    access: Arc<Access>,
    actions: Actions,
    /// The event streams that may be open.
    streams: Arc<Semaphore>,
    /// The newest sample.
    samples: watch::Receiver<Arc<Sample>>,
    started: Started,
    /// `None` where the kernel does not show it.
    process: Option<Arc<Process>>,
}

/// The moment at which the admin server started, right after the server.
#[derive(Clone, Copy)]
struct Started {
    at: Instant,
    /// Time in ms since 1970.
    time_ms: u64,
}

impl Admin {
    /// Opens the socket, and reads the token.
    pub(crate) fn bind(
        address: SocketAddr,
        token_file: Option<&Path>,
        log: &Log,
    ) -> Result<Self, AdminError> {
        let token = token_file
            .map(|path| TokenFile::open(path, log))
            .transpose()?;
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            connections::bound_buffers(&listener)?;
            // It opens its files here, before the server gives up the right to do so.
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(MAX_ACTIONS)
                .build()?;
            Ok((listener.local_addr()?, listener, runtime))
        };
        let bound = bind().map_err(|error| AdminError::Bind { address, error });
        let (address, listener, runtime) = bound?;
        log.info(format!("admin server at http://{address}/"));
        if !address.ip().to_canonical().is_loopback() {
            log.warn_at_start(format!(
                "the admin server at {address} has no TLS: its token can be read on the way"
            ));
        }
        Ok(Self {
            listener,
            address,
            runtime,
            access: Access::new(address, token, log),
            process: Process::open(),
            log: log.clone(),
        })
    }

    /// The address that it listens on, with its actual port.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The file of its token.
    pub(crate) fn token_file(&self) -> Option<Arc<TokenFile>> {
        self.access.token_file()
    }

    /// Starts the thread, which ends with the server.
    pub(crate) fn start(
        self,
        server: Arc<dyn Operated + Send + Sync>,
        supervisor: &mut Supervisor,
    ) -> io::Result<()> {
        let notify = Arc::new(Notify::new());
        let stopped = Arc::clone(&notify);
        let wake = Arc::new(move || notify.notify_one());
        supervisor.spawn("admin".into(), wake, move |stop| {
            let result = self.runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(self.listener)?;
                let (sampler, samples) = Sampler::new(Arc::clone(&server));
                let state = State {
                    server,
                    access: Arc::new(self.access),
                    actions: Actions::new(),
                    streams: Arc::new(Semaphore::new(MAX_STREAMS)),
                    samples,
                    started: Started {
                        at: Instant::now(),
                        time_ms: sample::time_ms(),
                    },
                    process: self.process.map(Arc::new),
                };
                let tasks = [
                    tokio::spawn(sampler.run()),
                    tokio::spawn(connections::serve(
                        listener,
                        routes::router(state),
                        self.log,
                    )),
                ];
                while !stop.is_stopping() {
                    let _ = timeout(CHECK_INTERVAL, stopped.notified()).await;
                    // Only by a mistake in it.
                    if tasks.iter().any(JoinHandle::is_finished) {
                        return Err(io::Error::other("one of its tasks has ended"));
                    }
                }
                Ok(())
            });
            // An action that still waits, such as for the disk, does not hold up the stop.
            self.runtime.shutdown_background();
            result
        })
    }
}

fn in_use(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ": is another server running? choose another port",
        _ => "",
    }
}

/// Time between two checks that all tasks run. They have nothing else to tell about their end.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
