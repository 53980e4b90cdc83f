//! Changes of many rows in one call, on a real server with a bank whose journal knows each row.

use crate::harness::{Live, Version, eventually, wait::LONG};
use rowcall::demo::{Effect, Entry, Fault, Rule};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const TABLE: &str =
    "create table readings (id int primary key, v int, bad text, poison text, note text not null default '')";

/// The batch's settings come first.
fn entity(batch: &str) -> String {
    format!(
        "
  reading:
    table: readings
    batch: {batch}
    upsert:
      - name: put
        post: /batch/objects/reading
        body:
          items:
            each:
              id: '{{{{ row.id }}}}'
              v: '{{{{ row.v }}}}'
              bad: '{{{{ row.bad }}}}'
              poison: '{{{{ row.poison }}}}'
        failed: '{{{{ answer.body.results[index].?error }}}}'
        save: {{ at: '{{{{ answer.body.results[index].id }}}}' }}
    delete:
      - {{ name: remove, post: /batch/objects/reading/remove, body: {{ ids: {{ each: '{{{{ link.at }}}}' }} }} }}"
    )
}

/// Full batches only, unless a test waits for minutes.
fn full(size: usize) -> String {
    entity(&format!("{{ size: {size}, within: 5m }}"))
}

fn soon(size: usize) -> String {
    entity(&format!("{{ size: {size}, within: 20ms }}"))
}

fn applied(journal: &[Entry]) -> impl Iterator<Item = &Entry> {
    journal.iter().filter(|it| it.effect == Effect::Applied)
}

/// How often each object was changed.
fn counts(journal: &[Entry]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    applied(journal).for_each(|it| *counts.entry(it.object.to_string()).or_default() += 1);
    counts
}

/// What the bank has, by id.
fn values(live: &Live) -> BTreeMap<i64, Value> {
    let number = |path: &str| path.rsplit('/').next().and_then(|it| it.parse().ok()).expect("a number");
    live.bank.dump().iter().map(|(path, value)| (number(path), value["v"].clone())).collect()
}

/// The table and the bank say the same.
async fn same(live: &Live) {
    let client = live.postgres.client().await;
    let rows = client.query("select id, v from readings", &[]).await.expect("rows");
    let expected: BTreeMap<i64, Value> =
        rows.iter().map(|row| (i64::from(row.get::<_, i32>(0)), json!(row.get::<_, i32>(1)))).collect();
    assert_eq!(values(live), expected);
}

#[tokio::test]
async fn the_poison_row_of_three_thousand_is_found_and_parked_alone() {
    let live = Live::new(Version::V16, TABLE, &full(3_000)).await;
    let _service = live.run();
    let rows = "insert into readings select i, i, null, case when i = 1777 then 'yes' end from generate_series(1, 3000) i";
    live.after(&[rows]).await;
    let parked = live.parked_as(&["reading 1777 rejected refused"]).await;
    assert!(parked[0]["message"].as_str().is_some_and(|it| it.contains("an item is poison")), "{parked:?}");
    let journal = live.bank.journal();
    let counts = counts(&journal);
    assert_eq!(counts.len(), 2_999);
    assert!(counts.values().all(|count| *count == 1), "each was applied once");
    assert!(!counts.contains_key("/objects/reading/1777"));
    // The whole, and both halves of each part it was in: 3000 rows are halved twelve times.
    let requests = live.bank.stats().requests;
    assert!(requests <= 1 + 2 * 12, "{requests} requests");
    let keys: BTreeSet<&str> = journal.iter().filter_map(|it| it.key.as_deref()).collect();
    assert_eq!(
        keys.len() as u64,
        live.bank.stats().requests - live.bank.stats().refused,
        "a key for each part"
    );
}

