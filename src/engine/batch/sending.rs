//! What the engine's task does about batches.

use super::{
    Batch, Joining, Member,
    carry::{BatchEnded, BatchPass, BatchVerdict},
    gather::Readied,
};
use crate::{
    engine::{
        Engine, Event, TICK,
        carry::Phase,
        lanes::{BatchNo, LaneId, Rank},
        work::Work,
    },
    remote::Slot,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

impl Engine {
    /// A change has been looked at and is to be sent along with others.
    pub(in crate::engine) fn join(&mut self, lane: LaneId, work: Work, joining: Joining) {
        if *self.phase.borrow() != Phase::Running {
            return self.interrupted(lane, work, true);
        }
        let (route, key) = self.lanes.key(lane).clone();
        let on = self.router.route(route);
        let link = self.lanes.link(lane).filter(|link| !link.gone).cloned();
        let sent_alone = self.batches.has_been_alone(&(route, Arc::clone(&key), work.id()));
        let member = Member { lane, key, work, link };
        if sent_alone {
            return self.batches.make_ready(Batch::again(route, member), Rank::Anew);
        }
        let limits = on.batch.unwrap_or_default();
        let Joining { kind, bytes } = joining;
        self.batches.join((route, kind), &limits, (member, bytes), Instant::now());
    }

    /// Tells the lanes which batches have become ready.
    pub(in crate::engine) fn queue_batches(&mut self) {
        for Readied { batch, route, rank, retries } in self.batches.take_readied() {
            self.lanes.push_batch(batch, route, rank, retries);
        }
    }

    pub(in crate::engine) fn send_batch(&mut self, batch: BatchNo, slot: Slot) {
        let Some(batch) = self.batches.take(batch) else { return };
        if let Some(why) = self.halted_route(batch.route) {
            drop(slot);
            return self.give_way(batch, TICK, why.to_string());
        }
        let ground = Arc::clone(&self.ground);
        let pass = BatchPass { ground, batch, slot, phase: self.phase.subscribe() };
        self.tasks.spawn(async move { Event::BatchEnded(Box::new(pass.run().await)) });
    }

    /// Readies the batches whose time has come.
    pub(in crate::engine) fn ready_batches(&mut self) {
        for (route, changes) in self.batches.pass_time(Instant::now()) {
            self.in_flight[usize::from(route.0)].backing_off -= changes as u64;
        }
    }

    pub(in crate::engine) fn batch_ended(&mut self, ended: BatchEnded) {
        let BatchEnded { batch, verdict } = ended;
        let stopping = *self.phase.borrow() != Phase::Running;
        match verdict {
            BatchVerdict::Done(outcomes) => {
                for (Member { lane, key, work, .. }, outcome) in batch.members.into_iter().zip(outcomes) {
                    self.batches.forget_alone(&(batch.route, key, work.id()));
                    self.lanes.leave(lane);
                    self.finish(lane, work, false, outcome);
                    #[cfg(debug_assertions)]
                    crate::engine::failpoint::reached("mid-batch");
                }
            }
            // They were to see whether the remote is back; the next ones are others' turn.
            BatchVerdict::Again { after, error } if !stopping && self.may_give_way(&batch) => {
                self.give_way(batch, after, error);
            }
            BatchVerdict::Held { error: Some(error) } if !stopping && self.may_give_way(&batch) => {
                self.give_way(batch, Duration::ZERO, error);
            }
            BatchVerdict::Again { after, error } if !stopping => {
                self.pending.counts(batch.route).last_error = Some(error);
                self.in_flight[usize::from(batch.route.0)].backing_off += batch.members.len() as u64;
                self.batches.put_off(batch, Instant::now() + after);
            }
            BatchVerdict::Held { error } if !stopping => {
                let rank = if error.is_some() { Rank::Anew } else { Rank::Ahead };
                if error.is_some() {
                    self.pending.counts(batch.route).last_error = error;
                }
                self.batches.make_ready(batch, rank);
            }
            BatchVerdict::Halve if !stopping => self.batches.halve(batch),
            BatchVerdict::Again { .. }
            | BatchVerdict::Held { .. }
            | BatchVerdict::Halve
            | BatchVerdict::Interrupted => {
                for Member { lane, work, .. } in batch.members {
                    self.interrupted(lane, work, false);
                }
            }
        }
    }

    /// Leaves what is not under way, for a stop: it comes again.
    pub(in crate::engine) fn abandon_batches(&mut self) {
        for (route, Member { lane, work, .. }, waits) in self.batches.abandon() {
            self.in_flight[usize::from(route.0)].backing_off -= u64::from(waits);
            self.interrupted(lane, work, false);
        }
    }
}
