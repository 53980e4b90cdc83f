//! What must survive a crash: the checkpoint, links and parked changes.
//!
//! Upholds invariant 1 (outcomes and the checkpoint that covers them are stored in one
//! transaction, and only that makes a [`Saved`]), 3 (links remember the newest applied change, so
//! a redelivered one is known) and 4 (a parked change and its order within the key are durable).
//!
//! One store belongs to one source. It decides nothing: what ends how is the engine's business.
//! Another kind of store is a new file and a run of the conformance suite in `tests/it/state.rs`.

mod key_filter;
mod memory;
mod merge;
pub mod postgres;
mod run;

pub use key_filter::{KeyFilter, KeyHash};
pub use memory::MemoryStore;
pub use run::{Run, RunCommand};

pub use crate::model::RouteKey;

use crate::model::{Answered, Change, ChangeId, Link, Lsn, Parked, RunId, RunKind, RunProgress, RunRequest};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

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
    /// Whether parked changes of the key stand in the way of later ones.
    pub hold: Hold,
    /// The oldest of those that deletes and holds the key.
    pub leaving: Option<ChangeId>,
    /// The oldest of those that hold the key.
    pub oldest: Option<ChangeId>,
}

/// What a key's parked changes mean for its later ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// There are none.
    #[default]
    Free,
    /// They gave up and let later ones pass; some of them may have reached the remote.
    Passing,
    /// Later ones queue behind them.
    Held,
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
    /// Otherwise a change that is parked already, by itself or merged into a newer one, stays as
    /// it is: it was redelivered.
    pub again: bool,
    /// Once it has given up, later changes of the key go on.
    pub lets_pass: bool,
    /// While it is queued it may merge with its neighbours, since it was never sent.
    pub merges: bool,
    /// The key came to be with it, or with a change it absorbed.
    pub born: bool,
    /// What its row depends on, as far as that is known, if it is deleted before that: an older
    /// change that may still be sent holds up the delete of its parent.
    pub parents: Vec<RouteKey>,
    /// It is one of those that are sent again.
    pub replayed: Option<Again>,
}

/// What a change is sent again by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// All that is sent again was committed before this.
    pub until: Lsn,
    /// The run; not known of what an earlier version has parked.
    pub run: Option<RunId>,
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
    /// Attempts its present call has taken.
    pub attempts: u32,
    /// Requests that were sent for it.
    pub requests: u32,
    /// That call may have been made without our knowing the answer.
    pub doubt: bool,
    /// The key came to be with it, or with a change it absorbed.
    pub born: bool,
    /// It is one of those that are sent again.
    pub replayed: Option<Again>,
    /// Where it stands among what is due.
    pub place: Place,
}

/// Where a parked change stands among those of its route that are due: they are taken up in this
/// order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When its next attempt was to be.
    pub due: Timestamp,
    /// The change.
    pub id: ChangeId,
    /// Its key.
    pub key: Arc<str>,
}

/// Which parked changes of a route to take up.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The route.
    pub route: Arc<str>,
    /// Only those behind this place.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: usize,
    /// At most so many bytes of changes and answers, unless the first alone has more.
    pub bytes: usize,
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

/// How a remote stands, for a person to look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteGauges {
    /// `ready`, `paused`, `open` or `half_open`.
    pub gate: &'static str,
    /// For how long calls have not gone through.
    pub since: Option<Duration>,
    /// For how long they will not at least.
    pub until: Option<Duration>,
    /// What the remote did.
    pub why: Option<Arc<str>>,
    /// The quota, if the remote told it.
    pub quota_limit: Option<u64>,
    /// How much of it is left.
    pub quota_left: Option<u64>,
    /// How many changes may be under way at once now.
    pub width: u32,
    /// How many at most.
    pub concurrency: u32,
    /// How many are.
    pub in_flight: u32,
    /// How many keys wait for it.
    pub waiting: u64,
    /// How old the access token is that calls carry, if they carry one.
    pub token_age: Option<Duration>,
    /// How long it is still good for, if that was said.
    pub token_left: Option<Duration>,
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
    /// Keys whose link has come or gone, or whose children's links have gone: what waits for them
    /// is looked at again.
    pub stirred: Vec<RouteKey>,
    /// Counters by route.
    pub counts: Vec<(Arc<str>, RouteCounts)>,
    /// The remotes that stand otherwise than was last told.
    pub remotes: BTreeMap<Arc<str>, RemoteGauges>,
    /// Commit time of the oldest transaction that is read but not settled.
    pub pending_since: Option<Timestamp>,
    /// Everything that was committed before this has been read.
    pub received: Option<Lsn>,
    /// What is to be written into the source's rows; at most one for each key.
    pub write_backs: Vec<Owes>,
    /// How far runs have come by the outcomes above; at most one for each run. What a person has ended
    /// meanwhile stays ended.
    pub runs: Vec<RunProgress>,
}

/// Something that is to be written into a row of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct Owing {
    /// Whose row.
    pub at: RouteKey,
    /// By column.
    pub values: Map<String, Value>,
    /// The transaction that made the row what it is, which others may not see yet.
    pub transaction: Option<u32>,
}

/// What the newest change of a key that has ended leaves to be written into its row.
#[derive(Clone, Debug, PartialEq)]
pub struct Owes {
    /// Without values it is nothing.
    pub owing: Owing,
    /// The change.
    pub change: ChangeId,
    /// The row was deleted before that: what was owed to it so far is not owed any more. With an
    /// empty key that is true of every row of the route.
    pub anew: bool,
}

