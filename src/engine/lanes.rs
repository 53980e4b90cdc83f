//! A keyed scheduler: any number of keys, one change of a key at a time, so many calls of a remote
//! at a time. Pure bookkeeping: it is told what happened and says what may start.
//!
//! Upholds invariant 2 (a lane is first in, first out, and runs one piece of work at a time) and 4
//! (a held key's stream changes queue behind what is parked, other keys go on).
//!
//! A lane outlives its work as a cache of the key's link, until the idle ones take more than their
//! share of memory.

mod aside;
mod desk;
mod idle;
mod kin;
mod lane;
mod outcome;
mod ready;

pub(super) use desk::Desk;
pub(super) use idle::{saved_bytes, value_bytes};
pub(super) use kin::{Claim, Sight};
pub(super) use outcome::{Held, Left};
pub(super) use ready::BatchNo;

use super::{
    admission::Admission,
    work::{Arrival, Work},
};
use crate::{
    model::{Link, Op},
    remote::Slot,
    routing::{RemoteId, RouteId},
    state::{Hold, Known},
};
use kin::Deleting;
use lane::{Knowledge, Lane};
use ready::{Caller, Class, Queue, class_of};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::time::Instant;

/// One key of one route, as the lanes know it.
pub(super) type LaneKey = (RouteId, Arc<str>);

/// A lane's place; reused once the lane is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LaneId(u32);

/// What may happen to a lane's oldest work.
#[derive(Debug)]
pub(super) enum Ready {
    /// Start it; the lane is taken until [`Lanes::end`].
    ///
    /// `slot` is `None` where it is looked at ahead of its call. `unsettled`: it must not be sent before what is
    /// known of the key is durable.
    Start { lane: LaneId, work: Work, link: Option<Arc<Link>>, slot: Option<Slot>, unsettled: bool },
    /// Send this batch.
    Batch { batch: BatchNo, slot: Slot },
    /// It is no news: the link already has it or something newer.
    Old { lane: LaneId, work: Work },
    /// The key came and went before the remote heard of it.
    Unborn { lane: LaneId, work: Work },
    /// Older changes of the key are parked: it goes behind them.
    Behind { lane: LaneId, work: Work },
    /// Its remote does not keep up: it is parked before it was started.
    Aside { lane: LaneId, work: Work },
}

/// Where work that comes back stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// As if it had just become ready.
    Anew,
    /// Before all that has not begun.
    Ahead,
    /// As if it had waited since then: something was read for it meanwhile.
    Since(Instant),
}

/// What the oldest work of a lane comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Call,
    Old,
    Behind,
    Unborn,
}

/// Every lane.
#[derive(Debug)]
pub(super) struct Lanes {
    by_key: HashMap<LaneKey, LaneId>,
    lanes: Vec<Option<Lane>>,
    free: Vec<LaneId>,
    /// Each route's remote and priority.
    places: Vec<(RemoteId, u8)>,
    /// Lanes that are ready to call, by remote.
    remotes: Vec<Queue>,
    /// Lanes whose oldest work needs no call, and so waits for no remote.
    callless: VecDeque<LaneId>,
    /// Remotes whose waiting work is put aside.
    aside: Vec<bool>,
    /// Lanes of those where something has happened since.
    fresh: VecDeque<LaneId>,
    desk: Desk,
    now: Instant,
    /// Lanes whose link has to be read.
    unknown: VecDeque<LaneId>,
    /// How many of them, from the front, the state may know.
    sifted: usize,
    /// Who waits for which work to end.
    barriers: HashMap<Arrival, Vec<LaneId>>,
    /// Work that someone may wait for and that has not ended, and its lane.
    open: HashMap<Arrival, LaneId>,
    idle: VecDeque<(LaneId, u64)>,
    idle_bytes: usize,
    idle_limit: usize,
    stamp: u64,
    /// Lanes whose work waited for another lane, where something has happened.
    woken: Vec<LaneId>,
}

impl Lanes {
    /// `places` names each route's remote and priority.
    pub(super) fn new(
        places: Vec<(RemoteId, u8)>,
        desk: Desk,
        remotes: usize,
        idle_limit: usize,
        now: Instant,
    ) -> Self {
        Self {
            by_key: HashMap::new(),
            lanes: Vec::new(),
            free: Vec::new(),
            places,
            remotes: (0..remotes).map(|_| Queue::new(now)).collect(),
            callless: VecDeque::new(),
            aside: vec![false; remotes],
            fresh: VecDeque::new(),
            desk,
            now,
            unknown: VecDeque::new(),
            sifted: 0,
            barriers: HashMap::new(),
            open: HashMap::new(),
            idle: VecDeque::new(),
            idle_bytes: 0,
            idle_limit,
            stamp: 0,
            woken: Vec::new(),
        }
    }

    /// What happens from here on happens at this time.
    pub(super) fn at(&mut self, now: Instant) {
        self.now = now;
    }

