//! What to do after a call that did not succeed. Pure: no clock and no random source; the spread
//! between calls comes from the call's own key, so the same call always waits the same time.

use super::{CallError, Retry, Trouble, governor::quota::is_throttled};
use crate::{
    metrics::Class,
    model::{Answer, CallKey, Headers, ParkReason, ParkedState},
};
use jiff::fmt::rfc2822;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// A call that did not succeed: an answer that is not accepted, or none.
#[derive(Clone, Copy, Debug)]
pub enum Failure<'a> {
    /// The remote answered with a status that is neither accepted nor handled.
    Answer(&'a Answer),
    /// There was no answer.
    Error(&'a CallError),
}

impl Failure<'_> {
    /// Whether the remote may have acted all the same.
    pub fn leaves_doubt(&self) -> bool {
        match self {
            Self::Answer(answer) => answer.status == 408 || answer.status >= 500,
            Self::Error(CallError::BadRequest { .. } | CallError::Token { .. }) => false,
            Self::Error(
                CallError::Transport { .. } | CallError::Timeout { .. } | CallError::TooLong { .. },
            ) => true,
        }
    }

    /// Whether nothing was sent.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::Error(CallError::BadRequest { .. } | CallError::Token { .. }))
    }

    /// Whether the call was tried at all: without a token it was not, which is no fault of its own
    /// and no attempt.
    pub fn is_an_attempt(&self) -> bool {
        !matches!(self, Self::Error(CallError::Token { .. }))
    }
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make the same call again, after this long.
    RetryAfter(Duration),
    /// Park the change.
    GiveUp {
        /// `rejected` if the same call cannot succeed later, `dead` if it was tried often enough.
        state: ParkedState,
        /// What stood in the way.
        reason: ParkReason,
    },
}

/// Decides about failures, by `remotes.<name>.retry`.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    attempts: u32,
    base: Duration,
    max: Duration,
    on: Vec<u16>,
}

impl RetryPolicy {
    /// The policy these settings describe.
    pub fn new(settings: &Retry) -> Self {
        let Retry { attempts, base, max, on } = settings;
        Self { attempts: attempts.get(), base: base.0, max: max.0, on: on.clone() }
    }

    /// What to do after this failure. `attempt` counts the attempts made, so it is at least one.
    pub fn decide(&self, failure: Failure<'_>, key: &CallKey, attempt: u32) -> Decision {
        let reason = reason(failure);
        if !self.may_pass(failure) {
            return Decision::GiveUp { state: ParkedState::Rejected, reason };
        }
        if attempt >= self.attempts && failure.is_an_attempt() {
            return Decision::GiveUp { state: ParkedState::Dead, reason };
        }
        Decision::RetryAfter(self.delay(failure, key, attempt))
    }

    /// Whether the same call may succeed later.
    pub fn may_pass(&self, failure: Failure<'_>) -> bool {
        match failure {
            // A 403 that is no refusal but a limit passes like a 429.
            Failure::Answer(answer) => {
                self.on.contains(&answer.status) || (answer.status == 403 && is_throttled(answer))
            }
            Failure::Error(
                CallError::Transport { .. } | CallError::Timeout { .. } | CallError::Token { .. },
            ) => true,
            Failure::Error(CallError::TooLong { .. } | CallError::BadRequest { .. }) => false,
        }
    }

    /// Doubling from `base`, half of it spread; not before the time the remote asked for; never
    /// longer than `max`, or one absurd header could put a change off for a year.
    fn delay(&self, failure: Failure<'_>, key: &CallKey, attempt: u32) -> Duration {
        let spread = spread(key, attempt);
        let doubled = self.base.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(self.max);
        let own = doubled / 2 + (doubled / 2).mul_f64(spread);
        let asked = match failure {
            Failure::Answer(answer) => retry_after(&answer.headers),
            // Until then the same would be said to everyone.
            Failure::Error(CallError::Token { wait, .. }) => Some(*wait),
            Failure::Error(_) => None,
        };
        // Everyone was asked to come back at the same moment: come back one after another.
        let asked = asked.map_or(Duration::ZERO, |asked| asked.saturating_add(self.base.mul_f64(spread)));
        own.max(asked).min(self.max)
    }
}

/// What kind of failure it is.
pub fn reason(failure: Failure<'_>) -> ParkReason {
    match failure {
        Failure::Answer(answer) if is_throttled(answer) => ParkReason::Refused,
        Failure::Answer(Answer { status: 401 | 403, .. }) => ParkReason::Auth,
        Failure::Answer(Answer { status: 409, .. }) => ParkReason::Conflict,
        Failure::Answer(_) => ParkReason::Refused,
        Failure::Error(CallError::Transport { .. }) => ParkReason::Transport,
        Failure::Error(CallError::Timeout { .. }) => ParkReason::Timeout,
        Failure::Error(CallError::Token { trouble: Trouble::Unreachable, .. }) => ParkReason::Transport,
        Failure::Error(CallError::Token { trouble: Trouble::Refused, .. }) => ParkReason::Auth,
        Failure::Error(CallError::TooLong { .. }) => ParkReason::Answer,
        Failure::Error(CallError::BadRequest { .. }) => ParkReason::Template,
    }
}

/// What a request that failed is counted as.
pub fn class(failure: Failure<'_>) -> Class {
    match failure {
        Failure::Answer(answer) if is_throttled(answer) => Class::Throttled,
        Failure::Answer(Answer { status: 401 | 403, .. }) => Class::Auth,
        Failure::Answer(Answer { status: 409, .. }) => Class::Conflict,
        Failure::Answer(Answer { status: 500.., .. }) => Class::Failing,
        Failure::Answer(_) => Class::Refused,
        Failure::Error(CallError::Transport { .. } | CallError::Token { .. }) => Class::Transport,
        Failure::Error(CallError::Timeout { .. }) => Class::Timeout,
        Failure::Error(CallError::TooLong { .. } | CallError::BadRequest { .. }) => Class::Unusable,
    }
}

/// The `Retry-After` among an answer's headers: seconds, or a date. The date is measured against the remote's
/// own `Date`, since only the difference matters and its clock need not be ours.
pub fn retry_after(headers: &Headers) -> Option<Duration> {
    let header = |name: &str| headers.get(name).map(str::trim);
    let asked = header("retry-after")?;
    if asked.bytes().all(|b| b.is_ascii_digit()) && !asked.is_empty() {
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let until = rfc2822::parse(asked).ok()?.timestamp();
    let now = rfc2822::parse(header("date")?).ok()?.timestamp();
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// A number in `0..1` that differs between calls and attempts and is always the same for one.
fn spread(key: &CallKey, attempt: u32) -> f64 {
    let hash = xxh3_64(format!("{key}#{attempt}").as_bytes());
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
