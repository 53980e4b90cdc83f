//! An orderly stop: the answers under way are waited for, half-done sequences are parked with the
//! answers they have (invariant 3), and everything that ended is settled.

use super::{Engine, EngineError, carry::Phase, lanes::LaneId, parked, work::Work};
use crate::{
    capture::ChangeSource,
    model::{Outcome, ParkReason, ParkedState},
    state::StateError,
};
use std::{cmp::Reverse, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// What a last settlement may take beyond the limit for calls.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What those may take who only have to hear that all is over.
const FAREWELL: Duration = Duration::from_secs(1);

impl Engine {
    /// Ends what can be ended within the limit. What was never started is left: it is not settled,
    /// so it comes again.
    pub(super) async fn drain(&mut self, source: &mut dyn ChangeSource) -> Result<(), EngineError> {
        self.phase.send_replace(Phase::Draining);
        self.admission.withdraw();
        for (lane, work) in self.lanes.abandon_waiting() {
            self.interrupted(lane, work, false);
        }
        self.abandon_batches();
        for Reverse(wait) in std::mem::take(&mut self.waiting) {
            let route = self.lanes.key(wait.lane).0;
            self.in_flight[usize::from(route.0)].backing_off -= 1;
            self.interrupted(wait.lane, *wait.work, false);
        }
        self.leave_family();
        let limit = Instant::now() + self.limits.drain.0;
        loop {
            self.settle();
            tokio::select! {
                biased;
                event = self.tasks.join_next() => match event {
                    Some(event) => self.take(event, source)?,
                    None => return Ok(()),
                },
                () = sleep_until(limit + LAST_WORDS) => {
                    let message = "it did not answer while the service was stopping".to_owned();
                    return Err(StateError { doing: "settling", message }.into());
                }
                () = sleep_until(limit), if *self.phase.borrow() == Phase::Draining => {
                    tracing::warn!("some calls have not been answered in time; they will be looked up or made again");
                    self.phase.send_replace(Phase::Leaving);
                }
            }
        }
    }

    /// Nothing can be settled any more: no answer is waited for, but the log of calls hears of the requests
    /// that were sent (invariant 6).
    pub(super) async fn leave(&mut self) {
        self.phase.send_replace(Phase::Leaving);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Who waits for a database is not waited for.
        let _ = timeout(FAREWELL, all).await;
    }

    /// A stop came before the sequence was finished: with answers it is kept, without it is simply
    /// not settled.
    pub(super) fn interrupted(&mut self, lane: LaneId, work: Work, started: bool) {
        if work.answers.is_empty() && !work.parked {
            self.lanes.leave(lane);
            return;
        }
        let message = "the service stopped in the middle of the sequence".to_owned();
        let parked = parked(&work, ParkedState::Retrying, ParkReason::Interrupted, message);
        self.finish(lane, work, started, Outcome::Parked(parked));
    }
}
