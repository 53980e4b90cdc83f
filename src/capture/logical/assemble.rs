//! Messages to changes: which transaction, which table, which id. Pure.

use super::{
    cursor::DecodeError,
    decode::{decode, is_mark, table_of},
    message::{Message, Old, Relation, ReplicaIdentity},
    rows::{self, Old as OldRow},
};
use crate::{
    capture::{Captured, Commit, Mark},
    model::{Change, ChangeId, Image, Lsn, Row, Table, TableId, TableName},
};
use jiff::Timestamp;
use std::{collections::HashMap, sync::Arc};

/// Which tables' changes are wanted.
pub type Routed = Box<dyn Fn(&TableName) -> bool + Send + Sync>;

/// What came of the messages so far and is not handed over yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) items: Vec<Captured>,
    /// What the changes among them cost.
    pub(super) bytes: usize,
}

impl Batch {
    fn push(&mut self, change: Change) {
        self.bytes += change.bytes();
        self.items.push(Captured::Change(change));
    }
}

/// A table whose description needs the catalog before its rows can be read.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) id: TableId,
    pub(super) name: TableName,
    /// Names the columns that identify an old row; `None` if only the catalog knows.
    pub(super) keyed: bool,
    pub(super) columns: Vec<(Arc<str>, u32, bool)>,
    /// The table was known before: what the catalog said then may be outdated.
    pub(super) changed: bool,
}

enum Known {
    Ignored,
    Routed(Arc<Table>),
}

struct Open {
    lsn: Lsn,
    at: Timestamp,
    xid: u32,
    /// How many row messages came before.
    index: u64,
    /// Whether anything of it was handed over.
    routed: bool,
    /// Written by ourselves.
    own: bool,
}

/// Follows the stream.
pub(super) struct Assembler {
    routed: Routed,
    own_origin: String,
    tables: HashMap<TableId, Known>,
    open: Option<Open>,
    idle: Option<Lsn>,
}

impl Assembler {
    pub(super) fn new(routed: Routed, own_origin: String) -> Self {
        Self { routed, own_origin, tables: HashMap::new(), open: None, idle: None }
    }

    /// Takes one message. If it describes a table that needs the catalog, the description is
    /// returned and [`Self::know`] has to be called before the next message.
    pub(super) fn apply(&mut self, frame: &[u8], out: &mut Batch) -> Result<Option<Described>, DecodeError> {
        if let Some(table) = table_of(frame)
            && self.passes_over(table)?
        {
            return Ok(None);
        }
        if is_mark(frame) == Some(false) {
            return Ok(None);
        }
        match decode(frame)? {
            Message::Begin { lsn, at, xid } => {
                if self.open.is_some() {
                    return Err(DecodeError("a transaction begins within another"));
                }
                self.open = Some(Open { lsn, at, xid, index: 0, routed: false, own: false });
            }
            Message::Commit { lsn, end, at } => self.commit(Commit { lsn, end, at }, out)?,
            Message::Origin { name, .. } => {
                let own = name == self.own_origin;
                self.transaction()?.own = own;
            }
            Message::Relation(relation) => return Ok(self.describe(&relation)),
            Message::Insert { table, new } => {
                let table = self.routed_table(table)?;
                let new = rows::new(&table, new)?;
                self.push(0, table, Image::Insert { new }, out)?;
                self.transaction()?.index += 1;
            }
            Message::Update { table, old, new } => {
                let table = self.routed_table(table)?;
                let new = rows::new(&table, new)?;
                self.update(table, old, new, out)?;
            }
            Message::Delete { table, old } => {
                let table = self.routed_table(table)?;
                let old = rows::old(&table, old)?.row();
                self.push(0, table, Image::Delete { old }, out)?;
                self.transaction()?.index += 1;
            }
            Message::Truncate { tables, .. } => {
                for table in tables.iter() {
                    if !self.passes_over(table)? {
                        let table = self.routed_table(table)?;
                        self.push(0, table, Image::Truncate, out)?;
                        self.transaction()?.index += 1;
                    }
                }
            }
            Message::Message { content, .. } => self.mark(content, out)?,
            Message::Type { .. } => {}
        }
        Ok(None)
    }

    /// Counts and drops a row message of a table nobody routes, or of a transaction of our own.
    fn passes_over(&mut self, table: TableId) -> Result<bool, DecodeError> {
        let ignored = match self.tables.get(&table) {
            Some(Known::Ignored) => true,
            Some(Known::Routed(_)) => false,
            None => return Err(DecodeError("a row of a table that was not described")),
        };
        let open = self.transaction()?;
        let passes = ignored || open.own;
        open.index += u64::from(passes);
        Ok(passes)
    }

