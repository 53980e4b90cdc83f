//! However large a transaction or a table is, the memory is that of a quiet day (invariant 5).
//!
//! `ROWCALL_ROWS=2000000 scripts/test memory::` does it with two million rows.

use crate::harness::{Live, Postgres, Version, eventually};
use rowcall::demo::{Bank, Fault, Options, Rule};
use std::time::Duration;

/// Every row is carried and settled; every hundredth is sent.
pub const ENTITY: &str = "
  row:
    table: rows
    when: '{{ int(row.id) % 100 == 0 }}'
    upsert: [{ put: '/objects/row/{{ row.id }}', body: { text: '{{ row.text }}' } }]";

/// Far more than it needs, far less than the transaction.
pub const BOUND_KB: u64 = 150 * 1024;

#[tokio::test]
async fn a_transaction_of_many_rows_passes_through_little_memory() {
    let rows = rows();
    let postgres = Postgres::start(Version::V16).await;
    let bank = Bank::start_with("127.0.0.1:0", Options::FORGETFUL).await.expect("a bank");
    let table = "create table rows (id bigint primary key, text text not null)";
    let live = Live::between(postgres, bank, table, ENTITY).await;
    live.reconfigure(|yaml| yaml + "limits: { memory: 8MiB }\n");
    let mut service = live.run();
    // Some 120 MB of rows for the 200,000, all committed at one moment.
    let sql =
        format!("insert into rows select i, repeat(md5(i::text), 16) from generate_series(1, {rows}) i");
    live.postgres.execute(&sql).await;
    let within = Duration::from_secs(60 + rows / 2_000);
    eventually("every row has its outcome", within, async || {
        if let Some(status) = service.ended() {
            panic!("the service ended by itself: {status}");
        }
        let done = "select applied || ' of ' || applied + skipped from rowcall.route_status";
        let done = live.postgres.text(done).await.unwrap_or_default();
        if done == format!("{} of {rows}", rows / 100) { Ok(()) } else { Err(done) }
    })
    .await;
    assert_eq!(live.bank.stats().requests, rows / 100);
    let peak = service.pid().and_then(peak_kb).expect("it runs");
    eprintln!("{rows} rows: {} MB at most", peak / 1024);
    assert!(peak < BOUND_KB, "{} MB", peak / 1024);
    live.acknowledged().await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

/// Some 120 MB of rows for the 200,000 that no transaction of the stream has.
#[tokio::test]
async fn a_large_table_is_brought_over_in_little_memory() {
    let rows = rows();
    let postgres = Postgres::start(Version::V16).await;
    let bank = Bank::start_with("127.0.0.1:0", Options::FORGETFUL).await.expect("a bank");
    let table = format!(
        "create table rows (id bigint primary key, text text not null);
         insert into rows select i, repeat(md5(i::text), 16) from generate_series(1, {rows}) i"
    );
    let live = Live::between(postgres, bank, &table, ENTITY).await;
    live.reconfigure(|yaml| yaml + "limits: { memory: 8MiB }\n");
    let mut service = live.run();
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    let run = "select concat_ws(' ', state, read, applied, skipped) from rowcall.run";
    let within = Duration::from_secs(60 + rows / 2_000);
    eventually("every row has its outcome", within, async || {
        if let Some(status) = service.ended() {
            panic!("the service ended by itself: {status}");
        }
        let run = live.postgres.text(run).await.unwrap_or_default();
        let (sent, left_out) = (rows / 100, rows - rows / 100);
        if run == format!("done {rows} {sent} {left_out}") { Ok(()) } else { Err(run) }
    })
    .await;
    assert_eq!(live.bank.stats().requests, rows / 100);
    let peak = service.pid().and_then(peak_kb).expect("it runs");
    eprintln!("{rows} rows: {} MB at most", peak / 1024);
    assert!(peak < BOUND_KB, "{} MB", peak / 1024);
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

/// How many rows a large transaction has.
pub fn rows() -> u64 {
    std::env::var("ROWCALL_ROWS").map_or(200_000, |rows| rows.parse().expect("a number of rows"))
}

/// All of it is put aside, since the remote takes nothing, and some of it is taken up again.
#[tokio::test]
async fn an_outage_with_many_changes_passes_through_little_memory() {
    const ROWS: u64 = 12_000;
    let postgres = Postgres::start(Version::V16).await;
    let bank = Bank::start_with("127.0.0.1:0", Options::FORGETFUL).await.expect("a bank");
    let table = "create table rows (id bigint primary key, text text not null)";
    let entity = "
  row:
    table: rows
    upsert: [{ put: '/objects/row/{{ row.id }}', body: { text: '{{ row.text }}' } }]";
    let live = Live::between(postgres, bank, table, entity).await;
    live.reconfigure(|yaml| {
        let yaml = yaml.replace("heartbeat: 50ms", "heartbeat: 50ms, wal_guard: { bytes: 1MiB, after: 1s }");
        yaml.replace("failures: 0", "failures: 3, open: 100ms, max: 300ms") + "limits: { memory: 8MiB }\n"
    });
    live.bank.faults().add(Rule::new(Fault::Status(503)));
    let mut service = live.run();
    // Some 150 MB, the bound by itself.
    let insert = "insert into rows select i, repeat(md5(i::text), 400) from generate_series";
    live.postgres.execute(&format!("{insert}(1, {ROWS}) i")).await;
    let parked = async || {
        let count = live.postgres.text("select count(*) from rowcall.parked where reason = 'outage'").await;
        count.and_then(|it| it.parse::<u64>().ok()).unwrap_or_default()
    };
    let within = Duration::from_secs(240);
    eventually("everything is put aside", within, async || {
        if let Some(status) = service.ended() {
            panic!("the service ended by itself: {status}");
        }
        let parked = parked().await;
        if parked == ROWS { Ok(()) } else { Err(parked) }
    })
    .await;
    live.acknowledged().await;
    live.bank.faults().clear();
    eventually("some of it is sent", within, async || {
        let left = parked().await;
        if left < ROWS * 9 / 10 { Ok(()) } else { Err(left) }
    })
    .await;
    let peak = service.pid().and_then(peak_kb).expect("it runs");
    eprintln!("{ROWS} rows: {} MB at most", peak / 1024);
    assert!(peak < BOUND_KB, "{} MB", peak / 1024);
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

/// The most that was ever resident; nothing is known of one that has ended.
pub fn peak_kb(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
