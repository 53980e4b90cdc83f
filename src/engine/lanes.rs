//! A keyed scheduler: any number of keys, one change of a key at a time, so many calls of a remote
//! at a time. Pure bookkeeping: it is told what happened and says what may start.
//!
//! Upholds invariant 2 (a lane is first in, first out, and runs one piece of work at a time) and 4
//! (a held key's stream changes queue behind what is parked, other keys go on).
//!
//! A lane outlives its work as a cache of the key's link, until the idle ones take more than their
//! share of memory.

mod idle;

use super::work::{Arrival, Work};
use crate::{
    model::{Link, Op},
    routing::{RemoteId, RouteId},
    state::Known,
};
use idle::Idle;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

/// One key of one route, as the lanes know it.
pub(super) type LaneKey = (RouteId, Arc<str>);

/// A lane's place; reused once the lane is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LaneId(u32);

/// What may happen to a lane's oldest work.
#[derive(Debug)]
pub(super) enum Ready {
    /// Start it; the lane and a slot of its remote are taken until [`Lanes::end`]. Work of a batched
    /// route has a place instead of the slot.
    ///
    /// `unsettled`: it must not be sent before what is known of the key is durable.
    Start { lane: LaneId, work: Work, link: Option<Arc<Link>>, unsettled: bool },
    /// It is no news: the link already has it or something newer.
    Old { lane: LaneId, work: Work },
    /// The key came and went before the remote heard of it.
    Unborn { lane: LaneId, work: Work },
    /// Older changes of the key are parked: it goes behind them.
    Behind { lane: LaneId, work: Work },
}

#[derive(Debug)]
struct Lane {
    key: LaneKey,
    waiting: VecDeque<Work>,
    knowledge: Knowledge,
    link: Option<Arc<Link>>,
    held: bool,
    /// Work of this lane is with a task, or waits for its next attempt.
    busy: bool,
    holds: Holds,
    /// It stands in its remote's queue.
    queued: bool,
    /// Outcomes that are not durable yet: what is cached here is newer than what is stored.
    unsaved: u32,
    /// Parkings among those.
    unsaved_parkings: u32,
    /// Among those are some that after a crash would end otherwise, unless they are durable.
    unsettled: bool,
    /// Its work waits until they are.
    waits_for_store: bool,
    /// Kept as a cache entry only.
    idle: Option<Idle>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knowledge {
    Unknown,
    Asked,
    Here,
}

/// What a lane's started work takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holds {
    #[default]
    Nothing,
    /// One of its remote's calls.
    Slot,
    /// One of the places where what goes into batches is looked at.
    Place,
}

/// How many changes are looked at at once before they go into batches: it may take a query each.
const PLACES: usize = 64;

#[derive(Debug)]
struct Remote {
    slots: usize,
    taken: usize,
    ready: VecDeque<LaneId>,
}

/// Every lane.
#[derive(Debug)]
pub(super) struct Lanes {
    by_key: HashMap<LaneKey, LaneId>,
    lanes: Vec<Option<Lane>>,
    free: Vec<LaneId>,
    remote_of: Vec<RemoteId>,
    remotes: Vec<Remote>,
    /// By route: its changes share calls.
    batched: Vec<bool>,
    /// Lanes whose oldest work may go into a batch.
    gathering: VecDeque<LaneId>,
    places_taken: usize,
    /// Lanes whose link has to be read.
    unknown: VecDeque<LaneId>,
    /// Who waits for which work to end.
    barriers: HashMap<Arrival, Vec<LaneId>>,
    /// Work that someone may wait for and that has not ended.
    open: HashSet<Arrival>,
    idle: VecDeque<(LaneId, u64)>,
    idle_bytes: usize,
    idle_limit: usize,
    stamp: u64,
}

