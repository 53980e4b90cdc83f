//! Tables piece by piece, over a pool.
//!
//! A chunk is read in one short transaction that sees one snapshot: first the table is locked against
//! being altered, then the snapshot is taken, and only then is anything read. The other way round a
//! table that is rewritten in between would look empty.

mod failure;
mod statements;

use super::{
    SourceError,
    chunk::{Absent, Chunk, ChunkLimit, ChunkOf, ChunkReader, KeyValues, MARK_PREFIX, Visible},
    described::{Described, Tables},
    sql::{AsText, failed, no_connection, references},
};
use crate::{
    model::{Cell, Lsn, Row, RowBuilder},
    postgres::Pool,
};
use async_trait::async_trait;
use deadpool_postgres::{Client, Transaction};
use failure::{Doing, Stopped};
use futures_util::{TryStreamExt, pin_mut};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_postgres::{IsolationLevel, Row as SqlRow, types::PgLsn};

/// How long one statement may take. Behind an index a chunk takes milliseconds.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the reading may wait for someone who alters the table, before it is tried again later.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a table is described anew before the reading is tried again later.
const TRIES: usize = 3;
/// How many rows are fetched before it is known how large they are.
const FIRST_ROWS: usize = 64;
/// Rows of a table no larger than this are counted, not estimated.
const COUNTED: i64 = 32 << 20;

/// Reads tables piece by piece over a pool. Values are printed exactly as the stream prints them.
///
/// The columns that make the key must be unique together: of rows that share a key, those beyond the
/// end of a chunk are left out. A row whose key holds a null is left out.
#[derive(Debug)]
pub struct PostgresChunks {
    pool: Pool,
    tables: Tables,
    statement_timeout: Duration,
}

impl PostgresChunks {
    /// Reads over this pool's connections.
    pub fn new(pool: Pool) -> Self {
        Self { pool, tables: Tables::default(), statement_timeout: STATEMENT_TIMEOUT }
    }

    /// Gives each statement this long instead of five minutes.
    pub fn with_statement_timeout(self, timeout: Duration) -> Self {
        Self { statement_timeout: timeout, ..self }
    }

    /// A position behind everything that could be seen before this call.
    pub async fn fence(&self) -> Result<Lsn, SourceError> {
        let client = self.pool.get().await.map_err(no_connection)?;
        let sql = format!("select pg_catalog.pg_logical_emit_message(true, '{MARK_PREFIX}', 'audit')");
        let failed = |error| failed("writing a mark into the log", &error);
        let row = client.query_one(&sql, &[]).await.map_err(failed)?;
        let lsn: PgLsn = row.try_get(0).map_err(failed)?;
        Ok(Lsn::new(lsn.into()))
    }

    /// The keys of so many rows, spread over the table by chance.
    pub async fn sample(&self, of: &ChunkOf, rows: u32) -> Result<Vec<KeyValues>, SourceError> {
        let (known, mut client) = self.known(of).await?;
        let doing = self.doing(of);
        let sql = statements::sample(&known, of, rows);
        let read = async {
            let (transaction, _) = self.begin(&known, &mut client, &doing).await?;
            let found = transaction.query(&sql, &[]).await.map_err(|it| doing.reading(&it))?;
            transaction.commit().await.map_err(|it| doing.failed(&it))?;
            Ok(found)
        };
        match read.await {
            Ok(found) => {
                let key = |row: &SqlRow| (0..of.key.len()).map(|at| row.try_get(at)).collect();
                let keys: Result<_, _> = found.iter().map(key).collect();
                keys.map_err(|error| failed(format!("reading table {}", of.table), &error))
            }
            Err(Stopped::Failed(error)) => Err(error),
            Err(Stopped::Altered) => {
                self.tables.forget(&of.table);
                let doing = format!("reading table {}", of.table);
                Err(SourceError::Connection { doing, message: "the table is being altered".to_owned() })
            }
        }
    }

