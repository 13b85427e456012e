//! The routes of the admin server.

use axum::Router;
use axum::routing::get;

use super::{State, health, metrics};

/// Returns the router of all paths.
pub(super) fn router(state: State) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .with_state(state)
}
