//! What lanes know of each other: children look at their parents' links, and deleted parents at the
//! children that are under way.

use super::{Knowledge, LaneId, LaneKey, Lanes};
use crate::{
    engine::work::Work,
    model::{ChangeId, Link, Op},
};
use std::{collections::BTreeMap, sync::Arc};

/// Who depends on a key just now. A lane that has it is not dropped.
#[derive(Debug, Default)]
pub(super) struct Kin {
    /// Changes of children that have looked at this key and whose outcome is not durable.
    claims: BTreeMap<(ChangeId, LaneId), u32>,
    /// Lanes that want to look again once something has happened here.
    awaited_by: Vec<LaneId>,
}

impl Kin {
    pub(super) fn is_claimed(&self) -> bool {
        !self.claims.is_empty()
    }
}

/// A child's change has an eye on a parent until its outcome is durable.
#[derive(Debug)]
pub(in crate::engine) struct Claim {
    pub(in crate::engine) parent: LaneId,
    pub(in crate::engine) child: ChangeId,
    /// The child's.
    pub(in crate::engine) lane: LaneId,
}

/// What a child sees of its parent.
#[derive(Debug)]
pub(in crate::engine) enum Sight {
    /// It is at the remote.
    Linked(Arc<Link>),
    /// Something is under way that may bring it, or an older delete that takes it away first.
    Unsettled,
    /// It is not there, and nothing in memory will bring it.
    Missing,
}

/// A delete that is started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deleting {
    pub(super) id: ChangeId,
    /// It waits for its children, so nothing is sent yet.
    waits: bool,
}

impl Deleting {
    pub(super) fn begun(work: &Work) -> Option<Self> {
        removes(work).then(|| Self { id: work.id(), waits: false })
    }
}

pub(super) fn removes(work: &Work) -> bool {
    matches!(work.change.op(), Op::Delete | Op::Truncate)
}

impl Lanes {
    /// Makes a claim on this key, and gives its lane.
    pub(in crate::engine) fn claim(&mut self, key: LaneKey, child: ChangeId, lane: LaneId) -> LaneId {
        let id = self.lane_of(key);
        let kin = self.lane_mut(id).kin.get_or_insert_default();
        *kin.claims.entry((child, lane)).or_default() += 1;
        id
    }

    pub(in crate::engine) fn unclaim(&mut self, &Claim { parent, child, lane }: &Claim) {
        if let Some(kin) = &mut self.lane_mut(parent).kin
            && let Some(count) = kin.claims.get_mut(&(child, lane))
        {
            *count -= 1;
            if *count == 0 {
                kin.claims.remove(&(child, lane));
            }
        }
        self.wake(parent);
        self.consider(parent);
    }

    /// The oldest change of a child that is under way and older than this delete of the key.
    pub(in crate::engine) fn claimed_before(&self, id: LaneId, delete: ChangeId) -> Option<LaneId> {
        let (child, lane) = self.oldest_claim(id)?;
        (child < delete).then_some(lane)
    }

    fn oldest_claim(&self, id: LaneId) -> Option<(ChangeId, LaneId)> {
        self.lane(id).kin.as_ref()?.claims.keys().next().copied()
    }

