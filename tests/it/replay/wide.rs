//! Replays of shared calls, of one source among several, and of more than memory holds.

use super::{counts, replay};
use crate::{
    harness::{Live, Postgres, Version, eventually, wait::LONG},
    memory::{BOUND_KB, ENTITY, peak_kb},
};
use rowcall::demo::{Bank, Options};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

const READINGS: &str = "create table readings (id int primary key, v int)";
const BATCHED: &str = "
  reading:
    table: readings
    batch: { size: 25, within: 20ms }
    upsert:
      - name: put
        post: /batch/objects/reading
        body: { items: { each: { id: '{{ row.id }}', v: '{{ row.v }}' } } }
        save: { at: '{{ answer.body.results[index].id }}' }
    delete:
      - { name: remove, post: /batch/objects/reading/remove, body: { ids: { each: '{{ link.at }}' } } }";

/// What each object was told, in order; `None` for a delete.
fn told(live: &Live) -> BTreeMap<String, Vec<Option<Value>>> {
    let mut told: BTreeMap<String, Vec<Option<Value>>> = BTreeMap::new();
    for entry in live.bank.take_journal() {
        let body = entry.body();
        let value = body.get("v").cloned();
        told.entry(entry.object.to_string()).or_default().push(value);
    }
    told
}

#[tokio::test]
async fn changes_that_share_calls_are_sent_again_in_the_order_of_their_keys() {
    let live = Live::new(Version::V16, READINGS, BATCHED).await;
    let service = live.run();
    live.rowcall.command(&["checkpoint", "create", "here"]).await.expect_code(0);
    live.after(&[
        "insert into readings select i, 1 from generate_series(1, 60) i",
        "update readings set v = 2",
        "update readings set v = 3 where id <= 30",
        "delete from readings where id > 50",
    ])
    .await;
    let first = told(&live);
    assert_eq!((first.len(), first.values().map(Vec::len).sum::<usize>()), (60, 60 + 60 + 30 + 10));
    let run = replay(&live, &["--from", "here"]).await;
    assert_eq!(counts(&run), [160, 160, 0, 0], "{run}");
    assert_eq!(told(&live), first, "each object was told the same, in its order");
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_replay_of_one_source_leaves_the_other_alone() {
    let live = Live::new(Version::V16, super::TABLE, super::ENTITY).await;
    live.postgres.execute("create database other").await;
    let other = live.postgres.client_of("other").await;
    other.batch_execute("create table orders (id int primary key, name text)").await.expect("a table");
    let url = live.postgres.url_of("other");
    live.reconfigure(|yaml| {
        let capture = "capture: { logical: { slot: other, publication: other } }";
        let second = format!("\n  other: {{ url: \"{url}\", heartbeat: 50ms, {capture} }}\nremotes:");
        let order = "\nentities:\n  order:\n    source: other\n    table: orders\n    always: true\n    \
                     upsert: [{ name: put, put: '/objects/o/{{ row.id }}', body: { name: '{{ row.name }}' } }]\n";
        yaml.replace("\nremotes:", &second)
            .replace("  customer:\n", "  customer:\n    source: main\n")
            .replace("\nentities:\n", order)
    });
    live.rowcall.command(&["init"]).await.expect_code(0);
    let service = live.run();
    for source in ["main", "other"] {
        live.rowcall.command(&["checkpoint", "create", "here", "--source", source]).await.expect_code(0);
    }
    live.postgres.execute("insert into customers values (1, 'a'), (2, 'b')").await;
    other.batch_execute("insert into orders values (1, 'x'), (2, 'y'), (3, 'z')").await.expect("rows");
    live.calls_made(5).await;
    live.bank.take_journal();

    let unclear = live.rowcall.command(&["replay", "--from", "here"]).await.expect_code(2).stderr;
    assert!(unclear.contains("say with `--source` whose log it is: main, other"), "{unclear}");
    for args in [&["--from", "here", "--source", "other"][..], &["--from", "here", "--entity", "order"]] {
        assert_eq!(counts(&replay(&live, args).await), [3, 3, 0, 0]);
        let paths: Vec<String> = live.bank.take_journal().iter().map(|it| it.path.to_string()).collect();
        assert!(paths.len() == 3 && paths.iter().all(|it| it.starts_with("/objects/o/")), "{paths:?}");
    }
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

/// Some 25 MB of rows that were sent already, of one transaction.
#[tokio::test]
async fn many_changes_are_sent_again_in_little_memory() {
    const ROWS: u64 = 40_000;
    let postgres = Postgres::start(Version::V16).await;
    let bank = Bank::start_with("127.0.0.1:0", Options::FORGETFUL).await.expect("a bank");
    let table = "create table rows (id bigint primary key, text text not null)";
    let live = Live::between(postgres, bank, table, ENTITY).await;
    live.reconfigure(|yaml| yaml + "limits: { memory: 8MiB }\n");
    live.rowcall.command(&["checkpoint", "create", "here"]).await.expect_code(0);
    let rows =
        format!("insert into rows select i, repeat(md5(i::text), 16) from generate_series(1, {ROWS}) i");
    live.after_start(&rows).await;
    let service = live.run();
    let asked = live.rowcall.command(&["replay", "--from", "here", "--json"]).await.expect_code(0).stdout;
    let run: Value = serde_json::from_str(&asked).expect("a run");
    let state = format!(
        "select concat_ws(' ', state, read, applied, skipped) from rowcall.run where id = {}",
        run["id"]
    );
    eventually("every row is sent again", LONG + Duration::from_secs(120), async || {
        let state = live.postgres.text(&state).await.unwrap_or_default();
        if state == format!("done {ROWS} {} {}", ROWS / 100, ROWS - ROWS / 100) { Ok(()) } else { Err(state) }
    })
    .await;
    assert_eq!(live.bank.stats().requests, 2 * ROWS / 100);
    let peak = service.pid().and_then(peak_kb).expect("it runs");
    assert!(peak < BOUND_KB, "{} MB", peak / 1024);
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}
