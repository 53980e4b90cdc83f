use super::{SourceError, described::quoted, visibility::Snapshot};
use crate::model::{Row, TableName};
use async_trait::async_trait;
use std::sync::Arc;

/// What our marks in the log are told apart by.
pub(super) const MARK_PREFIX: &str = "rowcall";

/// The values of a key's columns, as text.
pub type KeyValues = Vec<String>;

/// Which rows to read, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkOf {
    /// The table.
    pub table: TableName,
    /// The columns that make the key.
    pub key: Vec<String>,
    /// A condition in SQL on the rows.
    pub filter: Option<String>,
    /// Only these keys.
    pub keys: Option<Vec<KeyValues>>,
    /// Only up to this key.
    pub until: Option<KeyValues>,
}

impl ChunkOf {
    /// A condition in SQL: the key is among those that this statement yields.
    pub fn among(&self, query: &str) -> String {
        let key: Vec<String> = self.key.iter().map(|it| quoted(it)).collect();
        // The line break ends a comment in its last line.
        format!("({}) in ({}\n)", key.join(", "), query.trim().trim_end_matches(';'))
    }
}

/// How much to read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimit {
    /// At most so many rows.
    pub rows: usize,
    /// No further row once so many bytes are read.
    pub bytes: usize,
}

/// Rows of a table, read in one statement.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// In the order of their keys.
    pub rows: Vec<Row>,
    /// Whose changes are in them.
    pub visible: Visible,
    /// Stands for what the table looked like.
    pub shape: Arc<str>,
    /// There is nothing behind them.
    pub last: bool,
}

/// Keys that have no row.
#[derive(Clone, Debug)]
pub struct Absent {
    /// For each of them a row of which only the key is known.
    pub rows: Vec<Row>,
    /// Whose changes were seen.
    pub visible: Visible,
}

/// Whose changes a statement could see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible(Arc<Snapshot>);

impl Visible {
    /// As `pg_current_snapshot()` prints it.
    pub fn parse(text: &str) -> Option<Self> {
        Snapshot::parse(text).map(|it| Self(Arc::new(it)))
    }

    /// Whether what this transaction wrote could be seen.
    pub fn sees(&self, transaction: u32) -> bool {
        self.0.sees(transaction)
    }
}

/// Reads tables piece by piece, and says in the log when it has.
#[async_trait]
pub trait ChunkReader: Send + Sync {
    /// The rows behind this key, or from the first one on. No transaction stays open.
    async fn chunk(
        &self,
        of: &ChunkOf,
        after: Option<&KeyValues>,
        limit: ChunkLimit,
    ) -> Result<Chunk, SourceError>;

    /// How many rows there are, about.
    async fn estimate(&self, of: &ChunkOf) -> Result<u64, SourceError>;

    /// Which of these keys have no row, whatever the filter says.
    async fn absent(&self, of: &ChunkOf, keys: &[KeyValues]) -> Result<Absent, SourceError>;

    /// Writes a mark into the log; it is there once this returns.
    async fn mark(&self, text: &str) -> Result<(), SourceError>;
}
