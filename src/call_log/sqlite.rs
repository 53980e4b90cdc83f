//! The embedded call log: one SQLite file, so that a first run needs neither broker nor database.

use super::{CallLogError, CallLogStore, CallQuery, CallRecord, RecordId, Refused};
use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, ToSql, params};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const SCHEMA: &str = "\
create table if not exists call (
    id      text    primary key,
    at      integer not null,
    entity  text    not null,
    route   text    not null,
    run     integer,
    status  integer,
    class   text,
    record  text    not null
) without rowid;
create index if not exists call_at on call (at, id);
create index if not exists call_entity on call (entity, at, id);
create index if not exists call_route on call (route, at, id);
create index if not exists call_run on call (run, at, id) where run is not null;
create index if not exists call_status on call (status, at, id);
create index if not exists call_class on call (class, at, id) where class is not null;
create table if not exists call_key (
    key text not null,
    id  text not null,
    primary key (key, id)
) without rowid;
create table if not exists call_change (
    change text not null,
    id     text not null,
    primary key (change, id)
) without rowid;
";

/// Another process writes or reads for no longer.
const BUSY: Duration = Duration::from_secs(10);
/// Forgotten at once, at most, so that nobody waits long.
const EXPIRE_AT_ONCE: i64 = 1_000;

/// A call log in a file.
#[derive(Clone, Debug)]
pub struct SqliteCallLog {
    connection: Arc<Mutex<Connection>>,
    path: PathBuf,
}

impl SqliteCallLog {
    /// Opens the file, and makes it if there is none.
    pub fn open(path: &Path) -> Result<Self, CallLogError> {
        Self::open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Opens the file if there is one, to look things up.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, CallLogError> {
        if !path.exists() {
            return Ok(None);
        }
        Self::open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map(Some)
    }

    fn open_with(path: &Path, flags: OpenFlags) -> Result<Self, CallLogError> {
        let failed = |error: rusqlite::Error| CallLogError {
            doing: "opening the call log",
            message: format!("{} cannot be used: {}", path.display(), explain(&error)),
            lasting: !is_busy(&error),
        };
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        // Readers do not wait for the writer, and a commit is one write; a power cut may lose the last
        // ones, a crash of ours does not.
        connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "normal").map_err(failed)?;
        connection.execute_batch(SCHEMA).map_err(failed)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), path: path.to_owned() })
    }

    /// Whether it may be written to; nothing is.
    pub async fn try_write(&self) -> Result<(), CallLogError> {
        let work = |it: &mut Connection| it.execute_batch("begin immediate; rollback");
        self.with("trying to write", work).await
    }

    async fn with<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CallLogError> {
        let connection = Arc::clone(&self.connection);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let failed = |message: String, lasting| CallLogError {
            doing,
            message: format!("{}: {message}", self.path.display()),
            lasting,
        };
        match done.await {
            Ok(Ok(it)) => Ok(it),
            Ok(Err(error)) => Err(failed(explain(&error), !is_busy(&error))),
            Err(error) => Err(failed(error.to_string(), true)),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked | DiskFull))
}

/// It is about this one record, and will be so for ever.
fn is_refusal(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
}

fn explain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => "it is no SQLite database".to_owned(),
        Some(rusqlite::ErrorCode::CannotOpen) => {
            format!("{error}: is its directory there, and may it be written to?")
        }
        _ => error.to_string(),
    }
}

/// What is stored of a record.
struct Row {
    id: RecordId,
    at: i64,
    entity: Arc<str>,
    route: Arc<str>,
    run: Option<i64>,
    status: Option<u16>,
    class: Option<Arc<str>>,
    keys: Vec<Arc<str>>,
    changes: Vec<Arc<str>>,
    json: String,
}

impl Row {
    fn new(record: &CallRecord) -> serde_json::Result<Self> {
        Ok(Self {
            id: record.id.clone(),
            at: nanos(record.at),
            entity: Arc::clone(&record.entity),
            route: Arc::clone(&record.route),
            run: record.run,
            status: record.response.as_ref().map(|it| it.status),
            class: record.class.clone(),
            keys: record.keys.clone(),
            changes: record.changes.clone(),
            json: serde_json::to_string(record)?,
        })
    }
}

