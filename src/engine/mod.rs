//! The loop: take changes, spread them over lanes, carry them, settle what ended, acknowledge.
//!
//! One task owns lanes, watermark and pending outcomes, so there are no locks; calls, reads and
//! settlements run in tasks of their own and report back. Nothing here waits for I/O.
//!
//! Upholds invariant 1 (the source is acknowledged only with the receipt of a settlement), 2 (one
//! lane a key), 4 (what is parked leaves the watermark free) and 5 (capture waits for the byte
//! budget, and for settlements that lag behind). It does not decide what to call
//! ([`crate::synchronize`]) nor how ([`crate::remote`]).

mod carry;
mod lanes;
mod pending;
mod settings;
mod stop;
mod watermark;
mod work;

pub use carry::Remote;
pub use settings::Limits;
pub use watermark::{Reached, Watermark};

use crate::{
    capture::{Budget, Captured, ChangeSource, RowReader, SourceError},
    model::{Change, ChangeId, Image, Lsn, Op, Outcome, ParkReason, Parked, ParkedState},
    routing::{Errand, RouteId, Router},
    state::{Due, Known, RouteKey, Settled, StateError, StateStore},
};
use carry::{Ended, Ground, Pass, Phase, Verdict};
use lanes::{LaneId, Lanes, Ready};
use pending::{Batch, Pending};
use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use work::{Arrival, Charge, Work};

/// What stops the engine. A failing call does not: that is an [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The source failed; what was under way is settled.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The state store failed; everything since the last settlement comes again.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What the engine is given.
pub struct Parts {
    /// Which routes a change concerns.
    pub router: Router,
    /// The remotes, by [`crate::routing::RemoteId`].
    pub remotes: Vec<Remote>,
    /// What survives a crash.
    pub store: Arc<dyn StateStore>,
    /// Reads present rows.
    pub reader: Arc<dyn RowReader>,
    /// The byte budget, shared with the source.
    pub budget: Budget,
    /// What the process may use.
    pub limits: Limits,
    /// Tells databases apart in call keys.
    pub origin: u32,
    /// Changes committed before this may have been sent by an earlier process.
    pub sent_before: Lsn,
}

/// Carries one source's changes.
pub struct Engine {
    router: Router,
    ground: Arc<Ground>,
    budget: Budget,
    limits: Limits,
    lanes: Lanes,
    mark: Watermark,
    pending: Pending,
    tasks: JoinSet<Event>,
    phase: watch::Sender<Phase>,
    waiting: BinaryHeap<Reverse<Wait>>,
    errands: Vec<Errand>,
    arrivals: u64,
    /// The newest delete, which the insert half of the same key change waits for.
    last_delete: Vec<Option<(ChangeId, Arrival)>>,
    in_flight: Vec<Flight>,
    settling: bool,
    recalling: bool,
    polling: bool,
    /// A gauge has changed and nothing else is there to be settled.
    gauges_due: bool,
    saved_through: Lsn,
}

/// How many of a route's changes are read and have no outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flight {
    changes: u64,
    backing_off: u64,
    /// As it was last told to the state store.
    told: (u64, u64),
}

/// A piece of work between two attempts.
#[derive(Debug)]
struct Wait {
    until: Instant,
    lane: LaneId,
    work: Box<Work>,
}

impl PartialEq for Wait {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Wait {}
impl PartialOrd for Wait {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Wait {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.until, self.work.arrival).cmp(&(other.until, other.work.arrival))
    }
}

/// What a task reports.
enum Event {
    Ended(Box<Ended>),
    Recalled(Vec<LaneId>, Result<Vec<Known>, StateError>),
    Settled(Batch, Result<Settled, StateError>),
    Due(Result<Vec<Due>, StateError>),
}

/// Keys read in one query, at most.
const RECALL_AT_ONCE: usize = 4_096;
/// Parked changes taken up at once, at most.
const DUE_AT_ONCE: usize = 512;
/// Unsettled outcomes beyond which capture waits.
const PENDING_LIMIT: usize = 65_536;
/// How often parked changes are looked for, and changed gauges told.
const TICK: Duration = Duration::from_secs(1);