#[tokio::test]
async fn a_row_that_failed_is_parked_with_its_message_and_the_others_keep_their_answers() {
    let live = Live::new(Version::V16, TABLE, &full(5)).await;
    let service = live.run();
    live.after(&[
        "insert into readings select i, i, case when i = 3 then 'no threes' end from generate_series(1, 5) i",
    ])
    .await;
    let parked = live.parked_as(&["reading 3 rejected refused"]).await;
    let message = parked[0]["message"].as_str().unwrap_or_default();
    assert_eq!(message, "step `put` was answered with 200, but not for this row: no threes");
    assert_eq!(live.bank.stats().requests, 1);
    let client = live.postgres.client().await;
    let links =
        client.query("select key, saved->>'at' from rowcall.link order by key", &[]).await.expect("links");
    let links: Vec<String> =
        links.iter().map(|it| format!("{} {}", it.get::<_, &str>(0), it.get::<_, &str>(1))).collect();
    assert_eq!(links, ["1 1", "2 2", "4 4", "5 5"]);

    // Its next change waits behind it until a person has decided; deletes of the others do not.
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
    live.configure(&soon(5));
    let _service = live.run();
    live.after(&[
        "update readings set bad = null, v = 33 where id = 3",
        "delete from readings where id in (1, 2)",
    ])
    .await;
    live.parked_as(&["reading 3 rejected refused", "reading 3 queued behind"]).await;
    live.rowcall.command(&["parked", "discard", "--state", "rejected", "--all"]).await.expect_code(0);
    live.parked_as(&[]).await;
    live.after(&[]).await;
    same(&live).await;
}