impl Lanes {
    /// `remote_of` names each route's remote, `batched` the routes whose changes share calls,
    /// `slots` each remote's concurrency.
    pub(super) fn new(
        remote_of: Vec<RemoteId>,
        batched: Vec<bool>,
        slots: &[usize],
        idle_limit: usize,
    ) -> Self {
        let remote = |&slots: &usize| Remote { slots, taken: 0, ready: VecDeque::new() };
        Self {
            by_key: HashMap::new(),
            lanes: Vec::new(),
            free: Vec::new(),
            remote_of,
            remotes: slots.iter().map(remote).collect(),
            batched,
            gathering: VecDeque::new(),
            places_taken: 0,
            unknown: VecDeque::new(),
            barriers: HashMap::new(),
            open: HashSet::new(),
            idle: VecDeque::new(),
            idle_bytes: 0,
            idle_limit,
            stamp: 0,
        }
    }

    /// The key of a lane that is in use.
    pub(super) fn key(&self, lane: LaneId) -> &LaneKey {
        &self.lane(lane).key
    }

    /// Adds a change from the stream behind what waits, or merges it with the last of that.
    /// `awaited`: other work may have to wait for it.
    pub(super) fn push(&mut self, key: LaneKey, mut work: Work, awaited: bool) {
        let id = self.lane_of(key);
        if awaited {
            self.open.insert(work.arrival);
        }
        let lane = self.lane_mut(id);
        if let Some(older) = lane.waiting.pop_back()
            && let Err(older) = work.absorb(older)
        {
            lane.waiting.push_back(*older);
        }
        if lane.waiting.is_empty() {
            // Most lanes have one change; the queue's own growth makes room for four.
            lane.waiting.reserve_exact(1);
        }
        lane.waiting.push_back(work);
        self.consider(id);
    }

    /// A lane for a change that has no key of its own, to be ended at once.
    pub(super) fn nameless(&mut self, key: LaneKey) -> LaneId {
        let id = self.lane_of(key);
        self.lane_mut(id).knowledge = Knowledge::Here;
        self.unknown.retain(|it| *it != id);
        id
    }

    /// A started piece of work is left as if it had never been read, for a stop.
    pub(super) fn leave(&mut self, id: LaneId, has_slot: bool) {
        if has_slot {
            self.release_slot(id);
        }
        self.lane_mut(id).busy = false;
    }

    /// Takes up a parked change, ahead of everything of its key; `false` if the key is at work on
    /// a parked change already.
    pub(super) fn push_parked(&mut self, key: LaneKey, work: Work) -> bool {
        let id = self.lane_of(key);
        let lane = self.lane_mut(id);
        let at_work = lane.busy || lane.unsaved_parkings > 0;
        let taken_up = !at_work && lane.waiting.front().is_none_or(|it| !it.parked);
        if taken_up {
            lane.held = true;
            lane.waiting.push_front(work);
        }
        self.consider(id);
        taken_up
    }

    /// The longest waiting keys whose links have to be read, at most `limit` of them.
    pub(super) fn take_unknown(&mut self, limit: usize) -> Vec<LaneId> {
        let chosen: Vec<LaneId> = self.unknown.drain(..limit.min(self.unknown.len())).collect();
        for &id in &chosen {
            self.lane_mut(id).knowledge = Knowledge::Asked;
        }
        chosen
    }

    /// What the state store knows of a key.
    pub(super) fn learn(&mut self, id: LaneId, known: Known) {
        let lane = self.lane_mut(id);
        lane.knowledge = Knowledge::Here;
        lane.link = known.link.map(Arc::new);
        lane.held |= known.held;
        self.consider(id);
    }

    /// The next work that may start, in the order in which lanes became ready.
    pub(super) fn next_ready(&mut self) -> Option<Ready> {
        while self.places_taken < PLACES {
            let Some(id) = self.gathering.pop_front() else { break };
            self.lane_mut(id).queued = false;
            if let Some(ready) = self.take(id, Holds::Place) {
                return Some(ready);
            }
        }
        for remote in 0..self.remotes.len() {
            while self.remotes[remote].taken < self.remotes[remote].slots {
                let Some(id) = self.remotes[remote].ready.pop_front() else { break };
                self.lane_mut(id).queued = false;
                if let Some(ready) = self.take(id, Holds::Slot) {
                    return Some(ready);
                }
            }
        }
        None
    }

