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
