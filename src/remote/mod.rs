//! How a call reaches the remote API: one attempt over HTTP, and what to do after a failure.
//!
//! Upholds invariant 3 (the call key travels as `Idempotency-Key` on every attempt of a mutating
//! call) and 7 (no credential and no query string in an error or a log line).
//!
//! [`HttpRemote`] makes exactly one attempt: it follows no redirect, keeps no cookie, undoes no
//! compression and repeats nothing. Any status is an answer; [`CallError`] is for no answer.
//! [`RetryPolicy`] says what to do about either, as a pure function, and [`describe`] says it to a
//! person. [`Governor`] keeps a remote's limits: it says whether a call may be made now. This room
//! knows neither changes nor routes, and waits for nothing by itself: that is the engine's.
//!
//! A new way of proving who we are is a variant of [`Auth`], a file in `auth/` and its row in the
//! table there. A new kind of client implements [`RemoteClient`] and runs `conformance.rs`.

mod auth;
mod check;
mod echo;
mod fake;
mod governor;
mod http;
mod message;
mod path;
mod probe;
mod retry;
mod settings;
mod tls;

#[cfg(test)]
mod conformance;

pub use auth::{BadHeader, Fault, Oauth2, Placement, Trouble};
pub use check::check;
pub use fake::{FakeRemote, SeenCall};
pub use governor::{
    Blame, Breaker, Gate, Gauges, Governor, Ill, Quota, Rate, Record, Seat, Slot, Standing, Suspicion, Wait,
};
pub use http::{HttpRemote, RemoteError, address::in_parts};
pub use message::describe;
pub use probe::probe;
pub use retry::{Decision, Failure, RetryPolicy, class, reason, retry_after};
pub use settings::{Auth, Retry, Settings};
pub use tls::Tls;

use crate::model::{Answer, Call, CallKey, Headers, Span};
use async_trait::async_trait;
use std::time::Duration;
use tokio::time::Instant;

/// What tells the time. Given by whoever makes a remote, so that only the composition root reads a
/// clock.
pub type Clock = fn() -> jiff::Timestamp;

/// Why an attempt brought no answer. An answer of any status is an [`Answer`], not an error: what
/// it means is decided elsewhere.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The connection could not be made, or broke before the answer was complete. The remote may
    /// or may not have acted.
    #[error("no answer from {remote}: {message}")]
    Transport {
        /// The remote's name and host.
        remote: String,
        /// What happened to the connection.
        message: String,
    },
    /// The answer was not complete in time. The remote may or may not have acted.
    #[error("no answer from {remote} within {limit}")]
    Timeout {
        /// The remote's name and host.
        remote: String,
        /// The time it had.
        limit: Span,
    },
    /// The remote answered, but with more than we are willing to hold.
    #[error("the answer of {remote} is longer than {limit} bytes")]
    TooLong {
        /// The remote's name and host.
        remote: String,
        /// The longest body that is read.
        limit: usize,
    },
    /// There is no token to call with. The remote was not asked, or refused the last token and did
    /// nothing.
    #[error("no access token for {remote}: {message}")]
    Token {
        /// The remote's name and host.
        remote: String,
        /// What happened at the token endpoint.
        message: String,
        /// Whether time may mend it, or a person must.
        trouble: Trouble,
        /// How long it is until a token is asked for again.
        wait: Duration,
    },
    /// The request itself cannot be built (a header with a line break, a path that is no path).
    #[error("the request cannot be sent: {message}")]
    BadRequest {
        /// What is wrong with it.
        message: String,
    },
}

impl CallError {
    /// Whether the remote cannot have heard of it: it was not connected to, or nothing was sent.
    pub fn is_unheard(&self) -> bool {
        match self {
            Self::Transport { message, .. } => message.starts_with(http::client::UNCONNECTED),
            Self::Token { .. } | Self::BadRequest { .. } => true,
            Self::Timeout { .. } | Self::TooLong { .. } => false,
        }
    }
}

/// What an attempt asks before each request that it sends: an attempt may have to wait for a token
/// first, and may send a second request, which the limits have to know of when it is sent.
pub trait Leave: Send {
    /// Whether a request may be sent now. If so, it counts.
    fn begin(&mut self) -> bool;

    /// What the next request tells the remote of the trace it belongs to, if anything: the value of
    /// `traceparent`.
    fn trace(&mut self) -> Option<String> {
        None
    }

    /// Whether requests are to be shown.
    fn watches(&self) -> bool {
        false
    }

    /// This is sent, now that there was leave.
    fn sends(&mut self, _: Shown) {}

    /// The request was refused for its token alone, which can be replaced. Whether the call may be
    /// made once more with another.
    fn refused(&mut self, answer: &Answer) -> bool;
}

/// A request as it is sent, without what proves who we are (invariant 7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The whole URL.
    pub url: String,
    /// Names and values; those that may be secret are masked.
    pub headers: Headers,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Attempt {
    /// The remote answered.
    Answered(Answer),
    /// There was no leave, and nothing that was sent is without its answer: the call is to be made
    /// once there is.
    Held,
}

/// A target API, ready to be called.
#[async_trait]
pub trait RemoteClient: Send + Sync {
    /// Makes one attempt. `key` travels as the idempotency header, the same on every attempt.
    /// Nothing is sent for which `leave` was not asked just before.
    async fn attempt(&self, call: &Call, key: &CallKey, leave: &mut dyn Leave) -> Result<Attempt, CallError>;

    /// The access token that calls carry now, if they carry one that is asked for.
    fn token_life(&self) -> Option<TokenLife> {
        None
    }

    /// Makes one attempt for which there are no limits.
    async fn call(&self, call: &Call, key: &CallKey) -> Result<Answer, CallError> {
        match self.attempt(call, key, &mut Unlimited::default()).await? {
            Attempt::Answered(answer) => Ok(answer),
            Attempt::Held => unreachable!("there is always leave"),
        }
    }
}

/// How old an access token is, and how old it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLife {
    /// When it was asked for.
    pub asked: Instant,
    /// How long it is good for from then on; `None` if that was not said.
    pub lasts: Option<Duration>,
}

/// All the leave there can be, but no call is made more than twice.
#[derive(Debug, Default)]
struct Unlimited {
    again: bool,
}

impl Leave for Unlimited {
    fn begin(&mut self) -> bool {
        true
    }

    fn refused(&mut self, _: &Answer) -> bool {
        !std::mem::replace(&mut self.again, true)
    }
}
