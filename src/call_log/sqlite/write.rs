use super::{explain, place, search};
use crate::call_log::{Line, RecordId, Refused, line::Named};
use jiff::Timestamp;
use rusqlite::{
    Connection, ToSql, TransactionBehavior, params,
    types::{ToSqlOutput, ValueRef},
};

/// Counted up when the tables change.
pub(super) const VERSION: i64 = 3;

/// A record costs little where it is one row that is added near the end: so it is numbered by its time (see
/// [`place`]), the first key stands in it, and there is an index for what is asked often or is rare.
pub(super) const SCHEMA: &str = "\
create table call (
    seq    integer primary key,
    spot   integer not null,
    entity text    not null,
    route  text    not null,
    key    text,
    run    integer,
    status integer,
    class  text,
    record text    not null
);
create index call_spot on call (spot);
create index call_key on call (key) where key is not null;
create index call_run on call (run) where run is not null;
create index call_status on call (seq, status) where status >= 300;
create index call_class on call (class) where class is not null;
create table further_key (
    key text    not null,
    seq integer not null,
    primary key (key, seq)
) without rowid;
create table further_change (
    change text    not null,
    seq    integer not null,
    primary key (change, seq)
) without rowid;
";

/// Makes the tables where there are none, and says of which version they are. All of it or nothing: whoever
/// comes after a kill, or at the same time, finds no half of it.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    let is_made = |it: &Connection| {
        it.query_row("select exists (select 1 from sqlite_schema where name = 'call')", [], |row| row.get(0))
    };
    if !is_made(connection)? {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !is_made(&transaction)? {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.commit()?;
    }
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// JSON is UTF-8 already.
struct Text<'a>(&'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// What this file will never take is named by its place, and costs no other.
pub(super) fn insert(connection: &mut Connection, lines: &[Line]) -> rusqlite::Result<Vec<Refused>> {
    let transaction = connection.transaction()?;
    let mut refused = Vec::new();
    {
        let mut call = transaction.prepare_cached(
            "insert into call (seq, spot, entity, route, key, run, status, class, record)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
        )?;
        let mut further_key =
            transaction.prepare_cached("insert or ignore into further_key (key, seq) values (?, ?)")?;
        let mut further_change =
            transaction.prepare_cached("insert or ignore into further_change (change, seq) values (?, ?)")?;
        for (_, place, line) in in_order(lines, &mut refused) {
            let Named { at, entity, keys, changes, run, status, class } = match line.named() {
                Ok(named) => named,
                Err(error) => {
                    refused.push(unreadable(place, &error));
                    continue;
                }
            };
            let (id, route, text) = (line.id(), line.route(), Text(line.json()));
            let (spot, key) = (place::spot(id), keys.first());
            let put =
                |seq: i64| call.execute(params![seq, spot, entity, route, key, run, status, class, text]);
            let seq = match put_at(&transaction, place::numbers(at, id), id, put) {
                Ok(Some(seq)) => seq,
                Ok(None) => continue,
                Err(error) if is_refusal(&error) => {
                    refused.push(Refused { at: place, reason: explain(&error) });
                    continue;
                }
                Err(error) => return Err(error),
            };
            for key in keys.iter().skip(1) {
                further_key.execute(params![key, seq])?;
            }
            for (at, change) in changes.iter().enumerate() {
                if at > 0 || place::spot_of_change(change) != Some(spot) {
                    further_change.execute(params![change, seq])?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(refused)
}

/// With their numbers and places. In the order of those, one page after the other is filled, and none is divided for what comes late.
fn in_order<'a>(lines: &'a [Line], refused: &mut Vec<Refused>) -> Vec<(i64, usize, &'a Line)> {
    let mut rows = Vec::with_capacity(lines.len());
    for (place, line) in lines.iter().enumerate() {
        match line.at() {
            Ok(at) => rows.push((place::number(at, line.id()), place, line)),
            Err(error) => refused.push(unreadable(place, &error)),
        }
    }
    rows.sort_unstable_by_key(|(number, place, _)| (*number, *place));
    rows
}

fn unreadable(place: usize, error: &serde_json::Error) -> Refused {
    Refused { at: place, reason: format!("it cannot be read: {error}") }
}

/// Puts a record at the first of these numbers that is free, and says which; not if it is there already.
fn put_at(
    connection: &Connection,
    numbers: impl Iterator<Item = i64>,
    id: &str,
    mut put: impl FnMut(i64) -> rusqlite::Result<usize>,
) -> rusqlite::Result<Option<i64>> {
    for seq in numbers {
        if put(seq)? > 0 {
            return Ok(Some(seq));
        }
        if &*id_at(connection, seq)?.0 == id {
            break;
        }
    }
    Ok(None)
}

fn id_at(connection: &Connection, seq: i64) -> rusqlite::Result<RecordId> {
    let mut statement = connection.prepare_cached("select record from call where seq = ?")?;
    let begun: search::Begun = statement.query_row(params![seq], search::read)?;
    Ok(begun.id)
}

/// Forgets so many records that began before this, and says how many it were.
pub(super) fn forget(connection: &mut Connection, before: Timestamp, most: i64) -> rusqlite::Result<i64> {
    let transaction = connection.transaction()?;
    let (start, end) = (place::not_before(before), place::after(before));
    let mut gone = forget_some(&transaction, "seq < ?1 order by seq limit ?2", start, most)?;
    if gone < most {
        // Where the time lies within a microsecond, each record of that is looked at.
        let mut near =
            transaction.prepare_cached("select record, seq from call where seq >= ? and seq < ?")?;
        let near =
            near.query_map([start, end], |row| Ok((search::read::<search::Begun>(row)?.at, row.get(1)?)));
        for (at, seq) in near?.collect::<rusqlite::Result<Vec<(Timestamp, i64)>>>()? {
            if at < before {
                gone += forget_some(&transaction, "seq = ?1 limit ?2", seq, 1)?;
            }
        }
    }
    transaction.commit()?;
    Ok(gone)
}

fn forget_some(connection: &Connection, which: &str, number: i64, most: i64) -> rusqlite::Result<i64> {
    // By what the record names: no index by `seq` is kept for this.
    for name in ["key", "change"] {
        let sql = format!(
            "delete from further_{name} where ({name}, seq) in (
                 select named.value, seq from call, json_each(record, '$.{name}s') named
                 where seq in (select seq from call where {which}))"
        );
        connection.prepare_cached(&sql)?.execute(params![number, most])?;
    }
    let sql = format!("delete from call where seq in (select seq from call where {which})");
    Ok(connection.prepare_cached(&sql)?.execute(params![number, most])? as i64)
}

/// It is about this one record, and will be so for ever.
fn is_refusal(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
}
