//! What is answered where something is wrong: `application/problem+json` (RFC 9457).

use super::DeskError;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

/// A kind of problem: its name, which clients tell it by, its status and its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(pub &'static str, pub u16, pub &'static str);

pub(super) const BAD_PARAMETER: Kind = Kind("bad-parameter", 400, "A parameter is wrong");
pub(super) const BAD_BODY: Kind = Kind("bad-body", 400, "The body is wrong");
pub(super) const UNAUTHENTICATED: Kind = Kind("unauthenticated", 401, "A token is needed");
pub(super) const FORBIDDEN: Kind = Kind("forbidden", 403, "The token does not allow this");
pub(super) const CROSS_SITE: Kind = Kind("cross-site", 403, "It could come from a web page elsewhere");
pub(super) const MISSING: Kind = Kind("missing", 404, "There is no such thing");
pub(super) const NO_PATH: Kind = Kind("no-path", 404, "There is nothing at this path");
pub(super) const NO_METHOD: Kind = Kind("no-method", 405, "The path does not know this method");
pub(super) const REFUSED: Kind = Kind("refused", 409, "It cannot be done as things stand");
pub(super) const TOO_LARGE: Kind = Kind("too-large", 413, "The body is too large");
pub(super) const TOO_LONG: Kind = Kind("too-long", 414, "The path and query are too long");
pub(super) const BAD_TYPE: Kind = Kind("bad-type", 415, "The body is not JSON");
pub(super) const FAILED: Kind = Kind("failed", 500, "It failed");
pub(super) const BUSY: Kind = Kind("busy", 503, "Too much is asked at once");
pub(super) const UNREACHABLE: Kind = Kind("unreachable", 503, "A server cannot be reached");
pub(super) const TOO_SLOW: Kind = Kind("too-slow", 504, "It took too long");

/// What is wrong, for a program and for a person.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// `urn:rowcall:problem:` and the kind of problem, which stays the same.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong here, and what to do.
    detail: String,
    /// The parameter, or the place in the body, that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// The values that would do, where they can be listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accepted: Vec<String>,
}

impl Problem {
    pub(super) fn new(Kind(name, status, title): Kind, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:rowcall:problem:{name}"),
            title,
            status,
            detail: detail.into(),
            parameter: None,
            accepted: Vec::new(),
        }
    }

    /// Which parameter is wrong.
    #[must_use]
    pub(super) fn of(mut self, parameter: &str) -> Self {
        self.parameter = Some(parameter.to_owned());
        self
    }

    /// What would do.
    #[must_use]
    pub(super) fn accepting(mut self, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.accepted = values.into_iter().map(Into::into).collect();
        self
    }

    /// Whether it is of this kind.
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind.rsplit(':').next() == Some(kind.0)
    }

    /// Its HTTP status and title.
    pub(super) fn head(&self) -> (u16, &'static str) {
        (self.status, self.title)
    }

    /// What is wrong here.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        let kind = match error {
            DeskError::Missing(_) => MISSING,
            DeskError::Wrong(_) => BAD_PARAMETER,
            DeskError::Refused(_) => REFUSED,
            DeskError::Unreachable(_) => UNREACHABLE,
            DeskError::Failed(_) => FAILED,
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // It holds nothing but texts and a number.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"rowcall\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.kind.ends_with(BUSY.0) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
