//! The routes of the admin server.

use axum::Router;
use axum::routing::get;

use super::{State, events, health, metrics, page, stats};

/// Returns the router of all paths.
pub(super) fn router(state: State) -> Router {
    Router::new()
        .route("/", get(page::html))
        .route("/dashboard.css", get(page::css))
        .route("/dashboard.js", get(page::js))
        .route("/healthz", get(health::healthz))
        .route("/api/v1/stats", get(stats::stats))
        .route("/api/v1/events", get(events::events))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .with_state(state)
}
