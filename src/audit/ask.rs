//! One question to the remote, under its limits, as often as its retries allow.

use super::AuditError;
use crate::{
    engine::Remote,
    model::{Answer, Call, CallKey, ParkReason, ParkedState},
    remote::{Attempt, CallError, Decision, Failure, Leave, Slot, Wait, describe},
};
use std::sync::Arc;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

/// Even what costs no attempt is tried no more often.
const MOST: u32 = 20;

struct Leaving<'a> {
    slot: &'a mut Slot,
    again: bool,
}

impl Leave for Leaving<'_> {
    fn begin(&mut self) -> bool {
        self.slot.begin(Instant::now())
    }

    fn refused(&mut self, answer: &Answer) -> bool {
        if std::mem::replace(&mut self.again, true) {
            return false;
        }
        self.slot.refused(answer, Instant::now());
        true
    }
}

/// The answer, if it is one that the call accepts or handles; else what a person reads about it. A
/// remote that answers nobody ends the audit.
pub(super) async fn ask(
    remote: &Remote,
    call: &Call,
    key: &CallKey,
) -> Result<Result<Answer, String>, AuditError> {
    let (mut attempt, mut suspicion) = (0, None);
    let gone = |message| AuditError::Remote { remote: remote.name.clone(), message };
    loop {
        let mut slot = slot(remote).await;
        let mut leaving = Leaving { slot: &mut slot, again: false };
        let result = remote.client.attempt(call, key, &mut leaving).await;
        let answered = match &result {
            Ok(Attempt::Held) => continue,
            Ok(Attempt::Answered(answer)) => Ok(answer),
            Err(error) => Err(error),
        };
        attempt += 1;
        let failure = match answered {
            Ok(answer) if call.accepts(answer.status) || call.handles.contains(&answer.status) => {
                slot.succeeded(answer, Instant::now());
                return Ok(Ok(answer.clone()));
            }
            Ok(answer) => Failure::Answer(answer),
            Err(error) => Failure::Error(error),
        };
        let said = describe(call, failure);
        slot.failed(failure, &said, &mut suspicion, Instant::now());
        drop(slot);
        match remote.retry.decide(failure, key, attempt) {
            Decision::RetryAfter(_) if attempt >= MOST => return Err(gone(said)),
            Decision::RetryAfter(wait) => sleep(wait).await,
            Decision::GiveUp { reason: ParkReason::Auth, .. } => return Err(gone(said)),
            Decision::GiveUp { state: ParkedState::Dead, .. } if is_everyones(failure) => {
                return Err(gone(said));
            }
            Decision::GiveUp { .. } => return Ok(Err(said)),
        }
    }
}

/// Whether other objects would be answered no better.
fn is_everyones(failure: Failure<'_>) -> bool {
    match failure {
        Failure::Answer(answer) => matches!(answer.status, 429 | 502 | 503 | 504),
        Failure::Error(error) => !matches!(error, CallError::TooLong { .. } | CallError::BadRequest { .. }),
    }
}

async fn slot(remote: &Remote) -> Slot {
    let bell = Arc::new(Notify::new());
    let (seat, urgency) = (remote.governor.seat(Arc::clone(&bell)), Instant::now());
    loop {
        match seat.claim(urgency, Instant::now()) {
            Ok(slot) => return slot,
            Err(Wait::Bell) => bell.notified().await,
            Err(Wait::Until(until)) => tokio::select! {
                () = sleep_until(until) => {}
                () = bell.notified() => {}
            },
        }
    }
}
