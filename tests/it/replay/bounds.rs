//! From where to where, and of what.

use super::{ENTITY, TABLE, by_object, counts, replay, slots_are, told};
use crate::harness::{Live, Version, each_version, eventually, wait::LONG};

/// The time by the source's clock.
async fn now(live: &Live) -> String {
    let sql = "select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    live.postgres.text(sql).await.expect("a time")
}

async fn position(live: &Live) -> String {
    live.postgres.text("select pg_current_wal_insert_lsn()::text").await.expect("a position")
}

/// Waits until the slot that trails behind is there, and known in time.
async fn kept(live: &Live) {
    let sql = "select count(*) > 0 from rowcall.replay_point p join pg_replication_slots s
                on s.slot_name = 'rowcall_keep' and p.lsn >= s.confirmed_flush_lsn";
    eventually("the log is kept", LONG, async || {
        if live.postgres.text(sql).await.as_deref() == Some("t") { Ok(()) } else { Err(()) }
    })
    .await;
}

each_version! {
    async fn the_slot_that_trails_behind_needs_no_planning(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        live.after_start("insert into customers values (1, 'before')").await;
        live.reconfigure(|yaml| yaml.replace("heartbeat: 50ms", "heartbeat: 50ms, replay: { keep: 10m }"));
        let service = live.run();
        kept(&live).await;
        let from = now(&live).await;
        live.bank.take_journal();
        live.after(&["insert into customers values (2, 'a'), (3, 'b')", "update customers set name = 'c' where id = 2"]).await;
        let first = told(&live.bank.take_journal());
        replay(&live, &["--from", &from]).await;
        assert_eq!(by_object(&live.bank.take_journal()), {
            let mut first = first.clone();
            first.sort_by(|one, other| one.0.split(' ').nth(1).cmp(&other.0.split(' ').nth(1)));
            first
        });
        // A minute ago there was no such slot, so that is refused with what there is.
        let refused = live.rowcall.command(&["replay", "--from", "1h"]).await.expect_code(1).stderr;
        assert!(refused.contains("the oldest point from which it can be is"), "{refused}");
        assert!(refused.contains("kept by slot `rowcall_keep` (`replay.keep`)"), "{refused}");
        let checked = live.rowcall.command(&["check"]).await.expect_code(0).stdout;
        assert!(checked.contains("0 for its checkpoints, 1 for `replay.keep`"), "{checked}");
        slots_are(&live, "rowcall rowcall_keep").await;
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));

        live.reconfigure(|yaml| yaml.replace(", replay: { keep: 10m }", ""));
        let service = live.run();
        slots_are(&live, "rowcall").await;
        service.sigkill().await;
    }
}

#[tokio::test]
async fn the_slot_follows_once_what_it_keeps_is_old_enough() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.reconfigure(|yaml| yaml.replace("heartbeat: 50ms", "heartbeat: 50ms, replay: { keep: 1s }"));
    let service = live.run();
    kept(&live).await;
    live.after(&["insert into customers values (1, 'a')"]).await;
    let behind = position(&live).await;
    eventually("the slot follows", LONG, async || {
        live.postgres.execute("select pg_logical_emit_message(false, 'test', '')").await;
        let sql = format!(
            "select confirmed_flush_lsn >= '{behind}' from pg_replication_slots where slot_name = 'rowcall_keep'"
        );
        if live.postgres.text(&sql).await.as_deref() == Some("t") { Ok(()) } else { Err(()) }
    })
    .await;
    let left = live.postgres.text("select count(*) from rowcall.replay_point").await;
    assert!(left.is_some_and(|it| it.parse::<u32>().is_ok_and(|it| it < 60)), "points are forgotten with it");
    let refused = live.rowcall.command(&["replay", "--from", "1h"]).await.expect_code(1).stderr;
    assert!(refused.contains("the oldest point"), "{refused}");
    service.sigkill().await;
}

