//! A remote that is down for longer than the source may keep its log: what waits is put aside, the
//! slot moves on, others go on, and everything is sent once in its order when it is back.

use crate::harness::{Live, Version, eventually, wait::LONG};
use rowcall::demo::{Bank, Effect, Entry, Fault, Rule};
use std::collections::{BTreeMap, BTreeSet};

const TABLES: &str = "create table customers (id int primary key, n int not null);
                      create table orders (id int primary key)";

const KEYS: i64 = 300;

fn entities(coalesce: bool) -> String {
    format!(
        "
  customer:
    table: customers
    remote: bank
    coalesce: {coalesce}
    always: true
    upsert: [{{ name: put, put: '/objects/c/{{{{ row.id }}}}', body: {{ n: '{{{{ row.n }}}}' }} }}]
  order:
    table: orders
    remote: other
    upsert: [{{ name: put, put: '/objects/o/{{{{ row.id }}}}', body: {{ id: '{{{{ row.id }}}}' }} }}]"
    )
}

async fn world(coalesce: bool) -> (Live, Bank) {
    let live = Live::new(Version::V16, TABLES, "\n  none: { table: orders, upsert: [{ put: /x }] }").await;
    let other = Bank::start("127.0.0.1:0").await.expect("another bank");
    live.configure(&entities(coalesce));
    let second = format!("remotes:\n  other: {{ url: \"{}\" }}\n", other.url());
    live.reconfigure(|yaml| {
        let yaml = yaml.replace("heartbeat: 50ms", "heartbeat: 50ms, wal_guard: { bytes: 64KiB, after: 1s }");
        let yaml = yaml.replace("failures: 0", "failures: 3, open: 100ms, max: 300ms");
        yaml.replace("remotes:\n", &second) + "limits: { memory: 1MiB }\n"
    });
    live.rowcall.command(&["init"]).await.expect_code(0);
    (live, other)
}

fn applied(bank: &Bank) -> Vec<Entry> {
    bank.journal().into_iter().filter(|it| it.effect == Effect::Applied).collect()
}

async fn count(live: &Live) -> i64 {
    let text = live.postgres.text("select count(*)::text from rowcall.parked").await;
    text.and_then(|it| it.parse().ok()).unwrap_or(-1)
}

/// Updates every customer so many times, each in its own transaction.
async fn update(live: &Live, times: usize) {
    for _ in 0..times {
        live.postgres.execute("update customers set n = n + 1").await;
    }
}

async fn an_outage(coalesce: bool, changes: usize) -> Vec<Entry> {
    let (live, other) = world(coalesce).await;
    live.bank.faults().add(Rule::new(Fault::Status(503)));
    let service = live.run();
    live.postgres
        .execute(&format!("insert into customers select i, 0 from generate_series(1, {KEYS}) i"))
        .await;
    update(&live, changes).await;
    live.postgres.execute("insert into orders select i from generate_series(1, 50) i").await;
    live.acknowledged().await;
    eventually("the other remote goes on", LONG, async || {
        let made = applied(&other).len();
        if made == 50 { Ok(()) } else { Err(made) }
    })
    .await;
    assert!(applied(&live.bank).is_empty() && count(&live).await >= KEYS);
    let summary = live.rowcall.command(&["parked", "summary"]).await.expect_code(0).stdout;
    assert!(summary.contains("outage"), "{summary}");
    service.sigkill().await;

    // The next process knows nothing of it, and it is still down.
    let service = live.run();
    update(&live, changes).await;
    live.acknowledged().await;
    let aside = count(&live).await;
    live.bank.faults().clear();
    eventually("it drains", LONG, async || {
        let left = count(&live).await;
        if left < aside { Ok(()) } else { Err(left) }
    })
    .await;
    service.sigkill().await;
    let _service = live.run();
    update(&live, 1).await;
    live.after(&[]).await;
    // A busy machine drains some keys only once a second.
    eventually("all is sent", LONG, async || {
        let left = count(&live).await;
        if left == 0 {
            return Ok(());
        }
        let rows =
            "select string_agg(to_jsonb(p)::text, e'\\n' order by p.key, p.commit_lsn) from rowcall.parked p";
        Err((left, live.postgres.text(rows).await))
    })
    .await;
    live.after(&[]).await;

    let newest = i64::try_from(2 * changes + 1).expect("small").to_string();
    let dump = live.bank.dump();
    assert_eq!(dump.len() as i64, KEYS);
    for (path, object) in &dump {
        assert_eq!(object["n"].to_string().trim_matches('"'), newest, "{path}");
    }
    let made = applied(&live.bank);
    let keys: BTreeSet<_> = made.iter().map(|it| it.key.clone()).collect();
    assert_eq!(keys.len(), made.len(), "nothing twice");
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    for entry in &made {
        let n: i64 = entry.body()["n"].to_string().trim_matches('"').parse().expect("a number");
        let before = seen.insert(entry.path.to_string(), n);
        assert!(before.is_none_or(|before| before < n), "{} had {before:?}, then {n}", entry.path);
    }
    made
}

#[tokio::test]
async fn an_outage_longer_than_the_guard_lets_the_slot_move_on_and_loses_no_change_nor_its_order() {
    let made = an_outage(false, 4).await;
    assert_eq!(made.len() as i64, KEYS * 10, "every change by itself");
}

#[tokio::test]
async fn what_is_put_aside_merges_where_its_route_allows() {
    let made = an_outage(true, 4).await;
    assert!((made.len() as i64) < KEYS * 10, "{} calls", made.len());
}
