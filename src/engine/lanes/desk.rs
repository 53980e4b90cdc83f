//! Lanes whose oldest work goes into a batch. They are looked at ahead of any slot, some at a time,
//! and only while the remote takes the batches there are: what is in none yet still merges.

use super::{BatchNo, Caller, Class, LaneId, Lanes, Rank, Ready};
use crate::routing::RouteId;
use std::collections::VecDeque;

/// What waits to be looked at, and what is.
#[derive(Debug)]
pub(super) struct Desk {
    /// By route: its changes share calls.
    batched: Vec<bool>,
    /// Lanes to be looked at, by remote.
    waiting: Vec<VecDeque<LaneId>>,
    /// Batches that wait for a slot, by remote.
    ready: Vec<usize>,
    taken: usize,
}

/// How many changes are looked at at once: it may take a query each.
const PLACES: usize = 64;
/// How many batches may wait for a remote before no further ones are gathered for it.
const BATCHES: usize = 4;

impl Desk {
    pub fn new(batched: Vec<bool>, remotes: usize) -> Self {
        Self { batched, waiting: vec![VecDeque::new(); remotes], ready: vec![0; remotes], taken: 0 }
    }

    fn next(&mut self) -> Option<LaneId> {
        if self.taken >= PLACES {
            return None;
        }
        let free = self.waiting.iter_mut().zip(&self.ready).filter(|(_, ready)| **ready < BATCHES);
        free.into_iter().find_map(|(waiting, _)| waiting.pop_front())
    }

    pub fn clear(&mut self) {
        self.waiting.iter_mut().for_each(VecDeque::clear);
        self.ready.fill(0);
    }
}

impl Lanes {
    /// Puts the lane here if its work goes into a batch.
    pub(super) fn queue_at_desk(&mut self, id: LaneId) -> bool {
        let lane = self.lane(id);
        let (route, key) = &lane.key;
        let remote = usize::from(self.places[usize::from(route.0)].0.0);
        let batched = self.desk.batched[usize::from(route.0)]
            && lane.waiting.front().is_some_and(|work| !work.stands_alone(key));
        if batched {
            match lane.rank {
                Rank::Ahead => self.desk.waiting[remote].push_front(id),
                Rank::Anew => self.desk.waiting[remote].push_back(id),
            }
        }
        batched
    }

    /// The next work that is to be looked at.
    pub(super) fn next_at_desk(&mut self) -> Option<Ready> {
        while let Some(id) = self.desk.next() {
            self.lane_mut(id).queued = false;
            let ready = match self.fate(id) {
                // What waited was put aside.
                None => {
                    self.consider(id);
                    None
                }
                Some(super::Fate::Call) => {
                    let ready = self.begin(id, None);
                    self.lane_mut(id).at_desk = ready.is_some();
                    self.desk.taken += usize::from(ready.is_some());
                    ready
                }
                Some(fate) => self.without_call(id, fate),
            };
            if ready.is_some() {
                return ready;
            }
        }
        None
    }

    /// Work that was begun has come back: if it was being looked at, its place is free.
    pub(in crate::engine) fn back(&mut self, id: LaneId) {
        let was_here = std::mem::take(&mut self.lane_mut(id).at_desk);
        self.desk.taken -= usize::from(was_here);
    }

    /// A batch waits for a slot. `retries`: all of it was parked, or tried before.
    pub(in crate::engine) fn push_batch(
        &mut self,
        batch: BatchNo,
        route: RouteId,
        rank: Rank,
        retries: bool,
    ) {
        let (remote, priority) = self.places[usize::from(route.0)];
        let remote = usize::from(remote.0);
        self.desk.ready[remote] += 1;
        let class = if retries { Class::Retry } else { Class::Live };
        match rank {
            Rank::Ahead => self.remotes[remote].push_ahead(Caller::Batch(batch)),
            Rank::Anew => self.remotes[remote].push(Caller::Batch(batch), class, priority, self.now),
        }
    }

    pub(super) fn batch_goes(&mut self, remote: usize) {
        self.desk.ready[remote] -= 1;
    }
}
