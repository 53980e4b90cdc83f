use super::quota::is_throttled;
use crate::{
    model::Answer,
    remote::{CallError, Failure},
};

/// What a call that did not succeed says of the remote. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It is there: whatever is wrong is between it and this change.
    Alive,
    /// It is not well.
    Failing,
    /// It is not well, or this change is too much for it.
    Erring,
    /// It is there and has too much to do.
    Throttling,
    /// It was not asked.
    Unasked,
}

pub(super) fn judge(failure: Failure<'_>) -> Sign {
    match failure {
        Failure::Answer(answer) if is_throttled(answer) => Sign::Throttling,
        Failure::Answer(Answer { status: 500, .. }) => Sign::Erring,
        Failure::Answer(Answer { status: 502..=504, .. }) => Sign::Failing,
        Failure::Answer(_) | Failure::Error(CallError::TooLong { .. }) => Sign::Alive,
        // Without a token it is as good as down, for every change alike.
        Failure::Error(CallError::Transport { .. } | CallError::Timeout { .. } | CallError::Token { .. }) => {
            Sign::Failing
        }
        Failure::Error(CallError::BadRequest { .. }) => Sign::Unasked,
    }
}

/// Whether less at once would help it.
pub(super) fn is_overload(failure: Failure<'_>) -> bool {
    match failure {
        Failure::Answer(answer) => answer.status == 503 || is_throttled(answer),
        Failure::Error(error) => matches!(error, CallError::Timeout { .. }),
    }
}
