//! The embedded call log: one SQLite file, so that a first run needs neither broker nor database.

mod place;
mod search;
mod write;

use super::{CallLogError, CallLogStore, CallQuery, CallRecord, Found, Line, RecordId, Refused};
use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::sleep,
    time::Duration,
};

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
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        // A record fills a good part of a small page.
        connection.pragma_update(None, "page_size", 32_768).map_err(failed)?;
        // Readers do not wait for the writer, and a commit is one write; a power cut may lose the last
        // ones, a crash of ours does not.
        write_ahead(&connection).map_err(failed)?;
        connection.pragma_update(None, "synchronous", "normal").map_err(failed)?;
        // Some 64 MB: what is written to again and again until then goes into the file once.
        connection.pragma_update(None, "wal_autocheckpoint", 2_000).map_err(failed)?;
        if write::prepare(&mut connection).map_err(failed)? != write::VERSION {
            return Err(CallLogError {
                doing: "opening the call log",
                message: format!(
                    "{} was written by another version of Rowcall: move it away, or name another file",
                    path.display()
                ),
                lasting: true,
            });
        }
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

/// Those that change the mode at the same time do not wait for each other, whatever the timeout: one is told at
/// once that the file is locked.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    loop {
        match connection.pragma_update(None, "journal_mode", "wal") {
            Err(error) if is_busy(&error) && waited < BUSY => sleep(PAUSE),
            done => return done,
        }
        waited += PAUSE;
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked | DiskFull))
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

#[async_trait]
impl CallLogStore for SqliteCallLog {
    async fn store(&self, records: &[CallRecord]) -> Result<Vec<Refused>, CallLogError> {
        let lines: Arc<[Line]> = records.iter().cloned().map(Line::from).collect();
        self.store_lines(&lines).await
    }

    /// The text is stored as it is.
    async fn store_lines(&self, lines: &Arc<[Line]>) -> Result<Vec<Refused>, CallLogError> {
        let lines = Arc::clone(lines);
        self.with("storing calls", move |connection| write::insert(connection, &lines)).await
    }

    async fn search(&self, query: &CallQuery) -> Result<Found, CallLogError> {
        let query = query.clone();
        self.with("looking for calls", move |connection| search::find(connection, &query)).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<CallRecord>, CallLogError> {
        let id = id.clone();
        self.with("reading a call", move |connection| search::get(connection, &id)).await
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, CallLogError> {
        let mut all = 0;
        loop {
            let work = move |connection: &mut Connection| write::forget(connection, before, EXPIRE_AT_ONCE);
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
    fn a_file_of_another_version_is_left_alone_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("calls.db");
        drop(SqliteCallLog::open(&path).expect("a new file"));
        drop(SqliteCallLog::open(&path).expect("the same again"));
        let connection = Connection::open(&path).expect("the file");
        connection.pragma_update(None, "user_version", 1).expect("another version");
        let error = SqliteCallLog::open(&path).expect_err("another version");
        assert!(error.lasting && error.to_string().contains("move it away"), "{error}");
    }

    /// So many that some find their number taken.
    #[tokio::test]
    async fn however_many_begin_at_one_time_each_is_there_once_and_found() {
        let folder = tempfile::tempdir().expect("a directory");
        let store = SqliteCallLog::open(&folder.path().join("calls.db")).expect("a new file");
        let of = |number: u32| crate::call_log::tests::record(&format!("a#{number:04}"));
        let mut records: Vec<CallRecord> = (0..400).map(of).collect();
        for _ in 0..2 {
            assert_eq!(store.store(&records).await, Ok(Vec::new()));
        }
        records.reverse();
        let first = CallQuery { limit: 300, ..CallQuery::default() };
        let mut found = store.find(&first).await.expect("found");
        let last = found.last().map(|it| (it.at, it.id.clone()));
        found.extend(store.find(&CallQuery { before: last, ..first }).await.expect("found"));
        assert_eq!(found, records);
        for record in records.into_iter().step_by(10) {
            assert_eq!(store.get(&record.id).await, Ok(Some(record)));
        }
    }

    /// A service and its commands, say. Whoever comes second never sees half of what is made.
    #[test]
    fn several_may_make_the_file_at_once() {
        let folder = tempfile::tempdir().expect("a directory");
        for round in 0..20 {
            let path = folder.path().join(format!("{round}.db"));
            let start = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                let open = || {
                    start.wait();
                    SqliteCallLog::open(&path).map(drop)
                };
                let opened = [(); 4].map(|()| scope.spawn(open)).map(|it| it.join().expect("no panic"));
                assert_eq!(opened, [const { Ok(()) }; 4], "round {round}");
            });
        }
    }
}