/// Something that is still to be written into a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Owed {
    /// What.
    pub owing: Owing,
    /// Tells it from what was owed to the row before.
    pub version: i64,
    /// How often it was tried in vain.
    pub attempts: u32,
}

/// How an attempt to write something back ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Repaid {
    /// It is in the row, or there is no such row any more.
    Done,
    /// It is to be tried again.
    Failed {
        /// After this long.
        again_in: Duration,
        /// What the database said.
        error: String,
    },
}

/// Waiting changes that a settlement or a sweep lets go on, at most; [`StateStore::sweep`] finds the
/// others.
pub const RELEASED_AT_ONCE: u64 = 4_096;

/// What a settlement brought.
#[derive(Debug)]
pub struct Settled {
    /// The receipt.
    pub saved: Saved,
    /// For each key that had a parking or a resolution: whether parked changes still hold it.
    pub held: Vec<(RouteKey, Hold)>,
    /// The oldest delete that holds each such key, if one does.
    pub leaving: Vec<(RouteKey, ChangeId)>,
    /// The oldest change that holds each such key, if one does.
    pub oldest: Vec<(RouteKey, ChangeId)>,
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

/// A delete whose children have to go first: those that are linked, and parked changes of theirs that are
/// older than it and go on by themselves; or that gave up, or stand behind one that did, while the row is at
/// the remote, or may be, and so has to move on under this parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// What it deletes.
    pub at: RouteKey,
    /// The delete.
    pub change: ChangeId,
    /// It may have been sent. Then it waits neither for a mere doubt nor for what was refused itself: the
    /// parent may be gone, and that would wait for a parent that never comes.
    pub may_be_sent: bool,
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

    /// Tells the keys that have a link or are parked from most others; `None` where there are too many.
    async fn key_filter(&self) -> Result<Option<KeyFilter>, StateError>;

    /// Stores everything or nothing. The checkpoint never moves backwards.
    ///
    /// A queued change that has become the oldest one that holds its key becomes `retrying` at
    /// once, and so does a waiting one that is parked or stirred here and has nothing to wait for
    /// any more (see [`StateStore::sweep`]), or waits for a parent in vain: while a delete of its own
    /// key is queued and the key is not linked, if the change is not in doubt; or while a newer change of its own key is queued that
    /// names another or deletes the row, says all that it says and is older than anything there is of the
    /// parent. A parking that may merge does so with the newest parked change of its key, if that
    /// is queued and may merge too: the one that is left has the newer id and the older call keys.
    async fn settle(&self, settlement: Settlement) -> Result<Settled, StateError>;

    /// Parked changes whose next attempt is due, in the order of their places within each route.
    /// Only the oldest one that holds its key is due, and not the insert half of a key change
    /// while its delete half is still to be sent, unless that waits for children: they may have to
    /// move to the new key first.
    async fn due(&self, wanted: &[Wanted]) -> Result<Vec<Due>, StateError>;

    /// What is due to be written into the source's rows, the longest due first, at most `limit`.
    /// What is settled later for a key takes the place of what is owed to it, column by column.
    /// Nothing is owed by a change behind which a delete of its key is parked: the row that is there,
    /// if any, is another one.
    async fn owed(&self, limit: usize) -> Result<Vec<Owed>, StateError>;

    /// These attempts have ended. What has been replaced meanwhile stays owed.
    async fn repaid(&self, ended: &[(Owed, Repaid)]) -> Result<(), StateError>;

    /// How many of these routes each delete waits for, by route: linked keys, and parked changes. One that is
    /// newer than the delete does not count, since it belongs to what comes after.
    async fn children(
        &self,
        deletes: &[Leaving],
        routes: &[Arc<str>],
    ) -> Result<Vec<Vec<(Arc<str>, u64)>>, StateError>;

    /// Whether each of these parked changes would wait for this parent in vain: see
    /// [`StateStore::settle`].
    async fn in_vain(&self, waits: &[(RouteKey, ChangeId, RouteKey)]) -> Result<Vec<bool>, StateError>;

    /// Lets waiting changes go on that have nothing to wait for, at most [`RELEASED_AT_ONCE`]: their
    /// parent is linked and no older delete holds it, or no child of theirs is in the way
    /// any more; and those that wait for a parent in vain. Settlements do that by themselves; this
    /// finds what was written past them.
    async fn sweep(&self) -> Result<u64, StateError>;

    /// How many keys of a route are linked.
    async fn linked(&self, route: &str) -> Result<u64, StateError>;

    /// At most so many keys of a route that are linked, in the order of their bytes, behind `after`.
    async fn linked_keys(
        &self,
        route: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, StateError>;

    /// The source's runs that are not over, in the order of their numbers.
    async fn runs(&self) -> Result<Vec<Run>, StateError>;

    /// Asks for a run. Whether it makes sense is for whoever begins it to see.
    async fn ask_run(&self, request: &RunRequest) -> Result<RunId, StateError>;

    /// Whether such a run was ever asked for, whatever became of it.
    async fn was_asked(&self, kind: RunKind, entity: Option<&str>, origin: &str) -> Result<bool, StateError>;

    /// Begins a run that is requested, and says whether it was. A base it has already stays.
    async fn begin_run(&self, id: RunId, base: Lsn) -> Result<bool, StateError>;

    /// A person let a truncate through: parks it, due at once, for every linked key that has not
    /// changed since, in place of the one for the whole table.
    async fn spread_truncate(&self, route: &str, id: ChangeId) -> Result<u64, StateError>;
}
