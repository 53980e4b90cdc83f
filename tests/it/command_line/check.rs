//! `rowcall check`: a line for each thing that must be right, with its cure.

use crate::harness::{Live, Postgres, Version, postgres::unused_port};
use serde_json::Value;

const TABLES: &str =
    "create table a (id int primary key, name text); create table b (id int primary key, name text)";

const ENTITIES: &str = "
  a:
    table: a
    upsert: [{ put: '/objects/a/{{ row.id }}', body: { name: '{{ row.name }}' } }]
  b:
    table: b
    upsert: [{ put: '/objects/b/{{ row.id }}', body: { name: '{{ row.name }}' } }]";

/// The lines with this mark: what, and the cure behind an arrow.
async fn lines(live: &Live, verdict: &str) -> Vec<String> {
    let output = live.rowcall.command(&["check", "--json"]).await;
    let findings: Vec<Value> = serde_json::from_str(&output.stdout).expect("JSON");
    let bad = findings.iter().any(|it| it["verdict"] == "bad");
    assert_eq!(output.status.code(), Some(i32::from(bad)), "{}", output.stdout);
    let line = |it: &Value| {
        format!("{} → {}", it["what"].as_str().unwrap_or("?"), it["fix"].as_str().unwrap_or("nothing"))
    };
    findings.iter().filter(|it| it["verdict"] == verdict).map(line).collect()
}

#[tokio::test]
async fn everything_that_is_right_has_its_line() {
    let live = Live::new(Version::V16, TABLES, ENTITIES).await;
    let text = live.rowcall.command(&["check"]).await.expect_code(0).stdout;
    for line in [
        "✓ configuration ",
        "✓ source `main`: connected to 127.0.0.1:",
        "✓ PostgreSQL 16",
        "✓ wal_level is logical",
        "✓ role `postgres` may replicate",
        "✓ slot `rowcall`, ",
        "✓ publication `rowcall` has every table it needs",
        "✓ table public.a, key id",
        "✓ expressions of source `main` fit its tables' columns",
        "✓ schema `rowcall` is there",
        "✓ remote `bank`: ",
        "⚠ max_slot_wal_keep_size is unlimited",
        "  → set `max_slot_wal_keep_size`",
    ] {
        assert!(text.contains(line), "no `{line}` in:\n{text}");
    }
    assert!(!text.contains('✗'), "{text}");
    let _service = live.run();
    live.after(&["insert into a values (1)"]).await;
    assert!(lines(&live, "good").await.iter().any(|it| it.starts_with("slot `rowcall`, in use")));
    live.calls();
    assert_eq!(live.bank.stats().applied, 1, "looking sends nothing");
}

#[tokio::test]
async fn every_wrong_state_has_its_line_and_its_cure() {
    let postgres = Postgres::with(Version::V16).conf("max_replication_slots = 2").start().await;
    let live = Live::on(postgres, TABLES, ENTITIES).await;
    let cases: &[(&str, &str, &str)] = &[
        (
            "alter publication rowcall set (publish = 'insert')",
            "does not publish every kind of change",
            "run `rowcall init`",
        ),
        (
            "alter table a replica identity nothing",
            "table public.a has replica identity nothing",
            "replica identity default",
        ),
        ("alter table a drop constraint a_pkey", "table public.a has no primary key", "`key`"),
        (
            "alter publication rowcall drop table a",
            "publication `rowcall` lacks public.a",
            "run `rowcall init`",
        ),
        ("drop publication rowcall", "publication `rowcall` does not exist", "run `rowcall init`"),
        ("select pg_drop_replication_slot('rowcall')", "slot `rowcall` does not exist", "run `rowcall init`"),
        ("alter table a rename name to title", "`name`", "correct the expression, or the table"),
        ("drop table b", "table public.b does not exist", "`table`"),
        ("drop schema rowcall cascade", "schema `rowcall` is missing or older", "run `rowcall init`"),
    ];
    for (sql, what, cure) in cases {
        live.postgres.execute(sql).await;
        let bad = lines(&live, "bad").await;
        let found = bad
            .iter()
            .any(|it| it.split_once(" → ").is_some_and(|(it, fix)| it.contains(what) && fix.contains(cure)));
        assert!(found, "after `{sql}`: no `{what} → {cure}` in {bad:#?}");
    }
    // All of it at once, and a slot too many.
    live.postgres
        .execute(
            "select pg_create_physical_replication_slot('p1'), pg_create_physical_replication_slot('p2')",
        )
        .await;
    let bad = lines(&live, "bad").await;
    assert!(bad.iter().any(|it| it.contains("all 2 max_replication_slots are in use")), "{bad:#?}");
    assert!(bad.len() >= 6, "{bad:#?}");
    let text = live.rowcall.command(&["check"]).await.expect_code(1).stdout;
    assert_eq!(text.matches('✗').count(), bad.len(), "{text}");
    assert!(text.matches("  → ").count() >= bad.len(), "each has its cure: {text}");
}

