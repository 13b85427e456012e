//! The refusals of the admin server.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::server::moderation::ModerationError;

/// A refusal of a request, with a sentence that says what is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) sentence: String,
}

/// The body of a refusal.
#[derive(Serialize)]
struct Answer {
    error: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { status, sentence }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let answer = Answer {
            error: self.sentence,
        };
        let mut response = (self.status, Json(answer)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<ModerationError> for Refusal {
    fn from(error: ModerationError) -> Self {
        use ModerationError as E;
        let status = match error {
            E::NoSuchPeer(_) | E::NoSuchRoom(_) => StatusCode::NOT_FOUND,
            E::NotMuted(_) | E::TooManyMutes | E::TooManyBans(_) | E::NotBanned { .. } => {
                StatusCode::CONFLICT
            }
            E::NotAPeer(_) | E::Time | E::DrainTime | E::Page | E::Text => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        Self::new(status, error.to_string())
    }
}

/// The answer for a path that does not exist.
pub(super) async fn not_found() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "there is nothing at this path: /api/v1/openapi.json lists what there is",
    )
}

/// The answer for a method that a path does not have. The header Allow names those that it has.
pub(super) async fn method_not_allowed() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path has no such method: lists are read by GET, and changes are made by POST",
    )
}
