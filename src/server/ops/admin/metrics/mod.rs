//! `/metrics`: the state of the server for Prometheus.
//!
//! All numbers are read when they are asked for. Nothing is counted for this page alone.

mod cluster;
mod page;
mod process;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use self::process::ProcessStats;
use super::State;
use super::sample::Sample;
use crate::server::ops::stats::{LimitInForce, Stats};

pub(super) use self::process::Process;

/// The state that the page shows.
#[derive(Debug)]
struct Moment {
    stats: Stats,
    /// The newest sample, for what is too much work to count at each request.
    sample: Arc<Sample>,
    limits: Vec<LimitInForce>,
    is_draining: bool,
    /// `None` if it cannot be read.
    process: Option<ProcessStats>,
}

/// The format of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    /// The older text format of Prometheus, which more programs read.
    Text,
}

/// Returns the page, in OpenMetrics if the client accepts it.
pub(super) async fn metrics(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 2], String), StatusCode> {
    let moment = Moment {
        stats: state.server.stats(),
        sample: Arc::clone(&state.samples.borrow()),
        limits: state.server.limits().to_vec(),
        is_draining: state.server.is_draining(),
        process: state.process.as_ref().and_then(|process| process.read()),
    };
    let format = Format::accepted(&headers);
    let headers = [
        (CONTENT_TYPE, format.content_type()),
        (VARY, ACCEPT.as_str()),
    ];
    match moment.page(format) {
        Ok(page) => Ok((headers, page)),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

impl Moment {
    fn page(self, format: Format) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut page = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut page, &registry)?,
            Format::Text => prometheus_text::encode(&mut page, &registry)?,
        }
        Ok(page)
    }
}

impl Format {
    /// Returns OpenMetrics if one of the media types of `Accept` is it, as Prometheus asks for it.
    fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let mut types = values.flat_map(|value| value.split(','));
        let is_openmetrics = |accepted: &str| {
            let mut parts = accepted.split(';').map(str::trim);
            parts.next() == Some("application/openmetrics-text")
                && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        };
        match types.any(is_openmetrics) {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}
