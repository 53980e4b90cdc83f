//! What it means when a piece of a table cannot be read, and what a person can do.

use crate::{
    capture::{
        ChunkOf, SourceError,
        described::quoted,
        sql::{failed, shortened},
    },
    model::TableName,
};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Error, error::SqlState};

/// Why a read ended early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The table does not look as it is known any more.
    Altered,
    /// For good, or for now.
    Failed(SourceError),
}

/// What is being read, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing<'a> {
    pub(super) of: &'a ChunkOf,
    pub(super) began: Instant,
    pub(super) timeout: Duration,
}

impl Doing<'_> {
    /// Messages do not speak of the filter.
    pub(super) fn without_filter(&self) -> FilterLess<'_> {
        FilterLess(self)
    }

    /// Nothing that the filter could be blamed for.
    pub(super) fn failed(&self, error: &Error) -> Stopped {
        Stopped::Failed(failed(format!("reading table {}", self.of.table), error))
    }

    /// The lock was refused.
    pub(super) fn locking(&self, error: &Error) -> Stopped {
        let table = &self.of.table;
        match error.code() {
            // It is gone, or has another name: the catalog will say.
            Some(
                &SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME | &SqlState::WRONG_OBJECT_TYPE,
            ) => Stopped::Altered,
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Stopped::Failed(SourceError::Final(format!(
                "the role may not read table {table} ({}): it needs `grant select on {} to` that role, and `grant usage on schema {} to` it",
                crate::postgres::explain(error),
                table.quoted(),
                quoted(&table.schema)
            ))),
            _ => self.failed(error),
        }
    }

    /// The statement itself failed. The table and its columns are as they are known, so that what is
    /// wrong is the filter, or the key.
    pub(super) fn reading(&self, error: &Error) -> Stopped {
        self.explained(error, self.of.filter.as_deref())
    }

    fn explained(&self, error: &Error, filter: Option<&str>) -> Stopped {
        let ChunkOf { table, key, .. } = self.of;
        let columns = || key.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", ");
        // An operator's cancelling has the same code, and comes earlier.
        if error.code() == Some(&SqlState::QUERY_CANCELED) && self.began.elapsed() >= self.timeout {
            let filter = if filter.is_some() { ", or the filter leaves out nearly every row" } else { "" };
            return Stopped::Failed(SourceError::Final(format!(
                "reading a piece of table {table} took longer than {} s: an index on the key's columns is missing{filter}. Make one: \
                 `create index concurrently on {} ({})`",
                self.timeout.as_secs_f32(),
                table.quoted(),
                columns()
            )));
        }
        let doing = match filter {
            _ if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                format!("reading table {table}, whose rows the role must be allowed to see, all of them")
            }
            Some(filter) => format!("reading table {table} with the filter {}", shortened(filter)),
            None => format!("reading table {table} in the order of its key ({})", columns()),
        };
        Stopped::Failed(failed(doing, error))
    }

    /// A filter that has parameters wants values for them.
    pub(super) fn takes(&self, wanted: usize, given: usize) -> Result<(), Stopped> {
        if wanted == given {
            return Ok(());
        }
        let ChunkOf { table, filter, .. } = self.of;
        Err(Stopped::Failed(SourceError::Final(format!(
            "the filter {} of table {table} has parameters (`$1`): there are none, so write the values themselves",
            shortened(filter.as_deref().unwrap_or_default())
        ))))
    }
}

/// See [`Doing::without_filter`].
pub(super) struct FilterLess<'a>(&'a Doing<'a>);

impl FilterLess<'_> {
    pub(super) fn reading(&self, error: &Error) -> Stopped {
        self.0.explained(error, None)
    }
}

pub(super) fn missing(table: &TableName) -> SourceError {
    SourceError::Final(format!(
        "table {table} does not exist, or is a view: if it was dropped or renamed, change the configuration, and ask for the run again"
    ))
}

pub(super) fn no_column(table: &TableName, column: &str) -> SourceError {
    SourceError::Final(format!(
        "table {table} has no column `{column}`, which the key names: if it was dropped or renamed, change the configuration"
    ))
}

pub(super) fn no_snapshot(text: &str) -> SourceError {
    SourceError::Final(format!("`{text}` is not a snapshot as Postgres prints it"))
}

pub(super) fn other_key(of: &ChunkOf, count: usize) -> SourceError {
    SourceError::Final(format!(
        "a key of table {} has {count} value(s), but it is made of {} column(s): {}",
        of.table,
        of.key.len(),
        of.key.join(", ")
    ))
}
