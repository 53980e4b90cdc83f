//! What must survive a crash: the checkpoint, links and parked changes.
//!
//! Upholds invariant 1 (outcomes and the checkpoint that covers them are stored in one
//! transaction, and only that makes a [`Saved`]), 3 (links remember the newest applied change, so
//! a redelivered one is known) and 4 (a parked change and its order within the key are durable).
//!
//! One store belongs to one source. It decides nothing: what ends how is the engine's business.
//! Another kind of store is a new file and a run of the conformance suite in `tests/it/state.rs`.

mod memory;
pub mod postgres;

pub use memory::MemoryStore;

pub use crate::model::RouteKey;

use crate::model::{Answered, Change, ChangeId, Link, Lsn, Parked};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;

/// Proof that a settlement is durable. Only this room can make one, and acknowledging takes one
/// (invariant 1).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the source keeps its log until it is told"]
pub struct Saved(Lsn);

impl Saved {
    /// Everything that ends at or before this position is settled.
    pub fn through(&self) -> Lsn {
        self.0
    }
}

/// How far a source is settled, and what database that is true of (invariant 8).
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The database the position belongs to.
    pub binding: Binding,
    /// Every transaction that ends at or before this is settled.
    pub lsn: Lsn,
    /// When the newest settled transaction was committed.
    pub committed_at: Option<Timestamp>,
}

/// Which database, and which slot of it, a position belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// `IDENTIFY_SYSTEM`'s system identifier.
    pub system_id: String,
    /// The timeline streamed from.
    pub timeline: u32,
    /// The replication slot.
    pub slot: String,
}

/// What is known of one key: its link, and whether older parked changes hold it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// `None` if the key was never sent.
    pub link: Option<Link>,
    /// The key has parked changes: later ones queue behind them.
    pub held: bool,
    /// The oldest of those that deletes.
    pub leaving: Option<ChangeId>,
}

/// A change to park.
#[derive(Clone, Debug)]
pub struct Parking {
    /// Whose change.
    pub at: RouteKey,
    /// The change itself; stored whole, so that the log may forget it.
    pub change: Arc<Change>,
    /// Why, and how far it came.
    pub parked: Parked,
    /// It is parked already and this is how its retry ended; nothing, if it was discarded since.
    /// Otherwise a change that is parked already stays as it is: it was redelivered.
    pub again: bool,
    /// What its row depends on, as far as that is known, if it is deleted before that: an older
    /// change that may still be sent holds up the delete of its parent.
    pub parents: Vec<RouteKey>,
}

/// A parked change, taken up again.
#[derive(Clone, Debug)]
pub struct Due {
    /// Whose change.
    pub at: RouteKey,
    /// The change as it was parked.
    pub change: Change,
    /// The answers it already got.
    pub answers: Vec<Answered>,
    /// The change its call keys are made of.
    pub called: ChangeId,
}

/// What one route did since the last settlement, and how it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteCounts {
    /// Changes applied since the last settlement.
    pub applied: u64,
    /// Changes skipped since the last settlement.
    pub skipped: u64,
    /// Changes parked since the last settlement.
    pub parked: u64,
    /// Changes read and not settled, now.
    pub in_flight: u64,
    /// Of those, how many wait for another attempt.
    pub backing_off: u64,
    /// The newest failure since the last settlement.
    pub last_error: Option<String>,
}

/// What must become durable in one transaction before the source may forget.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// The checkpoint, if it moves.
    pub through: Option<Lsn>,
    /// When the newest transaction under it was committed.
    pub committed_at: Option<Timestamp>,
    /// The links as they are now; at most one for each key.
    pub links: Vec<(RouteKey, Arc<Link>)>,
    /// Changes to park.
    pub parkings: Vec<Parking>,
    /// Parked changes that have ended.
    pub resolved: Vec<(RouteKey, ChangeId)>,
    /// Keys whose link has come, or whose children's links have gone: what waits for them is
    /// looked at again.
    pub stirred: Vec<RouteKey>,
    /// Counters by route.
    pub counts: Vec<(Arc<str>, RouteCounts)>,
    /// Commit time of the oldest transaction that is read but not settled.
    pub pending_since: Option<Timestamp>,
}

/// What a settlement brought.
#[derive(Debug)]
pub struct Settled {
    /// The receipt.
    pub saved: Saved,
    /// For each key that had a parking or a resolution: whether parked changes still hold it.
    pub held: Vec<(RouteKey, bool)>,
    /// The oldest parked delete of each such key that has one.
    pub leaving: Vec<(RouteKey, ChangeId)>,
    /// How many waiting changes go on now.
    pub released: u64,
}

/// Why the state could not be read or written. Whatever was under way did not happen.
#[derive(Debug, thiserror::Error)]
#[error("the state store failed while {doing}: {message}")]
pub struct StateError {
    /// Such as `reading links`.
    pub doing: &'static str,
    /// What the database said.
    pub message: String,
}

/// Keeps one source's state.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// Where to resume; `None` before the source was first bound.
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, StateError>;

    /// Binds the source to a database and a position: its first start, or a person's decision.
    async fn bind(&self, checkpoint: &Checkpoint) -> Result<(), StateError>;

    /// What is known of these keys, in the order asked.
    async fn recall(&self, keys: &[RouteKey]) -> Result<Vec<Known>, StateError>;

    /// Stores everything or nothing. The checkpoint never moves backwards. A queued change that
    /// has become its key's oldest parked one becomes `retrying` at once, and so does a waiting one
    /// that is parked or stirred here and has nothing to wait for any more (see
    /// [`StateStore::sweep`]), or waits for a parent while a delete of its own key is queued.
    async fn settle(&self, settlement: Settlement) -> Result<Settled, StateError>;

    /// Parked changes of these routes whose next attempt is due, each the oldest of its key, the
    /// longest due first, at most `limit`.
    async fn due(&self, routes: &[Arc<str>], limit: usize) -> Result<Vec<Due>, StateError>;

    /// How many linked keys of these routes depend on each of these keys, and how many parked
    /// changes of theirs that go on by themselves, by route. What is newer than the change given
    /// does not count, since it belongs to what comes after.
    async fn children(
        &self,
        keys: &[(RouteKey, ChangeId)],
        routes: &[Arc<str>],
    ) -> Result<Vec<Vec<(Arc<str>, u64)>>, StateError>;

    /// Lets every waiting change go on that has nothing to wait for: its parent is linked and no
    /// older delete of that is parked, or no older child of it is linked or about to be. Settlements do that by
    /// themselves; this finds what was written past them.
    async fn sweep(&self) -> Result<u64, StateError>;

    /// How many keys of a route are linked.
    async fn linked(&self, route: &str) -> Result<u64, StateError>;

    /// A person let a truncate through: parks it, due at once, for every linked key that has not
    /// changed since, in place of the one for the whole table.
    async fn spread_truncate(&self, route: &str, id: ChangeId) -> Result<u64, StateError>;
}
