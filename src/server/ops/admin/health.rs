//! `/healthz` and `/readyz`, for supervisors and load balancers.

use axum::extract;
use axum::http::StatusCode;

use super::State;

/// Returns 200 if every worker has turned its loop within the last two seconds, and else 503 with the
/// names of the others.
pub(super) async fn healthz(extract::State(state): extract::State<State>) -> (StatusCode, String) {
    let stuck = state.samples.borrow().stuck.join(", ");
    match stuck.is_empty() {
        true => (StatusCode::OK, "ok\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {stuck}\n")),
    }
}

/// Returns 200 unless the server refuses new peers because it is about to stop, and else 503. Its
/// sockets are open before the admin server answers.
pub(super) async fn readyz(
    extract::State(state): extract::State<State>,
) -> (StatusCode, &'static str) {
    match state.server.is_draining() {
        false => (StatusCode::OK, "ok\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}