    /// What is known of the table, and a connection to read it by.
    async fn known(&self, of: &ChunkOf) -> Result<(Arc<Described>, Client), SourceError> {
        let name = &of.table;
        if of.key.is_empty() {
            return Err(SourceError::Final(format!("table {name} cannot be read in pieces without a key")));
        }
        let Some(known) = self.tables.get(&self.pool, name).await? else {
            return Err(failure::missing(name));
        };
        Ok((known, self.pool.get().await.map_err(no_connection)?))
    }

    fn doing<'a>(&self, of: &'a ChunkOf) -> Doing<'a> {
        Doing { of, began: Instant::now(), timeout: self.statement_timeout }
    }

    /// Whether to read again; a table that is altered faster than it can be read is given up on.
    fn again(&self, of: &ChunkOf, stopped: Stopped, tries: &mut usize) -> Result<(), SourceError> {
        self.tables.forget(&of.table);
        match stopped {
            Stopped::Failed(error) => return Err(error),
            Stopped::Altered => *tries += 1,
        }
        if *tries < TRIES {
            return Ok(());
        }
        let doing = format!("reading table {}", of.table);
        Err(SourceError::Connection { doing, message: "the table is being altered".to_owned() })
    }

    /// A transaction in which the table stays as it is, what it sees, and how the table looks.
    async fn begin<'a>(
        &self,
        known: &Described,
        client: &'a mut Client,
        doing: &Doing<'_>,
    ) -> Result<(Transaction<'a>, Visible), Stopped> {
        let builder = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let transaction = builder.read_only(true).start().await.map_err(|it| doing.failed(&it))?;
        // Rows that a policy hides would be taken for deleted.
        let sql = format!(
            "set local lock_timeout = {}; set local statement_timeout = {}; set local row_security = off; \
             lock table {} in access share mode",
            LOCK_TIMEOUT.as_millis(),
            self.statement_timeout.as_millis(),
            known.table.name.quoted()
        );
        transaction.batch_execute(&sql).await.map_err(|it| doing.locking(&it))?;
        let failed = |error| doing.failed(&error);
        let statement = transaction.prepare_cached(&statements::seen(known)).await.map_err(failed)?;
        let row = transaction.query_one(&statement, &[]).await.map_err(failed)?;
        let signature: Option<&str> = row.try_get(1).map_err(failed)?;
        if signature.unwrap_or_default() != &*known.signature {
            return Err(Stopped::Altered);
        }
        if let Some(column) = doing.of.key.iter().find(|column| known.table.position(column).is_none()) {
            return Err(Stopped::Failed(failure::no_column(&known.table.name, column)));
        }
        let text: &str = row.try_get(0).map_err(failed)?;
        let visible = Visible::parse(text).ok_or_else(|| Stopped::Failed(failure::no_snapshot(text)))?;
        Ok((transaction, visible))
    }

    async fn read_chunk(
        &self,
        known: &Described,
        client: &mut Client,
        doing: &Doing<'_>,
        after: Option<&KeyValues>,
        limit: ChunkLimit,
    ) -> Result<Chunk, Stopped> {
        let of = doing.of;
        let (transaction, visible) = self.begin(known, client, doing).await?;
        let wanted = limit.rows.max(1);
        let sql = statements::rows(known, of, after.is_some(), wanted);
        let given = statements::given(of, after);
        let given: Vec<_> = given.iter().map(|it| AsText(it)).collect();
        let statement = transaction.prepare_cached(&sql).await.map_err(|it| doing.reading(&it))?;
        doing.takes(statement.params().len(), given.len())?;
        let portal =
            transaction.bind(&statement, &references(&given)).await.map_err(|it| doing.reading(&it))?;
        let mut chunk = Chunk { rows: Vec::new(), visible, shape: known.signature.clone(), last: false };
        let (mut bytes, mut full) = (0, false);
        while !full && !chunk.last {
            let count = step(chunk.rows.len(), bytes, ChunkLimit { rows: wanted, ..limit });
            let fetched = transaction.query_portal_raw(&portal, i32::try_from(count).unwrap_or(i32::MAX));
            let fetched = fetched.await.map_err(|it| doing.reading(&it))?;
            pin_mut!(fetched);
            let before = chunk.rows.len();
            // What the server has sent beyond the limit is thrown away as it arrives.
            while !full && let Some(row) = fetched.try_next().await.map_err(|it| doing.reading(&it))? {
                let row = built(known, &row).map_err(|it| doing.failed(&it))?;
                bytes += row.bytes();
                chunk.rows.push(row);
                full = bytes >= limit.bytes || chunk.rows.len() == wanted;
            }
            // Fewer came than were asked for: there are no more.
            chunk.last = !full && chunk.rows.len() - before < count;
        }
        transaction.commit().await.map_err(|it| doing.failed(&it))?;
        Ok(chunk)
    }

    async fn read_estimate(
        &self,
        known: &Described,
        client: &mut Client,
        doing: &Doing<'_>,
    ) -> Result<u64, Stopped> {
        let (transaction, _) = self.begin(known, client, doing).await?;
        let row =
            transaction.query_one(&statements::size(known), &[]).await.map_err(|it| doing.failed(&it))?;
        let size: i64 = row.try_get(0).map_err(|it| doing.failed(&it))?;
        let sql = if size <= COUNTED {
            statements::count(known, doing.of)
        } else {
            statements::plan(known, doing.of)
        };
        let statement = transaction.prepare(&sql).await.map_err(|it| doing.reading(&it))?;
        doing.takes(statement.params().len(), 0)?;
        let row = transaction.query_one(&statement, &[]).await.map_err(|it| doing.reading(&it))?;
        let rows = if size <= COUNTED {
            row.try_get::<_, i64>(0).map(i64::unsigned_abs)
        } else {
            row.try_get::<_, serde_json::Value>(0).map(|plan| planned(&plan))
        };
        let rows = rows.map_err(|it| doing.failed(&it))?;
        transaction.commit().await.map_err(|it| doing.failed(&it))?;
        Ok(rows)
    }

    async fn read_absent(
        &self,
        known: &Described,
        client: &mut Client,
        doing: &Doing<'_>,
        keys: &[KeyValues],
    ) -> Result<Absent, Stopped> {
        let (transaction, visible) = self.begin(known, client, doing).await?;
        let given = statements::arrays(doing.of.key.len(), keys);
        let given: Vec<_> = given.iter().map(|it| AsText(it)).collect();
        let failed = |error| doing.without_filter().reading(&error);
        let sql = statements::absent(known, doing.of);
        let statement = transaction.prepare_cached(&sql).await.map_err(failed)?;
        let places = transaction.query(&statement, &references(&given)).await.map_err(failed)?;
        let mut rows = Vec::with_capacity(places.len());
        for place in &places {
            let place: i64 = place.try_get(0).map_err(failed)?;
            let key = usize::try_from(place - 1).ok().and_then(|at| keys.get(at));
            rows.extend(key.map(|key| only_key(known, &doing.of.key, key)));
        }
        transaction.commit().await.map_err(failed)?;
        Ok(Absent { rows, visible })
    }
}

