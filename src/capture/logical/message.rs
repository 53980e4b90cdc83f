//! The messages of pgoutput, protocol 1, borrowed from the frame they came in.

use super::cursor::{Cursor, DecodeError};
use crate::model::{Lsn, TableId};
use jiff::Timestamp;

/// One message of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// A transaction begins. Its commit's position and time are known from the start.
    Begin {
        /// Where its commit record is: what its changes' ids carry.
        lsn: Lsn,
        /// When it committed.
        at: Timestamp,
        /// Its number.
        xid: u32,
    },
    /// The transaction is complete.
    Commit {
        /// Where its commit record is.
        lsn: Lsn,
        /// Just behind that record.
        end: Lsn,
        /// When it committed.
        at: Timestamp,
    },
    /// The transaction was replicated into this database from elsewhere.
    Origin {
        /// Where it committed there.
        lsn: Lsn,
        /// The origin's name.
        name: &'a str,
    },
    /// What a table looks like from here on.
    Relation(Relation<'a>),
    /// The name of a type that is not built in.
    Type {
        /// Its OID.
        id: u32,
        /// Its schema.
        schema: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A new row.
    Insert {
        /// Into this table.
        table: TableId,
        /// The row.
        new: Tuple<'a>,
    },
    /// A changed row.
    Update {
        /// Of this table.
        table: TableId,
        /// Sent when the identity changed, or under replica identity full.
        old: Option<Old<'a>>,
        /// The row as it is now.
        new: Tuple<'a>,
    },
    /// A row that is gone.
    Delete {
        /// From this table.
        table: TableId,
        /// What is known of it.
        old: Old<'a>,
    },
    /// Emptied tables.
    Truncate {
        /// Bit 1: cascade; bit 2: restart identity.
        options: u8,
        /// Which.
        tables: TableIds<'a>,
    },
    /// Something an application wrote into the log.
    Message {
        /// Whether it belongs to a transaction.
        transactional: bool,
        /// Where it is.
        lsn: Lsn,
        /// Who it is for.
        prefix: &'a str,
        /// What it says.
        content: &'a [u8],
    },
}

/// A table's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its OID.
    pub table: TableId,
    /// Its schema; `pg_catalog` arrives as nothing.
    pub schema: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How old rows are identified.
    pub identity: ReplicaIdentity,
    /// Its columns, in the order of every row.
    pub columns: Vec<RelationColumn<'a>>,
}

/// One column of a table's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    /// Part of the replica identity; under full, every column is.
    pub identity: bool,
    /// Its name.
    pub name: &'a str,
    /// Its type's OID.
    pub ty: u32,
    /// Its type's modifier.
    pub modifier: i32,
}

/// `REPLICA IDENTITY`: what the log keeps of an old row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// Nothing: updates and deletes cannot be replicated.
    Nothing,
    /// The whole row.
    Full,
    /// A unique index's columns.
    Index,
}

impl ReplicaIdentity {
    /// As `pg_class.relreplident` and the stream write it.
    pub fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'd' => Some(Self::Default),
            b'n' => Some(Self::Nothing),
            b'f' => Some(Self::Full),
            b'i' => Some(Self::Index),
            _ => None,
        }
    }
}

/// What is known of an old row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old<'a> {
    /// Only the identity's columns; the others are null, whatever they were.
    Key(Tuple<'a>),
    /// All of it.
    Full(Tuple<'a>),
}

/// One row's values, checked to be well formed but not yet taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    cells: &'a [u8],
    text: usize,
}

/// One value as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawCell<'a> {
    /// SQL null.
    Null,
    /// A large value the update did not touch.
    Unchanged,
    /// Its text.
    Text(&'a [u8]),
}

impl<'a> Tuple<'a> {
    /// Walks over one row to find where it ends.
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let columns = cursor.u16()?;
        let start = *cursor;
        let mut text = 0;
        for _ in 0..columns {
            if let RawCell::Text(value) = cell(cursor)? {
                text += value.len();
            }
        }
        let length = start.rest().len() - cursor.rest().len();
        Ok(Self { columns, cells: &start.rest()[..length], text })
    }

    /// How many values there are.
    pub fn columns(&self) -> usize {
        self.columns.into()
    }

    /// How many bytes all texts take together.
    pub fn text(&self) -> usize {
        self.text
    }

    /// The values, in the table's column order.
    pub fn cells(&self) -> impl Iterator<Item = RawCell<'a>> {
        let mut cursor = Cursor::new(self.cells);
        // The walk in `decode` has shown that every cell is whole.
        std::iter::from_fn(move || cell(&mut cursor).ok())
    }
}

fn cell<'a>(cursor: &mut Cursor<'a>) -> Result<RawCell<'a>, DecodeError> {
    match cursor.u8()? {
        b'n' => Ok(RawCell::Null),
        b'u' => Ok(RawCell::Unchanged),
        b't' => {
            let length = cursor.length()?;
            cursor.take(length).map(RawCell::Text)
        }
        b'b' => Err(DecodeError("a value is binary, which was not asked for")),
        _ => Err(DecodeError("a value is of an unknown kind")),
    }
}

/// The tables of a truncate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableIds<'a>(&'a [u8]);

impl<'a> TableIds<'a> {
    pub(super) fn decode(cursor: &mut Cursor<'a>, count: usize) -> Result<Self, DecodeError> {
        let length = count.checked_mul(4).ok_or(DecodeError("too many tables"))?;
        cursor.take(length).map(Self)
    }

    /// Each table once, as the stream names them.
    pub fn iter(self) -> impl Iterator<Item = TableId> + use<'a> {
        self.0.as_chunks().0.iter().map(|bytes| TableId(u32::from_be_bytes(*bytes)))
    }
}
