//! Rows that are in a table already are brought to the remote beside those that change.

use crate::harness::{Live, Version, each_version, eventually, wait::LONG};
use serde_json::Value;

const TABLE: &str = "create table customers (id int primary key, name text);
    insert into customers select i, 'name ' || i from generate_series(1, 700) i";

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}', accept: [200, 204, 404] }]";

async fn runs(live: &Live) -> Vec<Value> {
    let listed = live.rowcall.command(&["runs", "list", "--all", "--json"]).await.expect_code(0);
    let mut runs: Vec<Value> = serde_json::from_str(&listed.stdout).expect("a list");
    runs.reverse();
    runs
}

fn counts(run: &Value) -> [u64; 4] {
    ["read", "applied", "skipped", "parked"].map(|it| run["counts"][it].as_u64().expect("a number"))
}

each_version! {
    async fn the_rows_that_are_there_arrive_beside_those_that_change(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&["update customers set name = 'new' where id = 7"]).await;
        assert_eq!(live.calls().len(), 1);
        live.rowcall.command(&["snapshot", "--entity", "customer", "--wait"]).await.expect_code(0);
        assert_eq!(live.calls().len(), 699, "what was told before is not told again");
        let runs = runs(&live).await;
        assert_eq!((runs[0]["state"].as_str(), counts(&runs[0])), (Some("done"), [700, 699, 1, 0]), "{runs:?}");
        assert_eq!(runs[0]["expected"], 700);

        live.rowcall.command(&["snapshot", "--wait"]).await.expect_code(0);
        assert_eq!(live.calls(), [""; 0], "nothing has changed");
        live.rowcall
            .command(&["snapshot", "--entity", "customer", "--force", "--where", "id <= 3", "--wait"])
            .await
            .expect_code(0);
        assert_eq!(live.calls().len(), 3);
        live.rowcall
            .command(&["snapshot", "--entity", "customer", "--force", "--keys", "9", "12", "9999", "--wait"])
            .await
            .expect_code(0);
        let mut calls = live.calls();
        calls.sort();
        let put = |id| format!(r#"PUT /objects/c/{id} {{"name":"name {id}"}}"#);
        assert_eq!(calls, [put(12), put(9)]);
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));
    }
}

#[tokio::test]
async fn without_a_service_the_command_does_the_work_itself() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let output = live.rowcall.command(&["snapshot", "--entity", "customer"]).await.expect_code(0);
    assert_eq!(live.calls().len(), 700, "{}", output.stderr);
    assert!(output.stdout.contains("done"), "{}", output.stdout);
}

#[tokio::test]
async fn a_first_start_brings_the_rows_of_entities_that_want_it_once() {
    let entity = format!("{ENTITY}\n    initial: true");
    let live = Live::new(Version::V16, TABLE, &entity).await;
    let service = live.run();
    live.calls_made(700).await;
    eventually("the run is over", LONG, async || {
        let runs = runs(&live).await;
        if runs[0]["state"] == "done" { Ok(()) } else { Err(runs) }
    })
    .await;
    service.sigterm();
    service.wait().await;
    let service = live.run();
    live.after(&["insert into customers values (1000, 'one more')"]).await;
    assert_eq!(live.calls().len(), 1);
    assert_eq!(runs(&live).await.len(), 1);
    service.sigkill().await;
}

#[tokio::test]
async fn what_has_no_row_any_more_is_counted_and_deleted_when_that_is_said() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    live.calls();
    // Behind the stream's back.
    live.postgres
        .execute(
            "set session_replication_role = replica; delete from customers where id <= 5;
             select pg_replication_slot_advance('rowcall', pg_current_wal_lsn())",
        )
        .await;
    live.postgres.execute("update rowcall.checkpoint set lsn = pg_current_wal_lsn()").await;
    let service = live.run();
    live.rowcall.command(&["snapshot", "--prune", "--wait"]).await.expect_code(0);
    assert_eq!(live.calls(), [""; 0], "only counted");
    let prune = runs(&live).await.pop().expect("a run");
    assert_eq!((prune["kind"].as_str(), counts(&prune)), (Some("prune"), [700, 5, 0, 0]), "{prune}");
    live.rowcall.command(&["snapshot", "--prune", "--yes", "--wait"]).await.expect_code(0);
    let mut calls = live.calls();
    calls.sort();
    assert_eq!(calls, [1, 2, 3, 4, 5].map(|id| format!("DELETE /objects/c/{id}")));
    let prune = runs(&live).await.pop().expect("a run");
    assert_eq!(counts(&prune), [700, 5, 695, 0], "{prune}");
    service.sigkill().await;
}

#[tokio::test]
async fn a_wait_outlives_the_service_that_did_the_work() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let service = live.run();
    live.after(&["update customers set name = 'first' where id = 1"]).await;
    let waiting = live.rowcall.start(&["snapshot", "--entity", "customer", "--rate", "250", "--wait"]);
    live.calls_made(200).await;
    service.sigkill().await;
    let service = live.run();
    assert_eq!(waiting.wait().await.code(), Some(0), "it ends when the run ends");
    let run = runs(&live).await.remove(0);
    assert_eq!(run["state"], "done", "{run}");
    let named = live.bank.dump();
    assert_eq!(named.len(), 700);
    service.sigkill().await;
}

#[tokio::test]
async fn what_cannot_be_done_ends_the_run_and_says_why() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let output = live.rowcall.command(&["snapshot", "--entity", "lone"]).await.expect_code(2);
    assert!(
        output.stderr.contains("no entity `lone`") && output.stderr.contains("customer"),
        "{}",
        output.stderr
    );
    let output = live.rowcall.command(&["snapshot", "--where", "id = 1"]).await.expect_code(2);
    assert!(output.stderr.contains("--entity"), "{}", output.stderr);
    let service = live.run();
    let ask = async |filter| {
        live.rowcall.command(&["snapshot", "--entity", "customer", "--where", filter, "--wait"]).await
    };
    ask("nam = 'x'").await.expect_code(1);
    let run = runs(&live).await.pop().expect("a run");
    assert_eq!(run["state"], "failed");
    assert!(run["error"].as_str().is_some_and(|it| it.contains("nam")), "{run}");
    live.rowcall
        .command(&["snapshot", "--entity", "customer", "--keys", "1,2", "--wait"])
        .await
        .expect_code(1);
    let run = runs(&live).await.pop().expect("a run");
    assert!(run["error"].as_str().is_some_and(|it| it.contains("has 2 value(s)")), "{run}");
    // Everything else goes on.
    live.after(&["update customers set name = 'new' where id = 1"]).await;
    assert_eq!(live.calls().len(), 1);
    service.sigkill().await;
}

#[tokio::test]
async fn a_table_that_is_altered_in_the_middle_ends_the_run() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let service = live.run();
    let waiting = live.rowcall.start(&["snapshot", "--entity", "customer", "--rate", "100", "--wait"]);
    live.calls_made(50).await;
    live.postgres.execute("alter table customers add column more text").await;
    assert_eq!(waiting.wait().await.code(), Some(1));
    let run = runs(&live).await.remove(0);
    assert!(run["error"].as_str().is_some_and(|it| it.contains("was altered")), "{run}");
    service.sigkill().await;
}