/// How many rows to fetch next: as many as are likely to fit.
fn step(rows: usize, bytes: usize, limit: ChunkLimit) -> usize {
    let left = limit.rows - rows;
    let Some(average) = bytes.checked_div(rows) else { return left.min(FIRST_ROWS) };
    (limit.bytes.saturating_sub(bytes) / average.max(1)).clamp(1, left)
}

/// A row as it was printed.
fn built(known: &Described, row: &SqlRow) -> Result<Row, tokio_postgres::Error> {
    let count = known.table.columns.len();
    // Each value has its length in front of it.
    let mut row_builder = RowBuilder::with_capacity(count, row.raw_size_bytes().saturating_sub(4 * count));
    for at in 0..count {
        let text: Option<&str> = row.try_get(at)?;
        row_builder.push(text.map_or(Cell::Null, Cell::Text));
    }
    Ok(row_builder.finish(known.table.clone()))
}

/// A row of which nothing but its key is known.
fn only_key(known: &Described, columns: &[String], key: &KeyValues) -> Row {
    let mut built = RowBuilder::with_capacity(known.table.columns.len(), key.iter().map(String::len).sum());
    for column in &known.table.columns {
        let at = columns.iter().position(|it| **it == *column.name);
        built.push(at.map_or(Cell::Unchanged, |at| Cell::Text(&key[at])));
    }
    built.finish(known.table.clone())
}

