//! A suite that cannot fail proves nothing. Here each invariant is broken on purpose (`ROWCALL_BREAK`, which
//! only builds with debug assertions have), and the check that upholds it has to find that: with the break it
//! fails, and for the reason that it should; without it the same check passes. docs/faults.md has the table.

use crate::{
    harness::{Live, Version, eventually, wait::LONG},
    world::oracle::{applied, keys_not_once, not_once, out_of_order},
};
use rowcall::demo::{Bank, Fault, Rule};
use std::collections::BTreeSet;

/// What a check found to be wrong.
type Findings = Vec<String>;

/// Makes the check with the break and without it.
async fn catches(name: &str, finding: &str, check: impl AsyncFn(Option<&str>) -> Findings) {
    assert_eq!(check(None).await, [""; 0], "nothing is broken");
    let found = check(Some(name)).await;
    assert!(found.iter().any(|it| it.contains(finding)), "`{name}` and no `{finding}` in {found:#?}");
}

const TABLE: &str = "create table things (id int primary key, version bigint not null)";
const ENTITY: &str = "
  thing:
    table: things
    upsert:
      - { name: put, put: '/objects/thing/{{ row.id }}', body: { id: '{{ row.id }}', version: '{{ row.version }}' } }";

async fn world(broken: Option<&str>) -> Live {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    break_it(live, broken)
}

fn break_it(mut live: Live, broken: Option<&str>) -> Live {
    if let Some(name) = broken {
        live.rowcall.environment("ROWCALL_BREAK", name);
    }
    live
}

/// What is wrong with what the bank was told, of these things and versions.
fn judge(live: &Live, things: &[(i32, i64)]) -> Findings {
    let journal = live.bank.journal();
    let history: Vec<_> = things.iter().map(|(id, version)| (format!("thing {id}"), *version)).collect();
    let writes = applied(&journal);
    let mut found = out_of_order(&writes);
    found.extend(not_once(&writes, &history));
    found.extend(keys_not_once(&journal));
    if live.bank.stats().mismatched > 0 {
        found.push("a key came back with another request".to_owned());
    }
    found
}