/// What this file will never take is named by its place, and costs no other.
fn insert(connection: &mut Connection, rows: &[Row]) -> rusqlite::Result<Vec<Refused>> {
    let transaction = connection.transaction()?;
    let mut refused = Vec::new();
    {
        let mut call = transaction.prepare_cached(
            "insert or ignore into call (id, at, entity, route, run, status, class, record)
             values (?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        let mut key = transaction.prepare_cached("insert or ignore into call_key (key, id) values (?, ?)")?;
        let mut change =
            transaction.prepare_cached("insert or ignore into call_change (change, id) values (?, ?)")?;
        for (place, row) in rows.iter().enumerate() {
            let Row { id, at, entity, route, run, status, class, keys, changes, json } = row;
            let id = &*id.0;
            let values = params![id, at, &**entity, &**route, run, status, class.as_deref(), json];
            // Alone in its statement, so that nothing of a refused one stays.
            match call.execute(values) {
                Ok(0) => continue,
                Ok(_) => {}
                Err(error) if is_refusal(&error) => {
                    refused.push(Refused { at: place, reason: explain(&error) });
                    continue;
                }
                Err(error) => return Err(error),
            }
            for name in keys {
                key.execute(params![&**name, id])?;
            }
            for name in changes {
                change.execute(params![&**name, id])?;
            }
        }
    }
    transaction.commit()?;
    Ok(refused)
}

/// Good until the year 2262.
fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn unreadable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

fn select(query: &CallQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let mut sql = String::from("select record from call where true");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut narrow = |clause: &str, value: Box<dyn ToSql>| {
        sql.push_str(" and ");
        sql.push_str(clause);
        values.push(value);
    };
    // Those of a key or a change are few, and found by it: no other index is to be tried.
    let by = if query.key.is_some() || query.change.is_some() { "+" } else { "" };
    for (column, text) in [("entity", &query.entity), ("route", &query.route), ("class", &query.class)] {
        if let Some(text) = text {
            narrow(&format!("{by}{column} = ?"), Box::new(text.clone()));
        }
    }
    if let Some(key) = &query.key {
        narrow("id in (select id from call_key where key = ?)", Box::new(key.clone()));
    }
    if let Some(change) = &query.change {
        narrow("id in (select id from call_change where change = ?)", Box::new(change.clone()));
    }
    if let Some(run) = query.run {
        narrow(&format!("{by}run = ?"), Box::new(run));
    }
    if let Some((from, to)) = query.status {
        narrow(&format!("{by}status >= ?"), Box::new(from));
        narrow(&format!("{by}status <= ?"), Box::new(to));
    }
    if let Some(since) = query.since {
        narrow(&format!("{by}at >= ?"), Box::new(nanos(since)));
    }
    if let Some(until) = query.until {
        narrow(&format!("{by}at < ?"), Box::new(nanos(until)));
    }
    if let Some((at, id)) = &query.before {
        narrow("(at, id) < (?,", Box::new(nanos(*at)));
        sql.push_str(" ?)");
        values.push(Box::new(id.to_string()));
    }
    sql.push_str(" order by at desc, id desc");
    (sql, values)
}

fn find(connection: &Connection, query: &CallQuery) -> rusqlite::Result<Vec<CallRecord>> {
    let (sql, values) = select(query);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(&values))?;
    let mut found = Vec::new();
    while found.len() < query.limit
        && let Some(row) = rows.next()?
    {
        let record: CallRecord = serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(unreadable)?;
        // What is searched for in the text is looked at here, the same everywhere.
        if query.text.is_none() || query.matches(&record) {
            found.push(record);
        }
    }
    Ok(found)
}

#[async_trait]
impl CallLogStore for SqliteCallLog {
    async fn store(&self, records: &[CallRecord]) -> Result<Vec<Refused>, CallLogError> {
        let doing = "storing calls";
        let rows = records.iter().map(Row::new).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|error| CallLogError { doing, message: error.to_string(), lasting: true })?;
        self.with(doing, move |connection| insert(connection, &rows)).await
    }

    async fn find(&self, query: &CallQuery) -> Result<Vec<CallRecord>, CallLogError> {
        let query = query.clone();
        self.with("looking for calls", move |connection| find(connection, &query)).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<CallRecord>, CallLogError> {
        let id = id.to_string();
        let work = move |connection: &mut Connection| {
            let mut statement = connection.prepare_cached("select record from call where id = ?")?;
            let mut rows = statement.query(params![id])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            serde_json::from_str(row.get_ref(0)?.as_str()?).map(Some).map_err(unreadable)
        };
        self.with("reading a call", work).await
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, CallLogError> {
        let mut all = 0;
        loop {
            let work = move |connection: &mut Connection| {
                let transaction = connection.transaction()?;
                let some = "select id from call where at < ?1 order by at limit ?2";
                for table in ["call_key", "call_change"] {
                    let sql = format!("delete from {table} where id in ({some})");
                    transaction.execute(&sql, params![nanos(before), EXPIRE_AT_ONCE])?;
                }
                let sql = format!("delete from call where id in ({some})");
                let gone = transaction.execute(&sql, params![nanos(before), EXPIRE_AT_ONCE])?;
                transaction.commit()?;
                Ok(gone as i64)
            };
            let gone: i64 = self.with("forgetting old calls", work).await?;
            all += gone.unsigned_abs();
            if gone < EXPIRE_AT_ONCE {
                return Ok(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_a_key_or_a_change_is_found_by_it_whatever_else_is_asked() {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(SCHEMA).expect("its tables");
        let text = || Some("x".to_owned());
        let whole = || CallQuery {
            entity: text(),
            route: text(),
            since: Some(Timestamp::UNIX_EPOCH),
            status: Some((400, 499)),
            ..CallQuery::default()
        };
        for query in [CallQuery { key: text(), ..whole() }, CallQuery { change: text(), ..whole() }] {
            let (sql, values) = select(&query);
            let mut plan = connection.prepare(&format!("explain query plan {sql}")).expect("a plan");
            let steps = plan.query_map(rusqlite::params_from_iter(&values), |row| row.get::<_, String>(3));
            let steps: Vec<String> = steps.and_then(Iterator::collect).expect("its steps");
            let all = steps.join("; ");
            assert!(all.contains("SEARCH call USING PRIMARY KEY (id=?)"), "{all}");
            assert!(all.contains("PRIMARY KEY (key=?)") || all.contains("PRIMARY KEY (change=?)"), "{all}");
        }
    }
}