#[tokio::test]
async fn what_works_but_should_be_known_is_a_warning() {
    let live = Live::new(Version::V16, TABLES, ENTITIES).await;
    live.postgres.execute("create table c (id int primary key); alter publication rowcall add table c").await;
    let warnings = lines(&live, "warning").await;
    assert!(
        warnings.iter().any(|it| it.contains("also has public.c, which no entity needs")),
        "{warnings:#?}"
    );
}

#[tokio::test]
async fn tables_that_cannot_be_captured_and_servers_that_cannot_log_are_named() {
    let postgres = Postgres::with(Version::V16).conf("wal_level = replica").start().await;
    postgres.execute("create unlogged table a (id int primary key, name text); create view b as select 1 as id, '' as name").await;
    let bank = rowcall::demo::Bank::start("127.0.0.1:0").await.expect("a bank");
    let dead = format!("http://127.0.0.1:{}", unused_port());
    let rowcall = crate::harness::Rowcall::with_config(&crate::harness::live::configuration(
        &postgres.url(),
        &dead,
        ENTITIES,
    ));
    let live = Live { postgres, bank, rowcall };
    let bad = lines(&live, "bad").await;
    for what in [
        "wal_level is replica → set `wal_level = logical`",
        "table public.a is not logged",
        "public.b is not a table",
        "remote `bank`: ",
    ] {
        assert!(bad.iter().any(|it| it.contains(what)), "no `{what}` in {bad:#?}");
    }
}

#[tokio::test]
async fn whoever_is_to_be_told_is_looked_at_and_not_told() {
    let live = Live::new(Version::V16, TABLES, ENTITIES).await;
    let (bank, gone) = (live.bank.url(), unused_port());
    live.reconfigure(|yaml| {
        format!(
            "{yaml}notify: {{ targets: {{ script: {{ exec: [sh] }}, missing: {{ exec: [/nowhere/page.sh] }}, \
             hook: {{ url: \"{bank}/hunter2\" }}, down: {{ url: \"http://127.0.0.1:{gone}/hunter2\" }} }} }}\n"
        )
    });
    let (good, bad) = (lines(&live, "good").await, lines(&live, "bad").await);
    let has = |lines: &[String], parts: &[&str]| {
        assert!(lines.iter().any(|it| parts.iter().all(|part| it.contains(part))), "{parts:?} in {lines:?}");
    };
    has(&good, &["notify `script`: ", "/sh` is there"]);
    has(&good, &["notify `hook`: ", "can be reached"]);
    has(&bad, &["notify `missing`: `/nowhere/page.sh`: No such file", "correct `notify.targets.missing`"]);
    has(&bad, &["notify `down`: ", "cannot be reached", "`rowcall notify test down`"]);
    assert!(!format!("{good:?}{bad:?}").contains("hunter2"), "{good:?} {bad:?}");
    assert_eq!(live.bank.stats().requests, 0);
}