#[tokio::test]
async fn a_batch_that_was_applied_and_whose_answer_was_lost_comes_again_just_as_it_was() {
    let live = Live::new(Version::V16, TABLE, &full(50)).await;
    live.bank.faults().add(Rule::new(Fault::DropAfter).times(2));
    let _service = live.run();
    live.after(&["insert into readings select i, i from generate_series(1, 50) i"]).await;
    let stats = live.bank.stats();
    assert_eq!((stats.requests, stats.duplicates, stats.mismatched, stats.applied), (3, 2, 0, 50));
    live.parked_as(&[]).await;
    same(&live).await;
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_sent_in_parts_and_a_row_that_is_too_large_is_parked() {
    let table = TABLE.replace("v int", "v text");
    let live = Live::new(Version::V16, &table, &full(64)).await;
    live.bank.faults().add(Rule::new(Fault::TooLarge(600)));
    let _service = live.run();
    let rows = "insert into readings select i, case i when 9 then repeat('x', 700) else i::text end from generate_series(1, 64) i";
    live.after(&[rows]).await;
    live.parked_as(&["reading 9 rejected refused"]).await;
    let counts = counts(&live.bank.journal());
    assert_eq!(counts.len(), 63);
    assert!(counts.values().all(|count| *count == 1));
}

#[tokio::test]
async fn a_throttled_batch_waits_and_succeeds() {
    let live = Live::new(Version::V16, TABLE, &full(20)).await;
    live.bank.faults().add(Rule::new(Fault::TooMany { retry_after: 0 }).times(2));
    let _service = live.run();
    live.after(&["insert into readings select i, i from generate_series(1, 20) i"]).await;
    let stats = live.bank.stats();
    assert_eq!((stats.requests, stats.faults, stats.applied), (3, 2, 20), "not asked in halves");
    live.parked_as(&[]).await;
}

#[tokio::test]
async fn the_changes_of_a_key_keep_their_order_however_they_are_cut() {
    let live = Live::new(Version::V16, TABLE, &soon(7)).await;
    live.bank.faults().add(Rule::new(Fault::Status(503)).every(5).times(20));
    live.bank.faults().add(Rule::new(Fault::DropAfter).every(7).times(20));
    live.reconfigure(|yaml| yaml.replace("attempts: 3", "attempts: 100"));
    let _service = live.run();
    live.postgres.execute("insert into readings select i, 0 from generate_series(1, 20) i").await;
    for v in 1..=25 {
        live.postgres.execute(&format!("update readings set v = {v} where id % {} = 0", v % 4 + 1)).await;
    }
    live.after(&["delete from readings where id > 15"]).await;
    live.parked_as(&[]).await;
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    let journal = live.bank.journal();
    for entry in applied(&journal) {
        // Removed at the end, whatever it was.
        let v = entry.body()["v"].as_i64().unwrap_or(i64::MAX);
        let before = last.insert(&entry.object, v);
        assert!(before.is_none_or(|before| before < v), "{} went from {before:?} to {v}", entry.object);
    }
    assert_eq!(live.bank.stats().mismatched, 0);
    same(&live).await;
}

/// Waits until a fault has befallen a request, so that it is under way.
async fn befallen(live: &Live, times: u64) {
    eventually("a call is under way", LONG, async || {
        let faults = live.bank.stats().faults;
        if faults >= times { Ok(()) } else { Err(faults) }
    })
    .await;
}

/// What was applied and not settled is sent again, in other batches. Were the second one to have the
/// key that it had before, the bank would answer it from memory and stay at the older state.
#[tokio::test]
async fn what_was_applied_and_not_settled_is_cut_anew_and_ends_in_the_newest_state() {
    let live = Live::new(Version::V16, TABLE, &soon(5)).await;
    let service = live.run();
    live.after(&["insert into readings select i, 0 from generate_series(1, 4) i"]).await;
    live.bank.take_journal();
    // Nothing can be settled, and reading goes on.
    let mut client = live.postgres.client().await;
    let locking = client.transaction().await.expect("a transaction");
    locking.batch_execute("lock table rowcall.checkpoint in exclusive mode").await.expect("a lock");
    live.postgres.execute("update readings set v = 1").await;
    live.calls_made(4).await;
    live.postgres.execute("update readings set v = 2 where id = 1").await;
    live.calls_made(1).await;
    service.sigkill().await;
    locking.rollback().await.expect("the lock is gone");
    live.configure(&soon(2));
    let _service = live.run();
    live.after(&[]).await;
    same(&live).await;
    assert_eq!(live.bank.stats().duplicates, 0, "a process has keys of its own");
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_batch_ends_in_the_newest_state() {
    let live = Live::new(Version::V16, TABLE, &soon(10)).await;
    let service = live.run();
    live.after(&["insert into readings select i, 0 from generate_series(1, 30) i"]).await;
    // One batch holds the checkpoint, while the others go on.
    live.bank.faults().add(Rule::new(Fault::Delay(600_000)).path("/batch").times(1));
    live.postgres.execute("update readings set v = 1 where id <= 10").await;
    befallen(&live, 1).await;
    live.postgres.execute("update readings set v = 2 where id > 5").await;
    live.postgres.execute("update readings set v = 3 where id > 20").await;
    service.sigkill().await;
    live.postgres.execute("update readings set v = 4 where id % 3 = 0").await;
    let service = live.run();
    live.after(&[]).await;
    same(&live).await;
    // And an orderly stop, in the middle of whatever it does.
    live.postgres.execute("update readings set v = v + 10").await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
    let _service = live.run();
    live.after(&[]).await;
    live.parked_as(&[]).await;
    same(&live).await;
    assert_eq!(live.bank.stats().mismatched, 0);
}

#[tokio::test]
async fn a_preview_shows_the_batch_with_its_one_row() {
    let live = Live::new(Version::V16, TABLE, &full(10)).await;
    live.postgres.execute("insert into readings values (7, 1)").await;
    let preview = live.rowcall.command(&["preview", "reading", "7"]).await.expect_code(0);
    assert!(preview.stdout.contains("POST /batch/objects/reading"), "{}", preview.stdout);
    assert!(
        preview.stdout.contains("\"id\": 7") || preview.stdout.contains("\"id\":7"),
        "{}",
        preview.stdout
    );
}

#[tokio::test]
async fn wrong_names_in_a_batch_are_said_before_anything_runs() {
    let live = Live::new(Version::V16, TABLE, &full(10)).await;
    for (right, wrong, said) in [
        ("{{ row.v }}", "{{ row.w }}", "no column `w`"),
        ("results[index].id", "results[place].id", "there is no `place` here"),
        ("failed:", "if: '{{ true }}'\n        failed:", "takes no `if`"),
    ] {
        live.configure(&full(10).replace(right, wrong));
        let checked = live.rowcall.command(&["check"]).await;
        assert_ne!(checked.status.code(), Some(0));
        let told = checked.stdout + &checked.stderr;
        assert!(told.contains(said), "{told}");
    }
}
