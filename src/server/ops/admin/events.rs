//! `/api/v1/events`, the source of the dashboard's curves.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract;
use axum::response::Sse;
use axum::response::sse::Event;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt, once};

use super::State;
use super::sample::{Sample, as_json};

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
/// with the newest point. A client that reads slowly misses points, and none waits for it.
pub(super) async fn events(
    extract::State(state): extract::State<State>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut samples = state.samples.clone();
    let newest = Arc::clone(&samples.borrow_and_update());
    let first = Event::default()
        .event("history")
        .data(&*beginning(&state, &newest));
    let next = WatchStream::from_changes(samples);
    let next = next.map(|sample| Event::default().event("now").data(&*sample.event));
    Sse::new(once(first).chain(next).map(Ok))
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
