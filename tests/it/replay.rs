//! What was sent before is sent again, from a place in the log, beside what changes meanwhile.

mod again;
mod beside;
mod bounds;
mod wide;

use crate::harness::{Live, eventually, wait::LONG};
use rowcall::demo::Entry;
use serde_json::Value;

const TABLE: &str = "create table customers (id int primary key, name text)";

const ENTITY: &str = "
  customer:
    table: customers
    always: true
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}', accept: [200, 204, 404] }]";

/// `PUT /objects/c/1 {…}` and its key, of every call that the bank was made.
fn told(journal: &[Entry]) -> Vec<(String, String)> {
    let key = |it: &Entry| it.key.as_deref().unwrap_or_default().to_owned();
    journal.iter().map(|it| (crate::harness::live::line(it), key(it))).collect()
}

/// In an order of their own per object: other objects never wait for one.
fn by_object(journal: &[Entry]) -> Vec<(String, String)> {
    let mut sorted: Vec<&Entry> = journal.iter().collect();
    sorted.sort_by(|one, other| one.path.cmp(&other.path));
    told(&sorted.into_iter().cloned().collect::<Vec<_>>())
}

async fn replay(live: &Live, args: &[&str]) -> Value {
    let args = [&["replay", "--json", "--wait"], args].concat();
    let output = live.rowcall.command(&args).await.expect_code(0);
    serde_json::from_str(&output.stdout).expect("a run")
}

fn counts(run: &Value) -> [u64; 4] {
    ["read", "applied", "skipped", "parked"].map(|it| run["counts"][it].as_u64().expect("a number"))
}

/// Waits until the only slots left are these.
async fn slots_are(live: &Live, expected: &str) {
    let sql = "select coalesce(string_agg(slot_name, ' ' order by slot_name), '') from pg_replication_slots";
    eventually("the other slots are gone", LONG, async || {
        let left = live.postgres.text(sql).await.expect("a text");
        if left == expected { Ok(()) } else { Err(left) }
    })
    .await;
}
