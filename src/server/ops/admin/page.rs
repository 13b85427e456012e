//! The dashboard: one page, its style and its script, embedded in the program.

use axum::http::header;
use axum::response::{Html, IntoResponse};

/// Returns the page. Its style and its script are files of their own, so that it runs under a policy
/// that permits nothing inline.
pub(super) async fn html() -> impl IntoResponse {
    Html(include_str!("page/dashboard.html"))
}

pub(super) async fn css() -> impl IntoResponse {
    let style = concat!(
        include_str!("../../../../assets/charts/uPlot.min.css"),
        include_str!("../../../../assets/charts/charts.css"),
        include_str!("page/dashboard.css"),
    );
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], style)
}

/// Returns all scripts as one. Each is a function of its own, and the last one starts them.
pub(super) async fn js() -> impl IntoResponse {
    let script = concat!(
        include_str!("../../../../assets/charts/uPlot.iife.min.js"),
        include_str!("../../../../assets/charts/charts.js"),
        include_str!("page/api.js"),
        include_str!("page/curves.js"),
        include_str!("page/dialogs.js"),
        include_str!("page/tables.js"),
        include_str!("page/cluster.js"),
        include_str!("page/dashboard.js"),
    );
    let kind = "text/javascript; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], script)
}
