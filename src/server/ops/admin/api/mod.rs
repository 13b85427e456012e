//! `/api/v1/`: the state of the server, and what the operator can list and do. `docs/openapi.json` describes it.

mod changes;
mod events;
mod input;
mod lists;
mod stats;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::State;
use super::error::Refusal;
use crate::server::moderation::{Moderation, ModerationError};

pub(super) use self::events::MAX_STREAMS;

/// Returns the routes of the API.
pub(super) fn router() -> Router<State> {
    Router::new()
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/stats", get(stats::stats))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/workers", get(workers::workers))
        .route("/api/v1/rooms", get(lists::rooms))
        .route("/api/v1/peers", get(lists::peers))
        .route("/api/v1/bans", get(lists::bans))
        .route("/api/v1/limits", get(lists::limits))
        .route("/api/v1/say", post(changes::say))
        .route("/api/v1/kick", post(changes::kick))
        .route("/api/v1/mute", post(changes::mute))
        .route("/api/v1/unmute", post(changes::unmute))
        .route("/api/v1/ban", post(changes::ban))
        .route("/api/v1/unban", post(changes::unban))
        .route("/api/v1/drain", post(changes::drain))
}

/// The actions of the operator that may run at a time, each on a thread that may wait. Lists, which
/// need no token, do not keep changes from running.
#[derive(Clone)]
pub(super) struct Actions {
    lists: Arc<Semaphore>,
    changes: Arc<Semaphore>,
}

/// The kind of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Change,
}

impl Actions {
    pub(super) fn new() -> Self {
        let half = || Arc::new(Semaphore::new(MAX_ACTIONS / 2));
        Self {
            lists: half(),
            changes: half(),
        }
    }

    fn of(&self, kind: Kind) -> Arc<Semaphore> {
        Arc::clone(match kind {
            Kind::List => &self.lists,
            Kind::Change => &self.changes,
        })
    }
}

/// Calls `action` on a thread of its own, because it waits for locks, the disk or the notifier.
async fn moderate<T: Send + 'static>(
    state: &State,
    kind: Kind,
    action: impl FnOnce(&Moderation) -> Result<T, ModerationError> + Send + 'static,
) -> Result<T, Refusal> {
    if state.server.moderation().is_none() {
        return Err(Refusal::new(StatusCode::CONFLICT, NO_PEERS));
    }
    let server = Arc::clone(&state.server);
    let permit = state.actions.of(kind).acquire_owned();
    let Ok(Ok(permit)) = timeout(ACTION_TIMEOUT, permit).await else {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, BUSY));
    };
    let act = move || {
        // It is free when the action has ended, also if nobody waits for it any more.
        let _permit = permit;
        server.moderation().map(action)
    };
    match timeout(ACTION_TIMEOUT, spawn_blocking(act)).await {
        Ok(Ok(Some(done))) => Ok(done?),
        Ok(_) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, FAILED)),
        Err(_) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, TOO_LONG)),
    }
}

async fn openapi() -> impl IntoResponse {
    let kind = "application/json";
    ([(header::CONTENT_TYPE, kind)], OPENAPI)
}

const OPENAPI: &str = include_str!("../../../../../docs/openapi.json");

/// More than people and a script need at a time, half of them for lists and half for changes. Each takes
/// a thread.
pub(super) const MAX_ACTIONS: usize = 4;

/// Maximum time for which a request waits for an action. A list of a million peers takes a second,
/// and to tell a million peers something takes 20 s, of which the request waits for these.
const ACTION_TIMEOUT: Duration = Duration::from_secs(10);

const NO_PEERS: &str = "the greeting service has no peers";
const FAILED: &str = "the server has failed to do this";
const BUSY: &str = "the server is busy, and nothing was done: try again";
const TOO_LONG: &str = "this takes long: the server may still be doing it";
