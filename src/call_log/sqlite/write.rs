use super::{explain, nanos};
use crate::call_log::{Line, Refused};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::Deserialize;
use std::borrow::Cow;

/// A record costs little where it only adds at the end: so rows are numbered as they come, and there is an
/// index for what is asked often or is rare. The texts lie apart, so that what is looked through is short.
pub(super) const SCHEMA: &str = "\
create table if not exists call (
    seq    integer primary key,
    id     text    not null unique,
    at     integer not null,
    entity text    not null,
    route  text    not null,
    run    integer,
    status integer,
    class  text
);
create index if not exists call_at on call (at, id);
create index if not exists call_run on call (run, at, id) where run is not null;
create index if not exists call_status on call (status, at, id) where status >= 300;
create index if not exists call_class on call (class, at, id) where class is not null;
create table if not exists call_record (
    seq    integer primary key,
    record text not null
);
create table if not exists call_key (
    key text    not null,
    seq integer not null,
    primary key (key, seq)
) without rowid;
create table if not exists call_change (
    change text    not null,
    seq    integer not null,
    primary key (change, seq)
) without rowid;
";

/// What of a record it is found by.
#[derive(Deserialize)]
struct Head<'a> {
    at: Timestamp,
    #[serde(borrow)]
    entity: Cow<'a, str>,
    keys: Vec<String>,
    changes: Vec<String>,
    #[serde(default)]
    run: Option<i64>,
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    response: Option<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
}

/// What this file will never take is named by its place, and costs no other.
pub(super) fn insert(connection: &mut Connection, lines: &[Line]) -> rusqlite::Result<Vec<Refused>> {
    let transaction = connection.transaction()?;
    let mut refused = Vec::new();
    {
        let mut call = transaction.prepare_cached(
            "insert or ignore into call (id, at, entity, route, run, status, class) values (?, ?, ?, ?, ?, ?, ?)",
        )?;
        let mut record = transaction.prepare_cached("insert into call_record (seq, record) values (?, ?)")?;
        let mut key =
            transaction.prepare_cached("insert or ignore into call_key (key, seq) values (?, ?)")?;
        let mut change =
            transaction.prepare_cached("insert or ignore into call_change (change, seq) values (?, ?)")?;
        for (place, line) in lines.iter().enumerate() {
            let mut refuse = |reason: String| refused.push(Refused { at: place, reason });
            let text = std::str::from_utf8(&line.json);
            let read = text.map_err(|error| error.to_string()).and_then(|text| {
                let head: Head = serde_json::from_str(text).map_err(|error| error.to_string())?;
                Ok((text, head))
            });
            let (text, head) = match read {
                Ok(read) => read,
                Err(error) => {
                    refuse(format!("it cannot be read: {error}"));
                    continue;
                }
            };
            let Head { at, entity, keys, changes, run, class, response } = head;
            let status = response.map(|it| it.status);
            let values = params![&*line.id.0, nanos(at), entity, &*line.route, run, status, class];
            match call.execute(values) {
                Ok(0) => continue,
                Ok(_) => {}
                Err(error) if is_refusal(&error) => {
                    refuse(explain(&error));
                    continue;
                }
                Err(error) => return Err(error),
            }
            let seq = transaction.last_insert_rowid();
            match record.execute(params![seq, text]) {
                Ok(_) => {}
                Err(error) if is_refusal(&error) => {
                    // Nothing of it stays.
                    transaction.execute("delete from call where seq = ?", [seq])?;
                    refuse(explain(&error));
                    continue;
                }
                Err(error) => return Err(error),
            }
            for name in keys {
                key.execute(params![name, seq])?;
            }
            for name in changes {
                change.execute(params![name, seq])?;
            }
        }
    }
    transaction.commit()?;
    Ok(refused)
}

/// It is about this one record, and will be so for ever.
fn is_refusal(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
}
