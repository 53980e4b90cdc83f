use super::{Lsn, Row, Table};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Names one row change for ever: same WAL, same id, however often it is read.
///
/// The ordinal counts every row message of the transaction twice over, routed or not: a
/// key-changing update is two changes (delete, insert) and takes both of its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId {
    /// Where its transaction's commit stands in the log.
    pub commit: Lsn,
    /// Its place in the transaction.
    pub ordinal: u64,
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.commit, self.ordinal)
    }
}

/// What happened to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// A new row.
    Insert,
    /// A row that was there.
    Update,
    /// The row is gone.
    Delete,
    /// Read from a snapshot or a re-read: the present state, not a change.
    Read,
    /// All rows of the table are gone.
    Truncate,
}

impl Op {
    /// As expressions and the state database write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::Truncate => "truncate",
        }
    }
}

/// The row before and after, as far as the operation and the replica identity give them.
#[derive(Clone, Debug, PartialEq)]
pub enum Image {
    /// A new row.
    Insert {
        /// The row.
        new: Row,
    },
    /// A row that was there.
    Update {
        /// The whole old row under replica identity full, else nothing.
        old: Option<Row>,
        /// The row as it is.
        new: Row,
    },
    /// The row is gone.
    Delete {
        /// Under any identity but full only the identity's columns are known; the rest are
        /// [`super::Cell::Unchanged`].
        old: Row,
    },
    /// The present state of a row.
    Read {
        /// The row.
        new: Row,
    },
    /// Every row of the table is gone.
    Truncate,
}

impl Image {
    /// What happened.
    pub fn op(&self) -> Op {
        match self {
            Self::Insert { .. } => Op::Insert,
            Self::Update { .. } => Op::Update,
            Self::Delete { .. } => Op::Delete,
            Self::Read { .. } => Op::Read,
            Self::Truncate => Op::Truncate,
        }
    }

    /// The row as it is now, or as it last was.
    pub fn row(&self) -> Option<&Row> {
        match self {
            Self::Insert { new } | Self::Update { new, .. } | Self::Read { new } => Some(new),
            Self::Delete { old } => Some(old),
            Self::Truncate => None,
        }
    }

    /// The row as it was before.
    pub fn old(&self) -> Option<&Row> {
        match self {
            Self::Update { old, .. } => old.as_ref(),
            Self::Delete { old } => Some(old),
            _ => None,
        }
    }

    /// What the images cost in memory, for the byte budget.
    pub fn bytes(&self) -> usize {
        let old = if let Self::Update { old: Some(old), .. } = self { old.bytes() } else { 0 };
        self.row().map_or(0, Row::bytes) + old
    }
}

/// What a change in flight costs beyond itself: its key, its place in a lane, its outcome until
/// that is stored, what the allocator loses. Measured with small rows, where it is most of the cost.
const CARRYING: usize = 768;

/// One committed row change.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its name, for ever.
    pub id: ChangeId,
    /// The table as it was then.
    pub table: Arc<Table>,
    /// What happened to the row.
    pub image: Image,
    /// When its transaction was committed.
    pub committed_at: Timestamp,
    /// Its transaction, which others may not see yet although it is committed; `None` if they do.
    pub transaction: Option<u32>,
}

impl Change {
    /// What happened.
    pub fn op(&self) -> Op {
        self.image.op()
    }

    /// What the change costs in memory, for the byte budget.
    pub fn bytes(&self) -> usize {
        CARRYING + size_of::<Self>() + self.image.bytes()
    }
}
