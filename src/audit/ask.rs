//! One question to the remote, under its limits, as often as its retries allow.

use super::{AuditError, Subject};
use crate::{
    engine::{
        Departure, Remote,
        log::{self, Watch},
    },
    model::{Answer, Call, CallKey, ChangeId, ParkReason, ParkedState},
    remote::{Attempt, CallError, Decision, Failure, Slot, Wait, describe},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use xxhash_rust::xxh3::xxh3_64;

/// Even what costs no attempt is tried no more often.
const MOST: u32 = 20;

impl Subject {
    /// The answer for the object of this key, if it is one that the call accepts or handles; else what a
    /// person reads about it. A remote that answers nobody ends the audit. `look` tells this look at the
    /// key from all others.
    pub(super) async fn ask(
        &self,
        call: &Call,
        object: &str,
        look: &str,
    ) -> Result<Result<Answer, String>, AuditError> {
        let remote = &self.remote;
        let (route, step) = (Arc::clone(&self.route.name), Arc::clone(&call.step));
        let hash = Some(xxh3_64(object.as_bytes()));
        let key = CallKey { route, origin: 0, change: ChangeId::default(), key: hash, step };
        let (mut attempt, mut requests, mut renewed, mut suspicion) = (0, 0, false, None);
        loop {
            let mut slot = self.unless_stopped(slot(remote, self.behind)).await?;
            let subject = log::Subject {
                route: &self.route.name,
                remote: &remote.name,
                meter: &remote.meter,
                keys: [object.into()].into(),
                changes: Vec::new(),
                run: self.run,
                scope: Some(look.to_owned()),
            };
            let watch = Watch::new(&self.call_log, call, &key, subject);
            let mut departure = Departure::new(&mut slot, &mut renewed, &mut requests, watch);
            let result = self.unless_stopped(remote.client.attempt(call, &key, &mut departure)).await;
            let Departure { mut watch, .. } = departure;
            let result = match result {
                Ok(Ok(Attempt::Held)) => {
                    drop(slot);
                    self.write(watch).await;
                    continue;
                }
                Ok(Ok(Attempt::Answered(answer))) => Ok(answer),
                Ok(Err(error)) => Err(error),
                Err(stopped) => {
                    watch.ends(None, "interrupted", None);
                    self.write(watch).await;
                    return Err(stopped);
                }
            };
            attempt += 1;
            renewed = false;
            let failure = match &result {
                Ok(answer) if call.accepts(answer.status) || call.handles.contains(&answer.status) => {
                    slot.succeeded(answer, Instant::now());
                    drop(slot);
                    watch.ends(Some(Ok(answer)), "answered", None);
                    self.write(watch).await;
                    return Ok(result.map_err(|error| error.to_string()));
                }
                Ok(answer) => Failure::Answer(answer),
                Err(error) => Failure::Error(error),
            };
            let said = describe(call, failure);
            slot.failed(failure, &said, &mut suspicion, Instant::now());
            drop(slot);
            let decision = remote.retry.decide(failure, &key, attempt);
            let (outcome, ends) = match decision {
                Decision::RetryAfter(_) if attempt >= MOST => (ParkedState::Dead.name(), true),
                Decision::RetryAfter(_) => ("retry", false),
                Decision::GiveUp { state, reason } => {
                    let everyones = state == ParkedState::Dead && is_everyones(failure);
                    (state.name(), everyones || reason == ParkReason::Auth)
                }
            };
            let wait = match decision {
                Decision::RetryAfter(wait) => Some(wait).filter(|_| !ends),
                Decision::GiveUp { .. } => None,
            };
            watch.ends(Some(result.as_ref()), outcome, wait);
            self.write(watch).await;
            match decision {
                _ if ends => {
                    return Err(AuditError::Remote { remote: remote.name.to_string(), message: said });
                }
                Decision::RetryAfter(wait) => self.unless_stopped(sleep(wait)).await?,
                Decision::GiveUp { .. } => return Ok(Err(said)),
            }
        }
    }

    /// Gives the records away, and waits for that as other calls do: until a stop.
    async fn write(&self, watch: Watch<'_>) {
        let _ = self.unless_stopped(watch.keep()).await;
    }
}

/// Whether other objects would be answered no better.
fn is_everyones(failure: Failure<'_>) -> bool {
    match failure {
        Failure::Answer(answer) => matches!(answer.status, 429 | 502 | 503 | 504),
        Failure::Error(error) => !matches!(error, CallError::TooLong { .. } | CallError::BadRequest { .. }),
    }
}

/// Leave for one call, behind what others have waited `behind` less long for.
async fn slot(remote: &Remote, behind: Duration) -> Slot {
    let bell = Arc::new(Notify::new());
    let (seat, urgency) = (remote.governor.seat(Arc::clone(&bell)), Instant::now() + behind);
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