impl Engine {
    /// Puts the engine together. `resume` is where the source starts.
    pub fn new(parts: Parts, resume: Lsn) -> Self {
        let Parts { router, remotes, store, reader, budget, limits, origin, sent_before } = parts;
        let routes = router.routes().to_vec();
        let remote_of = routes.iter().map(|route| route.remote).collect();
        let slots: Vec<usize> = remotes.iter().map(|remote| remote.concurrency).collect();
        Self {
            lanes: Lanes::new(remote_of, &slots, budget.limit() / 4),
            last_delete: vec![None; routes.len()],
            in_flight: vec![Flight::default(); routes.len()],
            ground: Arc::new(Ground { routes, remotes, store, reader, origin, sent_before }),
            router,
            budget,
            limits,
            mark: Watermark::default(),
            pending: Pending::default(),
            tasks: JoinSet::new(),
            phase: watch::Sender::new(Phase::Running),
            waiting: BinaryHeap::new(),
            errands: Vec::new(),
            arrivals: 0,
            settling: false,
            recalling: false,
            polling: false,
            gauges_due: false,
            saved_through: resume,
        }
    }

    /// Runs until `stop` says so, the source ends, or something that is not one change's fault
    /// fails. In each case but a failing state store, what was under way is settled first.
    pub async fn run(
        mut self,
        source: &mut dyn ChangeSource,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), EngineError> {
        let mut tick = ticks();
        let mut ended = false;
        loop {
            let room = !ended && self.budget.has_room() && self.pending.len() < PENDING_LIMIT;
            let next_attempt = self.waiting.peek().map(|Reverse(wait)| wait.until);
            tokio::select! {
                // Outcomes come first, since they free what the rest needs; a stop comes before
                // new changes, which would never let it through.
                biased;
                Some(event) = self.tasks.join_next() => {
                    self.take(event, source)?;
                    while let Some(event) = self.tasks.try_join_next() {
                        self.take(event, source)?;
                    }
                }
                () = sleep_until(next_attempt.unwrap_or_else(Instant::now)), if next_attempt.is_some() => {
                    self.resume_due();
                }
                () = stopped(stop) => return self.drain(source).await,
                _ = tick.tick() => {
                    self.poll_parked();
                    self.tell_gauges();
                }
                batch = source.next(), if room => match batch {
                    Ok(Some(batch)) => self.accept(batch),
                    Ok(None) => ended = true,
                    Err(error) => {
                        self.drain(source).await?;
                        return Err(error.into());
                    }
                },
                () = self.budget.room(), if !ended && !room && self.pending.len() < PENDING_LIMIT => {}
            }
            self.go_on();
            if ended && self.is_idle() {
                return self.drain(source).await;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.mark.in_flight() == 0 && self.pending.is_empty() && !self.settling
    }

    /// Starts whatever may start now.
    fn go_on(&mut self) {
        self.recall();
        while let Some(ready) = self.lanes.next_ready() {
            self.start(ready);
        }
        self.settle();
    }

    fn accept(&mut self, batch: Vec<Captured>) {
        for captured in batch {
            match captured {
                Captured::Change(change) => self.accept_change(change),
                Captured::Commit(commit) => self.mark.complete(commit.lsn, commit.end, commit.at),
                Captured::Idle(lsn) => self.mark.idle(lsn),
            }
        }
    }

    fn accept_change(&mut self, change: Change) {
        let charge = Arc::new(Charge::adopt(&self.budget, change.bytes()));
        let mut errands = std::mem::take(&mut self.errands);
        self.router.route_change(change, &mut errands);
        for errand in errands.drain(..) {
            self.accept_errand(errand, &charge);
        }
        self.errands = errands;
    }

    fn accept_errand(&mut self, errand: Errand, charge: &Arc<Charge>) {
        let Errand { route, key, change } = errand;
        let at = usize::from(route.0);
        self.arrivals += 1;
        let arrival = Arrival(self.arrivals);
        self.mark.start(change.id.commit, change.committed_at);
        self.in_flight[at].changes += 1;
        let work = Work {
            arrival,
            after: self.delete_half(at, &change),
            parked: false,
            born: false,
            absorbed: Vec::new(),
            answers: Vec::new(),
            attempts: 0,
            doubt: false,
            charges: vec![Arc::clone(charge)],
            change,
        };
        let deletes = matches!(work.change.image, Image::Delete { .. });
        if deletes {
            self.last_delete[at] = Some((work.id(), arrival));
        }
        match key {
            Ok(key) => {
                let coalesce = self.router.route(route).coalesce;
                self.lanes.push((route, key), work, coalesce, deletes);
            }
            Err(problem) => {
                // It has no key, so it holds none: it is parked under its own id.
                let lane = self.lanes.nameless((route, keyless(work.id())));
                self.finish(lane, work, false, parked(ParkedState::Rejected, ParkReason::Identity, problem));
            }
        }
    }

    /// The delete that an insert half has to wait for: same transaction, the number before.
    fn delete_half(&self, route: usize, change: &Change) -> Option<Arrival> {
        let (deleted, arrival) = self.last_delete[route]?;
        let ChangeId { commit, ordinal } = change.id;
        let is_half = change.op() == Op::Insert && ordinal % 2 == 1;
        (is_half && deleted == ChangeId { commit, ordinal: ordinal - 1 }).then_some(arrival)
    }

    fn start(&mut self, ready: Ready) {
        let skipped = |reason: &str| Outcome::Skipped { reason: Arc::from(reason) };
        match ready {
            Ready::Old { lane, work } => self.finish(lane, work, false, skipped("it is applied already")),
            Ready::Unborn { lane, work } => {
                self.finish(lane, work, false, skipped("it came and went before it was sent"));
            }
            Ready::Behind { lane, work } => {
                let message = "an older change of this key is parked".to_owned();
                self.finish(lane, work, false, parked(ParkedState::Queued, ParkReason::Behind, message));
            }
            Ready::Start { lane, work, link } => {
                let (route, key) = self.lanes.key(lane).clone();
                if work.change.op() == Op::Truncate && work.parked && key.is_empty() {
                    return self.spread_truncate(lane, route, work);
                }
                if work.parked && key == keyless(work.id()) {
                    let message =
                        "the change has no key, so it cannot be sent: discard it, and touch the row"
                            .to_owned();
                    let outcome = parked(ParkedState::Rejected, ParkReason::Identity, message);
                    return self.finish(lane, work, true, outcome);
                }
                let ground = Arc::clone(&self.ground);
                let phase = self.phase.subscribe();
                let pass = Pass { ground, route, key, lane, work, link, phase };
                self.tasks.spawn(async move { Event::Ended(Box::new(pass.run().await)) });
            }
        }
    }

    /// A person let a truncate through: it becomes one parked change for each linked key.
    fn spread_truncate(&mut self, lane: LaneId, route: RouteId, work: Work) {
        let ground = Arc::clone(&self.ground);
        self.tasks.spawn(async move {
            let name = &ground.routes[usize::from(route.0)].name;
            let verdict = match ground.store.spread_truncate(name, work.id()).await {
                Ok(_) => Verdict::Done(Outcome::Skipped { reason: Arc::from("it goes on key by key") }),
                Err(error) => Verdict::Again { after: TICK, error: error.to_string() },
            };
            Event::Ended(Box::new(Ended { lane, work, verdict }))
        });
    }

    fn take(
        &mut self,
        event: Result<Event, tokio::task::JoinError>,
        source: &mut dyn ChangeSource,
    ) -> Result<(), EngineError> {
        // Passes catch their own panics, and nothing aborts a task but dropping the engine.
        let Ok(event) = event else {
            let message = "a task of the engine ended without a result".to_owned();
            return Err(StateError { doing: "carrying changes", message }.into());
        };
        match event {
            Event::Ended(ended) => self.ended(*ended),
            Event::Recalled(lanes, known) => {
                self.recalling = false;
                for (lane, known) in lanes.into_iter().zip(known?) {
                    self.lanes.learn(lane, known);
                }
            }
            Event::Settled(batch, settled) => {
                self.settling = false;
                let Settled { saved, held } = settled?;
                self.saved(&batch, &held);
                self.saved_through = saved.through();
                source.acknowledge(&saved); // Invariant 1: the receipt is the proof.
            }
            Event::Due(due) => {
                self.polling = false;
                due?.into_iter().for_each(|due| self.take_up(due));
            }
        }
        Ok(())
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { lane, work, verdict } = ended;
        let route = self.lanes.key(lane).0;
        match verdict {
            Verdict::Done(outcome) => self.finish(lane, work, true, outcome),
            Verdict::Again { after, error } => {
                self.pending.counts(route).last_error = Some(error);
                self.in_flight[usize::from(route.0)].backing_off += 1;
                self.lanes.release_slot(lane);
                let until = Instant::now() + after;
                self.waiting.push(Reverse(Wait { until, lane, work: Box::new(work) }));
            }
            Verdict::Interrupted => self.interrupted(lane, work, true),
        }
    }

    fn finish(&mut self, lane: LaneId, mut work: Work, started: bool, outcome: Outcome) {
        let (route, key) = self.lanes.key(lane).clone();
        let link = self.lanes.link(lane).cloned();
        let on = (route, &**self.router.route(route));
        let left = self.pending.add(lane, on, &key, &mut work, link.as_ref(), outcome);
        self.lanes.end(lane, &work, started, left);
        if !work.parked {
            self.in_flight[usize::from(route.0)].changes -= 1 + work.absorbed.len() as u64;
            self.mark.finish(work.id().commit);
            work.absorbed.iter().for_each(|(_, commit)| self.mark.finish(*commit));
        }
    }

    fn resume_due(&mut self) {
        let now = Instant::now();
        while let Some(Reverse(wait)) = self.waiting.peek()
            && wait.until <= now
        {
            let Some(Reverse(Wait { lane, work, .. })) = self.waiting.pop() else { return };
            let route = self.lanes.key(lane).0;
            self.in_flight[usize::from(route.0)].backing_off -= 1;
            self.lanes.resume(lane, *work);
        }
    }

    fn take_up(&mut self, due: Due) {
        let Due { at, change, answers, attempts: _ } = due;
        let Some(route) = self.router.find(&at.route) else { return };
        self.arrivals += 1;
        let work = Work {
            arrival: Arrival(self.arrivals),
            change: Arc::new(change),
            parked: true,
            after: None,
            born: false,
            absorbed: Vec::new(),
            answers,
            attempts: 0,
            // Its last attempt may have reached the remote.
            doubt: true,
            charges: Vec::new(),
        };
        self.lanes.push_parked((route, at.key), work);
    }

    fn recall(&mut self) {
        if self.recalling {
            return;
        }
        let lanes = self.lanes.to_recall(RECALL_AT_ONCE);
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

    /// Settles what has ended, one settlement at a time: the next one gathers meanwhile.
    fn settle(&mut self) {
        let reached = self.mark.reached();
        let moves = reached.end > self.saved_through;
        if self.settling || (self.pending.is_empty() && !moves && !self.gauges_due) {
            return;
        }
        self.settling = true;
        self.gauges_due = false;
        self.count_flights();
        let (mut settlement, batch) = self.pending.take(|id| Arc::clone(&self.router.route(id).name));
        settlement.through = moves.then_some(reached.end);
        settlement.committed_at = reached.committed_at;
        settlement.pending_since = self.mark.pending_since();
        let store = Arc::clone(&self.ground.store);
        self.tasks.spawn(async move {
            let settled = store.settle(settlement).await;
            Event::Settled(batch, settled)
        });
    }

    fn saved(&mut self, batch: &Batch, held: &[(RouteKey, bool)]) {
        let held: std::collections::HashMap<&RouteKey, bool> =
            held.iter().map(|(at, held)| (at, *held)).collect();
        let mut more_parked = false;
        for (lane, at, outcomes, parkings) in &batch.lanes {
            let held = held.get(at).copied();
            more_parked |= held == Some(true);
            self.lanes.saved(*lane, *outcomes, *parkings, held);
        }
        if more_parked {
            self.poll_parked();
        }
    }

    fn poll_parked(&mut self) {
        if self.polling {
            return;
        }
        self.polling = true;
        let store = Arc::clone(&self.ground.store);
        self.tasks.spawn(async move { Event::Due(store.due(DUE_AT_ONCE).await) });
    }

    /// Lets a gauge that changed be settled even when nothing else is.
    fn tell_gauges(&mut self) {
        let stale = self.in_flight.iter().any(|it| it.told != (it.changes, it.backing_off));
        self.gauges_due |= stale;
    }

    fn count_flights(&mut self) {
        for (at, flight) in self.in_flight.iter_mut().enumerate() {
            let now = (flight.changes, flight.backing_off);
            let id = RouteId(at as u16);
            if flight.told != now || self.pending.has_counts(id) {
                flight.told = now;
                let counts = self.pending.counts(id);
                (counts.in_flight, counts.backing_off) = now;
            }
        }
    }
}

/// What stands in place of the key of a change that has none, so that it holds no other.
fn keyless(id: ChangeId) -> Arc<str> {
    Arc::from(format!("?{id}"))
}

#[cfg(test)]
mod tests;

fn parked(state: ParkedState, reason: ParkReason, message: String) -> Outcome {
    Outcome::Parked(Parked { state, reason, message, answers: Vec::new(), attempts: 0 })
}

/// Waits until the stop is asked for, or whoever could ask is gone.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn ticks() -> Interval {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
