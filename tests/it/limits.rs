//! A remote that throttles or is down: every change waits, none is given up, and `status` says why.

use crate::harness::{Live, Version, eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TABLE: &str = "create table customers (id int primary key, name text)";

const ENTITY: &str = "
  customer:
    table: customers
    priority: 2
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]";

/// Three attempts that take no time.
async fn live(limits: &str) -> Live {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.reconfigure(|yaml| yaml.replace("breaker: { failures: 0 }", limits));
    live
}

async fn remote(live: &Live) -> Value {
    let output = live.rowcall.command(&["status", "--json"]).await.expect_code(0);
    let status: Value = serde_json::from_str(&output.stdout).expect("JSON");
    status["remotes"][0].clone()
}

/// Waits until the remote is said to stand like this.
async fn stands(live: &Live, gates: &[&str]) -> Value {
    eventually(&format!("the remote is {gates:?}"), LONG, async || {
        let remote = remote(live).await;
        if gates.iter().any(|gate| remote["gate"] == **gate) { Ok(remote) } else { Err(remote) }
    })
    .await
}

const TWENTY: &str = "insert into customers select i, 'a' from generate_series(1, 20) i";

fn all(name: &str) -> BTreeSet<String> {
    (1..=20).map(|id| format!("PUT /objects/c/{id} {{\"name\":\"{name}\"}}")).collect()
}

#[tokio::test]
async fn a_storm_of_429_gives_up_no_change_and_keeps_their_order() {
    let live = live("concurrency: 4").await;
    live.reconfigure(|yaml| {
        assert!(yaml.contains("attempts: 3"), "{yaml}");
        yaml.replace("attempts: 3", "attempts: 1")
    });
    live.bank.faults().add(Rule::new(Fault::TooMany { retry_after: 1 }).times(1));
    live.bank.faults().add(Rule::new(Fault::Status(429)).every(3).times(5));
    let _service = live.run();
    live.after(&[TWENTY, "update customers set name = 'b'"]).await;
    assert_eq!(live.parked().await, [] as [Value; 0]);
    assert_eq!(live.bank.stats().faults, 6, "it did throttle");
    let calls = live.calls();
    assert_eq!(calls.iter().cloned().collect::<BTreeSet<_>>(), &all("a") | &all("b"));
    assert_eq!(calls.len(), 40);
    for (first, second) in all("a").iter().zip(all("b").iter()) {
        let place = |of: &String| calls.iter().position(|it| it == of);
        assert!(place(first) < place(second), "{first} before {second}: {calls:?}");
    }
    let quiet = stands(&live, &["ready"]).await;
    assert_eq!((&quiet["remote"], &quiet["concurrency"]), (&json!("bank"), &json!(4)));
}

#[tokio::test]
async fn an_outage_beyond_all_attempts_gives_up_no_change_and_is_explained() {
    let live = live("breaker: { failures: 4, open: 50ms, max: 200ms }").await;
    live.bank.faults().add(Rule::new(Fault::DropBefore));
    let service = live.run();
    live.postgres.execute(TWENTY).await;
    let down = stands(&live, &["open", "half_open"]).await;
    assert!(down["why"].as_str().is_some_and(|it| it.contains("PUT /objects/c/")), "{down}");
    assert!(down["since"].is_string() && down["source"] == "main", "{down}");
    // Far more than three attempts for each of the few that had begun.
    eventually("more probes than attempts", LONG, async || {
        let faults = live.bank.stats().faults;
        if faults > 30 { Ok(()) } else { Err(faults) }
    })
    .await;
    eventually("all wait, and hold no slot", LONG, async || {
        let still = remote(&live).await;
        if still["waiting"] == 20 { Ok(()) } else { Err(still) }
    })
    .await;
    let text = live.rowcall.command(&["status"]).await.expect_code(0).stdout;
    assert!(text.contains("remote `bank` for source `main`: the breaker is "), "{text}");
    assert!(text.contains(", since ") && text.contains("✗ step `put`"), "{text}");
    assert_eq!(live.parked().await, [] as [Value; 0]);
    live.bank.faults().clear();
    live.after(&["update customers set name = 'b'"]).await;
    assert_eq!(live.parked().await, [] as [Value; 0]);
    assert_eq!(live.calls().into_iter().collect::<BTreeSet<_>>(), &all("a") | &all("b"));
    stands(&live, &["ready"]).await;
    service.sigkill().await;
}

#[tokio::test]
async fn a_stop_in_an_outage_does_not_wait_for_its_end() {
    let live = live("breaker: { failures: 1, open: 1h }").await;
    live.bank.faults().add(Rule::new(Fault::Status(503)));
    let service = live.run();
    live.postgres.execute(TWENTY).await;
    stands(&live, &["open"]).await;
    service.sigterm();
    let status = service.wait().await;
    assert!(status.success(), "{status}");
    let output = live.rowcall.command(&["status", "--json"]).await.expect_code(0);
    let status: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(status["remotes"], json!([]), "nobody is at work, so nothing is known");
    live.bank.faults().clear();
    let _service = live.run();
    live.after(&[]).await;
    assert_eq!(live.calls().into_iter().collect::<BTreeSet<_>>(), all("a"));
}
