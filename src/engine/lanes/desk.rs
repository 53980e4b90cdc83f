//! Lanes whose oldest work is looked at ahead of any slot: it goes into a batch, or something has to
//! be read for it. So whatever takes time before a call holds no part of a remote's limits.
//!
//! How much is looked at at once is bounded, and so is what has been looked at and waits: reads go
//! by what the reader does at once, and what is in no batch yet still merges.

use super::{
    BatchNo, Caller, Class, LaneId, Lanes, Rank, Ready,
    ready::{Queue, class_of},
};
use crate::routing::{RemoteId, Route, RouteId};
use std::sync::Arc;
use tokio::time::Instant;

/// What waits to be looked at, and what is.
#[derive(Debug)]
pub(in crate::engine) struct Desk {
    routes: Vec<Habit>,
    remotes: Vec<Lines>,
    /// The remote that is served first, in turn.
    turn: usize,
    looked_at: usize,
    read: usize,
    /// How much is read at once.
    reads: usize,
}

/// What a route's changes are looked at for.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// They share calls.
    batched: bool,
    /// Something is read for each of them.
    fetches: bool,
}

/// The lanes of one remote.
#[derive(Debug)]
struct Lines {
    /// Those that wait, by [`Line`], the most urgent first.
    waiting: [Queue; 3],
    /// Batches that wait for a slot.
    batches: usize,
    /// What is read for calls of its own.
    read: usize,
    /// What has been read for those and waits for a slot.
    ahead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// It goes into a batch as it is.
    Join,
    /// It is read, and goes into a batch.
    ReadAndJoin,
    /// It is read, and makes calls of its own.
    Read,
}

/// What a lane is at the desk for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    line: Line,
    /// Where it stood among the others.
    rank: Rank,
}

/// How many changes are looked at at once without being read.
const PLACES: usize = 64;
/// How many batches may wait for a remote before no further ones are gathered for it.
const BATCHES: usize = 4;
/// How many changes may be read and wait for a remote before no further ones are read for it.
const AHEAD: usize = 32;

impl Desk {
    pub(in crate::engine) fn new(routes: &[Arc<Route>], remotes: usize, reads: usize, now: Instant) -> Self {
        let habit = |route: &Arc<Route>| Habit {
            batched: route.batching().is_some(),
            fetches: route.fetch.is_some(),
        };
        let lines =
            |_| Lines { waiting: std::array::from_fn(|_| Queue::new(now)), batches: 0, read: 0, ahead: 0 };
        Self {
            routes: routes.iter().map(habit).collect(),
            remotes: (0..remotes).map(lines).collect(),
            turn: 0,
            looked_at: 0,
            read: 0,
            reads: reads.max(1),
        }
    }

    /// The next lane, the remotes in turn.
    fn next(&mut self) -> Option<(LaneId, Line)> {
        let reads = self.read < self.reads;
        for step in 0..self.remotes.len() {
            let at = (self.turn + step) % self.remotes.len();
            let lines = &mut self.remotes[at];
            for line in [Line::Join, Line::ReadAndJoin, Line::Read] {
                let free = match line {
                    Line::Join => lines.batches < BATCHES && self.looked_at < PLACES,
                    Line::ReadAndJoin => lines.batches < BATCHES && reads,
                    Line::Read => lines.read + lines.ahead < AHEAD && reads,
                };
                if free && let Some((Caller::Lane(id), _)) = lines.waiting[line as usize].peek() {
                    lines.waiting[line as usize].pop();
                    self.turn = at + 1;
                    return Some((id, line));
                }
            }
        }
        None
    }

    fn count(&mut self, line: Line, remote: RemoteId, begins: bool) {
        let lines = &mut self.remotes[usize::from(remote.0)];
        let (all, own) = match line {
            Line::Join => (&mut self.looked_at, None),
            Line::ReadAndJoin => (&mut self.read, None),
            Line::Read => (&mut self.read, Some(&mut lines.read)),
        };
        for count in std::iter::once(all).chain(own) {
            *count = if begins { *count + 1 } else { *count - 1 };
        }
    }

