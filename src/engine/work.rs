use super::{
    keyless,
    lanes::LaneId,
    parents::Kin,
    reading::Prepared,
    runs::{ForRun, Replayed},
};
use crate::{
    call_log::Trace,
    capture::Budget,
    model::{Answered, Change, ChangeId, Link, Lsn, Op, RunId},
    remote::Suspicion,
};
use std::sync::Arc;
use tokio::time::Instant;

/// Memory of one captured change: freed when the last piece of work it caused has its outcome.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Charge {
    /// Charges what did not come from the source.
    pub(super) fn make(budget: &Budget, bytes: usize) -> Self {
        budget.charge(bytes);
        Self::adopt(budget, bytes)
    }

    /// Takes over what capture charged.
    pub(super) fn adopt(budget: &Budget, bytes: usize) -> Self {
        Self { budget: budget.clone(), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.free(self.bytes);
    }
}

/// Numbers pieces of work in the order of their arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Arrival(pub(super) u64);

/// One change to carry for one key of one route.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) arrival: Arrival,
    pub(super) change: Arc<Change>,
    /// The change its call keys are made of: the oldest one absorbed. However changes merge after
    /// a crash, the first call for a key that is new to the remote has the same call key.
    pub(super) called: ChangeId,
    /// It comes from a bounded run, and how.
    pub(super) for_run: Option<ForRun>,
    /// It may be left out because it says what the remote was told last.
    pub(super) compares: bool,
    /// When it was read, or taken up.
    pub(super) since: Instant,
    /// It was parked before; otherwise it comes from the stream.
    pub(super) parked: bool,
    /// It is parked too while it is under way, so that a crash does not lose it ([`super::keep`]).
    pub(super) kept: bool,
    /// Its route merges changes, and no earlier process may have sent it.
    pub(super) merges: bool,
    /// Must not start before this one has ended: the delete half of a key change.
    pub(super) after: Option<Arrival>,
    /// The change is of the entity's own table, not of a further one.
    pub(super) own: bool,
    /// The key was inserted by a change this one absorbed, so the remote may never hear of it.
    pub(super) born: bool,
    /// It is left out, although it might be sent if it came again.
    pub(super) moot: bool,
    /// Older changes that settle with this one.
    pub(super) absorbed: Vec<(Arrival, Lsn)>,
    /// What it depends on, once that is known.
    pub(super) kin: Option<Arc<Kin>>,
    /// The lanes of its parents, and which change of its key looked at them: they are watched until
    /// its outcome is durable.
    pub(super) claims: Vec<(LaneId, ChangeId)>,
    /// Nothing that depends on the row it deletes is in the way.
    pub(super) childless: bool,
    /// What was read for it, once it was.
    pub(super) prepared: Option<Prepared>,
    pub(super) answers: Vec<Answered>,
    /// Attempts of the present call.
    pub(super) attempts: u32,
    /// Requests that were sent for the present call, also by earlier processes if it was parked.
    pub(super) requests: u32,
    /// Requests that were sent for the calls before the present one.
    pub(super) spent: u32,
    /// The trace that its last request belonged to.
    pub(super) trace: Option<Trace>,
    /// Whether its failures are its own, as far as they could be the remote's.
    pub(super) suspicion: Option<Suspicion>,
    /// An attempt was made in this process: what the remote may have heard is never merged.
    pub(super) tried: bool,
    /// The present call was refused for its token, which was replaced since.
    pub(super) renewed: bool,
    /// The present call may have been made without our knowing the answer.
    pub(super) doubt: bool,
    /// Older changes of its key may have given up and let it pass: what came of them is not known.
    pub(super) passes: bool,
    /// Held, not read: dropping them frees the budget.
    pub(super) charges: Vec<Arc<Charge>>,
}

impl Work {
    pub(super) fn id(&self) -> ChangeId {
        self.change.id
    }

    /// The link already has it, or something newer.
    pub(super) fn is_known(&self, link: &Link) -> bool {
        match self.for_run {
            Some(ForRun { ahead: true, .. }) => true,
            Some(ForRun { replayed: Some(replayed), .. }) => replayed.is_overtaken(self.id(), link),
            _ => link.change >= self.id(),
        }
    }

