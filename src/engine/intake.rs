//! How work comes in from the source, and how what is known of its keys is read.

use super::{
    Engine, Event, RECALL_AT_ONCE,
    carry::Phase,
    keyless,
    lanes::LaneId,
    parked,
    runs::ForRun,
    work::{Arrival, Charge, Work},
};
use crate::{
    capture::Captured,
    model::{Change, ChangeId, Image, Lsn, Op, Outcome, ParkReason, ParkedState},
    routing::Errand,
    state::{KeyHash, Known, RouteKey},
};
use std::sync::Arc;
use tokio::time::Instant;

impl Engine {
    pub(super) fn accept(&mut self, batch: Vec<Captured>) {
        self.lanes.at(Instant::now());
        for captured in batch {
            match captured {
                Captured::Change(change) => self.accept_change(change),
                Captured::Mark(mark) => self.marked(&mark),
                Captured::Commit(commit) => {
                    self.mark.complete(commit.lsn, commit.end, commit.at);
                    self.read = self.read.max(commit.end);
                }
                Captured::Idle(lsn) => {
                    self.mark.idle(lsn);
                    self.read = self.read.max(lsn);
                }
            }
        }
        self.tell_positions();
    }

    pub(super) fn accept_change(&mut self, change: Change) {
        self.meter.captured.one();
        let charge = Arc::new(Charge::adopt(&self.budget, change.bytes()));
        #[cfg(debug_assertions)]
        let charge = match super::broken("uncharged") {
            // The first is dropped here, which gives its bytes back.
            true => Arc::new(Charge::adopt(&self.budget, 0)),
            false => charge,
        };
        let mut errands = std::mem::take(&mut self.errands);
        self.runs.arrived(change.transaction);
        self.router.route_change(change, &mut errands);
        for errand in errands.drain(..) {
            if let Ok(key) = &errand.key {
                self.runs.touch(errand.route, key, &errand.change);
                if let Some(for_run) = self.runs.goes_ahead(errand.route, key, &errand.change) {
                    self.accept_errand(ahead(&errand), &charge, Some(for_run));
                }
            }
            self.accept_errand(errand, &charge, None);
        }
        self.errands = errands;
    }

    pub(super) fn accept_errand(&mut self, errand: Errand, charge: &Arc<Charge>, for_run: Option<ForRun>) {
        let Errand { route, key, change } = errand;
        let at = usize::from(route.0);
        self.arrivals += 1;
        let arrival = Arrival(self.arrivals);
        let now = Instant::now();
        let replayed = for_run.is_some_and(|it| it.replayed.is_some());
        let (mark, halves) = match &mut self.replay {
            Some(replay) if replayed => (&mut replay.mark, &mut replay.last_delete),
            _ => (&mut self.mark, &mut self.last_delete),
        };
        mark.start(counted_at(&change, for_run), change.committed_at, now);
        let half = &mut halves[at];
        self.in_flight[at].changes += 1;
        let mut work = Work {
            arrival,
            since: now,
            after: half.and_then(|delete| delete_half(delete, &change)),
            // What may have been sent already is sent again just as it was, or the remote would see
            // another change under a call key it knows.
            // A row of a run has call keys of its own.
            merges: for_run.is_none()
                && self.router.route(route).coalesce
                && change.id.commit > self.ground.sent_before,
            parked: false,
            kept: false,
            own: change.table.name == self.router.route(route).table,
            born: false,
            moot: false,
            absorbed: Vec::new(),
            kin: None,
            claims: Vec::new(),
            childless: false,
            prepared: None,
            answers: Vec::new(),
            attempts: 0,
            requests: 0,
            spent: 0,
            trace: None,
            suspicion: None,
            tried: false,
            renewed: false,
            doubt: false,
            passes: false,
            charges: vec![Arc::clone(charge)],
            called: for_run.map_or(change.id, |it| it.called),
            for_run,
            compares: self.runs.compares(route),
            change,
        };
        let deletes = matches!(work.change.image, Image::Delete { .. });
        if deletes {
            *half = Some((work.id(), arrival));
        }
        match key {
            Ok(key) => {
                self.foresee(route, &key, &mut work);
                self.lanes.push((route, key), work, deletes);
            }
            Err(problem) => {
                // It has no key, so it holds none: it is parked under its own id.
                let lane = self.lanes.nameless((route, keyless(work.id())));
                let parked = parked(&work, ParkedState::Rejected, ParkReason::Identity, problem);
                self.finish(lane, work, false, Outcome::Parked(parked));
            }
        }
    }

    /// Reads which keys the state may know, unless a stop comes in between.
    pub(super) fn read_heard_of(&mut self) {
        let (store, mut phase) = (Arc::clone(&self.ground.store), self.phase.subscribe());
        self.tasks.spawn(async move {
            tokio::select! {
                filter = store.key_filter() => Event::HeardOf(filter),
                _ = phase.wait_for(|phase| *phase != Phase::Running) => Event::HeardOf(Ok(None)),
            }
        });
    }

    pub(super) fn recall(&mut self) {
        let Self { lanes, heard_of, router, .. } = self;
        for lane in
            lanes.take_new(|(route, key)| heard_of.is_new(KeyHash::new(&router.route(*route).name, key)))
        {
            lanes.learn(lane, Known::default());
        }
        if self.recalling {
            return;
        }
        let lanes = self.lanes.take_unknown(RECALL_AT_ONCE);
        if lanes.is_empty() {
            return;
        }
        self.recalling = true;
        let route_key = |lane: &LaneId| {
            let (route, key) = self.lanes.key(*lane);
            RouteKey { route: Arc::clone(&self.router.route(*route).name), key: Arc::clone(key) }
        };
        let keys: Vec<RouteKey> = lanes.iter().map(route_key).collect();
        let store = Arc::clone(&self.ground.store);
        self.tasks.spawn(async move {
            let known = store.recall(&keys).await;
            Event::Recalled(lanes, known)
        });
    }
}

/// The delete that an insert half has to wait for: same transaction, the number before.
fn delete_half((deleted, arrival): (ChangeId, Arrival), change: &Change) -> Option<Arrival> {
    let ChangeId { commit, ordinal } = change.id;
    let is_half = change.op() == Op::Insert && ordinal % 2 == 1;
    (is_half && deleted == ChangeId { commit, ordinal: ordinal - 1 }).then_some(arrival)
}

/// The same change just before itself, within the commit before.
fn ahead(errand: &Errand) -> Errand {
    let change = Change::clone(&errand.change);
    let commit = Lsn::new(change.id.commit.raw().saturating_sub(1));
    let id = ChangeId { commit, ..change.id };
    Errand { change: Arc::new(Change { id, ..change }), ..errand.clone() }
}

/// The transaction that is not settled before this has its outcome.
pub(super) fn counted_at(change: &Change, for_run: Option<ForRun>) -> Lsn {
    let before = u64::from(for_run.is_some_and(|it| it.ahead));
    Lsn::new(change.id.commit.raw() + before)
}