    /// How many keys wait for this remote.
    pub(super) fn waiting_for(&self, remote: RemoteId) -> usize {
        self.remotes[usize::from(remote.0)].len()
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
            self.open.insert(work.arrival, id);
        }
        let lane = self.lane_mut(id);
        // What is under way for its children needs the row to be there before it is deleted.
        let needed = kin::removes(&work) && lane.kin.as_ref().is_some_and(|kin| kin.is_claimed());
        if !needed
            && let Some(older) = lane.waiting.pop_back()
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
    pub(super) fn leave(&mut self, id: LaneId) {
        self.lane_mut(id).busy = false;
    }

    /// Takes up a parked change, ahead of everything of its key; `false` if the key is at work on
    /// a parked change already.
    pub(super) fn push_parked(&mut self, key: LaneKey, work: Work) -> bool {
        let id = self.lane_of(key);
        let lane = self.lane_mut(id);
        let at_work = lane.busy || lane.unsaved_parkings > 0;
        // Between two calls of a sequence nothing goes before it, and its answers stay (invariant 3).
        let taken_up = !at_work && lane.waiting.front().is_none_or(|it| !it.parked && !it.has_begun());
        if taken_up {
            lane.held = true;
            lane.oldest = Some(lane.oldest.map_or(work.id(), |oldest| oldest.min(work.id())));
            lane.waiting.push_front(work);
        }
        self.consider(id);
        taken_up
    }

    /// The keys of which nothing has to be read, among those that came since the last time.
    pub(super) fn take_new(&mut self, is_new: impl Fn(&LaneKey) -> bool) -> Vec<LaneId> {
        let came = self.unknown.split_off(self.sifted.min(self.unknown.len()));
        let (new, others): (Vec<LaneId>, Vec<LaneId>) =
            came.into_iter().partition(|id| is_new(self.key(*id)));
        self.unknown.extend(others);
        self.sifted = self.unknown.len();
        new
    }

    /// The longest waiting keys whose links have to be read, at most `limit` of them.
    pub(super) fn take_unknown(&mut self, limit: usize) -> Vec<LaneId> {
        let chosen: Vec<LaneId> = self.unknown.drain(..limit.min(self.unknown.len())).collect();
        self.sifted = self.sifted.saturating_sub(chosen.len());
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
        lane.held |= known.hold == Hold::Held;
        lane.passing |= known.hold == Hold::Passing;
        lane.leaving = known.leaving;
        lane.oldest = lane.oldest.into_iter().chain(known.oldest).min();
        self.wake(id);
        self.consider(id);
    }

    /// The next work that may start, the most urgent of its remote.
    pub(super) fn next_ready(&mut self, admission: &mut Admission) -> Option<Ready> {
        while let Some(id) = self.callless.pop_front() {
            self.lane_mut(id).queued = false;
            match self.fate(id) {
                // It has changed since: what is parked came before it, or holds it no more.
                Some(Fate::Call) => self.consider(id),
                Some(fate) => return self.without_call(id, fate),
                None => self.consider(id),
            }
        }
        if let Some(ready) = self.next_at_desk() {
            return Some(ready);
        }
        for remote in 0..self.remotes.len() {
            while let Some((caller, urgency)) = self.remotes[remote].peek() {
                let fate = match caller {
                    Caller::Lane(id) => self.fate(id),
                    Caller::Batch(_) => Some(Fate::Call),
                };
                let slot = match fate {
                    Some(Fate::Call) => match admission.admit(remote, urgency) {
                        None => break,
                        slot => slot,
                    },
                    _ => None,
                };
                self.remotes[remote].pop();
                let id = match caller {
                    Caller::Lane(id) => id,
                    Caller::Batch(batch) => {
                        self.batch_goes(remote);
                        return slot.map(|slot| Ready::Batch { batch, slot });
                    }
                };
                self.lane_mut(id).queued = false;
                self.has_left(id);
                match (fate, slot) {
                    (_, Some(slot)) => return self.begin(id, Some(slot)),
                    (Some(fate), None) => return self.without_call(id, fate),
                    // What waited was put aside.
                    (None, None) => self.consider(id),
                }
            }
            if self.remotes[remote].len() == 0 {
                admission.none_waits(remote);
            }
        }
        None
    }

    /// What is to happen to a lane's oldest work.
    fn fate(&self, id: LaneId) -> Option<Fate> {
        let lane = self.lane(id);
        let work = lane.waiting.front()?;
        let link = lane.link.as_ref();
        let held = lane.held;
        #[cfg(debug_assertions)]
        let held = held && !super::broken("overtakes-parked");
        let parked_over = held && !work.parked && work.is_parked_over(lane.oldest);
        Some(if parked_over || link.is_some_and(|link| work.is_known(link)) {
            Fate::Old
        } else if held && !work.parked {
            Fate::Behind
        } else if work.born && work.change.op() == Op::Delete && link.is_none_or(|link| link.gone) {
            Fate::Unborn
        } else {
            Fate::Call
        })
    }

