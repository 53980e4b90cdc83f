use super::{
    RowReader, SourceError, catalog,
    described::{Described, Tables, quoted},
    sql::{AsText, failed, no_connection, references, shortened},
    visibility::{Snapshot, precedes},
};
use crate::{
    model::{Cell, Row, RowBuilder, Table, TableName},
    postgres::Pool,
};
use async_trait::async_trait;
use serde_json::Value;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::sleep;
use tokio_postgres::error::SqlState;

/// Reads present rows over a pool. Values are printed exactly as the stream prints them.
#[derive(Debug)]
pub struct PostgresReader {
    pool: Pool,
    /// Tables as they were last described. Every read checks that they still look like that.
    tables: Tables,
    /// Every transaction before this one is known to be over; [`NONE_KNOWN`] at first.
    seen_before: AtomicU64,
}

const NONE_KNOWN: u64 = u64::MAX;
/// How often it is looked whether a transaction can be seen before the work waits for another attempt.
const LOOKS: u32 = 200;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl PostgresReader {
    /// Reads over this pool's connections.
    pub fn new(pool: Pool) -> Self {
        Self { pool, tables: Tables::default(), seen_before: AtomicU64::new(NONE_KNOWN) }
    }

    /// The table as the catalog has it now; `None` if there is none.
    pub async fn describe(&self, table: &TableName) -> Result<Option<Table>, SourceError> {
        let client = self.pool.get().await.map_err(no_connection)?;
        let failed = |error| failed(format!("reading the description of table {table}"), &error);
        catalog::describe(&client, table).await.map_err(failed)
    }

    /// Reads by what is known of the table; `Err(None)` if it has changed since.
    async fn read(
        &self,
        known: &Described,
        key: &[(String, String)],
    ) -> Result<Option<Row>, Option<SourceError>> {
        let table = &known.table;
        let name = &table.name;
        if let Some((column, _)) = key.iter().find(|(column, _)| table.position(column).is_none()) {
            let message = format!("table {name} has no column `{column}`, which the key names");
            return Err(Some(SourceError::Final(message)));
        }
        let client = self.pool.get().await.map_err(|error| Some(no_connection(error)))?;
        let sql = select(known, key);
        let changed = |error: tokio_postgres::Error| match error.code() {
            Some(&SqlState::UNDEFINED_COLUMN | &SqlState::UNDEFINED_TABLE) => None,
            _ => Some(failed(format!("reading a row of table {name}"), &error)),
        };
        let statement = client.prepare_cached(&sql).await.map_err(changed)?;
        let parameters: Vec<_> = key.iter().map(|(_, value)| AsText(value)).collect();
        let rows = client.query(&statement, &references(&parameters)).await.map_err(changed)?;
        let Some(row) = rows.first() else { return Ok(None) };
        if row.try_get::<_, Option<&str>>(0).map_err(changed)?.unwrap_or_default() != &*known.signature {
            return Err(None);
        }
        let mut built = RowBuilder::with_capacity(table.columns.len(), 0);
        for at in 0..table.columns.len() {
            let text: Option<&str> = row.try_get(at + 1).map_err(changed)?;
            built.push(text.map_or(Cell::Null, Cell::Text));
        }
        Ok(Some(built.finish(table.clone())))
    }
}

fn select(known: &Described, key: &[(String, String)]) -> String {
    let mut sql = format!("select {}", known.signature_now());
    known.print_columns(&mut sql);
    sql.push_str(&format!(" from {}", known.table.name.quoted()));
    for (at, (column, _)) in key.iter().enumerate() {
        let word = if at == 0 { "where" } else { "and" };
        sql.push_str(&format!(" {word} {} = ${}", quoted(column), at + 1));
    }
    sql.push_str(" limit 1");
    sql
}

#[async_trait]
impl RowReader for PostgresReader {
    fn at_once(&self) -> usize {
        self.pool.status().max_size
    }

    async fn seen(&self, transaction: u32) -> Result<(), SourceError> {
        let known = u32::try_from(self.seen_before.load(Ordering::Relaxed));
        if known.is_ok_and(|oldest| precedes(transaction, oldest)) {
            return Ok(());
        }
        let doing = || "waiting until the change's transaction can be seen".to_owned();
        for _ in 0..LOOKS {
            let client = self.pool.get().await.map_err(no_connection)?;
            let sql = "select pg_catalog.pg_current_snapshot()::text";
            let row = client.query_one(sql, &[]).await.map_err(|error| failed(doing(), &error))?;
            let text: String = row.try_get(0).map_err(|error| failed(doing(), &error))?;
            let Some(snapshot) = Snapshot::parse(&text) else {
                return Err(SourceError::Final(format!("`{text}` is not a snapshot as Postgres prints it")));
            };
            self.seen_before.store(snapshot.oldest.into(), Ordering::Relaxed);
            if snapshot.sees(transaction) {
                return Ok(());
            }
            drop(client);
            sleep(LOOK_AGAIN).await;
        }
        let message = "it is committed, but not visible to others yet".to_owned();
        Err(SourceError::Connection { doing: doing(), message })
    }

    async fn row(&self, table: &TableName, key: &[(String, String)]) -> Result<Option<Row>, SourceError> {
        if key.is_empty() {
            return Err(SourceError::Final(format!("a row of table {table} was asked for without a key")));
        }
        // A table that is altered faster than it can be read is given up on.
        for _ in 0..3 {
            let Some(known) = self.tables.get(&self.pool, table).await? else {
                return Err(SourceError::Final(format!("table {table} does not exist, or is a view")));
            };
            match self.read(&known, key).await {
                Ok(row) => return Ok(row),
                Err(None) => self.tables.forget(table),
                Err(Some(error)) => return Err(error),
            }
        }
        let doing = format!("reading a row of table {table}");
        Err(SourceError::Connection { doing, message: "the table is being altered".to_owned() })
    }

    async fn fetch(&self, sql: &str, key: &[String]) -> Result<Option<Value>, SourceError> {
        let client = self.pool.get().await.map_err(no_connection)?;
        let query = sql.trim().trim_end_matches(';');
        // The line break ends a comment in the query's last line.
        let wrapped =
            format!("select pg_catalog.row_to_json(fetched)::text from ({query}\n) fetched limit 1");
        let failed = |error| failed(format!("the query of `fetch` ({})", shortened(query)), &error);
        let statement = client.prepare_cached(&wrapped).await.map_err(failed)?;
        let wanted = statement.params().len();
        if wanted > key.len() {
            return Err(SourceError::Final(format!(
                "the query of `fetch` ({}) uses ${wanted}, but the key has {} value(s): `$1` is the key's first column",
                shortened(query),
                key.len()
            )));
        }
        let parameters: Vec<_> = key[..wanted].iter().map(|value| AsText(value)).collect();
        let rows = client.query(&statement, &references(&parameters)).await.map_err(failed)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let Some(json) = row.try_get::<_, Option<&str>>(0).map_err(failed)? else { return Ok(None) };
        let unreadable = |error| SourceError::Final(format!("the row of `fetch` is not JSON: {error}"));
        serde_json::from_str(json).map(Some).map_err(unreadable)
    }
}
