//! What waits for a remote that does not keep up is taken out of its lanes, to be parked.
//!
//! Invariant 2: a change is put aside only if nothing older of its key is under way, and then what
//! is behind it goes with it, in order.

use super::{Knowledge, Lane, LaneId, Lanes, Rank, Ready};
use crate::{model::Op, routing::RemoteId};
use tokio::time::Instant;

impl Lanes {
    /// From now on what waits for this remote is put aside, or no longer.
    pub(in crate::engine) fn put_aside(&mut self, remote: RemoteId, aside: bool) {
        self.aside[usize::from(remote.0)] = aside;
        for id in self.all() {
            if aside { self.freshen(id) } else { self.consider(id) }
        }
    }

    /// Whether what waits for this remote is put aside.
    pub(in crate::engine) fn is_put_aside(&self, remote: RemoteId) -> bool {
        self.aside[usize::from(remote.0)]
    }

    /// Whether that is so for any remote.
    pub(in crate::engine) fn any_put_aside(&self) -> bool {
        self.aside.contains(&true)
    }

    /// The remote that this lane's calls go to.
    pub(in crate::engine) fn remote_of(&self, id: LaneId) -> RemoteId {
        self.places[usize::from(self.lane(id).key.0.0)].0
    }

    /// The lanes whose oldest work for this remote came before then.
    pub(in crate::engine) fn stale(&self, remote: RemoteId, before: Instant) -> Vec<LaneId> {
        let lanes = self.lanes.iter().enumerate().filter_map(|(at, lane)| Some((at, lane.as_ref()?)));
        let stale = lanes.filter(|(_, lane)| {
            let oldest = lane.waiting.iter().find(|work| !work.parked);
            self.places[usize::from(lane.key.0.0)].0 == remote
                && oldest.is_some_and(|work| work.since < before)
        });
        stale.map(|(at, _)| LaneId(at as u32)).collect()
    }

    /// What has to be put aside of the next lane where something has happened; `None` after the
    /// last.
    pub(in crate::engine) fn next_aside(&mut self) -> Option<Vec<Ready>> {
        let id = self.fresh.pop_front()?;
        let Some(lane) = &mut self.lanes[id.0 as usize] else { return Some(Vec::new()) };
        lane.fresh = false;
        Some(if self.is_put_aside(self.remote_of(id)) { self.empty(id) } else { Vec::new() })
    }

    /// Takes out everything from the stream that waits in a lane, as far as that may be parked now.
    pub(in crate::engine) fn empty(&mut self, id: LaneId) -> Vec<Ready> {
        let mut taken = Vec::new();
        let Some(lane) = &mut self.lanes[id.0 as usize] else { return taken };
        let (mut held, mut oldest) = (lane.held, lane.oldest);
        if lane.knowledge != Knowledge::Here || (lane.busy && !held) {
            return taken;
        }
        while let Some(at) = lane.waiting.iter().position(|work| !work.parked)
            && lane.waiting[at].after.is_none_or(|after| !self.open.contains_key(&after))
            && let Some(work) = lane.waiting.remove(at)
        {
            if at == 0 {
                lane.rank = Rank::Anew;
            }
            let known = lane.link.as_ref();
            let parked_over = held && work.is_parked_over(oldest);
            taken.push(if parked_over || known.is_some_and(|link| work.is_known(link)) {
                Ready::Old { lane: id, work }
            } else if held {
                Ready::Behind { lane: id, work }
            } else if known.is_none_or(|link| link.gone) && work.born && work.change.op() == Op::Delete {
                Ready::Unborn { lane: id, work }
            } else {
                (held, oldest) = (true, oldest.into_iter().chain([work.id()]).min());
                Ready::Aside { lane: id, work }
            });
        }
        taken
    }

    /// What waits first in this lane is to be put aside, and does not stand in a queue till then.
    pub(super) fn awaits_aside(&self, lane: &Lane) -> bool {
        self.aside[usize::from(self.places[usize::from(lane.key.0.0)].0.0)]
            && lane.waiting.front().is_some_and(|work| !work.parked)
    }

    /// Notes that something may have to be put aside.
    pub(super) fn freshen(&mut self, id: LaneId) {
        let aside = self.is_put_aside(self.remote_of(id));
        let lane = self.lane_mut(id);
        if aside && !lane.fresh && lane.waiting.iter().any(|work| !work.parked) {
            lane.fresh = true;
            self.fresh.push_back(id);
        }
    }

    fn all(&self) -> Vec<LaneId> {
        let in_use = self.lanes.iter().enumerate().filter(|(_, lane)| lane.is_some());
        in_use.map(|(at, _)| LaneId(at as u32)).collect()
    }
}
