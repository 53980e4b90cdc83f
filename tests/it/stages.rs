//! The process is killed at each stage of a change, always at the same moment: after the answer and
//! before the outcome is durable, after that and before the source may forget, and in the middle of a
//! run's piece. The next start goes on from the stored checkpoint: nothing is lost, nothing has an effect
//! twice under one call key, and every key's changes come in order (invariants 1 to 3).

mod batch;
mod drain;
mod piece;
mod stream;

use crate::{
    harness::{Live, eventually, wait::LONG},
    world::oracle::keys_not_once,
};
use rowcall::demo::{Effect, Entry};

const TABLE: &str = "create table loans (id int primary key, version int not null)";

/// Creating twice would make two of them.
const LOAN: &str = "
  loan:
    table: loans
    upsert:
      - name: create
        if: '{{ !has(link.loan_id) }}'
        post: /loans
        body: { ref: '{{ row.id }}', version: '{{ row.version }}' }
        save: { loan_id: '{{ answer.body.id }}' }
      - name: update
        if: '{{ has(link.loan_id) }}'
        patch: '/loans/{{ link.loan_id }}'
        body: { ref: '{{ row.id }}', version: '{{ row.version }}' }
    delete: [{ name: close, delete: '/loans/{{ link.loan_id }}', accept: [200, 204, 404] }]";

/// Whether it was applied, and the step of its call.
fn told(entry: &Entry) -> String {
    let step = key(entry).rsplit('-').next().unwrap_or_default();
    format!("{:?} {step}", entry.effect)
}

fn number(value: &serde_json::Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn key(entry: &Entry) -> &str {
    entry.key.as_deref().expect("a call key")
}

/// What each loan was told, as `ref version`: loan by loan, of each in the order in which it came.
fn versions(journal: &[Entry]) -> Vec<String> {
    let applied = journal.iter().filter(|it| it.effect == Effect::Applied && &*it.method != "DELETE");
    let told = applied.map(|it| (number(&it.body()["ref"]), number(&it.body()["version"])));
    let mut told: Vec<(i64, i64)> = told.collect();
    told.sort_by_key(|(loan, _)| *loan);
    told.iter().map(|(loan, version)| format!("{loan} {version}")).collect()
}

/// No call key had an effect twice, and what came again is what was applied under its key.
#[track_caller]
fn each_key_once(journal: &[Entry]) {
    assert!(journal.iter().all(|it| it.key.is_some()), "each call has a key");
    assert_eq!(keys_not_once(journal), [""; 0]);
}

/// The bank holds exactly one loan for each row, in its newest version.
async fn equal(live: &Live) {
    let rows = live.postgres.client().await.query("select id, version from loans order by id", &[]).await;
    let rows = rows.expect("the rows");
    let rows: Vec<(i64, i64)> =
        rows.iter().map(|it| (it.get::<_, i32>(0).into(), it.get::<_, i32>(1).into())).collect();
    let mut held: Vec<(i64, i64)> =
        live.bank.dump().values().map(|it| (number(&it["ref"]), number(&it["version"]))).collect();
    held.sort_unstable();
    assert_eq!(held, rows);
}

/// Waits until a query gives this.
async fn gives(live: &Live, sql: &str, expected: &str) {
    eventually(sql, LONG, async || {
        let text = live.postgres.text(sql).await;
        if text.as_deref() == Some(expected) { Ok(()) } else { Err(text) }
    })
    .await;
}
