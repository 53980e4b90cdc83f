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
    Failing {
        /// It said so itself; otherwise there was no answer.
        answered: bool,
    },
    /// It is there and has too much to do.
    Throttling,
    /// It was not asked.
    Unasked,
}

pub(super) fn judge(failure: Failure<'_>) -> Sign {
    match failure {
        Failure::Answer(Answer { status: 429, .. }) => Sign::Throttling,
        Failure::Answer(Answer { status: 500 | 502..=504, .. }) => Sign::Failing { answered: true },
        Failure::Answer(_) | Failure::Error(CallError::TooLong { .. }) => Sign::Alive,
        // Without a token it is as good as down, for every change alike.
        Failure::Error(CallError::Transport { .. } | CallError::Timeout { .. } | CallError::Token { .. }) => {
            Sign::Failing { answered: false }
        }
        Failure::Error(CallError::BadRequest { .. }) => Sign::Unasked,
    }
}

/// Whether less at once would help it.
pub(super) fn is_overload(failure: Failure<'_>) -> bool {
    matches!(
        failure,
        Failure::Answer(Answer { status: 429 | 503, .. }) | Failure::Error(CallError::Timeout { .. })
    )
}
