//! `/healthz` and `/readyz`, for supervisors and load balancers.

use std::sync::Arc;

use axum::extract;
use axum::http::StatusCode;

use super::State;

/// Returns 200 if every worker has turned its loop within the last two seconds, and 503 otherwise, with
/// the names of those that have not.
pub(super) async fn healthz(extract::State(state): extract::State<State>) -> (StatusCode, String) {
    let sample = Arc::clone(&state.samples.borrow());
    let stuck = sample.stuck.join(", ");
    if !stuck.is_empty() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {stuck}\n"));
    }
    (StatusCode::OK, "ok\n".to_owned())
}

/// Returns 503 if the server refuses new peers because it is about to stop, or if it needs the bus of its
/// cluster, and the bus is away. Returns 200 otherwise: its sockets are open before the admin server
/// answers.
pub(super) async fn readyz(
    extract::State(state): extract::State<State>,
) -> (StatusCode, &'static str) {
    let server = &state.server;
    if server.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if server.lacks_bus() {
        return (StatusCode::SERVICE_UNAVAILABLE, NOT_CONNECTED);
    }
    (StatusCode::OK, "ok\n")
}

/// The bus is away or refuses the node, or another server has its name.
const NOT_CONNECTED: &str = "cluster: this node does not take part, and the log says why\n";
