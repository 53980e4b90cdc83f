//! How a piece of work leaves its lane, and what that becomes once it is durable.

use super::{LaneId, Lanes, Rank, kin};
use crate::{
    engine::work::Work,
    model::{ChangeId, Link},
    state::Hold,
};
use std::sync::Arc;

/// What the store says of a key that had parked changes.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Held {
    /// Whether later ones still queue behind them.
    pub(in crate::engine) hold: Hold,
    /// The oldest delete among them.
    pub(in crate::engine) leaving: Option<ChangeId>,
    /// The oldest of them.
    pub(in crate::engine) oldest: Option<ChangeId>,
}

/// What an ended piece of work leaves behind, to be made durable.
#[derive(Debug, Default)]
pub(in crate::engine) struct Left {
    /// The key's link as it is now.
    pub(in crate::engine) link: Option<Arc<Link>>,
    /// It is parked, or was and has ended.
    pub(in crate::engine) parking: bool,
    /// What that means for later changes of the key.
    pub(in crate::engine) hold: Hold,
    /// After a crash it would end otherwise, unless it is durable: the key's next call waits.
    pub(in crate::engine) unsettled: bool,
}

impl Lanes {
    /// A piece of work between two attempts will have none.
    pub(in crate::engine) fn give_up(&mut self, id: LaneId) {
        self.lane_mut(id).busy = false;
    }

    /// A started piece of work is to be started again once everything of its key is durable.
    pub(in crate::engine) fn wait_until_saved(&mut self, id: LaneId, work: Work) {
        let lane = self.lane_mut(id);
        lane.waits_for_store = lane.unsaved > 0;
        self.resume(id, work, Rank::Ahead);
    }

    /// A piece of work has its outcome, which is not durable yet. `started`: by [`Ready::Start`].
    pub(in crate::engine) fn end(&mut self, id: LaneId, work: &Work, started: bool, left: Left) {
        if started {
            self.lane_mut(id).busy = false;
        }
        let lane = self.lane_mut(id);
        lane.deleting = None;
        if left.hold == Hold::Held && kin::removes(work) {
            lane.leaving = Some(lane.leaving.map_or(work.id(), |leaving| leaving.min(work.id())));
        }
        if left.hold == Hold::Held {
            lane.oldest = Some(lane.oldest.map_or(work.id(), |oldest| oldest.min(work.id())));
        }
        lane.held |= left.hold == Hold::Held;
        lane.passing |= left.hold == Hold::Passing;
        lane.unsaved += u32::from(left.link.is_some() || left.parking);
        lane.unsaved_parkings += u32::from(left.parking);
        lane.unsettled |= left.unsettled;
        if left.link.is_some() {
            lane.link = left.link;
        }
        let ended = std::iter::once(work.arrival).chain(work.absorbed.iter().map(|(arrival, _)| *arrival));
        for arrival in ended {
            if self.open.remove(&arrival).is_some() {
                for waiting in self.barriers.remove(&arrival).unwrap_or_default() {
                    self.consider(waiting);
                }
            }
        }
        self.wake(id);
        self.consider(id);
    }

    /// So many outcomes of a lane have become durable, so many of them parkings. `hold` is what
    /// the store says of a key that had any.
    pub(in crate::engine) fn saved(&mut self, id: LaneId, outcomes: u32, parkings: u32, hold: Option<Held>) {
        let lane = self.lane_mut(id);
        lane.unsaved -= outcomes;
        lane.unsaved_parkings -= parkings;
        if lane.unsaved == 0 {
            lane.unsettled = false;
            lane.waits_for_store = false;
        }
        if lane.unsaved_parkings == 0
            && let Some(hold) = hold
        {
            lane.held = hold.hold == Hold::Held;
            lane.passing = hold.hold != Hold::Free;
            lane.leaving = hold.leaving;
            lane.oldest = hold.oldest;
        }
        self.wake(id);
        self.consider(id);
    }
}
