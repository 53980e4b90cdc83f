use super::{
    Governor, State, Suspicion,
    breaker::Way,
    judge::{Sign, is_overload, judge},
};
use crate::{
    model::Answer,
    remote::{CallError, Failure},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::time::Instant;

/// Leave to carry one change: a part of the remote's concurrency, and its first call's part of
/// the quota. Dropping it gives back what was not used.
#[derive(Debug)]
pub struct Slot {
    governor: Arc<Governor>,
    seat: u64,
    halted: Arc<AtomicBool>,
    /// A token, or the probe, is kept for its next call.
    reserved: bool,
    probe: bool,
    /// When its present call was begun.
    began: Option<Instant>,
}

/// Whose fault a failure is, as far as the remote's limits can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The change's, or nobody's: it counts as one of its attempts.
    Change,
    /// The remote's, which fails or throttles everyone: the change is to wait, not to give up.
    Remote,
}

impl Slot {
    pub(super) fn new(
        governor: &Arc<Governor>,
        state: &mut State,
        (seat, halted): (u64, &Arc<AtomicBool>),
        now: Instant,
    ) -> Self {
        let probe = state.breaker.way(now) == Way::Probe;
        if probe {
            state.breaker.set_probing(true);
        }
        state.taken += 1;
        state.reserved += 1;
        let (governor, halted) = (Arc::clone(governor), Arc::clone(halted));
        Self { governor, seat, halted, reserved: true, probe, began: None }
    }

    /// Whether a call may be made now. If not, the change goes back to its queue.
    #[must_use = "nothing is sent to a remote that is shut, paused or has used up its quota"]
    pub fn begin(&mut self, now: Instant) -> bool {
        if self.halted.load(Ordering::Relaxed) {
            return false;
        }
        let governor = Arc::clone(&self.governor);
        let mut state = governor.lock();
        let way = state.breaker.way(now);
        let may = match way {
            Way::Free | Way::Probe => true,
            Way::Probing => self.probe,
            Way::ShutUntil(_) => false,
        };
        if !may || state.pause.now(now).is_some() || !(self.reserved || state.has_token(now)) {
            return false;
        }
        if way == Way::Probe {
            state.breaker.set_probing(true);
            self.probe = true;
        }
        state.reserved -= u32::from(std::mem::take(&mut self.reserved));
        if let Some(bucket) = &mut state.bucket {
            bucket.take(now);
            // Who waits for what was reserved waits for the next token now.
            state.seats.ring(None);
        }
        self.began = Some(now);
        true
    }

    /// The call succeeded.
    pub fn succeeded(&mut self, answer: &Answer, now: Instant) {
        let governor = Arc::clone(&self.governor);
        let mut state = governor.lock();
        let Some(began) = self.began.take() else { return };
        governor.hear(&mut state, answer, began, now);
        state.window.answered(began, now);
        state.tally.well();
        let turn = state.breaker.answered(std::mem::take(&mut self.probe), now);
        governor.turned(&state, turn);
    }

    /// The call was refused for its token alone: it was answered, and may be begun again.
    pub fn refused(&mut self, answer: &Answer, now: Instant) {
        self.failed(Failure::Answer(answer), "", &mut None, now);
    }

    /// The call did not succeed. `why` says so to a person; `suspicion` is the change's own, and
    /// `None` before its first failure.
    pub fn failed(
        &mut self,
        failure: Failure<'_>,
        why: &str,
        suspicion: &mut Option<Suspicion>,
        now: Instant,
    ) -> Blame {
        let governor = Arc::clone(&self.governor);
        let mut state = governor.lock();
        let began = self.began.take();
        // Without a token nothing is begun, and yet it says something of the remote.
        if began.is_none() && !matches!(failure, Failure::Error(CallError::Token { .. })) {
            return Blame::Change;
        }
        let sign = judge(failure);
        if let Some(began) = began {
            if let Failure::Answer(answer) = failure {
                governor.hear(&mut state, answer, began, now);
            }
            if is_overload(failure) {
                state.window.overloaded(began, now);
            } else if sign == Sign::Alive {
                state.window.answered(began, now);
            }
            let unsent = Failure::is_unsent;
            if let Some(bucket) = state.bucket.as_mut().filter(|_| unsent(&failure)) {
                bucket.give_back();
            }
        }
        let guilty = match sign {
            Sign::Throttling | Sign::Failing | Sign::Erring => state.tally.ill(suspicion),
            Sign::Alive => {
                state.tally.well();
                true
            }
            Sign::Unasked => true,
        };
        let probe = self.probe;
        let turn = match sign {
            // Nothing was asked, so nothing is known: another may probe.
            Sign::Unasked => {
                self.give_back(&mut state);
                state.seats.ring(None);
                return Blame::Change;
            }
            Sign::Alive | Sign::Throttling => state.breaker.answered(probe, now),
            Sign::Failing | Sign::Erring => state.breaker.failed(probe, || Arc::from(why), now),
        };
        self.probe = false;
        governor.turned(&state, turn);
        let asked_to_wait = matches!(failure, Failure::Answer(answer) if answer.status == 503)
            && state.pause.now(now).is_some();
        let down = state.breaker.open().is_some();
        match sign {
            Sign::Throttling if !guilty => Blame::Remote,
            Sign::Failing | Sign::Erring if asked_to_wait && !guilty => Blame::Remote,
            // Of an outage no change may die, however long it is. Only what a remote answers 500 to
            // alone, and serves the others, must not probe it for ever.
            Sign::Failing if down && !asked_to_wait => Blame::Remote,
            Sign::Erring if down && !guilty => Blame::Remote,
            _ => Blame::Change,
        }
    }

    fn give_back(&mut self, state: &mut State) {
        state.reserved -= u32::from(std::mem::take(&mut self.reserved));
        if std::mem::take(&mut self.probe) {
            state.breaker.set_probing(false);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.governor.lock();
        let others = (!self.probe).then_some(self.seat);
        state.reserved -= u32::from(self.reserved);
        if self.probe {
            state.breaker.set_probing(false);
        }
        state.taken -= 1;
        // The owner hears of the end by itself.
        state.seats.ring(others);
    }
}
