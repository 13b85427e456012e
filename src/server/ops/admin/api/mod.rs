//! `/api/v1/`: what the operator can list and do. `docs/openapi.json` describes it.

mod changes;
mod input;
mod lists;

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

/// Returns the routes of the lists and changes.
pub(super) fn router() -> Router<State> {
    Router::new()
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/workers", get(lists::workers))
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

/// The actions of the operator that may run at a time, each on a thread that may wait.
#[derive(Clone)]
pub(super) struct Actions(Arc<Semaphore>);

impl Actions {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_ACTIONS)))
    }
}

/// Calls `action` on a thread of its own, because it waits for locks, the disk or the notifier.
async fn moderate<T: Send + 'static>(
    state: &State,
    action: impl FnOnce(&Moderation) -> Result<T, ModerationError> + Send + 'static,
) -> Result<T, Refusal> {
    if state.server.moderation().is_none() {
        return Err(Refusal::new(StatusCode::CONFLICT, NO_PEERS));
    }
    let (server, actions) = (Arc::clone(&state.server), Arc::clone(&state.actions.0));
    let act = async {
        let place = actions.acquire_owned().await.ok()?;
        let act = move || {
            // It is free when the action has ended, also if nobody waits for it any more.
            let _place = place;
            server.moderation().map(action)
        };
        spawn_blocking(act).await.ok()?
    };
    match timeout(ACTION_TIMEOUT, act).await {
        Ok(Some(done)) => Ok(done?),
        Ok(None) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, FAILED)),
        Err(_) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, TOO_LONG)),
    }
}

async fn openapi() -> impl IntoResponse {
    let kind = "application/json";
    ([(header::CONTENT_TYPE, kind)], OPENAPI)
}

const OPENAPI: &str = include_str!("../../../../../docs/openapi.json");

/// More than people and a script need at a time. Each takes a thread.
pub(super) const MAX_ACTIONS: usize = 4;

/// Maximum time for which a request waits for an action. A list of a million peers takes a second,
/// and to tell a million peers something takes 20 s, of which the request waits for these.
const ACTION_TIMEOUT: Duration = Duration::from_secs(10);

const NO_PEERS: &str = "the greeting service has no peers";
const FAILED: &str = "the server has failed to do this";
const TOO_LONG: &str = "this takes long: the server may still be doing it";
