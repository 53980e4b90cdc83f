//! Leaving out what the remote was told before, and when that is certain.
//!
//! A link's content hash says what the remote was told last. It is trusted, so it is written only
//! for a change that was carried in one go by the process that read it: what an earlier process may
//! have sent, or what was parked, may have been sent with another body (read again since, or written
//! by another configuration) under a call key that the remote answers from memory. Whenever such a
//! change, or any attempt, does not end as applied, the hash is taken out of the link.
//!
//! For the same reason such a change is never left out itself: that the link says the same is no
//! proof, since the earlier process may have sent it when it said something else.
//!
//! What is left out would be sent after a crash, under a call key that is new to the remote. Had a
//! newer change of its key been sent by then, the remote would apply the older one and answer the
//! newer one from memory. So a change is sent only when those before it that were left out are
//! durable; and just so when those before it were merged, since they would then be sent one by one.

use super::{
    carry::{Pass, Verdict},
    work::Work,
};
use crate::{
    model::{ContentHash, Link, Lsn, Outcome},
    routing::Route,
    synchronize,
};
use std::sync::Arc;

impl Work {
    /// A call of it may have reached the remote.
    pub(super) fn may_have_been_sent(&self, sent_before: Lsn) -> bool {
        let begun = self.attempts > 0 || self.doubt || !self.answers.is_empty();
        begun || self.passes || self.comes_again(sent_before)
    }

    /// Its present call may have been made without our knowing the answer, also by an earlier process.
    pub(super) fn is_in_doubt(&self, sent_before: Lsn) -> bool {
        self.doubt || self.is_sent_before(sent_before)
    }

    /// An earlier process may have sent it.
    pub(super) fn is_sent_before(&self, sent_before: Lsn) -> bool {
        self.for_run.map_or(self.called.commit <= sent_before, |it| it.suspect)
    }

    /// It may have been carried before it was read.
    fn comes_again(&self, sent_before: Lsn) -> bool {
        self.parked || self.is_sent_before(sent_before)
    }
}

impl Pass {
    /// What to do in place of the first call, if not to make it.
    pub(super) fn instead_of_sending(&self, route: &Route, work: &synchronize::Work<'_>) -> Option<Verdict> {
        let forced = self.work.for_run.is_some_and(|it| it.forced);
        if !forced
            && self.work.compares
            && !self.work.may_have_been_sent(self.ground.sent_before)
            && let Some(told) = self.link.as_ref().and_then(|link| link.content)
            && route.content(work, &[]) == Some(told)
        {
            return Some(Verdict::Done(Outcome::Unchanged));
        }
        let begun = self.work.attempts > 0 || self.work.doubt || !self.work.answers.is_empty();
        (self.unsettled && !begun).then_some(Verdict::Settle)
    }

    /// What the remote has been told, once every call is made.
    pub(super) fn told(&self, route: &Route, work: &synchronize::Work<'_>) -> Option<ContentHash> {
        told(route, &self.work, work, self.ground.sent_before)
    }
}

/// What the remote has been told by a change whose calls are all made. `shown`: as the synchronizer
/// saw it.
pub(super) fn told(
    route: &Route,
    work: &Work,
    shown: &synchronize::Work<'_>,
    sent_before: Lsn,
) -> Option<ContentHash> {
    if work.comes_again(sent_before) {
        return None;
    }
    route.content(shown, &work.answers)
}

/// The link without its content hash, if it has one.
pub(super) fn uncertain(link: Option<&Arc<Link>>) -> Option<Arc<Link>> {
    let link = link.filter(|link| link.content.is_some())?;
    Some(Arc::new(Link { content: None, ..Link::clone(link) }))
}