    fn begin(&mut self, id: LaneId, slot: Option<Slot>) -> Option<Ready> {
        let lane = self.lane_mut(id);
        let mut work = lane.waiting.pop_front()?;
        let link = lane.link.clone().filter(|link| !link.gone);
        work.passes = lane.passing;
        lane.busy = true;
        lane.deleting = Deleting::begun(&work);
        lane.rank = Rank::Anew;
        let unsettled = lane.unsettled;
        Some(Ready::Start { lane: id, work, link, slot, unsettled })
    }

    fn without_call(&mut self, lane: LaneId, fate: Fate) -> Option<Ready> {
        self.lane_mut(lane).rank = Rank::Anew;
        let work = self.lane_mut(lane).waiting.pop_front()?;
        Some(match fate {
            Fate::Old => Ready::Old { lane, work },
            Fate::Unborn => Ready::Unborn { lane, work },
            Fate::Behind | Fate::Call => Ready::Behind { lane, work },
        })
    }

    /// A piece of work that was started goes on.
    pub(super) fn resume(&mut self, id: LaneId, work: Work, rank: Rank) {
        let lane = self.lane_mut(id);
        lane.busy = false;
        lane.deleting = None;
        lane.rank = rank;
        lane.waiting.push_front(work);
        self.consider(id);
    }

    /// What is remembered of a key now.
    pub(super) fn link(&self, id: LaneId) -> Option<&Arc<Link>> {
        self.lane(id).link.as_ref()
    }

    /// Forgets everything that waits, for a stop: it was not settled and comes again. What has
    /// begun already is handed over.
    pub(super) fn abandon_waiting(&mut self) -> Vec<(LaneId, Work)> {
        let mut begun = Vec::new();
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let Some(lane) = lane else { continue };
            let waiting = std::mem::take(&mut lane.waiting);
            begun.extend(waiting.into_iter().filter(|it| it.tried).map(|work| (LaneId(at as u32), work)));
            lane.queued = false;
        }
        self.remotes.iter_mut().for_each(Queue::clear);
        self.callless.clear();
        self.desk.clear();
        // Their lanes may rest from here on, and be dropped.
        self.barriers.clear();
        self.unknown.clear();
        self.sifted = 0;
        self.fresh.clear();
        begun
    }

    /// The lane of this key, made if it is new.
    fn lane_of(&mut self, key: LaneKey) -> LaneId {
        if let Some(&id) = self.by_key.get(&key) {
            let idle = std::mem::take(&mut self.lane_mut(id).idle);
            self.idle_bytes -= idle.map_or(0, |it| it.bytes);
            return id;
        }
        let lane = Lane::new(key.clone());
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
        self.freshen(id);
        let lane = self.lane(id);
        let busy = lane.busy;
        #[cfg(debug_assertions)]
        let busy = busy && !super::broken("two-at-once");
        if busy || lane.queued || lane.waits_for_store || lane.knowledge != Knowledge::Here {
            return;
        }
        match lane.waiting.front().map(|work| work.after) {
            None if lane.unsaved == 0 && lane.kin.is_none() => self.rest(id),
            None => {}
            Some(Some(after)) if self.open.contains_key(&after) => {
                let waiting = self.barriers.entry(after).or_default();
                if !waiting.contains(&id) {
                    waiting.push(id);
                }
            }
            Some(_) if self.awaits_aside(lane) => {}
            Some(_) => self.queue(id),
        }
    }

    fn queue(&mut self, id: LaneId) {
        let calls = self.fate(id) == Some(Fate::Call);
        self.lane_mut(id).queued = true;
        if calls && self.queue_at_desk(id) {
            return;
        }
        let (now, lane) = (self.now, self.lane(id));
        let (class, rank, route) = (class_of(lane), lane.rank, lane.key.0);
        if !calls {
            return self.callless.push_back(id);
        }
        let (remote, priority) = self.places[usize::from(route.0)];
        let queue = &mut self.remotes[usize::from(remote.0)];
        match rank {
            Rank::Ahead => queue.push_ahead(Caller::Lane(id)),
            Rank::Anew => queue.push(Caller::Lane(id), class, priority, now),
            Rank::Since(since) => {
                queue.push(Caller::Lane(id), class, priority, since);
                self.is_ahead(id);
            }
        }
    }

    fn lane(&self, id: LaneId) -> &Lane {
        self.lanes[id.0 as usize].as_ref().unwrap_or_else(|| unreachable!("lane {id:?} is in use"))
    }

    fn lane_mut(&mut self, id: LaneId) -> &mut Lane {
        self.lanes[id.0 as usize].as_mut().unwrap_or_else(|| unreachable!("lane {id:?} is in use"))
    }
}
