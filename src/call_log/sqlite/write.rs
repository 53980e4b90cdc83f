use super::{explain, nanos};
use crate::call_log::{Head, Line, Refused};
use jiff::Timestamp;
use rusqlite::{
    Connection, ToSql, TransactionBehavior, params,
    types::{ToSqlOutput, ValueRef},
};
use serde::Deserialize;
use std::{borrow::Cow, sync::Arc};

/// Counted up when the tables change.
pub(super) const VERSION: i64 = 2;

/// A record costs little where it is one row that is added at the end: so rows are numbered as they come, the
/// first key and the first change stand in them, and there is an index for what is asked often or is rare.
pub(super) const SCHEMA: &str = "\
create table call (
    seq    integer primary key,
    id     text    not null unique,
    at     integer not null,
    entity text    not null,
    route  text    not null,
    key    text,
    change text,
    run    integer,
    status integer,
    class  text,
    record text    not null
);
create index call_at on call (at);
create index call_key on call (key);
create index call_change on call (change) where change is not null;
create index call_run on call (run, at, id) where run is not null;
create index call_status on call (status, at, id) where status >= 300;
create index call_class on call (class, at, id) where class is not null;
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

/// The same as [`Head`], read from a record that was written by somebody else.
#[derive(Deserialize)]
struct Written {
    at: Timestamp,
    entity: Arc<str>,
    keys: Vec<Arc<str>>,
    changes: Vec<Arc<str>>,
    #[serde(default)]
    run: Option<i64>,
    #[serde(default)]
    class: Option<Cow<'static, str>>,
    #[serde(default)]
    response: Option<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
}

fn read(json: &[u8]) -> Result<Arc<Head>, String> {
    let text = std::str::from_utf8(json).map_err(|error| error.to_string())?;
    let Written { at, entity, keys, changes, run, class, response } =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(Arc::new(Head { at, entity, keys, changes, run, status: response.map(|it| it.status), class }))
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
            "insert or ignore into call (id, at, entity, route, key, change, run, status, class, record)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        let mut further_key =
            transaction.prepare_cached("insert or ignore into further_key (key, seq) values (?, ?)")?;
        let mut further_change =
            transaction.prepare_cached("insert or ignore into further_change (change, seq) values (?, ?)")?;
        for (place, line) in lines.iter().enumerate() {
            let mut refuse = |reason: String| refused.push(Refused { at: place, reason });
            let head = match &line.head {
                Some(head) => Ok(Arc::clone(head)),
                None => read(&line.json),
            };
            let head = match head {
                Ok(head) => head,
                Err(error) => {
                    refuse(format!("it cannot be read: {error}"));
                    continue;
                }
            };
            let Head { at, entity, keys, changes, run, status, class } = &*head;
            let (route, key, change) = (&*line.route, keys.first(), changes.first());
            let text = Text(&line.json);
            let values =
                params![&*line.id.0, nanos(*at), entity, route, key, change, run, status, class, text];
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
            for key in keys.iter().skip(1) {
                further_key.execute(params![key, seq])?;
            }
            for change in changes.iter().skip(1) {
                further_change.execute(params![change, seq])?;
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
