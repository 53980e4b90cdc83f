//! How a call reaches the remote API: one attempt over HTTP, and what to do after a failure.
//!
//! Upholds invariant 3 (the call key travels as `Idempotency-Key` on every attempt) and 7 (no
//! credential in an error or a log line). It knows neither changes nor routes.

mod settings;

pub use settings::{Auth, Retry, Settings};

use crate::model::{Answer, Call, CallKey};
use async_trait::async_trait;

/// Why an attempt brought no answer. An answer of any status is an [`Answer`], not an error: what
/// it means is decided elsewhere.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The connection could not be made, or broke before the answer was complete. The remote may
    /// or may not have acted.
    #[error("no answer from {remote}: {message}")]
    Transport { remote: String, message: String },
    #[error("no answer from {remote} within {limit}")]
    Timeout { remote: String, limit: crate::model::Span },
    #[error("the answer of {remote} is longer than {limit} bytes")]
    TooLong { remote: String, limit: usize },
    /// The request itself cannot be built (a header with a line break, a path that is no path).
    #[error("the request cannot be sent: {message}")]
    BadRequest { message: String },
}

/// A target API, ready to be called.
#[async_trait]
pub trait RemoteClient: Send + Sync {
    /// Makes one attempt. `key` travels as the idempotency header, the same on every attempt.
    async fn call(&self, call: &Call, key: &CallKey) -> Result<Answer, CallError>;
}