    pub(super) fn clear(&mut self) {
        for lines in &mut self.remotes {
            lines.waiting.iter_mut().for_each(Queue::clear);
            (lines.batches, lines.ahead) = (0, 0);
        }
    }
}

impl Lanes {
    /// Puts the lane here if its work is to be looked at.
    pub(super) fn queue_at_desk(&mut self, id: LaneId) -> bool {
        let lane = self.lane(id);
        let (route, key) = (usize::from(lane.key.0.0), &lane.key.1);
        let Some(work) = lane.waiting.front().filter(|work| !work.stands_alone(key)) else { return false };
        let Habit { batched, fetches } = self.desk.routes[route];
        let line = match (work.has_to_be_read(fetches), batched) {
            (true, true) => Line::ReadAndJoin,
            (true, false) => Line::Read,
            (false, true) => Line::Join,
            (false, false) => return false,
        };
        let since = match lane.rank {
            Rank::Ahead => None,
            Rank::Anew => Some(self.now),
            Rank::Since(since) => Some(since),
        };
        let class = class_of(lane);
        let (remote, priority) = self.places[route];
        let queue = &mut self.desk.remotes[usize::from(remote.0)].waiting[line as usize];
        match since {
            None => queue.push_ahead(Caller::Lane(id)),
            Some(since) => {
                queue.push(Caller::Lane(id), class, priority, since);
                self.lane_mut(id).rank = Rank::Since(since);
            }
        }
        true
    }

    /// The next work that is to be looked at.
    pub(super) fn next_at_desk(&mut self) -> Option<Ready> {
        while let Some((id, line)) = self.desk.next() {
            let lane = self.lane_mut(id);
            lane.queued = false;
            let rank = lane.rank;
            let ready = match self.fate(id) {
                // What waited was put aside.
                None => {
                    self.lane_mut(id).rank = Rank::Anew;
                    self.consider(id);
                    None
                }
                Some(super::Fate::Call) => {
                    let ready = self.begin(id, None);
                    if ready.is_some() {
                        self.lane_mut(id).at_desk = Some(Visit { line, rank });
                        self.desk.count(line, self.remote_of(id), true);
                    }
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

    /// Work that was begun has come back. If it was being looked at, its place is free; then this
    /// is where it stood among the others.
    pub(in crate::engine) fn back(&mut self, id: LaneId) -> Option<Rank> {
        let Visit { line, rank } = self.lane_mut(id).at_desk.take()?;
        self.desk.count(line, self.remote_of(id), false);
        Some(rank)
    }

    /// Something has been read for a lane that waits for a slot now.
    pub(super) fn is_ahead(&mut self, id: LaneId) {
        let remote = self.remote_of(id);
        self.lane_mut(id).ahead = true;
        self.desk.remotes[usize::from(remote.0)].ahead += 1;
    }

    /// A lane waits for a slot no more.
    pub(super) fn has_left(&mut self, id: LaneId) {
        let remote = self.remote_of(id);
        if std::mem::take(&mut self.lane_mut(id).ahead) {
            self.desk.remotes[usize::from(remote.0)].ahead -= 1;
        }
    }

    /// How many keys wait to be looked at before they wait for this remote.
    pub(in crate::engine) fn waiting_at_desk(&self, remote: RemoteId) -> usize {
        self.desk.remotes[usize::from(remote.0)].waiting.iter().map(Queue::len).sum()
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
        self.desk.remotes[remote].batches += 1;
        let class = if retries { Class::Retry } else { Class::Live };
        let queue = &mut self.remotes[remote];
        match rank {
            Rank::Ahead => queue.push_ahead(Caller::Batch(batch)),
            Rank::Anew => queue.push(Caller::Batch(batch), class, priority, self.now),
            Rank::Since(since) => queue.push(Caller::Batch(batch), class, priority, since),
        }
    }

    pub(super) fn batch_goes(&mut self, remote: usize) {
        self.desk.remotes[remote].batches -= 1;
    }
}
