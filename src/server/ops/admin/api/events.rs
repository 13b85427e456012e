//! `/api/v1/events`, the source of the dashboard's curves.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::Event;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt, once};

use super::super::connections::MAX_CONNECTIONS;
use super::super::error::Refusal;
use super::super::sample::{Sample, as_json};
use super::State;

/// The first event.
#[derive(Serialize)]
struct Beginning<'a> {
    version: &'a str,
    /// Time in ms since 1970. It differs after a restart.
    started_ms: u64,
    addresses: Vec<String>,
    /// The names of the workers, in the order of the values of `busy`.
    workers: Vec<&'a str>,
    /// The points of the last 15 minutes.
    points: Vec<&'a RawValue>,
    /// The next event, as it was last.
    now: &'a RawValue,
}

/// Sends the event `history` with all that a dashboard needs to begin, and then each second `now`
/// with the newest point. A client that reads slowly misses points, and none waits for it. At most
/// [`MAX_STREAMS`] clients receive them.
pub(super) async fn events(
    extract::State(state): extract::State<State>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let Ok(permit) = Arc::clone(&state.streams).try_acquire_owned() else {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, TOO_MANY));
    };
    let mut samples = state.samples.clone();
    let newest = Arc::clone(&samples.borrow_and_update());
    let first = Event::default()
        .event("history")
        .data(&*beginning(&state, &newest));
    let next = WatchStream::from_changes(samples);
    let next = next.map(move |sample| {
        // It is free when the stream is dropped.
        let _ = &permit;
        Event::default().event("now").data(&*sample.event)
    });
    Ok(Sse::new(once(first).chain(next).map(Ok)))
}

fn beginning(state: &State, newest: &Sample) -> Arc<str> {
    let raw = |json| serde_json::from_str(json).expect("it was serialized before");
    let workers = newest.stats.workers.iter();
    let addresses = state.server.local_addrs().iter();
    as_json(&Beginning {
        version: env!("CARGO_PKG_VERSION"),
        started_ms: state.started.time_ms,
        addresses: addresses.map(ToString::to_string).collect(),
        workers: workers.map(|worker| worker.name.as_str()).collect(),
        points: newest.history.points.iter().map(|json| raw(json)).collect(),
        now: raw(&newest.event),
    })
}

/// Half of all connections, as a stream does not end by itself. The others are left for requests.
pub(in super::super) const MAX_STREAMS: usize = MAX_CONNECTIONS / 2;

const TOO_MANY: &str = "32 dashboards are open, which is the maximum: close one";
