//! Taking parked changes up again once their time has come and their remote is there.
//!
//! Each route is read page by page, each page behind the last one, so that what is taken up
//! already is not read again; now and then from the start, since keys that were busy were passed
//! over. What is parked of rows that depend on each other may be newer than what a crash makes come
//! again, and is passed over until that has come.
//!
//! Draining has a share of the byte budget of its own: a stream that fills the rest cannot keep it
//! from going on (invariant 5).

use super::{
    Engine, Event,
    runs::{ForRun, Replayed},
    work::{Arrival, Charge, Work},
};
use crate::{
    model::{ChangeId, Op},
    routing::{RemoteId, RouteId},
    state::{Due, Place, Wanted},
};
use std::{collections::HashSet, sync::Arc};
use tokio::time::Instant;

/// Parked changes of a route in memory, at most.
const AT_ONCE: usize = 1_024;
/// The part of the byte budget they may take, all routes together.
const SHARE: usize = 8;

/// What is taken up, and how far each route was read.
#[derive(Debug)]
pub(super) struct Drain {
    routes: Vec<Taken>,
    /// Bytes of all changes taken up.
    bytes: usize,
    limit: usize,
    polling: bool,
    /// Something became due while a poll was under way.
    again: bool,
    /// What ended since the poll under way began: it may find them still.
    ended: HashSet<(RouteId, Arc<str>, ChangeId)>,
}

#[derive(Clone, Debug, Default)]
struct Taken {
    changes: usize,
    /// The last one read.
    place: Option<Place>,
    /// There may be more behind it.
    more: bool,
}

impl Drain {
    pub(super) fn new(routes: usize, budget: usize) -> Self {
        Self {
            routes: vec![Taken::default(); routes],
            bytes: 0,
            limit: budget / SHARE,
            polling: false,
            again: false,
            ended: HashSet::new(),
        }
    }

    /// Looks at everything that is due again, also at what was passed over.
    pub(super) fn start_over(&mut self) {
        for route in &mut self.routes {
            (route.place, route.more) = (None, true);
        }
    }

    fn room(&self, route: RouteId) -> usize {
        AT_ONCE - self.routes[usize::from(route.0)].changes.min(AT_ONCE)
    }

    /// A parked change of so many bytes is in memory.
    pub(super) fn keep(&mut self, route: RouteId, bytes: usize) {
        self.routes[usize::from(route.0)].changes += 1;
        self.bytes += bytes;
    }

    /// The poll under way may find this still, which has ended.
    pub(super) fn ended(&mut self, route: RouteId, key: &Arc<str>, work: &Work) {
        if self.polling {
            self.ended.insert((route, Arc::clone(key), work.id()));
        }
    }

    /// Whether enough of what was taken up is done for another page to be worth its query.
    fn wants_more(&self, route: RouteId) -> bool {
        self.room(route) >= AT_ONCE / 2 && self.bytes < self.limit
    }
}

impl Engine {
    /// Looks for parked changes that are due, behind those that were found before.
    pub(super) fn poll_parked(&mut self) {
        if self.drain.polling {
            self.drain.again = true;
            return;
        }
        let mut routes = Vec::new();
        let mut wanted = Vec::new();
        for (at, route) in self.router.routes().iter().enumerate() {
            let id = RouteId(at as u16);
            let taken = &self.drain.routes[at];
            let (limit, after) = if self.is_halted(id) {
                (0, None)
            } else if self.is_shut(route.remote) {
                // One is enough to see whether the remote is back, behind those that are in memory.
                (if self.has_work_for(route.remote) { 0 } else { 1 + self.batches.resting(id) }, None)
            } else if self.drain.wants_more(id) {
                (self.drain.room(id), taken.place.clone())
            } else {
                (0, None)
            };
            if limit > 0 {
                routes.push(id);
                wanted.push(Wanted { route: Arc::clone(&route.name), after, limit, bytes: 0 });
            }
        }
        if wanted.is_empty() {
            return;
        }
        let bytes = self.drain.limit.saturating_sub(self.drain.bytes) / wanted.len();
        wanted.iter_mut().for_each(|it| it.bytes = bytes);
        self.drain.polling = true;
        self.drain.ended.clear();
        let store = Arc::clone(&self.ground.store);
        self.tasks.spawn(async move { Event::Due(routes, store.due(&wanted).await) });
    }