/// Waits until a request was befallen, so that it is under way or lost.
async fn befallen(live: &Live) {
    eventually("a request is befallen", LONG, async || match live.bank.stats().faults {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
}

/// Waits until it is durable that this was applied.
async fn linked(live: &Live, id: i32) {
    let sql = format!("select count(*) from rowcall.link where key = '{id}'");
    eventually(&sql, LONG, async || match live.postgres.text(&sql).await.as_deref() {
        Some("1") => Ok(()),
        seen => Err(seen.map(str::to_owned)),
    })
    .await;
}

/// Invariant 1: a crash, while one change is under way and a later one is settled.
async fn nothing_is_lost_in_a_crash(broken: Option<&str>) -> Findings {
    let live = world(broken).await;
    live.bank.faults().add(Rule::new(Fault::Hold).path("/objects/thing/1"));
    let service = live.run();
    live.postgres.execute("insert into things values (1, 1)").await;
    befallen(&live).await;
    live.postgres.execute("insert into things values (2, 1)").await;
    linked(&live, 2).await;
    service.sigkill().await;
    live.bank.faults().clear();
    let service = live.run();
    live.after(&["insert into things values (3, 1)"]).await;
    service.sigkill().await;
    judge(&live, &[(1, 1), (2, 1), (3, 1)])
}

#[tokio::test]
async fn a_checkpoint_that_runs_ahead_is_caught() {
    catches("checkpoint-ahead", "was applied 0 times", nothing_is_lost_in_a_crash).await;
}

/// Invariant 2: a second change comes while the first is under way. There is room for one call more, so
/// that once another key is settled the second would have been made.
async fn a_key_has_one_change_under_way(broken: Option<&str>) -> Findings {
    let live = world(broken).await;
    live.reconfigure(|yaml| yaml.replace("retry: {", "concurrency: 2, retry: {"));
    live.bank.faults().add(Rule::new(Fault::Hold).times(1));
    let service = live.run();
    live.postgres.execute("insert into things values (1, 1)").await;
    befallen(&live).await;
    live.postgres.execute("update things set version = 2").await;
    live.postgres.execute("insert into things values (2, 1)").await;
    linked(&live, 2).await;
    live.bank.faults().clear();
    live.after(&[]).await;
    service.sigkill().await;
    judge(&live, &[(1, 1), (1, 2), (2, 1)])
}

#[tokio::test]
async fn two_changes_of_a_key_at_once_are_caught() {
    catches("two-at-once", "was applied after version 2", a_key_has_one_change_under_way).await;
}

/// Invariant 3: a call is applied, and its answer lost.
async fn a_retry_has_no_second_effect(broken: Option<&str>) -> Findings {
    let live = world(broken).await;
    live.bank.faults().add(Rule::new(Fault::DropAfter).times(1));
    let service = live.run();
    live.after(&["insert into things values (1, 1)"]).await;
    service.sigkill().await;
    judge(&live, &[(1, 1)])
}

#[tokio::test]
async fn a_retry_under_another_key_is_caught() {
    catches("fresh-key", "was applied 2 times", a_retry_has_no_second_effect).await;
}

/// Invariant 4: what comes behind a parked change waits for it.
async fn a_parked_change_holds_its_key(broken: Option<&str>) -> Findings {
    let live = world(broken).await;
    live.bank.faults().add(Rule::new(Fault::Status(422)).times(1));
    let service = live.run();
    live.after(&["insert into things values (1, 1)", "update things set version = 2"]).await;
    live.rowcall.command(&["parked", "retry", "--all"]).await.expect_code(0);
    live.parked_as(&[]).await;
    service.sigkill().await;
    judge(&live, &[(1, 1), (1, 2)])
}

#[tokio::test]
async fn a_change_that_overtakes_a_parked_one_is_caught() {
    catches("overtakes-parked", "was applied 0 times", a_parked_change_holds_its_key).await;
}

/// Invariant 4: the checkpoint goes on past a parked change. What is settled of the third key has been settled
/// with all that was read before it.
async fn a_parked_change_holds_nothing_else(broken: Option<&str>) -> Findings {
    let live = world(broken).await;
    live.bank.faults().add(Rule::new(Fault::Status(422)).times(1));
    let service = live.run();
    live.postgres.execute("insert into things values (1, 1)").await;
    live.parked_as(&["thing 1 rejected refused"]).await;
    for id in [2, 3] {
        live.postgres.execute(&format!("insert into things values ({id}, 1)")).await;
        linked(&live, id).await;
    }
    let passed = "select c.lsn > l.commit_lsn from rowcall.checkpoint c, rowcall.link l where l.key = '2'";
    let passed = live.postgres.text(passed).await;
    service.sigkill().await;
    if passed.as_deref() == Some("t") { Vec::new() } else { vec!["the checkpoint stays behind".to_owned()] }
}

#[tokio::test]
async fn a_parked_change_that_holds_up_the_checkpoint_is_caught() {
    catches("parked-blocks", "the checkpoint stays behind", a_parked_change_holds_nothing_else).await;
}

/// Invariant 5: a remote takes nothing, and what waits for it is many times the budget. Either the budget is
/// seen to be full, or all of it is in memory.
async fn what_waits_is_bounded(broken: Option<&str>) -> Findings {
    const ROWS: usize = 4_000;
    let tables = "create table rows (id int primary key, text text not null); create table others (id int primary key)";
    let entities = "
  row: { table: rows, remote: bank, upsert: [{ put: '/objects/row/{{ row.id }}', body: { text: '{{ row.text }}' } }] }
  other: { table: others, remote: other, upsert: [{ put: '/objects/other/{{ row.id }}', body: {} }] }";
    let live = Live::new(Version::V16, tables, "\n  none: { table: others, upsert: [{ put: /x }] }").await;
    let other = Bank::start("127.0.0.1:0").await.expect("another bank");
    live.configure(entities);
    let remotes = format!("remotes:\n  other: {{ url: \"{}\" }}\n", other.url());
    live.reconfigure(|yaml| {
        let yaml = yaml.replace("failures: 0", "failures: 3, open: 100ms, max: 300ms");
        yaml.replace("remotes:\n", &remotes) + "limits: { memory: 1MiB }\n"
    });
    live.rowcall.command(&["init"]).await.expect_code(0);
    let live = break_it(live, broken);
    live.bank.faults().add(Rule::new(Fault::Status(503)));
    let service = live.run();
    // Some 8 MB.
    let insert = "insert into rows select i, repeat(md5(i::text), 64) from generate_series";
    live.postgres.execute(&format!("{insert}(1, {ROWS}) i")).await;
    let full = "select count(*) > 0 from rowcall.parked where message like '%`limits.memory` is used up%'";
    let all = format!("select sum(in_flight) = {ROWS} from rowcall.route_status");
    let found = eventually("it is full, or has everything", LONG, async || {
        if live.postgres.text(full).await.as_deref() == Some("t") {
            return Ok(Vec::new());
        }
        if live.postgres.text(&all).await.as_deref() == Some("t") {
            return Ok(vec![format!("all {ROWS} rows are in memory")]);
        }
        Err(())
    })
    .await;
    service.sigkill().await;
    found
}

#[tokio::test]
async fn memory_that_is_not_counted_is_caught() {
    catches("uncharged", "rows are in memory", what_waits_is_bounded).await;
}

/// Invariant 6: a failed attempt and those that succeeded are in the log, each once.
async fn each_request_is_logged_once(broken: Option<&str>) -> Findings {
    let live = world(broken).await;
    live.bank.faults().add(Rule::new(Fault::Status(503)).times(1));
    let service = live.run();
    live.after(&["insert into things values (1, 1)", "update things set version = 2"]).await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
    let found = live.rowcall.command(&["calls", "search", "--json", "--limit", "1000"]).await.expect_code(0);
    let records = found.stdout.lines().count() as u64;
    let different = found.stdout.lines().collect::<BTreeSet<_>>().len() as u64;
    let requests = live.bank.stats().requests;
    if (records, different) == (requests, requests) {
        return Vec::new();
    }
    vec![format!("{records} records of {requests} requests")]
}

#[tokio::test]
async fn attempts_that_are_not_logged_are_caught() {
    catches("failures-unlogged", "2 records of 3 requests", each_request_is_logged_once).await;
}

#[tokio::test]
async fn attempts_that_are_logged_twice_are_caught() {
    catches("logged-twice", "6 records of 3 requests", each_request_is_logged_once).await;
}

/// Invariant 7: a secret in a header, in a body, and anywhere.
async fn no_secret_is_in_the_log(broken: Option<&str>) -> Findings {
    let live = world(broken).await;
    live.reconfigure(|yaml| {
        let yaml = yaml.replace(
            "body: {",
            "headers: { x-tenant: pl4nted-1 }, body: { pin: pl4nted-2, note: 'it is pl4nted-3',",
        );
        yaml + "call_log: { redact: { headers: [x-tenant], paths: [pin], patterns: ['pl4nted-3'] } }\n"
    });
    let service = live.run();
    live.after(&["insert into things values (1, 1)"]).await;
    service.sigterm();
    let (status, said) = service.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(live.calls().concat().contains("pl4nted-2"), "the remote was told");
    let mut found = Vec::new();
    let files = std::fs::read_dir(live.rowcall.home()).expect("the home").flatten();
    let files: Vec<_> = files.map(|it| it.path()).filter(|it| *it != live.rowcall.config()).collect();
    assert!(files.iter().any(|it| it.ends_with("rowcall-calls.db")), "{files:?}");
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(&file).expect("a file")).into_owned();
        let secrets = ["pl4nted-1", "pl4nted-2", "pl4nted-3"].into_iter().filter(|it| text.contains(it));
        found.extend(secrets.map(|it| format!("{it} is in {}", file.display())));
    }
    found
}

#[tokio::test]
async fn a_secret_that_gets_out_is_caught() {
    catches("unredacted", "is in", no_secret_is_in_the_log).await;
}

/// Invariant 8: the state is that of another database. Either it stops, or it goes on sending.
async fn another_database_is_noticed(broken: Option<&str>) -> Findings {
    let live = world(broken).await;
    live.after_start("insert into things values (1, 1)").await;
    live.postgres.execute("update rowcall.checkpoint set system_id = '4711'").await;
    live.postgres.execute("insert into things values (2, 1)").await;
    let mut service = live.run();
    eventually("it stops or goes on", LONG, async || {
        if let Some(status) = service.ended() {
            let said = service.stderr();
            assert!(
                status.code() == Some(1) && said.contains("another database cluster"),
                "{status}: {said}"
            );
            return Ok(Vec::new());
        }
        let calls = live.bank.journal().len();
        if calls > 1 { Ok(vec!["it goes on with another database".to_owned()]) } else { Err(calls) }
    })
    .await
}

#[tokio::test]
async fn a_checkpoint_of_another_database_that_is_taken_is_caught() {
    catches("unbound", "it goes on with another database", another_database_is_noticed).await;
}
