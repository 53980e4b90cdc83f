//! Putting changes aside: what waits for a remote that does not keep up is parked as `retrying`, so
//! that the watermark and the log can move on (invariant 4). What is put aside at once is bounded,
//! and its memory is free once it is stored (invariant 5).

use super::{
    Engine, Wait,
    lanes::LaneId,
    outage::{PATIENCE, Shut, Turn},
    parked,
    work::Work,
};
use crate::{
    model::{Outcome, ParkReason, Parked, ParkedState},
    remote::{Gate, Standing},
    routing::RemoteId,
};
use std::{cmp::Reverse, sync::Arc, time::Duration};
use tokio::time::Instant;

impl Engine {
    /// Whether nothing goes through to a remote at present.
    pub(super) fn is_shut(&self, remote: RemoteId) -> bool {
        self.shut(remote, Instant::now()).is_some()
    }

    fn shut(&self, remote: RemoteId, now: Instant) -> Option<Shut> {
        if let Some(halt) = self.admission.halted(usize::from(remote.0)) {
            return Some(halt.clone());
        }
        let Standing { gate, since, why, .. } =
            self.ground.remotes[usize::from(remote.0)].governor.standing(now);
        let why = why.unwrap_or_else(|| Arc::from("its limits"));
        (gate != Gate::Ready).then(|| Shut { since: since.unwrap_or(now), why })
    }

    /// Decides for each remote whether its changes are put aside.
    pub(super) fn review(&mut self) {
        let now = Instant::now();
        let kept = *self.kept.borrow_and_update();
        let waited = self.mark.waiting_since().map(|read| now.saturating_duration_since(read));
        let waited = waited.unwrap_or_default();
        let remotes: Vec<RemoteId> = (0..self.ground.remotes.len()).map(|at| RemoteId(at as u16)).collect();
        let others = remotes.iter().any(|remote| !self.is_shut(*remote)) && remotes.len() > 1;
        let pressure = self.outages.pressure(kept, waited, !self.budget.has_room(), others);
        for remote in remotes {
            let name = self.ground.remotes[usize::from(remote.0)].name.clone();
            let shut = self.shut(remote, now);
            let turn =
                self.outages.review((remote, &name), shut.as_ref(), pressure.as_ref(), (kept, waited), now);
            match turn {
                Turn::None => {}
                Turn::Begins => self.begin_aside(remote),
                Turn::Ends(changes) => {
                    self.lanes.put_aside(remote, false);
                    tracing::info!(
                        remote = &*name,
                        changes,
                        "the remote is back: what was put aside is taken up"
                    );
                    self.drain.start_over();
                    self.poll_parked();
                }
                Turn::Stale(message) => self.put_stale_aside(remote, now - PATIENCE, &message),
            }
        }
    }

    fn begin_aside(&mut self, remote: RemoteId) {
        if let Some(aside) = self.outages.aside(remote) {
            tracing::warn!("{}; its changes go to `parked` until it is back", aside.message);
        }
        self.lanes.put_aside(remote, true);
        for wait in self.take_waiting(|engine, wait| engine.lanes.remote_of(wait.lane) == remote) {
            self.lanes.give_up(wait.lane);
            self.put_aside(wait.lane, *wait.work, false, Duration::ZERO, None);
        }
    }

    /// The remote is there, but these have been waiting for too long.
    fn put_stale_aside(&mut self, remote: RemoteId, before: Instant, message: &str) {
        let now = Instant::now();
        let stale = |engine: &Self, wait: &Wait| {
            wait.work.since < before && engine.lanes.remote_of(wait.lane) == remote
        };
        for wait in self.take_waiting(stale) {
            self.lanes.give_up(wait.lane);
            let left = wait.until.saturating_duration_since(now);
            self.put_aside(wait.lane, *wait.work, false, left, Some(message));
        }
        self.put_batches_aside(|_, (_, of), work| of == remote && work.since < before, Some(message));
        for lane in self.lanes.stale(remote, before) {
            if !self.pending.has_room_to_park() {
                return;
            }
            for ready in self.lanes.empty(lane) {
                self.start(ready);
            }
        }
    }

    /// Takes what comes from the stream and waits for its next attempt.
    fn take_waiting(&mut self, chosen: impl Fn(&Self, &Wait) -> bool) -> Vec<Wait> {
        let waiting = std::mem::take(&mut self.waiting);
        let (taken, left): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|Reverse(wait)| !wait.work.parked && chosen(self, wait));
        self.waiting = left.into();
        let taken: Vec<Wait> = taken.into_iter().map(|Reverse(wait)| wait).collect();
        for wait in &taken {
            let route = self.lanes.key(wait.lane).0;
            self.in_flight[usize::from(route.0)].backing_off -= 1;
        }
        taken
    }

    /// Parks what has come in for remotes whose changes are put aside.
    pub(super) fn spill(&mut self) {
        if self.lanes.any_put_aside() {
            // Changes that share a call wait for it outside of their lanes.
            self.put_batches_aside(|engine, (_, remote), _| engine.lanes.is_put_aside(remote), None);
        }
        while self.pending.has_room_to_park()
            && let Some(ready) = self.lanes.next_aside()
        {
            ready.into_iter().for_each(|ready| self.start(ready));
        }
    }

    /// Parks a change that its remote does not take now. `wait` is how long it would have waited.
    pub(super) fn put_aside(
        &mut self,
        lane: LaneId,
        work: Work,
        started: bool,
        wait: Duration,
        message: Option<&str>,
    ) {
        let parked = self.aside_as(lane, &work, wait, message);
        self.finish(lane, work, started, Outcome::Parked(parked));
    }

    /// How a change is parked that its remote does not take now.
    pub(super) fn aside_as(
        &mut self,
        lane: LaneId,
        work: &Work,
        wait: Duration,
        message: Option<&str>,
    ) -> Parked {
        let aside = self.outages.aside(self.lanes.remote_of(lane)).filter(|_| message.is_none());
        let mut parked = parked(work, ParkedState::Retrying, ParkReason::Outage, String::new());
        parked.message = match (message, aside) {
            (Some(message), _) => message.to_owned(),
            (None, Some(aside)) => {
                aside.changes += 1 + work.absorbed.len() as u64;
                // What failed before, failed for everyone: of an outage no change may die.
                parked.attempts = 0;
                aside.message.clone()
            }
            (None, None) => "its remote does not keep up".to_owned(),
        };
        parked.wait = wait;
        if work.is_whole_truncate(&self.lanes.key(lane).1) {
            (parked.state, parked.reason) = (ParkedState::Rejected, ParkReason::Truncate);
            parked.message = format!(
                "table {} was truncated: `rowcall parked retry` lets it through, `rowcall parked discard` leaves what is \
                 linked",
                work.change.table.name
            );
        }
        parked
    }
}