    pub(super) fn polled(&mut self, routes: &[RouteId], due: Vec<Due>) {
        self.drain.polling = false;
        for route in routes {
            self.drain.routes[usize::from(route.0)].more = false;
        }
        let mut probing = HashSet::new();
        for due in due {
            let Some(route) = self.router.find(&due.at.route) else { continue };
            let on = self.router.route(route);
            let shut = self.is_shut(on.remote);
            // Older changes of what it depends on, or of what depends on it, may have to come again first.
            let too_early = on.has_kin() && due.change.id.commit >= self.read;
            if shut && probing.contains(&route) {
                continue;
            }
            let taken = &mut self.drain.routes[usize::from(route.0)];
            (taken.place, taken.more) = (Some(due.place.clone()), !shut);
            if !too_early && self.take_up(route, due) {
                probing.insert(route);
            }
        }
        if std::mem::take(&mut self.drain.again) {
            self.poll_parked();
        }
    }

    /// `false` if its key is at work, or it has just ended.
    fn take_up(&mut self, route: RouteId, due: Due) -> bool {
        let Due { at, change, answers, called, attempts, requests, doubt, born, replayed, place: _ } = due;
        if self.drain.ended.contains(&(route, Arc::clone(&at.key), change.id)) {
            return false;
        }
        self.arrivals += 1;
        let bytes = change.bytes();
        let deletes = change.op() == Op::Delete;
        let work = Work {
            arrival: Arrival(self.arrivals),
            since: Instant::now(),
            own: change.table.name == self.router.route(route).table,
            change: Arc::new(change),
            called,
            for_run: replayed.map(|again| {
                let spares = deletes && self.router.route(route).waited_for;
                let replayed = Some(Replayed { again, spares });
                ForRun { called, suspect: true, forced: true, ahead: false, replayed }
            }),
            compares: false,
            parked: true,
            kept: false,
            merges: false,
            after: None,
            born,
            moot: false,
            absorbed: Vec::new(),
            kin: None,
            claims: Vec::new(),
            childless: false,
            prepared: None,
            answers,
            attempts,
            requests,
            spent: 0,
            trace: None,
            suspicion: None,
            tried: false,
            renewed: false,
            doubt,
            passes: false,
            charges: vec![Arc::new(Charge::make(&self.budget, bytes))],
        };
        let taken_up = self.lanes.push_parked((route, at.key), work);
        if taken_up {
            self.drain.keep(route, bytes);
        }
        taken_up
    }

    /// A change that was taken up has ended, or is parked again.
    pub(super) fn let_go(&mut self, route: RouteId, key: &Arc<str>, work: &Work) {
        let taken = &mut self.drain.routes[usize::from(route.0)];
        taken.changes -= 1;
        self.drain.bytes -= work.change.bytes();
        let more = taken.more;
        self.drain.ended(route, key, work);
        if !self.drain.polling && more && self.drain.wants_more(route) {
            self.poll_parked();
        }
    }

    /// Whether anything is there by which to see that a remote is back.
    fn has_work_for(&self, remote: RemoteId) -> bool {
        let mut routes = self.router.routes().iter().enumerate().filter(|(_, route)| route.remote == remote);
        // What waits in a batch for another attempt leaves the next try to others.
        let taken_up = |at: usize| self.drain.routes[at].changes > self.batches.resting(RouteId(at as u16));
        if self.lanes.is_put_aside(remote) {
            // What else comes from the stream is on its way to `parked` and makes no call.
            let governor = &self.ground.remotes[usize::from(remote.0)].governor;
            return routes.any(|(at, _)| taken_up(at))
                || self.lanes.waiting_for(remote) > 0
                || governor.gauges(Instant::now()).in_flight > 0;
        }
        routes.any(|(at, _)| self.in_flight[at].changes > 0 || taken_up(at))
    }
}