    fn transaction(&mut self) -> Result<&mut Open, DecodeError> {
        self.open.as_mut().ok_or(DecodeError("it belongs to no transaction"))
    }

    fn routed_table(&self, table: TableId) -> Result<Arc<Table>, DecodeError> {
        match self.tables.get(&table) {
            Some(Known::Routed(table)) => Ok(table.clone()),
            _ => Err(DecodeError("a row of a table that was not described")),
        }
    }

    fn update(
        &mut self,
        table: Arc<Table>,
        old: Option<Old<'_>>,
        new: Row,
        out: &mut Batch,
    ) -> Result<(), DecodeError> {
        let old = old.map(|old| rows::old(&table, old)).transpose()?;
        let (old, new) = match old {
            Some(old) => {
                let new = new.filled_from(old.as_row());
                (Some(old), new)
            }
            None => (None, new),
        };
        match old {
            Some(old) if rows::key_differs(&table, old.as_row(), &new) => {
                self.push(0, table.clone(), Image::Delete { old: old.row() }, out)?;
                self.push(1, table, Image::Insert { new }, out)?;
            }
            Some(OldRow::Full(old)) => self.push(0, table, Image::Update { old: Some(old), new }, out)?,
            // A large key's value is sent along although it did not change.
            Some(OldRow::Key(_)) | None => self.push(0, table, Image::Update { old: None, new }, out)?,
        }
        self.transaction()?.index += 1;
        Ok(())
    }

    fn push(
        &mut self,
        half: u64,
        table: Arc<Table>,
        image: Image,
        out: &mut Batch,
    ) -> Result<(), DecodeError> {
        let open = self.transaction()?;
        open.routed = true;
        let id = ChangeId { commit: open.lsn, ordinal: open.index * 2 + half };
        out.push(Change { id, table, image, committed_at: open.at, transaction: Some(open.xid) });
        Ok(())
    }

    /// Marks count also under our own origin: whoever wrote them waits for them.
    fn mark(&mut self, text: &[u8], out: &mut Batch) -> Result<(), DecodeError> {
        let open = self.transaction()?;
        // What is not text was not written by us.
        if let Ok(text) = std::str::from_utf8(text) {
            open.routed = true;
            out.items.push(Captured::Mark(Mark { text: text.into(), commit: open.lsn, at: open.at }));
        }
        Ok(())
    }

    fn commit(&mut self, commit: Commit, out: &mut Batch) -> Result<(), DecodeError> {
        let open = self.open.take().ok_or(DecodeError("a commit without its transaction"))?;
        if open.lsn != commit.lsn {
            return Err(DecodeError("a commit of another transaction"));
        }
        if open.routed {
            // Whatever passed before it is behind it.
            self.idle = None;
            out.items.push(Captured::Commit(commit));
        } else {
            self.pass(commit.end);
        }
        Ok(())
    }

    /// The server has nothing for us up to here.
    pub(super) fn pass(&mut self, end: Lsn) {
        if self.open.is_none() {
            self.idle = self.idle.max(Some(end));
        }
    }

    /// The newest position that nothing of ours is before; only between transactions.
    pub(super) fn take_idle(&mut self) -> Option<Lsn> {
        if self.open.is_some() { None } else { self.idle.take() }
    }

    /// Whether [`Self::take_idle`] would give one.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.idle.is_some()
    }

    fn describe(&mut self, relation: &Relation<'_>) -> Option<Described> {
        let name = TableName { schema: relation.schema.into(), name: relation.name.into() };
        if !(self.routed)(&name) {
            self.tables.insert(relation.table, Known::Ignored);
            return None;
        }
        let keyed = matches!(relation.identity, ReplicaIdentity::Default | ReplicaIdentity::Index);
        let columns = relation.columns.iter().map(|it| (it.name.into(), it.ty, it.identity && keyed));
        let changed = matches!(self.tables.get(&relation.table), Some(Known::Routed(_)));
        Some(Described { id: relation.table, name, keyed, columns: columns.collect(), changed })
    }

    /// The table is known from here on.
    pub(super) fn know(&mut self, table: Table) {
        self.tables.insert(table.id, Known::Routed(Arc::new(table)));
    }
}

#[cfg(test)]
mod tests;