    /// The child's lane, if the oldest claim on this key is one of work that has not ended: what has ended
    /// gives its claims back once that is durable. `at_front`: what is taken out of a lane and waits.
    pub(in crate::engine) fn open_claim<'a>(
        &self,
        id: LaneId,
        at_front: impl Fn(LaneId) -> Option<&'a Work>,
    ) -> Option<LaneId> {
        let (child, lane) = self.oldest_claim(id)?;
        let waiting = self.lanes[lane.0 as usize].as_ref()?.waiting.iter();
        waiting.chain(at_front(lane)).any(|work| work.claims.contains(&(id, child))).then_some(lane)
    }

    /// The lane of a key that work is about to be pushed to.
    pub(in crate::engine) fn seat(&mut self, key: LaneKey) -> LaneId {
        self.lane_of(key)
    }

    /// The started delete of this key waits for others itself, who may go on now.
    pub(in crate::engine) fn delete_waits(&mut self, id: LaneId) {
        if let Some(deleting) = &mut self.lane_mut(id).deleting {
            deleting.waits = true;
            self.wake(id);
        }
    }

    /// Whether a change of this key whose parent is missing is not worth waiting for: the row is deleted
    /// later and was never sent; or nothing of the parent is parked, so that it does not come any more, and
    /// the row is deleted later, or what stands behind the change names another and says all that it says.
    ///
    /// `may_be_sent`: an earlier process may have sent the change, and its parent before it.
    pub(in crate::engine) fn goes_on_without(
        &self,
        id: LaneId,
        change: ChangeId,
        parent: LaneId,
        may_be_sent: bool,
    ) -> bool {
        let lane = self.lane(id);
        let overtakes = |it: &Work| {
            it.id() > change && it.change.says_all() && it.claims.iter().all(|(named, _)| *named != parent)
        };
        let may_come = self.lane(parent).held || self.lane(parent).passing;
        let is_overtaken =
            || self.is_deleted_after(id, change) || lane.waiting.front().is_some_and(overtakes);
        (!may_be_sent && self.comes_to_nothing(id, change)) || (!may_come && is_overtaken())
    }

    /// Whether this key is not at the remote, and its row is deleted later than by this change. One
    /// that is there may have to go another way in between, so that its former parent can be deleted.
    pub(in crate::engine) fn comes_to_nothing(&self, id: LaneId, change: ChangeId) -> bool {
        self.lane(id).link.as_ref().is_none_or(|link| link.gone) && self.is_deleted_after(id, change)
    }

    fn is_deleted_after(&self, id: LaneId, change: ChangeId) -> bool {
        let lane = self.lane(id);
        lane.leaving.is_some_and(|it| it > change)
            || lane.waiting.iter().any(|it| removes(it) && it.id() > change)
    }

    /// What came last of this key was never sent and never will be, so its delete need not be either.
    pub(in crate::engine) fn came_to_nothing(&mut self, id: LaneId) {
        let lane = self.lane_mut(id);
        if let Some(next) = lane.waiting.front_mut()
            && lane.link.as_ref().is_none_or(|link| link.gone)
        {
            next.born = true;
        }
    }

    /// What a child's change sees of this key.
    pub(in crate::engine) fn look(&self, id: LaneId, child: ChangeId) -> Sight {
        let lane = self.lane(id);
        if lane.knowledge != Knowledge::Here {
            return Sight::Unsettled;
        }
        let deleted_before = |work: &Work| removes(work) && work.id() < child;
        // A newer delete that has not begun waits for the child.
        let deleting = lane.deleting.is_some_and(|it| it.id < child || !it.waits);
        // A replay brings older deletes behind it: they have their turn after it, and so after the child.
        let waits_for_child = lane.deleting.is_some() && !deleting;
        if deleting || (!waits_for_child && lane.waiting.iter().any(deleted_before)) {
            return Sight::Unsettled;
        }
        // What is linked now goes with the parked delete, which may just have been sent.
        if lane.leaving.is_some_and(|it| it < child) {
            return if lane.unsaved_parkings > 0 { Sight::Unsettled } else { Sight::Missing };
        }
        let coming = (lane.busy && lane.deleting.is_none()) || lane.waiting.iter().any(|it| !removes(it));
        match &lane.link {
            Some(link) if !link.gone => Sight::Linked(Arc::clone(link)),
            _ if coming => Sight::Unsettled,
            _ => Sight::Missing,
        }
    }

    /// Something of this key was parked, or ended so, and that is not durable.
    pub(in crate::engine) fn has_unsaved_parkings(&self, id: LaneId) -> bool {
        self.lane(id).unsaved_parkings > 0
    }

    /// Forgets what is cached of a key with nothing under way: it may have been written past us.
    pub(in crate::engine) fn doubt(&mut self, id: LaneId) {
        let lane = self.lane_mut(id);
        if lane.knowledge == Knowledge::Here && lane.waiting.is_empty() && !lane.busy && lane.unsaved == 0 {
            lane.knowledge = Knowledge::Unknown;
            (lane.held, lane.passing, lane.oldest) = (false, false, None);
            self.unknown.push_back(id);
        }
    }

    /// `who` wants to look again once something has happened here.
    pub(in crate::engine) fn await_lane(&mut self, id: LaneId, who: LaneId) {
        let kin = self.lane_mut(id).kin.get_or_insert_default();
        if !kin.awaited_by.contains(&who) {
            kin.awaited_by.push(who);
        }
    }

    /// The lane with the delete half that the oldest work of this one waits for.
    pub(in crate::engine) fn barred_by(&self, id: LaneId) -> Option<LaneId> {
        let lane = self.lanes[id.0 as usize].as_ref()?;
        let moves = lane.busy || lane.waits_for_store || lane.knowledge != Knowledge::Here;
        let after = lane.waiting.front().filter(|_| !moves)?.after?;
        self.open.get(&after).copied()
    }

    /// Lanes whose work may look again.
    pub(in crate::engine) fn take_woken(&mut self) -> Vec<LaneId> {
        std::mem::take(&mut self.woken)
    }

    pub(super) fn wake(&mut self, id: LaneId) {
        let Some(lane) = self.lanes[id.0 as usize].as_mut() else { return };
        if let Some(kin) = &mut lane.kin {
            self.woken.append(&mut kin.awaited_by);
            if kin.claims.is_empty() {
                lane.kin = None;
            }
        }
    }
}
