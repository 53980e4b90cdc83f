//! A database, a bank, and the program between them: the whole way of a change.

use super::{
    postgres::{Client, Postgres, Version},
    rowcall::{Rowcall, Service},
    wait::{LONG, eventually, while_it_moves},
};
use rowcall::demo::{Bank, Effect, Entry};
use serde_json::Value;

/// A server with tables, a bank, and a home with a configuration for which `init` is done.
pub struct Live {
    pub postgres: Postgres,
    pub bank: Bank,
    pub rowcall: Rowcall,
}

impl Live {
    /// `sql` makes the tables; `entities` is the configuration's part of that name, indented.
    pub async fn new(version: Version, sql: &str, entities: &str) -> Self {
        let postgres = Postgres::start(version).await;
        Self::on(postgres, sql, entities).await
    }

    /// The same on a server that differs from the usual.
    pub async fn on(postgres: Postgres, sql: &str, entities: &str) -> Self {
        let bank = Bank::start("127.0.0.1:0").await.expect("a bank");
        Self::between(postgres, bank, sql, entities).await
    }

    /// The same with a bank that differs from the usual.
    pub async fn between(postgres: Postgres, bank: Bank, sql: &str, entities: &str) -> Self {
        postgres.execute(sql).await;
        let rowcall = Rowcall::with_config(&configuration(&postgres.url(), &bank.url(), entities));
        rowcall.command(&["init"]).await.expect_code(0);
        Self { postgres, bank, rowcall }
    }

    /// Changes the configuration's text; what runs keeps its own.
    pub fn reconfigure(&self, change: impl Fn(String) -> String) {
        let yaml = std::fs::read_to_string(self.rowcall.config()).expect("the configuration");
        self.rowcall.configure(&change(yaml));
    }

    /// Replaces the entities; what runs keeps its own.
    pub fn configure(&self, entities: &str) {
        self.rowcall.configure(&configuration(&self.postgres.url(), &self.bank.url(), entities));
    }

    pub fn run(&self) -> Service {
        self.rowcall.run()
    }

    /// Runs these statements, each in a transaction of its own, and waits until all is settled.
    pub async fn after(&self, statements: &[&str]) {
        for statement in statements {
            self.postgres.execute(statement).await;
        }
        settled(&self.postgres).await;
    }

    /// Has a service of its own bring this to the bank.
    pub async fn after_start(&self, statement: &str) {
        let service = self.run();
        self.after(&[statement]).await;
        self.acknowledged().await;
        service.sigterm();
        service.wait().await;
    }

    /// What the bank has applied and not been asked for yet: `PUT /customers/1 {…}`.
    pub fn calls(&self) -> Vec<String> {
        let journal = self.bank.take_journal();
        journal.iter().filter(|it| it.effect == Effect::Applied).map(line).collect()
    }

    /// Waits until the bank has applied this many calls and gives them.
    pub async fn calls_made(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} calls"), LONG, async || {
            let journal = self.bank.journal();
            let applied = journal.iter().filter(|it| it.effect == Effect::Applied).count();
            if applied >= count { Ok(()) } else { Err(journal.iter().map(line).collect::<Vec<_>>()) }
        })
        .await;
        self.calls()
    }

    /// What is parked, as `rowcall parked list --json` says it.
    pub async fn parked(&self) -> Vec<Value> {
        let listed = self.rowcall.command(&["parked", "list", "--json"]).await.expect_code(0);
        serde_json::from_str(&listed.stdout).expect("a list")
    }

    /// Waits until exactly these are parked: `route key state reason`, in order within a key.
    pub async fn parked_as(&self, expected: &[&str]) -> Vec<Value> {
        let client = self.postgres.client().await;
        eventually(&format!("parked: {expected:?}"), LONG, async || {
            let parked = parked_lines(&client).await;
            if parked == expected { Ok(()) } else { Err(parked) }
        })
        .await;
        self.parked().await
    }

    /// Waits until the slot has been told to forget everything written so far.
    pub async fn acknowledged(&self) {
        let position = fence(&self.postgres).await;
        let sql = format!("select confirmed_flush_lsn >= '{position}' from pg_replication_slots");
        eventually("the slot moves on", LONG, async || {
            if self.postgres.text(&sql).await.as_deref() == Some("t") { Ok(()) } else { Err(()) }
        })
        .await;
    }
}

/// A configuration with one source, one bank, and little patience: failures are those of changes,
/// however many there are at once, so the breaker is off.
pub fn configuration(database: &str, bank: &str, entities: &str) -> String {
    format!(
        "sources:\n  main: {{ url: \"{database}\", heartbeat: 50ms }}\n\
         remotes:\n  bank: {{ url: \"{bank}\", breaker: {{ failures: 0 }}, retry: {{ attempts: 3, base: 10ms, max: 200ms }} }}\n\
         entities:\n{entities}\n"
    )
}

/// Waits until everything that was committed before this call is settled.
pub async fn settled(postgres: &Postgres) {
    let position = fence(postgres).await;
    let client = postgres.client().await;
    let sql = format!(
        "select lsn >= '{position}', concat_ws(' ', lsn, (select sum(applied + skipped + parked) from rowcall.route_status))
         from rowcall.checkpoint"
    );
    while_it_moves(&format!("everything up to {position} is settled"), LONG, async || {
        let row = client.query_opt(&sql, &[]).await.map_err(|error| error.to_string())?;
        match row {
            Some(row) if row.get(0) => Ok(()),
            Some(row) => Err(row.get(1)),
            None => Err("never started".to_owned()),
        }
    })
    .await;
}

/// A position behind everything committed so far.
async fn fence(postgres: &Postgres) -> String {
    let sql = "select pg_logical_emit_message(true, 'test', '')";
    postgres.text(sql).await.expect("a position")
}

/// `route key state reason`, in order within a key.
pub async fn parked_lines(client: &Client) -> Vec<String> {
    let sql = "select concat_ws(' ', route, key, state, reason) from rowcall.parked
               order by route, key, commit_lsn, ordinal";
    let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// One call on one line.
pub fn line(entry: &Entry) -> String {
    match entry.body() {
        Value::Null => format!("{} {}", entry.method, entry.path),
        body => format!("{} {} {body}", entry.method, entry.path),
    }
}
