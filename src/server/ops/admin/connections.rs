//! The connections of the admin server, and their limits.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, yield_now};
use tokio_io_timeout::TimeoutStream;

use crate::server::ops::log::Log;
use crate::server::ops::supervise::lock;

/// Accepts connections without end. At most [`MAX_CONNECTIONS`] are open at a time. The next one
/// takes the place of another, see [`ConnectionTable::make_room`].
pub(super) async fn serve(listener: TcpListener, router: Router, log: Log) {
    let table = ConnectionTable::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if table.make_room() {
                    // So that the other connection is closed first.
                    yield_now().await;
                }
                let entry = table.take();
                let number = entry.number;
                let task = tokio::spawn(serve_connection(stream, router.clone(), entry));
                table.set_task(number, task.abort_handle());
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

/// Bounds the memory in the kernel of each connection that this listener accepts from now on. A client
/// that asks for more and more, and does not read, would have megabytes.
pub(super) fn bound_buffers(listener: &std::net::TcpListener) -> io::Result<()> {
    let listener = SockRef::from(listener);
    listener.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    listener.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)
}

/// GuardedBodys the requests of one connection. Its errors are the client's.
async fn serve_connection(stream: TcpStream, router: Router, entry: ConnectionEntry) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let entry = Arc::new(entry);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            ConnectionService { router, entry },
        );
    let _ = connection.await;
}

/// The open connections.
#[derive(Clone, Default)]
struct ConnectionTable(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    /// By the numbers of the connections, which count up.
    connections: BTreeMap<u64, Connection>,
    /// The number of the last connection, or change of one.
    last: u64,
}

struct Connection {
    /// A request is under way.
    is_busy: bool,
    /// The number of the change since which it is or is not.
    since: u64,
    /// `None` until its task has started.
    task: Option<AbortHandle>,
}

/// An entry of one connection, which is removed by its drop.
struct ConnectionEntry {
    table: ConnectionTable,
    number: u64,
}

impl ConnectionTable {
    /// Closes a connection if the maximum is open: the one without a request for the longest time, or
    /// else the one with the longest request. So open connections do not keep the operator out.
    /// Returns true if it closed one.
    fn make_room(&self) -> bool {
        let mut open = lock(&self.0);
        if open.connections.len() < MAX_CONNECTIONS {
            return false;
        }
        let oldest = open
            .connections
            .iter()
            .min_by_key(|(_, connection)| (connection.is_busy, connection.since));
        let Some(number) = oldest.map(|(number, _)| *number) else {
            return false;
        };
        let connection = open.connections.remove(&number);
        if let Some(task) = connection.and_then(|connection| connection.task) {
            task.abort();
        }
        true
    }

    fn take(&self) -> ConnectionEntry {
        let mut open = lock(&self.0);
        let number = open.next();
        let connection = Connection {
            is_busy: false,
            since: number,
            task: None,
        };
        open.connections.insert(number, connection);
        ConnectionEntry {
            table: self.clone(),
            number,
        }
    }

    fn set_task(&self, number: u64, task: AbortHandle) {
        if let Some(connection) = lock(&self.0).connections.get_mut(&number) {
            connection.task = Some(task);
        }
    }
}

impl Open {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl ConnectionEntry {
    fn set_busy(&self, is_busy: bool) {
        let mut open = lock(&self.table.0);
        let since = open.next();
        if let Some(connection) = open.connections.get_mut(&self.number) {
            (connection.is_busy, connection.since) = (is_busy, since);
        }
    }
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        lock(&self.table.0).connections.remove(&self.number);
    }
}

/// The service of one connection.
struct ConnectionService {
    router: Router,
    entry: Arc<ConnectionEntry>,
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let guard = RequestGuard::new(&self.entry);
        let answer = TowerToHyperService::new(self.router.clone()).call(request);
        Box::pin(async {
            let response = answer.await?;
            Ok(response.map(|body| {
                Body::new(GuardedBody {
                    body,
                    _guard: guard,
                })
            }))
        })
    }
}

/// A request that is under way, up to the end of its answer.
struct RequestGuard(Arc<ConnectionEntry>);

impl RequestGuard {
    fn new(entry: &Arc<ConnectionEntry>) -> Self {
        entry.set_busy(true);
        Self(Arc::clone(entry))
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.set_busy(false);
    }
}

/// The body of an answer.
struct GuardedBody {
    body: Body,
    _guard: RequestGuard,
}

impl hyper::body::Body for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// More than ten dashboards, a scraper and some people need. With those of the sockets of a server,
/// their files are far below the usual limit of 1024.
pub(crate) const MAX_CONNECTIONS: usize = 64;

/// Maximum time for the head of a request, and between two requests of a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time for which a client reads nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of the head of a request. Those of browsers have about 1 KiB.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// A whole answer of most requests. More of it waits in the memory of the process.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// More than a request.
const RECEIVE_BUFFER_BYTES: usize = 32 << 10;

/// Time until the next try after a connection could not be accepted.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(table: &ConnectionTable) -> Vec<u64> {
        lock(&table.0).connections.keys().copied().collect()
    }

    #[test]
    fn the_connection_without_a_request_for_longest_makes_room_and_then_the_longest_request() {
        let table = ConnectionTable::default();
        let taken: Vec<_> = (0..MAX_CONNECTIONS).map(|_| table.take()).collect();
        let turns: Vec<_> = taken[..62]
            .iter()
            .map(|entry| entry.set_busy(true))
            .collect();
        assert_eq!(turns.len(), 62);
        let idle = [taken[62].number, taken[63].number];
        // It had a request since, and so is the later one.
        taken[62].set_busy(true);
        taken[62].set_busy(false);
        for gone in [idle[1], idle[0]] {
            assert!(table.make_room());
            assert!(!numbers(&table).contains(&gone));
            assert!(!table.make_room(), "there is room");
            std::mem::forget(table.take());
        }
        // Two new ones are idle. With them busy, the first request is the longest.
        for number in numbers(&table) {
            if number > idle[1] {
                let entry = ConnectionEntry {
                    table: table.clone(),
                    number,
                };
                entry.set_busy(true);
                std::mem::forget(entry);
            }
        }
        assert!(table.make_room());
        assert!(!numbers(&table).contains(&taken[0].number));
        drop(taken);
        assert_eq!(numbers(&table).len(), 2, "those that nobody dropped");
    }
}
