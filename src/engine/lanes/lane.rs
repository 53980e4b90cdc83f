use super::{
    LaneKey, Rank,
    desk::Visit,
    idle::Idle,
    kin::{Deleting, Kin},
};
use crate::{
    engine::work::Work,
    model::{ChangeId, Link},
};
use std::{collections::VecDeque, sync::Arc};

/// One key's work in its order, and what is known of the key.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: LaneKey,
    pub(super) waiting: VecDeque<Work>,
    pub(super) knowledge: Knowledge,
    pub(super) link: Option<Arc<Link>>,
    pub(super) held: bool,
    /// A change of the key gave up and let later ones pass: it may have reached the remote.
    pub(super) passing: bool,
    /// It stands among those to be put aside.
    pub(super) fresh: bool,
    /// Work of this lane is with a task, or waits for its next attempt.
    pub(super) busy: bool,
    /// That work is looked at ahead of any slot.
    pub(super) at_desk: Option<Visit>,
    /// Something was read for its oldest work, which waits for a slot.
    pub(super) ahead: bool,
    /// It stands in its remote's queue, or among the lanes that need no call.
    pub(super) queued: bool,
    /// Its oldest work was under way already.
    pub(super) rank: Rank,
    /// Outcomes that are not durable yet: what is cached here is newer than what is stored.
    pub(super) unsaved: u32,
    /// Parkings among those.
    pub(super) unsaved_parkings: u32,
    /// Among those are some that after a crash would end otherwise, unless they are durable.
    pub(super) unsettled: bool,
    /// Its work waits until they are.
    pub(super) waits_for_store: bool,
    /// Kept as a cache entry only.
    pub(super) idle: Option<Idle>,
    /// The delete among its work that is started.
    pub(super) deleting: Option<Deleting>,
    /// The oldest delete among what is parked and holds the key.
    pub(super) leaving: Option<ChangeId>,
    /// The oldest of all that.
    pub(super) oldest: Option<ChangeId>,
    /// Who depends on the key just now.
    pub(super) kin: Option<Box<Kin>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knowledge {
    Unknown,
    Asked,
    Here,
}

impl Lane {
    pub(super) fn new(key: LaneKey) -> Self {
        Self {
            key,
            waiting: VecDeque::new(),
            knowledge: Knowledge::Unknown,
            link: None,
            held: false,
            passing: false,
            fresh: false,
            busy: false,
            at_desk: None,
            ahead: false,
            queued: false,
            rank: Rank::Anew,
            unsaved: 0,
            unsaved_parkings: 0,
            unsettled: false,
            waits_for_store: false,
            idle: None,
            deleting: None,
            leaving: None,
            oldest: None,
            kin: None,
        }
    }
}
