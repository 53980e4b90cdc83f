//! Bytes to [`Message`]: pure, and total: whatever arrives is a message or an error.

use super::{
    cursor::{Cursor, DecodeError},
    message::{Message, Old, Relation, RelationColumn, ReplicaIdentity, TableIds, Tuple},
};
use crate::{
    capture::chunk::MARK_PREFIX,
    model::{Lsn, TableId},
};
use jiff::Timestamp;

/// Decodes one message of pgoutput.
pub fn decode(frame: &[u8]) -> Result<Message<'_>, DecodeError> {
    let mut cursor = Cursor::new(frame);
    let it = &mut cursor;
    let message = match it.u8()? {
        b'B' => Message::Begin { lsn: lsn(it)?, at: time(it)?, xid: it.u32()? },
        b'C' => commit(it)?,
        b'O' => Message::Origin { lsn: lsn(it)?, name: it.cstr()? },
        b'R' => Message::Relation(relation(it)?),
        b'Y' => Message::Type { id: it.u32()?, schema: it.cstr()?, name: it.cstr()? },
        b'I' => {
            let table = TableId(it.u32()?);
            marker(it.u8()?, b'N')?;
            Message::Insert { table, new: Tuple::decode(it)? }
        }
        b'U' => update(it)?,
        b'D' => {
            let table = TableId(it.u32()?);
            let kind = it.u8()?;
            let old = old(kind, it)?.ok_or(DecodeError("a delete without its old row"))?;
            Message::Delete { table, old }
        }
        b'T' => {
            let count = it.length()?;
            Message::Truncate { options: it.u8()?, tables: TableIds::decode(it, count)? }
        }
        b'M' => {
            let transactional = it.u8()? & 1 == 1;
            let (lsn, prefix, length) = (lsn(it)?, it.cstr()?, it.length()?);
            Message::Message { transactional, lsn, prefix, content: it.take(length)? }
        }
        _ => return Err(DecodeError("it is of an unknown kind")),
    };
    cursor.end()?;
    Ok(message)
}

/// Which table a row message is about, without decoding the rest: tables nobody routes stop here.
pub(super) fn table_of(frame: &[u8]) -> Option<TableId> {
    match frame {
        [b'I' | b'U' | b'D', a, b, c, d, ..] => Some(TableId(u32::from_be_bytes([*a, *b, *c, *d]))),
        _ => None,
    }
}

/// Whether a message of an application is one of our marks; `None` for anything else. Whatever others
/// write there is looked at no further than this, so it need not even be well formed.
pub(super) fn is_mark(frame: &[u8]) -> Option<bool> {
    match frame {
        // The flags, of which the first is `transactional`, and the position come before the prefix.
        [b'M', flags, rest @ ..] => {
            let prefix = rest.get(8..).and_then(|it| it.strip_prefix(MARK_PREFIX.as_bytes()));
            Some(flags & 1 == 1 && prefix.is_some_and(|it| it.first() == Some(&0)))
        }
        _ => None,
    }
}

fn commit<'a>(it: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    it.u8()?; // flags, none defined
    Ok(Message::Commit { lsn: lsn(it)?, end: lsn(it)?, at: time(it)? })
}

fn update<'a>(it: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    let table = TableId(it.u32()?);
    let kind = it.u8()?;
    let old = old(kind, it)?;
    let kind = if old.is_some() { it.u8()? } else { kind };
    marker(kind, b'N')?;
    Ok(Message::Update { table, old, new: Tuple::decode(it)? })
}

fn old<'a>(kind: u8, it: &mut Cursor<'a>) -> Result<Option<Old<'a>>, DecodeError> {
    Ok(match kind {
        b'K' => Some(Old::Key(Tuple::decode(it)?)),
        b'O' => Some(Old::Full(Tuple::decode(it)?)),
        _ => None,
    })
}

fn marker(found: u8, wanted: u8) -> Result<(), DecodeError> {
    if found == wanted { Ok(()) } else { Err(DecodeError("a row has an unknown marker")) }
}

fn relation<'a>(it: &mut Cursor<'a>) -> Result<Relation<'a>, DecodeError> {
    let (table, schema, name) = (TableId(it.u32()?), it.cstr()?, it.cstr()?);
    let identity =
        ReplicaIdentity::from_letter(it.u8()?).ok_or(DecodeError("a replica identity is unknown"))?;
    let count = it.u16()?;
    // Grown as columns arrive, so that a lying count allocates nothing.
    let mut columns = Vec::new();
    for _ in 0..count {
        let identity = it.u8()? & 1 == 1;
        let (name, ty, modifier) = (it.cstr()?, it.u32()?, it.u32()? as i32);
        columns.push(RelationColumn { identity, name, ty, modifier });
    }
    let schema = if schema.is_empty() { "pg_catalog" } else { schema };
    Ok(Relation { table, schema, name, identity, columns })
}

fn lsn(it: &mut Cursor<'_>) -> Result<Lsn, DecodeError> {
    it.u64().map(Lsn::new)
}

/// Microseconds from the Unix epoch to 2000-01-01, which Postgres counts from.
const EPOCH: i64 = 946_684_800_000_000;

fn time(it: &mut Cursor<'_>) -> Result<Timestamp, DecodeError> {
    let micros = (it.u64()? as i64).checked_add(EPOCH).ok_or(DecodeError("a time is out of range"))?;
    Timestamp::from_microsecond(micros).map_err(|_| DecodeError("a time is out of range"))
}

#[cfg(test)]
mod tests;
