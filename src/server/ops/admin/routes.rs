//! The routes of the admin server.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use super::{State, access, api, error, health, metrics, page};

/// Returns the router of all paths.
pub(super) fn router(state: State) -> Router {
    Router::new()
        .route("/", get(page::html))
        .route("/dashboard.css", get(page::css))
        .route("/dashboard.js", get(page::js))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .merge(api::router())
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), access::check))
        .with_state(state)
}
