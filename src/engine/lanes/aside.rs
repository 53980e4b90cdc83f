//! What waits for a remote that does not keep up is taken out of its lanes, to be parked.
//!
//! Invariant 2: a change is put aside only if nothing older of its key is under way, and then what
//! is behind it goes with it, in order.

use super::{Knowledge, LaneId, Lanes, Ready};
use crate::{model::Op, routing::RemoteId};
use tokio::time::Instant;

impl Lanes {
    /// From now on what waits for this remote is put aside, or no longer.
    pub(in crate::engine) fn put_aside(&mut self, remote: RemoteId, aside: bool) {
        self.remotes[usize::from(remote.0)].aside = aside;
        if aside {
            self.all().for_each(|id| self.freshen(id));
        }
    }

    /// Whether what waits for this remote is put aside.
    pub(in crate::engine) fn is_put_aside(&self, remote: RemoteId) -> bool {
        self.remotes[usize::from(remote.0)].aside
    }

    /// The remote that this lane's calls go to.
    pub(in crate::engine) fn remote_of(&self, id: LaneId) -> RemoteId {
        self.remote_of[usize::from(self.lane(id).key.0.0)]
    }

    /// The lanes whose oldest work for this remote came before then.
    pub(in crate::engine) fn stale(&self, remote: RemoteId, before: Instant) -> Vec<LaneId> {
        let lanes = self.lanes.iter().enumerate().filter_map(|(at, lane)| Some((at, lane.as_ref()?)));
        let stale = lanes.filter(|(_, lane)| {
            let oldest = lane.waiting.iter().find(|work| !work.parked);
            self.remote_of[usize::from(lane.key.0.0)] == remote
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
        let remote = self.remote(id);
        Some(if self.remotes[remote].aside { self.empty(id) } else { Vec::new() })
    }

    /// Takes out everything from the stream that waits in a lane, as far as that may be parked now.
    pub(in crate::engine) fn empty(&mut self, id: LaneId) -> Vec<Ready> {
        let mut taken = Vec::new();
        let Some(lane) = &mut self.lanes[id.0 as usize] else { return taken };
        let mut held = lane.held;
        if lane.knowledge != Knowledge::Here || (lane.busy && !held) {
            return taken;
        }
        while let Some(at) = lane.waiting.iter().position(|work| !work.parked)
            && lane.waiting[at].after.is_none_or(|after| !self.open.contains(&after))
            && let Some(work) = lane.waiting.remove(at)
        {
            let known = lane.link.as_ref();
            taken.push(if known.is_some_and(|link| link.change >= work.id()) {
                Ready::Old { lane: id, work }
            } else if held {
                Ready::Behind { lane: id, work }
            } else if known.is_none_or(|link| link.gone) && work.born && work.change.op() == Op::Delete {
                Ready::Unborn { lane: id, work }
            } else {
                held = true;
                Ready::Aside { lane: id, work }
            });
        }
        taken
    }

    /// Notes that something may have to be put aside.
    pub(super) fn freshen(&mut self, id: LaneId) {
        let remote = self.remote(id);
        let aside = self.remotes[remote].aside;
        let lane = self.lane_mut(id);
        if aside && !lane.fresh && lane.waiting.iter().any(|work| !work.parked) {
            lane.fresh = true;
            self.fresh.push_back(id);
        }
    }

    fn all(&self) -> impl Iterator<Item = LaneId> + use<> {
        let in_use: Vec<LaneId> = (0..self.lanes.len())
            .filter(|at| self.lanes[*at].is_some())
            .map(|at| LaneId(at as u32))
            .collect();
        in_use.into_iter()
    }
}
