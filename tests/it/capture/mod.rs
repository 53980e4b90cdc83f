//! Capture by logical replication, on real servers.

mod chunks;
mod failures;
mod marks;
mod reader;
mod setup;
mod stream;
mod tables;
mod types;

use crate::harness::{Postgres, eventually, wait::LONG};
use rowcall::{
    capture::{
        Budget, Captured, ChangeSource, SourceError,
        logical::{
            LogicalSource, Options,
            setup::{Wanted, set_up},
        },
    },
    model::{Cell, Change, Lsn, Row, TableName},
    postgres::Target,
    state::{Binding, Checkpoint, MemoryStore, Saved, Settlement, StateStore},
};
use std::time::Duration;

pub const ORIGIN: &str = "rowcall_rowcall";

pub fn names(tables: &[&str]) -> Vec<TableName> {
    tables.iter().map(|name| name.parse().expect("a table name")).collect()
}

pub fn target(postgres: &Postgres) -> Target {
    postgres.url().parse().expect("a URL")
}

/// Publishes the tables, and one more that shows how far the stream was read.
pub async fn prepare(postgres: &Postgres, tables: &[&str]) {
    postgres.execute("create table fence (id bigint primary key)").await;
    let client = rowcall::postgres::connect(&target(postgres)).await.expect("a connection");
    let mut tables = names(tables);
    tables.extend(names(&["fence"]));
    let wanted = Wanted { slot: "rowcall", publication: "rowcall", tables: &tables };
    set_up(&client, wanted).await.expect("publication and slot");
}

pub fn options(start: Lsn, budget: &Budget) -> Options {
    Options {
        slot: "rowcall".to_owned(),
        publication: "rowcall".to_owned(),
        start,
        routed: Box::new(|name| !name.name.starts_with("unrouted")),
        origin: ORIGIN.to_owned(),
        budget: budget.clone(),
        acknowledged: Lsn::ZERO,
        heartbeat: Duration::from_millis(50),
        pulse: Default::default(),
    }
}

/// A stream that is read by the test.
pub struct Stream {
    pub source: LogicalSource,
    pub budget: Budget,
    fences: i64,
    /// Where the last transaction ended that was read.
    pub end: Lsn,
}

impl Stream {
    pub async fn open(postgres: &Postgres) -> Self {
        Self::from(postgres, Lsn::ZERO).await
    }

    pub async fn from(postgres: &Postgres, start: Lsn) -> Self {
        let budget = Budget::new(1 << 20);
        let opened = eventually("the slot is free", LONG, async || {
            match LogicalSource::open(&target(postgres), options(start, &budget)).await {
                Err(SourceError::SlotInUse { pid, .. }) => Err(pid),
                opened => Ok(opened),
            }
        });
        let source = opened.await.unwrap_or_else(|error| panic!("{error}"));
        Self { source, budget, fences: 0, end: start }
    }

    /// Runs statements, each in a transaction of its own, and reads what comes of them.
    pub async fn after(&mut self, postgres: &Postgres, statements: &[&str]) -> Vec<Change> {
        for statement in statements {
            postgres.execute(statement).await;
        }
        self.rest(postgres).await
    }

    /// Everything that was committed before this call and not read yet.
    pub async fn rest(&mut self, postgres: &Postgres) -> Vec<Change> {
        self.fences += 1;
        let fence = self.fences;
        let sql =
            format!("insert into fence values ({fence}) on conflict (id) do update set id = excluded.id");
        postgres.execute(&sql).await;
        let (mut changes, mut fenced) = (Vec::new(), false);
        loop {
            for item in self.next().await {
                match item {
                    Captured::Change(change) if &*change.table.name.name == "fence" => {
                        let row = change.image.row().expect("a fence is never emptied");
                        fenced |= row.get("id") == Some(Cell::Text(&fence.to_string()));
                    }
                    Captured::Change(change) => changes.push(change),
                    Captured::Mark(_) => {}
                    Captured::Commit(commit) => {
                        self.end = commit.end;
                        // The batch may end between a transaction's changes and its commit.
                        if fenced {
                            return changes;
                        }
                    }
                    Captured::Idle(position) => self.end = position,
                }
            }
        }
    }

    /// The next batch; its bytes are freed as settling would.
    pub async fn next(&mut self) -> Vec<Captured> {
        let next = tokio::time::timeout(LONG, self.source.next()).await.expect("a batch in time");
        let batch = next.unwrap_or_else(|error| panic!("{error}")).expect("the stream goes on");
        assert!(!batch.is_empty(), "a batch is never empty");
        for item in &batch {
            if let Captured::Change(change) = item {
                self.budget.free(change.bytes());
            }
        }
        batch
    }

    pub async fn acknowledge(&mut self) {
        let saved = saved(self.end).await;
        self.source.acknowledge(&saved);
    }
}

/// A receipt for this position, from a store.
pub async fn saved(through: Lsn) -> Saved {
    let store = MemoryStore::default();
    let binding = Binding { system_id: "1".to_owned(), timeline: 1, slot: "rowcall".to_owned() };
    let begun = Checkpoint { binding, lsn: Lsn::ZERO, committed_at: None };
    store.bind(&begun).await.expect("a bound store");
    let settlement = Settlement { through: Some(through), ..Settlement::default() };
    store.settle(settlement).await.expect("a settlement").saved
}

/// What the slot says was acknowledged.
pub async fn confirmed(postgres: &Postgres) -> Lsn {
    let sql = "select confirmed_flush_lsn from pg_replication_slots where slot_name = 'rowcall'";
    postgres.text(sql).await.expect("a slot").parse().expect("a position")
}

/// `op table key=value,…`, one a change.
pub fn told(changes: &[Change]) -> Vec<String> {
    let row = |row: Option<&Row>| row.map_or_else(String::new, |it| format!(" {}", cells(it)));
    let tell = |change: &Change| {
        format!("{} {}{}", change.op().name(), change.table.name.name, row(change.image.row()))
    };
    changes.iter().map(tell).collect()
}

pub fn cells(row: &Row) -> String {
    let cell = |(column, cell): (&rowcall::model::Column, Cell<'_>)| {
        let value = match cell {
            Cell::Null => "null",
            Cell::Unchanged => "?",
            Cell::Text(text) => text,
        };
        format!("{}={value}", column.name)
    };
    row.cells().map(cell).collect::<Vec<_>>().join(",")
}
