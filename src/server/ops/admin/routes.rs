//! The routes of the admin server.

use axum::Router;
use axum::routing::get;

use super::{State, health};

/// Returns the router of all paths.
pub(super) fn router(state: State) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .with_state(state)
}
