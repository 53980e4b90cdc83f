//! `rowcall init`: makes what is missing, twice over, or prints what it would do.

use crate::harness::{Live, Postgres, Rowcall, each_version, live::configuration, settled};
use rowcall::demo::Bank;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

const ENTITIES: &str = "
  customer:
    table: crm.customers
    upsert: [{ put: '/objects/c/{{ row.id }}', body: {} }]
  event:
    table: Events
    upsert: [{ put: '/objects/e/{{ row.id }}', body: {} }]";

const TABLES: &str = "create schema crm; create table crm.customers (id int primary key);
    create table \"Events\" (id int primary key) partition by range (id);
    create table events_1 partition of \"Events\" for values from (0) to (1000)";

each_version! {
    async fn init_can_be_run_twice_and_adds_what_is_missing(version: Version) {
        let live = Live::new(version, TABLES, ENTITIES).await;
        let again = live.rowcall.command(&["init"]).await.expect_code(0);
        assert!(again.stdout.contains("everything is there already"), "{}", again.stdout);
        let tables = "select string_agg(tablename, ' ' order by tablename) from pg_publication_tables";
        assert_eq!(live.postgres.text(tables).await.as_deref(), Some("Events customers"));
        if version != Version::V15 && version != Version::V16 {
            let failover = "select failover from pg_replication_slots where slot_name = 'rowcall'";
            assert_eq!(live.postgres.text(failover).await.as_deref(), Some("t"));
        }
        live.postgres.execute("create table more (id int primary key); alter publication rowcall drop table \"Events\"").await;
        live.configure(&format!("{ENTITIES}\n  more:\n    table: more\n    upsert: [{{ put: '/objects/m/{{{{ row.id }}}}', body: {{}} }}]"));
        let check = live.rowcall.command(&["check"]).await.expect_code(1);
        assert!(check.stdout.contains("publication `rowcall` lacks public.Events, public.more"), "{}", check.stdout);
        let added = live.rowcall.command(&["init", "--json"]).await.expect_code(0);
        let added: serde_json::Value = serde_json::from_str(&added.stdout).expect("JSON");
        assert_eq!(added[0]["statements"].as_array().map(Vec::len), Some(1), "{added}");
        live.rowcall.command(&["check"]).await.expect_code(0);
        let service = live.run();
        live.after(&["insert into more values (1)", "insert into \"Events\" values (1)"]).await;
        let mut calls = live.calls();
        calls.sort();
        assert_eq!(calls, ["PUT /objects/e/1 {}", "PUT /objects/m/1 {}"]);
        // Safe while it runs, too.
        live.rowcall.command(&["init"]).await.expect_code(0);
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));
    }

    async fn what_init_prints_is_a_script_for_an_administrator(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute(TABLES).await;
        postgres.execute("create role \"app-1\"").await;
        let bank = Bank::start("127.0.0.1:0").await.expect("a bank");
        let url = postgres.url().replace("postgres@", "app-1@");
        let rowcall = Rowcall::with_config(&configuration(&url, &bank.url(), ENTITIES));
        let printed = rowcall.command(&["init", "--print", "--server-version", version.major()]).await.expect_code(0);
        let slots = "select count(*)::text from pg_replication_slots";
        assert_eq!(postgres.text(slots).await.as_deref(), Some("0"), "printing makes nothing");
        psql(&postgres, &printed.stdout).await;
        // A later version's migrations need no more than that.
        postgres.execute("drop schema rowcall cascade; create schema rowcall authorization \"app-1\"").await;
        rowcall.command(&["init"]).await.expect_code(0);
        let check = rowcall.command(&["check"]).await.expect_code(0);
        assert!(!check.stdout.contains('✗') && check.stdout.contains("✓ schema `rowcall` is there"), "{}", check.stdout);
        let again = rowcall.command(&["init"]).await.expect_code(0);
        assert!(again.stdout.contains("everything is there already"), "{}", again.stdout);
        let service = rowcall.run();
        postgres.execute("insert into crm.customers values (1)").await;
        settled(&postgres).await;
        assert_eq!(bank.stats().applied, 1, "{}", service.stderr());
        rowcall.command(&["parked", "list"]).await.expect_code(0);
        rowcall.command(&["status"]).await.expect_code(0);
    }
}

/// As the superuser, like an administrator would.
pub async fn psql(postgres: &Postgres, script: &str) {
    let mut psql = tokio::process::Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", &postgres.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("psql");
    psql.stdin.take().expect("its input").write_all(script.as_bytes()).await.expect("to write");
    let output = psql.wait_with_output().await.expect("its end");
    assert!(output.status.success(), "{}\nof:\n{script}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn init_refuses_what_it_must_not_touch() {
    let live = Live::new(crate::harness::Version::V16, TABLES, ENTITIES).await;
    live.postgres.execute("drop publication rowcall; create publication rowcall for all tables").await;
    let refused = live.rowcall.command(&["init"]).await.expect_code(1);
    assert!(refused.stderr.contains("FOR ALL TABLES"), "{}", refused.stderr);
    let check = live.rowcall.command(&["check"]).await.expect_code(1);
    assert!(check.stdout.contains("publishes Rowcall's own state too"), "{}", check.stdout);
    live.postgres.execute("drop publication rowcall; select pg_drop_replication_slot('rowcall')").await;
    live.postgres.execute("create database other").await;
    let other = live.postgres.client_of("other").await;
    let slot = "select pg_create_logical_replication_slot('rowcall', 'pgoutput')";
    other.batch_execute(slot).await.expect("a slot");
    let refused = live.rowcall.command(&["init"]).await.expect_code(1);
    assert!(refused.stderr.contains("reads database `other`"), "{}", refused.stderr);
    let plain = Postgres::with(crate::harness::Version::V16).conf("wal_level = replica").start().await;
    plain.execute(TABLES).await;
    let home = Rowcall::with_config(&configuration(&plain.url(), &live.bank.url(), ENTITIES));
    let refused = home.command(&["init"]).await.expect_code(1);
    assert!(refused.stderr.contains("set `wal_level = logical`"), "{}", refused.stderr);
}
