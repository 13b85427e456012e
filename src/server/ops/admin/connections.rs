//! The connections of the admin server, and their limits.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use crate::server::ops::log::Log;

/// Accepts connections without end. At most [`MAX_CONNECTIONS`] are open at a time. The next ones
/// wait in the kernel's queue until one ends, and each that is silent ends soon.
pub(super) async fn serve(listener: TcpListener, router: Router, log: Log) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    converse(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                // The process has no more file descriptors, or the client has gone.
                log.warn(format!(
                    "the admin server cannot accept a connection: {error}"
                ));
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Answers the requests of one connection. Its errors are the client's.
async fn converse(stream: TcpStream, router: Router) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(router),
        );
    let _ = connection.await;
}

/// More than ten dashboards, a scraper and some people need. With those of the sockets of a server,
/// their files are far below the usual limit of 1024.
const MAX_CONNECTIONS: usize = 64;

/// Maximum time for the head of a request, and between two requests of a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time for which a client reads nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of the head of a request. Those of browsers have about 1 KiB.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// Time until the next try after a connection could not be accepted.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
