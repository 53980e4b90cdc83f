//! Changes of one route that share a call.
//!
//! A change of a batched route is first looked at by itself, like any other: what it needs is read,
//! `when` and `validate` are asked, and the call is written that it would make alone. What is left
//! joins the open batch of its kind ([`gather`]), which is sent when it is full or its first member
//! has waited long enough ([`carry`], [`sending`]). What the remote does not take is put aside
//! ([`aside`]).
//!
//! Upholds invariant 2 (the members of a batch have different keys, and their lanes are busy until
//! the batch has ended), 3 (every attempt of a batch has the same key and the same body, and what may
//! have been sent stays together) and 4 (a remote that refuses the whole is asked in halves, until the
//! row it does not take is alone and parked).

mod aside;
mod carry;
mod gather;
mod sending;

pub(super) use carry::BatchEnded;
pub(super) use gather::Gathering;

use super::{Ground, lanes::LaneId, work::Work};
use crate::{
    model::{Call, CallKey, Link},
    remote::Suspicion,
    routing::RouteId,
    synchronize::{self, Batching},
};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// How a change goes into a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joining {
    /// Changes of one kind share calls.
    kind: usize,
    /// What the call would carry for it alone.
    bytes: usize,
}

impl Joining {
    pub(super) fn new(batching: &dyn Batching, work: &synchronize::Work<'_>, alone: &Call) -> Self {
        Self { kind: batching.kind(work), bytes: alone.body.bytes().map_or(0, |it| it.len()) }
    }
}

/// Changes that are sent in one call, in commit order. Each has a key of its own.
#[derive(Debug)]
pub(super) struct Batch {
    route: RouteId,
    members: Vec<Member>,
    /// Attempts of this call.
    attempts: u32,
    suspicion: Option<Suspicion>,
    /// It was refused for its token, which was replaced since.
    renewed: bool,
    /// This call may have been made without our knowing the answer: it is not cut.
    doubt: bool,
}

/// One change of a batch. Its lane is busy with it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) lane: LaneId,
    pub(super) key: Arc<str>,
    pub(super) work: Work,
    pub(super) link: Option<Arc<Link>>,
}

impl Member {
    /// As the synchronizer is shown it.
    fn shown(&self) -> synchronize::Work<'_> {
        let prepared = self.work.prepared.as_ref();
        synchronize::Work {
            change: prepared.map_or(&*self.work.change, |it| &*it.change),
            key: &self.key,
            link: self.link.as_deref(),
            fetched: prepared.and_then(|it| it.fetched.as_deref()),
            parents: self.work.kin.as_ref().map(|kin| &kin.saved),
            uncertain: false,
        }
    }
}

impl Batch {
    /// Nothing of it was sent.
    fn new(route: RouteId, members: Vec<Member>) -> Self {
        Self { route, members, attempts: 0, suspicion: None, renewed: false, doubt: false }
    }

    /// A row that was sent alone before it was parked.
    fn again(route: RouteId, member: Member) -> Self {
        let attempts = member.work.attempts;
        Self { attempts, doubt: true, ..Self::new(route, vec![member]) }
    }

    /// An attempt is about to be made.
    fn count_attempt(&mut self) {
        self.attempts += 1;
        self.members.iter_mut().for_each(|it| it.work.attempts += 1);
    }

    /// The attempt under way is no fault of the members.
    fn take_back(&mut self) {
        self.attempts -= 1;
        self.members.iter_mut().for_each(|it| it.work.attempts -= 1);
    }

    /// An earlier process may have sent some of it.
    fn is_sent_before(&self, ground: &Ground) -> bool {
        self.members.iter().any(|it| it.work.is_sent_before(ground.sent_before))
    }

    /// Derived from the members: their order is the commit order, so it is the same on each attempt.
    ///
    /// After a crash changes are cut into other batches. A batch that was sent by an earlier process
    /// and one of ours must not have the same key by chance: if an older state was sent again in
    /// between, the remote would answer the newer one from its memory and stay at the older. What
    /// may have been sent before has therefore keys of this process.
    fn call_key(&self, ground: &Ground, step: Arc<str>) -> CallKey {
        let mut hash = Xxh3::new();
        for Member { key, work, .. } in &self.members {
            hash.update(&work.called.commit.raw().to_be_bytes());
            hash.update(&work.called.ordinal.to_be_bytes());
            hash.update(&(key.len() as u64).to_be_bytes());
            hash.update(key.as_bytes());
        }
        if self.is_sent_before(ground) {
            hash.update(&ground.sent_before.raw().to_be_bytes());
        }
        CallKey {
            route: Arc::clone(&ground.routes[usize::from(self.route.0)].name),
            origin: ground.origin,
            change: self.members.first().map(|it| it.work.called).unwrap_or_default(),
            key: Some(hash.digest()),
            step,
        }
    }
}