#[tokio::test]
async fn only_what_was_asked_for_is_sent() {
    let two = format!(
        "{ENTITY}
  note:
    table: notes
    upsert: [{{ name: put, put: '/objects/n/{{{{ row.id }}}}', body: {{ text: '{{{{ row.text }}}}' }} }}]"
    );
    let tables = format!("{TABLE}; create table notes (id int primary key, text text)");
    let live = Live::new(Version::V16, &tables, &two).await;
    let service = live.run();
    live.rowcall.command(&["checkpoint", "create", "start"]).await.expect_code(0);
    live.after(&[
        "insert into customers values (1, 'a'), (2, 'b')",
        "insert into notes values (1, 'x'), (2, 'y')",
    ])
    .await;
    let middle = position(&live).await;
    live.after(&["update customers set name = 'c' where id = 1", "delete from customers where id = 2"]).await;
    live.acknowledged().await;
    live.rowcall.command(&["checkpoint", "create", "end"]).await.expect_code(0);
    live.bank.take_journal();
    let calls = async |args: &[&str]| {
        let run = replay(&live, args).await;
        (
            by_object(&live.bank.take_journal()).into_iter().map(|(call, _)| call).collect::<Vec<_>>(),
            counts(&run),
        )
    };
    let put = |id: &str, name: &str| format!(r#"PUT /objects/c/{id} {{"name":"{name}"}}"#);
    let note = |id: &str, text: &str| format!(r#"PUT /objects/n/{id} {{"text":"{text}"}}"#);
    assert_eq!(
        calls(&["--from", "start", "--entity", "note"]).await,
        (vec![note("1", "x"), note("2", "y")], [2, 2, 0, 0])
    );
    assert_eq!(
        calls(&["--from", "start", "--entity", "customer", "--key", "1"]).await,
        (vec![put("1", "a"), put("1", "c")], [2, 2, 0, 0])
    );
    let later = (vec![put("1", "c"), "DELETE /objects/c/2".to_owned()], [2, 2, 0, 0]);
    assert_eq!(calls(&["--from", &middle]).await, later);
    assert_eq!(calls(&["--from", &middle, "--to", "end"]).await, later);
    // What was changed or deleted behind the end is newer, and stays as it is.
    assert_eq!(
        calls(&["--from", "start", "--to", &middle]).await,
        (vec![note("1", "x"), note("2", "y")], [4, 2, 2, 0])
    );

    let refused = async |args: &[&str], code: i32| live.rowcall.command(args).await.expect_code(code).stderr;
    let said = refused(&["replay", "--from", "start", "--entity", "loan"], 2).await;
    assert!(said.contains("no entity `loan`"), "{said}");
    let said = refused(&["replay", "--from", "0/1"], 1).await;
    assert!(said.contains("the oldest point") && said.contains("checkpoint `start`"), "{said}");
    let said = refused(&["replay", "--from", "nothing"], 1).await;
    assert!(said.contains("there is no checkpoint `nothing`"), "{said}");
    let said = refused(&["replay", "--from", "Now"], 2).await;
    assert!(said.contains("`Now` is no point of the log"), "{said}");
    live.rowcall.command(&["checkpoint", "drop", "start", "end"]).await.expect_code(0);
    let said = refused(&["replay", "--from", "30m"], 1).await;
    assert!(said.contains("sources.main.replay.keep"), "{said}");
    slots_are(&live, "rowcall").await;
    service.sigkill().await;
}

#[tokio::test]
async fn times_end_a_window_too() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let service = live.run();
    live.rowcall.command(&["checkpoint", "create", "start"]).await.expect_code(0);
    live.after(&["insert into customers values (1, 'a')"]).await;
    let from = now(&live).await;
    live.after(&["insert into customers values (2, 'b')", "insert into customers values (3, 'c')"]).await;
    let to = now(&live).await;
    live.after(&["insert into customers values (4, 'd')", "delete from customers where id = 3"]).await;
    live.bank.take_journal();
    let run = replay(&live, &["--from", &from, "--to", &to]).await;
    assert_eq!(live.calls().len(), 0, "the bank knows the key");
    assert_eq!(counts(&run), [2, 1, 1, 0], "2 is sent, and 3 is not brought back");
    service.sigkill().await;
}

#[tokio::test]
async fn without_a_service_the_command_does_it_itself() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.after_start("insert into customers values (1, 'a')").await;
    live.rowcall.command(&["checkpoint", "create", "here"]).await.expect_code(0);
    live.after_start("insert into customers values (2, 'b')").await;
    live.bank.take_journal();
    let output = live.rowcall.command(&["replay", "--from", "here", "--new-keys"]).await.expect_code(0);
    assert_eq!(live.calls(), [r#"PUT /objects/c/2 {"name":"b"}"#], "{}", output.stderr);
    assert!(output.stdout.contains("done"), "{}", output.stdout);
    slots_are(&live, "rowcall rowcall_cp_here").await;
}

#[tokio::test]
async fn a_checkpoint_that_is_about_to_be_read_is_not_given_up() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.reconfigure(|yaml| yaml.replace("heartbeat: 50ms", "heartbeat: 50ms, replay: { max: 20MB }"));
    for name in ["wanted", "other"] {
        live.rowcall.command(&["checkpoint", "create", name]).await.expect_code(0);
    }
    live.postgres
        .execute(
            "insert into rowcall.run (source, kind, options, origin, state)
             values ('main', 'replay', '{\"from\": \"wanted\"}', 'test', 'paused')",
        )
        .await;
    for _ in 0..4 {
        live.postgres.execute("select pg_logical_emit_message(false, 'test', ''), pg_switch_wal()").await;
    }
    let service = live.run();
    slots_are(&live, "rowcall rowcall_cp_wanted").await;
    service.sigkill().await;
}
