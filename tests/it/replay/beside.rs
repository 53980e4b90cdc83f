//! Beside the stream, and through crashes, restarts and people's commands.

use super::{ENTITY, TABLE, replay, slots_are};
use crate::harness::{Live, Version, each_version, eventually, live::settled, wait::LONG};
use rowcall::demo::{Entry, Fault, Rule};
use serde_json::Value;
use std::collections::BTreeMap;

const VERSIONED: &str = "
  customer:
    table: customers
    always: true
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { version: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}', accept: [200, 204, 404] }]";

/// The version that the bank was told last, by object; `None` once it is deleted.
fn last(journal: &[Entry]) -> BTreeMap<String, Option<String>> {
    let version = |it: &Entry| it.body()["version"].as_str().map(str::to_owned);
    journal.iter().map(|it| (it.path.to_string(), version(it))).collect()
}

async fn rows(live: &Live) -> BTreeMap<String, Option<String>> {
    let client = live.postgres.client().await;
    let rows = client.query("select id::text, name from customers", &[]).await.expect("rows");
    rows.iter().map(|row| (format!("/objects/c/{}", row.get::<_, &str>(0)), Some(row.get(1)))).collect()
}

async fn run_of(live: &Live, id: &str) -> Value {
    let shown = live.rowcall.command(&["runs", "show", id, "--json"]).await.expect_code(0);
    serde_json::from_str(&shown.stdout).expect("a run")
}

/// Asks for a replay and gives its number.
async fn ask(live: &Live, args: &[&str]) -> String {
    let output = live.rowcall.command(&[&["replay", "--json"], args].concat()).await.expect_code(0);
    let run: Value = serde_json::from_str(&output.stdout).expect("a run");
    run["id"].to_string()
}

/// Whatever the bank was told of a row last is what the row says.
async fn agrees(live: &Live, told: &mut BTreeMap<String, Option<String>>) {
    settled(&live.postgres).await;
    told.extend(last(&live.bank.take_journal()));
    told.retain(|_, version| version.is_some());
    assert_eq!(*told, rows(live).await);
}