/// How many rows a plan expects.
fn planned(plan: &serde_json::Value) -> u64 {
    let rows = plan.pointer("/0/Plan/Plan Rows").and_then(serde_json::Value::as_f64);
    rows.map_or(0, |it| it.max(0.0) as u64)
}

/// As many values as the key has columns, in each of these.
fn fits<'a>(of: &ChunkOf, keys: impl IntoIterator<Item = &'a KeyValues>) -> Result<(), SourceError> {
    match keys.into_iter().find(|it| it.len() != of.key.len()) {
        None => Ok(()),
        Some(key) => Err(failure::other_key(of, key.len())),
    }
}

#[async_trait]
impl ChunkReader for PostgresChunks {
    async fn chunk(
        &self,
        of: &ChunkOf,
        after: Option<&KeyValues>,
        limit: ChunkLimit,
    ) -> Result<Chunk, SourceError> {
        fits(of, after.into_iter().chain(&of.until).chain(of.keys.iter().flatten()))?;
        let mut tries = 0;
        loop {
            let (known, mut client) = self.known(of).await?;
            match self.read_chunk(&known, &mut client, &self.doing(of), after, limit).await {
                Ok(chunk) => return Ok(chunk),
                Err(stopped) => self.again(of, stopped, &mut tries)?,
            }
        }
    }

    async fn estimate(&self, of: &ChunkOf) -> Result<u64, SourceError> {
        if let Some(keys) = &of.keys {
            return Ok(keys.len() as u64);
        }
        let mut tries = 0;
        loop {
            let (known, mut client) = self.known(of).await?;
            match self.read_estimate(&known, &mut client, &self.doing(of)).await {
                Ok(rows) => return Ok(rows),
                Err(stopped) => self.again(of, stopped, &mut tries)?,
            }
        }
    }

    async fn absent(&self, of: &ChunkOf, keys: &[KeyValues]) -> Result<Absent, SourceError> {
        fits(of, keys)?;
        let mut tries = 0;
        loop {
            let (known, mut client) = self.known(of).await?;
            match self.read_absent(&known, &mut client, &self.doing(of), keys).await {
                Ok(absent) => return Ok(absent),
                Err(stopped) => self.again(of, stopped, &mut tries)?,
            }
        }
    }

    async fn mark(&self, text: &str) -> Result<(), SourceError> {
        let client = self.pool.get().await.map_err(no_connection)?;
        let failed = |error| failed("writing a mark into the log", &error);
        // Only what is flushed is streamed. A standby that has to confirm commits is not waited for:
        // nothing is lost with a mark.
        let sql = format!(
            "select pg_catalog.set_config('synchronous_commit', 'local', true), \
             pg_catalog.pg_logical_emit_message(true, '{MARK_PREFIX}', $1::pg_catalog.text)"
        );
        let statement = client.prepare_cached(&sql).await.map_err(failed)?;
        client.query_one(&statement, &[&text]).await.map(drop).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_rows_are_fetched_as_are_likely_to_fit() {
        let limit = ChunkLimit { rows: 1000, bytes: 10_000 };
        assert_eq!(step(0, 0, limit), FIRST_ROWS);
        assert_eq!(step(0, 0, ChunkLimit { rows: 5, ..limit }), 5);
        assert_eq!(step(64, 640, limit), 936, "all the rest");
        assert_eq!(step(64, 6_400, limit), 36);
        assert_eq!(step(1, 9_999, limit), 1, "never none");
    }

    #[test]
    fn a_plan_says_how_many_rows_it_expects() {
        assert_eq!(planned(&serde_json::json!([{"Plan": {"Plan Rows": 1234}}])), 1234);
        assert_eq!(planned(&serde_json::json!([])), 0);
    }
}
