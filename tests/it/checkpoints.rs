//! Named checkpoints: a slot of their own keeps the log, within what the configuration allows.

use crate::harness::{Live, Postgres, Version, each_version, eventually, wait::LONG};
use serde_json::Value;

const TABLE: &str = "create table customers (id int primary key)";

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ put: '/objects/c/{{ row.id }}', body: {} }]";

async fn listed(live: &Live) -> Vec<Value> {
    let listed = live.rowcall.command(&["checkpoint", "list", "--json"]).await.expect_code(0);
    serde_json::from_str(&listed.stdout).expect("a list")
}

async fn create(live: &Live, name: &str) {
    live.rowcall.command(&["checkpoint", "create", name]).await.expect_code(0);
}

async fn slots(live: &Live) -> String {
    let sql = "select coalesce(string_agg(slot_name, ' ' order by slot_name), '') from pg_replication_slots";
    live.postgres.text(sql).await.expect("a text")
}

/// A segment of the log is 16 MB, full or not.
async fn write_segments(live: &Live, count: usize) {
    for _ in 0..count {
        live.postgres.execute("select pg_logical_emit_message(false, 'test', ''), pg_switch_wal()").await;
    }
}

/// Waits until the source's own slot needs nothing of what was written: it moves on by what the server
/// writes into the log at a checkpoint of its own.
async fn released(live: &Live) {
    let sql = "select pg_current_wal_lsn() - restart_lsn < 1000000 from pg_replication_slots
                where slot_name = 'rowcall'";
    eventually("the slot lets go of the log", LONG, async || {
        live.postgres.execute("checkpoint").await;
        if live.postgres.text(sql).await.as_deref() == Some("t") { Ok(()) } else { Err(()) }
    })
    .await;
}

each_version! {
    async fn a_checkpoint_stays_where_it_was_made_while_the_stream_goes_on(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&["insert into customers values (1)"]).await;
        live.acknowledged().await;
        create(&live, "before").await;
        assert_eq!(slots(&live).await, "rowcall rowcall_cp_before");
        let first = listed(&live).await;
        assert_eq!((&first[0]["name"], &first[0]["source"]), (&"before".into(), &"main".into()));
        let place = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = 'rowcall_cp_before'";
        assert_eq!(live.postgres.text(place).await.as_deref(), first[0]["lsn"].as_str());

        write_segments(&live, 2).await;
        live.after(&["insert into customers values (2)"]).await;
        released(&live).await;
        create(&live, "after").await;
        let both = listed(&live).await;
        assert_eq!([&both[0]["name"], &both[1]["name"]], ["before", "after"], "the oldest first");
        assert_eq!(both[0]["lsn"], first[0]["lsn"]);
        let kept = |at: usize| both[at]["retained_bytes"].as_i64().expect("a number");
        assert!(kept(0) > 10_000_000 && kept(0) > kept(1), "{both:?}");
        assert!(both.iter().all(|it| it["problem"].is_null() && it["wal_status"] == "reserved"), "{both:?}");
        let shown = live.rowcall.command(&["checkpoint", "list"]).await.expect_code(0).stdout;
        assert!(shown.contains("before") && shown.contains("MB") && shown.contains("reserved"), "{shown}");
        let checked = live.rowcall.command(&["check"]).await.expect_code(0).stdout;
        assert!(checked.contains("this source needs 1 and 2 for its checkpoints"), "{checked}");

        live.rowcall.command(&["checkpoint", "drop", "before", "after"]).await.expect_code(0);
        assert_eq!(slots(&live).await, "rowcall");
        assert!(listed(&live).await.is_empty());
        assert_eq!(live.calls().len(), 2, "the stream has not noticed");
        service.sigkill().await;
    }

    async fn beyond_what_may_be_kept_it_is_said_and_the_oldest_goes(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        live.reconfigure(|yaml| yaml.replace("heartbeat: 50ms", "heartbeat: 50ms, replay: { max: 100MB }"));
        let mut service = live.run();
        live.after(&["insert into customers values (1)"]).await;
        live.acknowledged().await;
        create(&live, "older").await;
        write_segments(&live, 4).await;
        live.after(&["insert into customers values (2)"]).await;
        released(&live).await;
        create(&live, "newer").await;
        // Until it has used up four fifths, and not all.
        let kept = "select pg_current_wal_lsn() - restart_lsn > 82000000 from pg_replication_slots
                     where slot_name = 'rowcall_cp_older'";
        while live.postgres.text(kept).await.as_deref() != Some("t") {
            write_segments(&live, 1).await;
        }
        eventually("it is said", LONG, async || {
            let said = service.stderr();
            if said.contains("checkpoint `older`: it keeps") { Ok(()) } else { Err(said) }
        })
        .await;
        let checked = live.rowcall.command(&["check"]).await.expect_code(0).stdout;
        assert!(checked.contains("checkpoint `older`: it keeps"), "{checked}");
        assert_eq!(slots(&live).await, "rowcall rowcall_cp_newer rowcall_cp_older");

        write_segments(&live, 2).await;
        eventually("the oldest is dropped", LONG, async || {
            let left = slots(&live).await;
            if left == "rowcall rowcall_cp_newer" { Ok(()) } else { Err(left) }
        })
        .await;
        eventually("that is said", LONG, async || {
            let said = service.stderr();
            if said.contains("checkpoint `older` is dropped: it kept") { Ok(()) } else { Err(said) }
        })
        .await;
        let lines = listed(&live).await;
        let problem = lines[0]["problem"].as_str().expect("a problem");
        assert!(problem.contains("replay.max") && problem.contains("checkpoint drop older"), "{problem}");
        assert_eq!((&lines[0]["wal_status"], &lines[1]["problem"]), (&"gone".into(), &Value::Null));
        live.after(&["insert into customers values (3)"]).await;
        assert_eq!(live.calls().len(), 3);
        live.rowcall.command(&["checkpoint", "drop", "older"]).await.expect_code(0);
        assert_eq!(listed(&live).await.len(), 1);
        assert!(service.ended().is_none());
    }

    async fn a_lost_checkpoint_is_said_plainly_and_can_be_dropped(version: Version) {
        let server = Postgres::with(version).conf("max_slot_wal_keep_size = 32MB").conf("max_wal_size = 32MB");
        let live = Live::on(server.start().await, TABLE, ENTITY).await;
        let service = live.run();
        create(&live, "old").await;
        let status = "select wal_status from pg_replication_slots where slot_name = 'rowcall_cp_old'";
        while live.postgres.text(status).await.as_deref() != Some("lost") {
            write_segments(&live, 1).await;
            live.acknowledged().await;
            live.postgres.execute("checkpoint").await;
        }
        let shown = live.rowcall.command(&["checkpoint", "list"]).await.expect_code(0).stdout;
        assert!(shown.contains("lost") && shown.contains("nothing can be read from it"), "{shown}");
        assert!(shown.contains("run `rowcall checkpoint drop old`"), "{shown}");
        live.rowcall.command(&["checkpoint", "drop", "old"]).await.expect_code(0);
        assert_eq!(slots(&live).await, "rowcall");
        service.sigkill().await;
    }
}