each_version! {
    async fn what_changes_meanwhile_is_not_overwritten(version: Version) {
        let live = Live::new(version, TABLE, VERSIONED).await;
        let service = live.run();
        live.rowcall.command(&["checkpoint", "create", "here"]).await.expect_code(0);
        live.after(&["insert into customers select i, '0' from generate_series(1, 60) i"]).await;
        for version in 1..=5 {
            live.after(&[&format!("update customers set name = '{version}'")]).await;
        }
        let mut told = last(&live.bank.take_journal());
        live.bank.faults().add(Rule::new(Fault::Delay(5)));
        let run = ask(&live, &["--from", "here", "--new-keys"]).await;
        let mut version = 5;
        // The stream goes on for as long as the replay does.
        loop {
            version += 1;
            let one = version % 60 + 1;
            live.postgres
                .execute(&format!(
                    "update customers set name = '{version}' where id % 7 = {};
                     delete from customers where id = {one};
                     insert into customers values ({}, '{version}') on conflict do nothing",
                    version % 7,
                    (version + 30) % 60 + 1
                ))
                .await;
            let state = run_of(&live, &run).await["state"].clone();
            if state == "done" {
                break;
            }
            assert!(state == "running" || state == "requested", "{state}");
        }
        agrees(&live, &mut told).await;
        let run = run_of(&live, &run).await;
        assert!(run["counts"]["read"].as_u64() >= Some(360), "{run}");
        assert_eq!(run["counts"]["parked"], 0, "{run}");
        slots_are(&live, "rowcall rowcall_cp_here").await;
        service.sigkill().await;
    }

    async fn after_a_crash_it_goes_on_where_it_was(version: Version) {
        let live = Live::new(version, TABLE, VERSIONED).await;
        let mut service = live.run();
        live.rowcall.command(&["checkpoint", "create", "here"]).await.expect_code(0);
        for version in 0..8 {
            let sql = format!(
                "insert into customers select i, '{version}' from generate_series(1, 40) i
                 on conflict (id) do update set name = excluded.name"
            );
            live.after(&[&sql]).await;
        }
        let first: Vec<Entry> = live.bank.take_journal();
        live.bank.faults().add(Rule::new(Fault::Delay(10)));
        let run = ask(&live, &["--from", "here"]).await;
        let mut again: Vec<Entry> = Vec::new();
        for part in 1..=3 {
            eventually("a part is sent", LONG, async || {
                again.extend(live.bank.take_journal());
                if again.len() >= part * 60 { Ok(()) } else { Err(again.len()) }
            })
            .await;
            service.sigkill().await;
            live.postgres.execute(&format!("update customers set name = 'live {part}' where id = {part}")).await;
            service = live.run();
        }
        live.bank.faults().clear();
        live.rowcall.command(&["runs", "follow", &run]).await.expect_code(0);
        again.extend(live.bank.take_journal());
        let keys = |of: &[Entry]| of.iter().map(|it| it.key.clone().unwrap_or_default()).collect::<Vec<_>>();
        let (before, after) = (keys(&first), keys(&again));
        // Of 1 to 3 the stream brought something newer meanwhile.
        let untouched = |it: &&Entry| !["1", "2", "3"].contains(&it.path.rsplit('/').next().unwrap_or_default());
        for entry in first.iter().filter(untouched) {
            let key = entry.key.clone().unwrap_or_default();
            assert!(after.contains(&key), "{} {} is lost", entry.path, key);
        }
        let live_ones = again.iter().filter(|it| it.body().to_string().contains("live"));
        assert_eq!(
            after.iter().filter(|it| !before.contains(it)).count(),
            live_ones.count(),
            "nothing is sent under another key but what is new"
        );
        let mut told = last(&first);
        told.extend(last(&again));
        agrees(&live, &mut told).await;
        slots_are(&live, "rowcall rowcall_cp_here").await;
        service.sigkill().await;
    }
}

#[tokio::test]
async fn it_waits_and_ends_when_a_person_says_so() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let service = live.run();
    live.rowcall.command(&["checkpoint", "create", "here"]).await.expect_code(0);
    live.after(&["insert into customers select i, 'a' from generate_series(1, 400) i"]).await;
    live.bank.take_journal();
    live.bank.faults().add(Rule::new(Fault::Delay(50)));
    let run = ask(&live, &["--from", "here"]).await;
    eventually("it has begun", LONG, async || if live.bank.journal().is_empty() { Err(()) } else { Ok(()) })
        .await;
    live.rowcall.command(&["runs", "pause", &run]).await.expect_code(0);
    assert_eq!(run_of(&live, &run).await["state"], "paused");
    live.rowcall.command(&["runs", "resume", &run]).await.expect_code(0);
    live.rowcall.command(&["runs", "cancel", &run]).await.expect_code(0);
    slots_are(&live, "rowcall rowcall_cp_here").await;
    live.bank.faults().clear();
    live.after(&["insert into customers values (1000, 'live')"]).await;
    assert_eq!(replay(&live, &["--from", "here"]).await["state"], "done", "another one begins");
    service.sigkill().await;
}

#[tokio::test]
async fn a_slot_that_was_left_by_a_run_that_is_over_goes_at_the_next_start() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let service = live.run();
    live.after(&["insert into customers values (1, 'a')"]).await;
    live.rowcall.command(&["checkpoint", "create", "here"]).await.expect_code(0);
    service.sigkill().await;
    live.postgres
        .execute(
            "insert into rowcall.run (source, kind, origin, state, base_lsn, started_at, finished_at)
             values ('main', 'replay', 'test', 'cancelled', '0/1', now(), now())",
        )
        .await;
    live.postgres.execute("select pg_copy_logical_replication_slot('rowcall', 'rowcall_rp_1')").await;
    let service = live.run();
    slots_are(&live, "rowcall rowcall_cp_here").await;
    service.sigkill().await;
}