    fn take(&mut self, id: LaneId, holds: Holds) -> Option<Ready> {
        let remote = self.remote(id);
        let lane = self.lane_mut(id);
        let work = lane.waiting.pop_front()?;
        if lane.link.as_ref().is_some_and(|link| link.change >= work.id()) {
            return Some(Ready::Old { lane: id, work });
        }
        if lane.held && !work.parked {
            return Some(Ready::Behind { lane: id, work });
        }
        let link = lane.link.clone().filter(|link| !link.gone);
        if link.is_none() && work.born && work.change.op() == Op::Delete {
            return Some(Ready::Unborn { lane: id, work });
        }
        lane.busy = true;
        lane.holds = holds;
        let unsettled = lane.unsettled;
        match holds {
            Holds::Slot => self.remotes[remote].taken += 1,
            Holds::Place => self.places_taken += 1,
            Holds::Nothing => {}
        }
        Some(Ready::Start { lane: id, work, link, unsettled })
    }

    /// A started piece of work gives back what it holds, to be resumed later.
    pub(super) fn release_slot(&mut self, id: LaneId) {
        let remote = self.remote(id);
        match std::mem::take(&mut self.lane_mut(id).holds) {
            Holds::Slot => self.remotes[remote].taken -= 1,
            Holds::Place => self.places_taken -= 1,
            Holds::Nothing => {}
        }
    }

    /// Takes a slot of this remote for a batch, if there is one.
    pub(super) fn take_slot(&mut self, remote: RemoteId) -> bool {
        let remote = &mut self.remotes[usize::from(remote.0)];
        let free = remote.taken < remote.slots;
        remote.taken += usize::from(free);
        free
    }

    /// A batch gives its slot back.
    pub(super) fn give_slot(&mut self, remote: RemoteId) {
        self.remotes[usize::from(remote.0)].taken -= 1;
    }

    /// A started piece of work gave its slot back, to be started again once everything of its key
    /// is durable.
    pub(super) fn wait_until_saved(&mut self, id: LaneId, work: Work) {
        self.release_slot(id);
        let lane = self.lane_mut(id);
        lane.waits_for_store = lane.unsaved > 0;
        self.resume(id, work);
    }

    /// It is time for a piece of work's next attempt.
    pub(super) fn resume(&mut self, id: LaneId, work: Work) {
        let lane = self.lane_mut(id);
        lane.busy = false;
        lane.waiting.push_front(work);
        self.consider(id);
    }

    /// A piece of work has its outcome, which is not durable yet. `started`: it had a slot.
    pub(super) fn end(&mut self, id: LaneId, work: &Work, started: bool, left: Left) {
        if started {
            self.release_slot(id);
            self.lane_mut(id).busy = false;
        }
        let lane = self.lane_mut(id);
        lane.held |= left.parking;
        lane.unsaved += u32::from(left.link.is_some() || left.parking);
        lane.unsaved_parkings += u32::from(left.parking);
        lane.unsettled |= left.unsettled;
        if left.link.is_some() {
            lane.link = left.link;
        }
        let ended = std::iter::once(work.arrival).chain(work.absorbed.iter().map(|(arrival, _)| *arrival));
        for arrival in ended {
            if self.open.remove(&arrival) {
                for waiting in self.barriers.remove(&arrival).unwrap_or_default() {
                    self.consider(waiting);
                }
            }
        }
        self.consider(id);
    }