    /// It is sent again, and what is parked of its key is newer or itself.
    pub(super) fn is_parked_over(&self, oldest: Option<ChangeId>) -> bool {
        self.is_replayed() && Replayed::is_parked_over(self.id(), oldest)
    }

    /// It was sent before, and is sent again.
    pub(super) fn is_replayed(&self) -> bool {
        self.for_run.is_some_and(|it| it.replayed.is_some())
    }

    /// Something has to be read before it can be sent; `fetches`: its route reads something for every
    /// row that is there.
    pub(super) fn has_to_be_read(&self, fetches: bool) -> bool {
        let removes = self.own && matches!(self.change.op(), Op::Delete | Op::Truncate);
        self.prepared.is_none() && !removes && (fetches || !self.own)
    }

    /// The store has it among what is parked.
    pub(super) fn is_stored(&self) -> bool {
        self.parked || self.kept
    }

    /// The run it belongs to.
    pub(super) fn run(&self) -> Option<RunId> {
        self.called.run().or_else(|| self.for_run?.replayed?.again.run)
    }

    /// It stands for every key of its route, and waits for a person's decision.
    pub(super) fn is_whole_truncate(&self, key: &str) -> bool {
        self.change.op() == Op::Truncate && key.is_empty()
    }

    /// The entity's own row was deleted by it.
    pub(super) fn ends_the_row(&self) -> bool {
        self.own && matches!(self.change.op(), Op::Delete | Op::Truncate)
    }

    /// The key came to be with this change, or with one it absorbed.
    pub(super) fn is_born(&self) -> bool {
        self.born || (self.own && self.change.op() == Op::Insert)
    }

    /// It is left out, but after a crash it, or what it absorbed, might be sent: that it was left out
    /// has to be durable before a newer change of its key is sent.
    pub(super) fn would_end_otherwise(&self) -> bool {
        // A row of a run is read again, as it is then.
        self.moot || (self.called != self.id() && self.called.run().is_none())
    }

    /// It may merge with waiting neighbours: nothing of it was sent, and nothing waits for it.
    pub(super) fn may_still_merge(&self) -> bool {
        self.merges && self.after.is_none() && self.answers.is_empty() && !self.tried && !self.doubt
    }

    /// Calls of it may have been made in this process: nothing else of its key comes before it now.
    pub(super) fn has_begun(&self) -> bool {
        self.tried || self.kept || !self.answers.is_empty()
    }

    /// It has no key of its own, so it shares no call.
    pub(super) fn stands_alone(&self, key: &str) -> bool {
        self.is_whole_truncate(key) || (key.starts_with('?') && *key == *keyless(self.id()))
    }

    /// Its row names the same parents. Otherwise the parents that the database let go of in between
    /// would wait for the merged change, and it for what came after them.
    fn depends_as(&self, other: &Self) -> bool {
        let names = |it: &Self, parent: &LaneId| it.claims.iter().any(|(lane, _)| lane == parent);
        self.claims.iter().all(|(lane, _)| names(other, lane))
            && other.claims.iter().all(|(lane, _)| names(self, lane))
    }

    /// Merges the older waiting change into this newer one, or gives it back.
    pub(super) fn absorb(&mut self, mut older: Work) -> Result<(), Box<Work>> {
        let mergeable = self.may_still_merge()
            && older.may_still_merge()
            && self.change.may_absorb(&older.change)
            && (self.change.op() == Op::Delete || self.depends_as(&older));
        if !mergeable {
            return Err(Box::new(older));
        }
        self.called = older.called;
        self.born = self.born || older.is_born();
        self.change = Arc::new(self.change.absorbing(&older.change));
        self.absorbed.append(&mut older.absorbed);
        self.absorbed.push((older.arrival, older.change.id.commit));
        self.charges.append(&mut older.charges);
        self.claims.append(&mut older.claims);
        Ok(())
    }
}
