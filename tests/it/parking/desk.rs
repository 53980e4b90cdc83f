//! What a person does with parked changes: `rowcall parked list|show|retry|discard`.

use crate::harness::{Live, Version, eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};
use serde_json::Value;

const TABLE: &str = "create table customers (id int primary key, name text)";

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}' }]";

/// Key 1 is refused; 2 and 3 are not.
async fn refused() -> Live {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.bank.faults().add(Rule::new(Fault::Status(422)).path("/objects/c/1"));
    live
}

async fn all(live: &Live, args: &[&str]) -> String {
    live.rowcall.command(&[&["parked"][..], args].concat()).await.expect_code(0).stdout
}

fn ids(parked: &[Value]) -> Vec<String> {
    parked.iter().map(|it| it["id"].to_string()).collect()
}

#[tokio::test]
async fn a_refused_change_holds_its_key_alone_and_after_a_retry_everything_follows_in_order() {
    let live = refused().await;
    let service = live.run();
    live.after(&[
        "insert into customers values (1, 'a'), (2, 'b')",
        "update customers set name = name || '!'",
        "delete from customers where id = 1",
        "insert into customers values (3, 'c'), (1, 'new')",
    ])
    .await;
    let mut calls = live.calls();
    calls.sort();
    assert_eq!(
        calls,
        [
            r#"PUT /objects/c/2 {"name":"b!"}"#,
            r#"PUT /objects/c/2 {"name":"b"}"#,
            r#"PUT /objects/c/3 {"name":"c"}"#
        ]
    );
    let queued = "customer 1 queued behind";
    let expected = ["customer 1 rejected refused", queued, queued, queued];
    let parked = live.parked_as(&expected).await;
    let message = parked[0]["message"].as_str().expect("a message");
    assert_eq!(message, "step `put`: PUT /objects/c/1 was answered with 422: {\"error\":\"as ordered\"}");
    assert_eq!(
        parked.iter().map(|it| it["op"].as_str().expect("an op")).collect::<Vec<_>>(),
        ["insert", "update", "delete", "insert"]
    );
    // The log may be forgotten, and a restart changes nothing.
    live.acknowledged().await;
    service.sigkill().await;
    let _service = live.run();
    live.after(&["update customers set name = 'newer' where id = 1"]).await;
    live.parked_as(&[&expected[..], &[queued]].concat()).await;
    // In vain: it is parked again and still ahead of the others.
    let first = parked[0]["id"].to_string();
    let before = live.bank.stats().faults;
    assert_eq!(all(&live, &["retry", &first]).await.trim(), "1 parked change will be tried again");
    eventually(
        "another attempt",
        LONG,
        async || {
            if live.bank.stats().faults > before { Ok(()) } else { Err(()) }
        },
    )
    .await;
    live.parked_as(&[&expected[..], &[queued]].concat()).await;
    live.bank.faults().clear();
    all(&live, &["retry", "--route", "customer"]).await;
    live.parked_as(&[]).await;
    assert_eq!(
        live.calls(),
        [
            r#"PUT /objects/c/1 {"name":"a"}"#,
            r#"PUT /objects/c/1 {"name":"a!"}"#,
            "DELETE /objects/c/1",
            r#"PUT /objects/c/1 {"name":"new"}"#,
            r#"PUT /objects/c/1 {"name":"newer"}"#,
        ]
    );
    // The key is free again.
    live.after(&["update customers set name = 'live' where id = 1"]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/c/1 {"name":"live"}"#]);
}

#[tokio::test]
async fn a_discarded_change_is_never_sent_and_what_queued_behind_goes_on() {
    let live = refused().await;
    let service = live.run();
    live.after(&[
        "insert into customers values (1, 'bad')",
        "update customers set name = 'good'",
        "update customers set name = 'better'",
    ])
    .await;
    let parked = live
        .parked_as(&["customer 1 rejected refused", "customer 1 queued behind", "customer 1 queued behind"])
        .await;
    live.bank.faults().clear();
    assert_eq!(all(&live, &["discard", &ids(&parked)[0]]).await.trim(), "1 parked change discarded");
    live.parked_as(&[]).await;
    assert_eq!(
        live.calls(),
        [r#"PUT /objects/c/1 {"name":"good"}"#, r#"PUT /objects/c/1 {"name":"better"}"#]
    );
    service.sigkill().await;
    let _service = live.run();
    live.after(&["insert into customers values (2, 'after')"]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/c/2 {"name":"after"}"#], "a redelivery does not bring it back");
}

/// The older one is still to be sent.
#[tokio::test]
async fn a_change_in_the_middle_of_the_queue_can_be_discarded() {
    let live = refused().await;
    let service = live.run();
    live.after(&[
        "insert into customers values (1, 'a')",
        "update customers set name = 'b'",
        "update customers set name = 'c'",
    ])
    .await;
    let parked = live
        .parked_as(&["customer 1 rejected refused", "customer 1 queued behind", "customer 1 queued behind"])
        .await;
    // Nothing that a process remembers helps it.
    service.sigkill().await;
    all(&live, &["discard", &ids(&parked)[1]]).await;
    live.bank.faults().clear();
    all(&live, &["retry", &ids(&parked)[0]]).await;
    let _service = live.run();
    live.parked_as(&[]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/c/1 {"name":"a"}"#, r#"PUT /objects/c/1 {"name":"c"}"#]);
}

/// No service runs: the commands need none.
#[tokio::test]
async fn filters_choose_and_nothing_is_meant_by_leaving_everything_out() {
    let live = refused().await;
    live.bank.faults().add(Rule::new(Fault::Status(403)).path("/objects/c/2"));
    let service = live.run();
    live.after(&[
        "insert into customers values (1, 'a'), (2, 'b'), (3, 'c')",
        "update customers set name = 'x' where id = 1",
    ])
    .await;
    let expected = ["customer 1 rejected refused", "customer 1 queued behind", "customer 2 rejected auth"];
    let parked = live.parked_as(&expected).await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
    for (filter, keys) in [
        (&["--route", "customer"][..], &["1", "1", "2"][..]),
        (&["--route", "none"], &[]),
        (&["--key", "2"], &["2"]),
        (&["--state", "queued"], &["1"]),
        (&["--reason", "auth"], &["2"]),
        (&["--reason", "auth", "--key", "1"], &[]),
        (&[&ids(&parked)[0], &ids(&parked)[2]], &["1", "2"]),
        (&["--limit", "1"], &["1"]),
    ] {
        let listed = all(&live, &[&["list", "--json"][..], filter].concat()).await;
        let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
        assert_eq!(
            listed.iter().map(|it| it["key"].as_str().expect("a key")).collect::<Vec<_>>(),
            keys,
            "{filter:?}"
        );
    }
    let text = all(&live, &["list", "--limit", "2"]).await;
    assert!(
        text.contains("… and 1 more") && text.contains("rejected  refused") && text.contains("insert"),
        "{text}"
    );
    let shown = all(&live, &["show", &ids(&parked)[0]]).await;
    for part in [
        "route customer, key 1, insert",
        "rejected (refused)",
        "PUT /objects/c/1 was answered with 422",
        "\"customers\"",
        "answers so far",
    ] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    let shown: Value =
        serde_json::from_str(&all(&live, &["show", "--json", &ids(&parked)[0]]).await).expect("JSON");
    assert_eq!((&shown["key"], &shown["change"]["op"]), (&"1".into(), &"insert".into()));

    let nothing = live.rowcall.command(&["parked", "retry"]).await.expect_code(2);
    assert!(nothing.stderr.contains("say which"), "{}", nothing.stderr);
    live.rowcall.command(&["parked", "discard"]).await.expect_code(2);
    let unknown = live.rowcall.command(&["parked", "list", "--state", "lost"]).await.expect_code(2);
    assert!(unknown.stderr.contains("retrying, queued, waiting, rejected, dead"), "{}", unknown.stderr);
    let none = live.rowcall.command(&["parked", "show", "99999"]).await.expect_code(1);
    assert!(none.stderr.contains("nothing is parked under the id 99999"), "{}", none.stderr);
    assert_eq!(
        all(&live, &["retry", "--key", "none", "--json"]).await.trim().replace(char::is_whitespace, ""),
        r#"{"count":0}"#
    );
    assert!(all(&live, &["discard", "--all"]).await.starts_with("3 parked changes discarded"));
    assert_eq!(all(&live, &["list"]).await.trim(), "nothing is parked");
    // And the service agrees.
    live.calls();
    let _service = live.run();
    live.bank.faults().clear();
    live.after(&["update customers set name = 'y' where id = 1"]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/c/1 {"name":"y"}"#]);
}
