//! The parameters and bodies of requests.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::timeout;

use super::super::error::Refusal;
use crate::server::moderation::{MAX_LISTED_PEERS, Page};

/// The body of a change, which is a JSON object.
pub(super) struct Input<T>(pub(super) T);

/// The parameters of a list.
pub(super) struct ListInput {
    pub(super) part: String,
    pub(super) first: usize,
    pub(super) page: Page,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    part: String,
    #[serde(default)]
    first: usize,
    #[serde(default = "default_max")]
    max: usize,
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        if !is_json(request.headers()) {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, NOT_JSON));
        }
        if length_of(request.headers()).is_some_and(|bytes| bytes > MAX_BODY_BYTES) {
            return Err(too_long());
        }
        let read = timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY_BYTES));
        let body = match read.await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => return Err(too_long()),
            Err(_) => return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, TOO_SLOW)),
        };
        let input = serde_json::from_slice(&body).map_err(|error| {
            let status = match error.classify() {
                Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
                Category::Syntax | Category::Eof | Category::Io => StatusCode::BAD_REQUEST,
            };
            Refusal::new(status, format!("the body must be another object: {error}"))
        })?;
        Ok(Self(input))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ListInput {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<ListQuery>::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, QUERY))?;
        if query.part.len() > MAX_PART_BYTES {
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, PART));
        }
        Ok(Self {
            part: query.part,
            first: query.first,
            page: Page::new(query.first, query.max)?,
        })
    }
}

fn default_max() -> usize {
    MAX_LISTED_PEERS
}

/// A form of another site cannot have this type without asking first, which is refused.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let kind = value.and_then(|value| value.to_str().ok()?.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn length_of(headers: &HeaderMap) -> Option<usize> {
    let value = headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

fn too_long() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG)
}

/// Maximum size of a body. The longest one that is of use has less than 1 KiB, but for escapes.
const MAX_BODY_BYTES: usize = 16 << 10;

/// Maximum time for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than a name, an address and a room together.
const MAX_PART_BYTES: usize = 128;

const NOT_JSON: &str = "the body must be JSON, with the header Content-Type: application/json";
const TOO_LONG: &str = "a body has at most 16 KiB, and must be sent whole";
const TOO_SLOW: &str = "the body must come within 5 s";
const QUERY: &str = "a list has the parameters part, first (a number, from 0) and max (a number)";
const PART: &str = "part has at most 128 bytes";