#[tokio::test]
async fn dropping_is_no_error_when_the_slot_is_gone_already() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    create(&live, "one").await;
    live.postgres.execute("select pg_drop_replication_slot('rowcall_cp_one')").await;
    let lines = listed(&live).await;
    assert_eq!(lines[0]["wal_status"], "gone");
    assert!(lines[0]["problem"].as_str().is_some_and(|it| it.contains("is gone")), "{lines:?}");
    let output = live.rowcall.command(&["checkpoint", "drop", "two", "one"]).await.expect_code(1);
    assert!(output.stderr.contains("there is no checkpoint `two`"), "{}", output.stderr);
    assert!(listed(&live).await.is_empty(), "the other is dropped all the same");
}

#[tokio::test]
async fn what_cannot_be_made_leaves_nothing_and_says_what_to_do() {
    let server = Postgres::with(Version::V16).conf("max_replication_slots = 2");
    let live = Live::on(server.start().await, TABLE, ENTITY).await;
    let refused = async |args: &[&str], code: i32| live.rowcall.command(args).await.expect_code(code).stderr;
    let said = refused(&["checkpoint", "create", "Not-A-Name"], 2).await;
    assert!(said.contains("use a–z, 0–9 and `_`"), "{said}");
    let said = refused(&["checkpoint", "create", "one", "--source", "other"], 2).await;
    assert!(said.contains("no source `other`"), "{said}");
    create(&live, "one").await;
    let said = refused(&["checkpoint", "create", "one"], 1).await;
    assert!(said.contains("has a checkpoint `one` already"), "{said}");
    let said = refused(&["checkpoint", "create", "two"], 1).await;
    assert!(said.contains("all replication slots are in use") && said.contains("checkpoint list"), "{said}");
    let checked = live.rowcall.command(&["check"]).await.expect_code(0).stdout;
    assert!(checked.contains("no further checkpoint can be made"), "{checked}");
    live.rowcall.command(&["checkpoint", "drop", "one"]).await.expect_code(0);

    live.postgres.execute("create role plain login password 'secret'").await;
    live.postgres
        .execute("grant usage on schema rowcall to plain; grant all on all tables in schema rowcall to plain")
        .await;
    let url = live.postgres.url_as("plain", "secret");
    let own = live.postgres.url();
    live.reconfigure(|yaml| yaml.replace(&own, &url));
    let said = refused(&["checkpoint", "create", "two"], 1).await;
    assert!(said.contains("alter role \"plain\" with replication"), "{said}");
    assert!(listed(&live).await.is_empty(), "what could not be made is forgotten");

    live.reconfigure(|yaml| yaml.replace(&url, &own));
    live.postgres.execute("select pg_drop_replication_slot('rowcall')").await;
    let said = refused(&["checkpoint", "create", "two"], 1).await;
    assert!(said.contains("`rowcall` does not exist: run `rowcall init`"), "{said}");
}
