//! Tuples to rows: two allocations each, every text checked once.

use super::{
    cursor::DecodeError,
    message::{Old as OldTuple, RawCell, Tuple},
};
use crate::model::{Cell, Row, RowBuilder, Table};
use std::sync::Arc;

/// An old row, and how much of it is known.
pub(super) enum Old {
    /// Only the identity's columns; the others are unknown.
    Key(Row),
    /// All of it.
    Full(Row),
}

impl Old {
    pub(super) fn as_row(&self) -> &Row {
        match self {
            Self::Key(row) | Self::Full(row) => row,
        }
    }

    pub(super) fn row(self) -> Row {
        match self {
            Self::Key(row) | Self::Full(row) => row,
        }
    }
}

/// The row as it is now.
pub(super) fn new(table: &Arc<Table>, tuple: Tuple<'_>) -> Result<Row, DecodeError> {
    build(table, tuple, |_| Cell::Null)
}

/// The row as it was. Columns outside of the identity arrive as null when they are unknown.
pub(super) fn old(table: &Arc<Table>, tuple: OldTuple<'_>) -> Result<Old, DecodeError> {
    match tuple {
        OldTuple::Full(tuple) => build(table, tuple, |_| Cell::Null).map(Old::Full),
        OldTuple::Key(tuple) => {
            let unknown = |at: usize| if table.columns[at].identity { Cell::Null } else { Cell::Unchanged };
            build(table, tuple, unknown).map(Old::Key)
        }
    }
}

fn build(
    table: &Arc<Table>,
    tuple: Tuple<'_>,
    null: impl Fn(usize) -> Cell<'static>,
) -> Result<Row, DecodeError> {
    if tuple.columns() != table.columns.len() {
        return Err(DecodeError("a row has another number of columns than its table"));
    }
    let mut row = RowBuilder::with_capacity(tuple.columns(), tuple.text());
    for (at, cell) in tuple.cells().enumerate() {
        row.push(match cell {
            RawCell::Null => null(at),
            RawCell::Unchanged => Cell::Unchanged,
            RawCell::Text(text) => Cell::Text(std::str::from_utf8(text).map_err(|_| {
                DecodeError(
                    "a value is not UTF-8: the database's encoding is SQL_ASCII and its texts are not",
                )
            })?),
        });
    }
    Ok(row.finish(table.clone()))
}

/// Whether an update moved the row to another key.
pub(super) fn key_differs(table: &Table, old: &Row, new: &Row) -> bool {
    let identity = |(_, column): &(usize, &crate::model::Column)| column.identity;
    table.columns.iter().enumerate().filter(identity).any(|(at, _)| old.cell(at) != new.cell(at))
}
