//! How work is started, how it ends, and how that becomes durable.

use super::{
    Engine, Event, TICK, Wait,
    carry::{Ended, Pass, Phase, Verdict},
    intake::counted_at,
    keyless,
    lanes::{Held, LaneId, Rank, Ready},
    parked,
    pending::Batch,
    saying,
    work::Work,
};
use crate::{
    model::{ChangeId, Link, Outcome, ParkReason, ParkedState},
    remote::Slot,
    routing::RouteId,
    state::{Hold, KeyHash, RELEASED_AT_ONCE, RouteKey, Settled},
};
use std::{cmp::Reverse, collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

impl Engine {
    pub(super) fn start(&mut self, ready: Ready) {
        let skipped = |reason: &str| Outcome::Skipped { reason: Arc::from(reason) };
        match ready {
            Ready::Old { lane, work } => {
                let why = if work.is_replayed() {
                    "something newer of its key was sent since, or is parked"
                } else {
                    "it is applied already"
                };
                self.finish(lane, work, false, skipped(why));
            }
            Ready::Unborn { lane, mut work } => {
                work.moot = true;
                self.finish(lane, work, false, skipped("it came and went before it was sent"));
            }
            // Nobody decided about this one yet: it must not follow the one before by itself.
            Ready::Behind { lane, work } if work.is_whole_truncate(&self.lanes.key(lane).1) => {
                let table = &work.change.table.name;
                let message = format!(
                    "table {table} was truncated again while an earlier truncate of it is parked; \
                     `rowcall parked retry` lets it through after that one, `rowcall parked discard` leaves what is linked"
                );
                let parked = parked(&work, ParkedState::Rejected, ParkReason::Truncate, message);
                self.finish(lane, work, false, Outcome::Parked(parked));
            }
            Ready::Behind { lane, work } => {
                let message = "an older change of this key is parked".to_owned();
                let parked = parked(&work, ParkedState::Queued, ParkReason::Behind, message);
                self.finish(lane, work, false, Outcome::Parked(parked));
            }
            Ready::Aside { lane, work } => self.put_aside(lane, work, false, Duration::ZERO, None),
            Ready::Batch { batch, slot } => self.send_batch(batch, slot),
            Ready::Start { lane, mut work, link, slot, unsettled } => {
                let (route, key) = self.lanes.key(lane).clone();
                if work.parked && work.is_whole_truncate(&key) {
                    return self.spread_truncate(lane, route, work);
                }
                if work.parked && key == keyless(work.id()) {
                    let message =
                        "the change has no key, so it cannot be sent: discard it, and touch the row"
                            .to_owned();
                    let parked = parked(&work, ParkedState::Rejected, ParkReason::Identity, message);
                    return self.finish(lane, work, true, Outcome::Parked(parked));
                }
                if let Some(why) = self.halted_route(route) {
                    drop(slot);
                    return self.hold(lane, work, &why);
                }
                // Children may have come while it waited for its turn.
                work.childless &= work.tried || self.lanes.claimed_before(lane, work.id()).is_none();
                if self.is_deleted_last(route, &work, link.as_deref()) {
                    self.lanes.back(lane);
                    return self.wait_for_children(lane, work);
                }
                self.carry(lane, work, link, slot, unsettled);
            }
        }
    }

    /// Begins a pass over what is taken out of its lane.
    pub(super) fn carry(
        &mut self,
        lane: LaneId,
        work: Work,
        link: Option<Arc<Link>>,
        slot: Option<Slot>,
        unsettled: bool,
    ) {
        let (route, key) = self.lanes.key(lane).clone();
        let (ground, phase) = (Arc::clone(&self.ground), self.phase.subscribe());
        let pass = Pass { ground, route, key, lane, work, link, slot, unsettled, phase };
        self.tasks.spawn(async move { Event::Ended(Box::new(pass.run().await)) });
    }

    /// A person let a truncate through: it becomes one parked change for each linked key.
    pub(super) fn spread_truncate(&mut self, lane: LaneId, route: RouteId, work: Work) {
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

    pub(super) fn ended(&mut self, ended: Ended) {
        let Ended { lane, mut work, verdict } = ended;
        let visited = self.lanes.back(lane);
        let route = self.lanes.key(lane).0;
        match verdict {
            Verdict::Done(outcome) => self.finish(lane, work, true, outcome),
            // Nobody comes back to it: what is answered is kept now or lost.
            Verdict::Again { .. } | Verdict::Settle | Verdict::Held { .. }
                if *self.phase.borrow() != Phase::Running =>
            {
                self.interrupted(lane, work, true);
            }
            // It was to see whether the remote is back; the next one is another's turn. Its attempts
            // failed for everyone.
            Verdict::Held { error: Some(error) }
                if work.parked && self.is_shut(self.lanes.remote_of(lane)) =>
            {
                work.attempts = 0;
                self.put_aside(lane, work, true, Duration::ZERO, Some(&error));
                self.pending.counts(route).last_error = Some(error);
            }
            Verdict::Held { error } => {
                let rank = if error.is_some() { Rank::Anew } else { visited.unwrap_or(Rank::Ahead) };
                if error.is_some() {
                    self.pending.counts(route).last_error = error;
                }
                self.lanes.resume(lane, work, rank);
            }
            Verdict::Again { after, error } => {
                let message = error.clone();
                self.pending.counts(route).last_error = Some(error);
                let remote = self.lanes.remote_of(lane);
                if self.lanes.is_put_aside(remote) && !work.parked {
                    return self.put_aside(lane, work, true, Duration::ZERO, None);
                }
                if work.parked && self.is_shut(remote) {
                    return self.put_aside(lane, work, true, after, Some(&message));
                }
                self.in_flight[usize::from(route.0)].backing_off += 1;
                let until = Instant::now() + after;
                self.waiting.push(Reverse(Wait { until, lane, work: Box::new(work) }));
            }
            Verdict::Keep(slot) if *self.phase.borrow() == Phase::Running => {
                self.keep_first(lane, work, slot)
            }
            Verdict::Joins(joining) => self.join(lane, work, joining),
            Verdict::Settle => self.lanes.wait_until_saved(lane, work),
            Verdict::Needs(needs) if *self.phase.borrow() == Phase::Running => {
                self.wait_for_parents(lane, work, needs);
            }
            Verdict::Needs(_) | Verdict::Keep(_) | Verdict::Interrupted => self.interrupted(lane, work, true),
        }
    }

    pub(super) fn finish(&mut self, lane: LaneId, mut work: Work, started: bool, outcome: Outcome) {
        let (route, key) = self.lanes.key(lane).clone();
        let link = self.lanes.link(lane).cloned();
        let on = (route, &**self.router.route(route));
        #[cfg(debug_assertions)]
        if work.for_run.is_some() {
            super::failpoint::reached("mid-chunk");
        }
        #[cfg(debug_assertions)]
        if work.parked {
            super::failpoint::reached("mid-drain");
        }
        self.runs.count(&work, link.as_deref(), &outcome);
        self.count(route, &work, &outcome);
        saying::say(self.ground.log.clock, &on.1.name, &key, &work, &outcome);
        #[cfg(debug_assertions)]
        let blocks = super::broken("parked-blocks") && matches!(outcome, Outcome::Parked(_));
        let stays = work.is_stored() || matches!(outcome, Outcome::Parked(_));
        let claimed = if stays { self.claimed(route, &work) } else { Vec::new() };
        self.heard_of.note(KeyHash::new(&on.1.name, &key));
        let left = self.pending.add(lane, on, &key, &mut work, link.as_ref(), (outcome, claimed));
        self.lanes.end(lane, &work, started, left);
        if work.parked {
            self.let_go(route, &key, &work);
        } else {
            if work.kept {
                self.drain.ended(route, &key, &work);
            }
            self.in_flight[usize::from(route.0)].changes -= 1 + work.absorbed.len() as u64;
            #[cfg(debug_assertions)]
            if blocks {
                return;
            }
            self.has_outcome(&work);
        }
    }

    /// It holds up no watermark any more.
    pub(super) fn has_outcome(&mut self, work: &Work) {
        let mark = match work.for_run.and_then(|it| it.replayed) {
            None => &mut self.mark,
            Some(replayed) => match &mut self.replay {
                Some(replay) if replayed.again.run == Some(replay.run) => {
                    replay.read += 1;
                    &mut replay.mark
                }
                // The run it came from is over.
                _ => return,
            },
        };
        mark.finish(counted_at(&work.change, work.for_run));
        work.absorbed.iter().for_each(|(_, commit)| mark.finish(*commit));
    }

    pub(super) fn resume_due(&mut self) {
        let now = Instant::now();
        self.lanes.at(now);
        while let Some(Reverse(wait)) = self.waiting.peek()
            && wait.until <= now
        {
            let Some(Reverse(Wait { lane, work, .. })) = self.waiting.pop() else { return };
            let route = self.lanes.key(lane).0;
            self.in_flight[usize::from(route.0)].backing_off -= 1;
            self.lanes.resume(lane, *work, Rank::Anew);
        }
    }

    /// Settles what has ended, one settlement at a time: the next one gathers meanwhile.
    pub(super) fn settle(&mut self) {
        self.runs.advance(|commit| self.mark.is_open(commit));
        self.advance_replay();
        let reached = self.mark.reached();
        #[cfg(debug_assertions)]
        let reached = match super::broken("checkpoint-ahead") {
            true => super::Reached { end: self.read, ..reached },
            false => reached,
        };
        let moves = reached.end > self.saved_through;
        if self.settling || (self.pending.is_empty() && !moves && !self.gauges_due && !self.runs.has_news()) {
            return;
        }
        self.settling = true;
        self.gauges_due = false;
        self.count_flights();
        self.meter.settled_outcomes.saw(self.pending.len() as u64);
        let (mut settlement, batch) = self.pending.take(|id| Arc::clone(&self.router.route(id).name));
        settlement.runs = self.runs.take_progress();
        let newest = self.runs.newest();
        settlement.through = moves.then_some(reached.end);
        settlement.committed_at = reached.committed_at;
        settlement.pending_since = self.mark.pending_since();
        settlement.received = Some(self.read);
        settlement.remotes = std::mem::take(&mut self.remotes_due);
        let (store, meter) = (Arc::clone(&self.ground.store), Arc::clone(&self.meter));
        self.tasks.spawn(async move {
            let began = Instant::now();
            let settled = store.settle(settlement).await;
            meter.settling.took(began.elapsed());
            Event::Settled(batch, newest, settled)
        });
    }

    pub(super) fn saved(&mut self, batch: &Batch, settled: &Settled) {
        let held: HashMap<&RouteKey, Hold> = settled.held.iter().map(|(at, held)| (at, *held)).collect();
        let leaving: HashMap<&RouteKey, ChangeId> =
            settled.leaving.iter().map(|(at, id)| (at, *id)).collect();
        let oldest: HashMap<&RouteKey, ChangeId> = settled.oldest.iter().map(|(at, id)| (at, *id)).collect();
        let mut more_parked = settled.released > 0;
        if settled.released >= RELEASED_AT_ONCE {
            self.sweep();
        }
        for (lane, at, outcomes, parkings) in &batch.lanes {
            let held = held.get(at).copied();
            more_parked |= held == Some(Hold::Held);
            let held = held.map(|held| Held {
                hold: held,
                leaving: leaving.get(at).copied(),
                oldest: oldest.get(at).copied(),
            });
            self.lanes.saved(*lane, *outcomes, *parkings, held);
        }
        batch.claims.iter().for_each(|claim| self.lanes.unclaim(claim));
        self.kept(&batch.kept);
        if more_parked {
            self.poll_parked();
        }
    }

    /// Lets a gauge that changed be settled even when nothing else is.
    pub(super) fn tell_gauges(&mut self) {
        for (flight, meter) in self.in_flight.iter().zip(&self.route_meters) {
            meter.in_flight.set(flight.changes);
            meter.backing_off.set(flight.backing_off);
        }
        let stale = self.in_flight.iter().any(|it| it.told != (it.changes, it.backing_off));
        let Self { admission, ground, .. } = self;
        let token = |remote: usize| ground.remotes[remote].client.token_life();
        admission.gauges(&self.lanes, token, Instant::now(), &mut self.remotes_due);
        self.gauges_due |= stale || !self.remotes_due.is_empty();
    }

    pub(super) fn count_flights(&mut self) {
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
