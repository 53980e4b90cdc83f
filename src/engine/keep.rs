//! What a replay is about to create is durable before it is sent.
//!
//! The answer to such a call may be lost in a crash. If the row was deleted and written again by then, the
//! stream brings that first, and would create the object anew under a call key of its own: nobody would
//! know of the first one any more. So the change is parked before its first call, and its outcome takes
//! it out again. After a crash it is the oldest of its key that is parked, so it has its turn before
//! anything newer, under the same call key (invariants 2 and 3).
//!
//! It waits for that with its turn and its slot, so that no more is kept than is under way. For everybody
//! in this process it goes on as if it were not parked, and counts so.
//!
//! Changes that share a call are not kept: after a crash they may share it with others.

use super::{Engine, carry::Pass, lanes::LaneId, parked, work::Work};
use crate::{
    model::{Op, ParkReason, ParkedState},
    remote::Slot,
    state::{Parking, RouteKey},
};
use std::{collections::HashMap, sync::Arc};

/// What waits until it is durable, with the slots for its calls.
pub(super) type Keeping = HashMap<LaneId, (Work, Slot)>;

impl Pass {
    /// Whether the call may create an object, and comes again behind newer ones after a crash.
    pub(super) fn has_to_be_kept(&self) -> bool {
        let brings = matches!(self.work.change.op(), Op::Insert | Op::Update | Op::Read);
        self.work.is_replayed() && brings && !self.work.is_stored() && self.link.is_none()
    }
}

impl Engine {
    /// Parks it, and lets it go on once that is durable.
    pub(super) fn keep_first(&mut self, lane: LaneId, mut work: Work, slot: Slot) {
        let (route, key) = self.lanes.key(lane).clone();
        let message = "a replay is sending it".to_owned();
        let parking = Parking {
            at: RouteKey { route: Arc::clone(&self.router.route(route).name), key },
            change: Arc::clone(&work.change),
            again: false,
            lets_pass: false,
            merges: false,
            born: work.is_born(),
            replayed: work.for_run.and_then(|it| it.replayed).map(|it| it.again),
            parents: self.claimed(route, &work),
            parked: parked(&work, ParkedState::Retrying, ParkReason::Interrupted, message),
        };
        work.kept = true;
        self.pending.keep(lane, parking);
        self.keeping.insert(lane, (work, slot));
    }

    /// It is durable that these are under way.
    pub(super) fn kept(&mut self, lanes: &[LaneId]) {
        for &lane in lanes {
            if let Some((work, slot)) = self.keeping.remove(&lane) {
                self.carry(lane, work, None, Some(slot), false);
            }
        }
    }
}
