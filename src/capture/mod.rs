//! Where changes come from.
//!
//! A source yields committed changes in batches and is told, with a receipt only the state store
//! can make, what it may forget (invariant 1). Everything it holds for the engine is counted
//! against the shared [`Budget`] (invariant 5). What it never does: deliver a change of a
//! transaction that did not commit, wait for the engine while the server wants an answer, or make
//! a slot when it reconnects.

mod budget;
mod catalog;
mod chunk;
mod chunks;
mod described;
pub mod logical;
mod reader;
mod settings;
mod sql;
mod visibility;

pub use budget::Budget;
pub use chunk::{Absent, Chunk, ChunkLimit, ChunkOf, ChunkReader, KeyValues, Visible};
pub use chunks::PostgresChunks;
pub use reader::PostgresReader;
pub use settings::{Capture, LogicalSettings, Replay, Settings, StateSettings, WalGuard};

use crate::{
    model::{Change, Lsn, Row, TableName},
    state::Saved,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

/// What a source yields.
#[derive(Clone, Debug)]
pub enum Captured {
    /// A change of a routed table. It is charged to the budget; whoever settles it frees it.
    Change(Change),
    /// A mark of ours: everything before it in the log has been yielded.
    Mark(Mark),
    /// The transaction has no further changes: the unit that is checkpointed.
    Commit(Commit),
    /// Nothing for us up to here; only sent while no transaction is open.
    Idle(Lsn),
}

/// Something that was written into the log to be found again in the stream. Its transaction has nothing
/// else in it, and its [`Commit`] follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What [`ChunkReader::mark`] was given.
    pub text: Box<str>,
    /// The position of its transaction.
    pub commit: Lsn,
    /// When that was committed.
    pub at: Timestamp,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// What the ids of its changes carry.
    pub lsn: Lsn,
    /// Just behind it: acknowledging this means never seeing the transaction again.
    pub end: Lsn,
    /// When it was committed.
    pub at: Timestamp,
}

/// A source of changes. Live stream, snapshot and replay all look like this.
#[async_trait]
pub trait ChangeSource: Send {
    /// The next batch, never empty; `None` once there will be no more.
    ///
    /// Cancel safe: dropping the future loses nothing.
    async fn next(&mut self) -> Result<Option<Vec<Captured>>, SourceError>;

    /// Tells the source it may forget everything the receipt covers.
    fn acknowledge(&mut self, saved: &Saved);

    /// Ends the stream in order: the server hears of the last acknowledgement. Dropping the
    /// source does the same in the background.
    async fn close(&mut self) {}
}

/// Reads present rows: for changes that concern an entity without carrying its row.
#[async_trait]
pub trait RowReader: Send + Sync {
    /// How many reads it makes at once; more would only wait for each other.
    fn at_once(&self) -> usize {
        8
    }

    /// Waits until others see what this transaction wrote; it is committed, but that may take a
    /// while. Reading earlier would give the row as it was before the change.
    async fn seen(&self, _transaction: u32) -> Result<(), SourceError> {
        Ok(())
    }

    /// The row whose `key` columns have these values (as text), as it is now.
    async fn row(&self, table: &TableName, key: &[(String, String)]) -> Result<Option<Row>, SourceError>;

    /// The first row of a query of the configuration's own, as a JSON object. The key's values
    /// are its parameters `$1`, `$2`, ….
    async fn fetch(&self, sql: &str, key: &[String]) -> Result<Option<Value>, SourceError>;
}

/// What stops a source. Unless [`SourceError::is_final`], connecting again may help.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The connection could not be made or was lost.
    #[error("{doing}: {message}")]
    Connection {
        /// Such as `reading the replication stream`.
        doing: String,
        /// What happened.
        message: String,
    },
    /// Another process streams from the slot.
    #[error(
        "replication slot `{slot}` is in use by process {pid} of the server: another instance of rowcall is running; waiting as its standby"
    )]
    SlotInUse {
        /// The slot.
        slot: String,
        /// The server's process that streams from it.
        pid: String,
    },
    /// Something a person must repair: one message that says what, where and how.
    #[error("{0}")]
    Final(String),
}

impl SourceError {
    /// Whether trying again cannot help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Final(_))
    }
}