    /// So many outcomes of a lane have become durable, so many of them parkings. `held` is what
    /// the store says of a key that had any.
    pub(super) fn saved(&mut self, id: LaneId, outcomes: u32, parkings: u32, held: Option<bool>) {
        let lane = self.lane_mut(id);
        lane.unsaved -= outcomes;
        lane.unsaved_parkings -= parkings;
        if lane.unsaved == 0 {
            lane.unsettled = false;
            lane.waits_for_store = false;
        }
        if lane.unsaved_parkings == 0
            && let Some(held) = held
        {
            lane.held = held;
        }
        self.consider(id);
    }

    /// What is remembered of a key now.
    pub(super) fn link(&self, id: LaneId) -> Option<&Arc<Link>> {
        self.lane(id).link.as_ref()
    }

    /// Forgets everything that waits, for a stop: it was not settled and comes again.
    pub(super) fn abandon_waiting(&mut self) {
        for lane in self.lanes.iter_mut().flatten() {
            lane.waiting.clear();
        }
        self.remotes.iter_mut().for_each(|it| it.ready.clear());
        self.gathering.clear();
        // Their lanes may rest from here on, and be dropped.
        self.barriers.clear();
        self.unknown.clear();
    }

    /// The lane of this key, made if it is new.
    fn lane_of(&mut self, key: LaneKey) -> LaneId {
        if let Some(&id) = self.by_key.get(&key) {
            let idle = std::mem::take(&mut self.lane_mut(id).idle);
            self.idle_bytes -= idle.map_or(0, |it| it.bytes);
            return id;
        }
        let lane = Lane {
            key: key.clone(),
            waiting: VecDeque::new(),
            knowledge: Knowledge::Unknown,
            link: None,
            held: false,
            busy: false,
            holds: Holds::Nothing,
            queued: false,
            unsaved: 0,
            unsaved_parkings: 0,
            unsettled: false,
            waits_for_store: false,
            idle: None,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.lanes[id.0 as usize] = Some(lane);
                id
            }
            None => {
                self.lanes.push(Some(lane));
                LaneId(self.lanes.len() as u32 - 1)
            }
        };
        self.by_key.insert(key, id);
        self.unknown.push_back(id);
        id
    }

    /// Puts the lane where its state belongs: its remote's queue, a barrier, or the idle ones.
    fn consider(&mut self, id: LaneId) {
        let remote = self.remote(id);
        let lane = self.lane(id);
        if lane.busy || lane.queued || lane.waits_for_store || lane.knowledge != Knowledge::Here {
            return;
        }
        match lane.waiting.front().map(|work| work.after) {
            None if lane.unsaved == 0 => self.rest(id),
            None => {}
            Some(Some(after)) if self.open.contains(&after) => {
                let waiting = self.barriers.entry(after).or_default();
                if !waiting.contains(&id) {
                    waiting.push(id);
                }
            }
            Some(_) => {
                let gathers = self.batched[usize::from(lane.key.0.0)]
                    && lane.waiting.front().is_some_and(|work| !work.stands_alone(&lane.key.1));
                self.lane_mut(id).queued = true;
                let queue = if gathers { &mut self.gathering } else { &mut self.remotes[remote].ready };
                queue.push_back(id);
            }
        }
    }

    fn remote(&self, id: LaneId) -> usize {
        let route = self.lane(id).key.0;
        usize::from(self.remote_of[usize::from(route.0)].0)
    }

    fn lane(&self, id: LaneId) -> &Lane {
        self.lanes[id.0 as usize].as_ref().unwrap_or_else(|| unreachable!("lane {id:?} is in use"))
    }

    fn lane_mut(&mut self, id: LaneId) -> &mut Lane {
        self.lanes[id.0 as usize].as_mut().unwrap_or_else(|| unreachable!("lane {id:?} is in use"))
    }
}

/// What an ended piece of work leaves behind, to be made durable.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The key's link as it is now.
    pub(super) link: Option<Arc<Link>>,
    /// It is parked, or was and has ended.
    pub(super) parking: bool,
    /// After a crash it would end otherwise, unless it is durable: the key's next call waits.
    pub(super) unsettled: bool,
}
