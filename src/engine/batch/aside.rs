//! What becomes of batches whose remote does not take them: their changes are parked, so that the
//! watermark and the log can move on (invariant 4).
//!
//! A batch that the remote may have heard is not cut: in any other batch, or alone, its changes would
//! have another call key, and a remote that honours keys would apply them twice (invariant 3). So they
//! are parked where they are. They are durable, and count as parked from then on; but the batch stays
//! in memory, and is tried again as the same call. A batch of one row needs no memory for that: it is
//! remembered that the row was sent alone.

use super::{Batch, Member};
use crate::{
    engine::{Engine, TICK, lanes::LaneId, saying, work::Work},
    model::Outcome,
    routing::{RemoteId, RouteId},
    state::KeyHash,
};
use std::time::Duration;
use tokio::time::Instant;

impl Engine {
    /// Parks those changes from the stream that are chosen, of all batches that are not under way.
    pub(in crate::engine) fn put_batches_aside(
        &mut self,
        chosen: impl Fn(&Self, (RouteId, RemoteId), &Work) -> bool,
        message: Option<&str>,
    ) {
        let now = Instant::now();
        let mut batches = std::mem::take(&mut self.batches);
        let is_chosen = |engine: &Self, route: RouteId, work: &Work| {
            !work.parked && chosen(engine, (route, engine.router.route(route).remote), work)
        };
        let taken = batches.cut(|route, work| is_chosen(self, route, work));
        batches.each_in_doubt(|route, member| {
            if is_chosen(self, route, &member.work) {
                self.park_where_it_is(member, message);
            }
        });
        self.batches = batches;
        for (route, Member { lane, work, .. }, until) in taken {
            self.in_flight[usize::from(route.0)].backing_off -= u64::from(until.is_some());
            self.lanes.leave(lane);
            let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            self.put_aside(lane, work, false, left, message);
        }
    }

    /// Its lane stays busy with it, and the drain passes it over.
    fn park_where_it_is(&mut self, member: &mut Member, message: Option<&str>) {
        let Member { lane, key, work, .. } = member;
        let lane: LaneId = *lane;
        let parked = self.aside_as(lane, work, Duration::ZERO, message);
        let route = self.lanes.key(lane).0;
        let link = self.lanes.link(lane).cloned();
        let on = (route, &**self.router.route(route));
        let claimed = self.claimed(route, work);
        // What is stored is freed, but this stays in memory.
        let charges = work.charges.clone();
        let outcome = Outcome::Parked(parked);
        self.runs.count(work, None, &outcome);
        self.count(route, work, &outcome);
        saying::say(self.ground.log.clock, &on.1.name, key, work, &outcome);
        self.heard_of.note(KeyHash::new(&on.1.name, key));
        let left = self.pending.add(lane, on, key, work, link.as_ref(), (outcome, claimed));
        self.pending.may_end_before_it_is_stored(lane);
        self.lanes.end(lane, work, false, left);
        self.in_flight[usize::from(route.0)].changes -= 1 + work.absorbed.len() as u64;
        self.has_outcome(work);
        work.absorbed.clear();
        (work.parked, work.merges, work.charges) = (true, false, charges);
        self.drain.keep(route, work.change.bytes());
    }

    /// Whether all of it was parked and nothing goes through to its remote now.
    pub(super) fn may_give_way(&self, batch: &Batch) -> bool {
        self.is_shut(self.router.route(batch.route).remote) && batch.members.iter().all(|it| it.work.parked)
    }

    /// Lets others see whether the remote is back: it is parked again, or waits till one of them has
    /// tried.
    pub(super) fn give_way(&mut self, batch: Batch, wait: Duration, error: String) {
        let route = batch.route;
        if batch.doubt && batch.members.len() > 1 {
            let now = Instant::now();
            let remote = usize::from(self.router.route(route).remote.0);
            let opens = self.ground.remotes[remote].governor.standing(now).until.unwrap_or(now);
            self.in_flight[usize::from(route.0)].backing_off += batch.members.len() as u64;
            self.batches.put_off(batch, (now + wait).max(opens + 2 * TICK));
        } else {
            let doubt = batch.doubt;
            for Member { lane, key, work, .. } in batch.members {
                if doubt {
                    self.batches.was_alone((route, key, work.id()));
                }
                self.lanes.leave(lane);
                self.put_aside(lane, work, false, wait, Some(&error));
            }
        }
        self.pending.counts(route).last_error = Some(error);
    }
}
