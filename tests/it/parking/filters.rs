//! Which parked changes a command is about, and that it is about no others.

use crate::harness::{Live, Version};
use rowcall::demo::{Fault, Rule};
use serde_json::{Value, json};

const TABLES: &str = "create table customers (id int primary key); create table loans (id int primary key)";

const ENTITIES: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: {} }]
  loan:
    table: loans
    upsert: [{ name: put, put: '/objects/l/{{ row.id }}', body: {} }]";

/// Parked, with no service running: customers 1 (refused, two more behind it), 2 (auth) and 3
/// (conflict), loans 1 (refused) and 2 (dead: transport). Customer 2 and loan 2 for two hours.
async fn world() -> Live {
    let live = Live::new(Version::V16, TABLES, ENTITIES).await;
    for (fault, path) in [
        (Fault::Status(422), "/objects/c/1"),
        (Fault::Status(403), "/objects/c/2"),
        (Fault::Status(409), "/objects/c/3"),
        (Fault::Status(422), "/objects/l/1"),
        (Fault::DropBefore, "/objects/l/2"),
    ] {
        live.bank.faults().add(Rule::new(fault).path(path));
    }
    let service = live.run();
    live.after(&[
        "insert into customers values (1), (2), (3)",
        "insert into loans values (1), (2)",
        "update customers set id = id where id = 1",
        "update customers set id = id where id = 1",
    ])
    .await;
    live.parked_as(&[
        "customer 1 rejected refused",
        "customer 1 queued behind",
        "customer 1 queued behind",
        "customer 2 rejected auth",
        "customer 3 rejected conflict",
        "loan 1 rejected refused",
        "loan 2 dead transport",
    ])
    .await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
    let older = "update rowcall.parked set parked_at = now() - interval '2 hours' where key = '2'";
    live.postgres.execute(older).await;
    live
}

async fn json(live: &Live, args: &[&str]) -> Value {
    let said = live.rowcall.command(&[&["parked"], args, &["--json"]].concat()).await.expect_code(0).stdout;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// `route key state`, in the list's order.
async fn listed(live: &Live, filter: &[&str]) -> Vec<String> {
    let listed = json(live, &[&["list"], filter].concat()).await;
    let word = |it: &Value, name: &str| it[name].as_str().expect("a text").to_owned();
    let line = |it: &Value| ["route", "key", "state"].map(|name| word(it, name)).join(" ");
    listed.as_array().expect("a list").iter().map(line).collect()
}

const ALL: [&str; 7] = [
    "customer 1 rejected",
    "customer 1 queued",
    "customer 1 queued",
    "customer 2 rejected",
    "customer 3 rejected",
    "loan 1 rejected",
    "loan 2 dead",
];

#[tokio::test]
async fn a_list_has_what_every_filter_lets_through_and_no_more() {
    let live = world().await;
    for (filter, places) in [
        (&[][..], &[0, 1, 2, 3, 4, 5, 6][..]),
        (&["--route", "loan"], &[5, 6]),
        (&["--key", "1"], &[0, 1, 2, 5]),
        (&["--state", "rejected"], &[0, 3, 4, 5]),
        (&["--reason", "refused"], &[0, 5]),
        (&["--older-than", "1h"], &[3, 6]),
        (&["--newer-than", "1h"], &[0, 1, 2, 4, 5]),
        (&["--older-than", "1h", "--newer-than", "3h"], &[3, 6]),
        (&["--older-than", "3h"], &[]),
        (&["--older-than", "1h", "--route", "loan"], &[6]),
        (&["--state", "rejected", "--reason", "refused", "--route", "customer", "--key", "1"], &[0]),
        (&["--state", "dead", "--reason", "refused"], &[]),
        (&["--newer-than", "1h", "--limit", "2"], &[0, 1]),
    ] {
        let expected: Vec<&str> = places.iter().map(|at| ALL[*at]).collect();
        assert_eq!(listed(&live, filter).await, expected, "{filter:?}");
    }
    let totals = json(&live, &["summary", "--older-than", "1h"]).await;
    let total = |it: &Value| format!("{} {} {} {}", it["route"], it["state"], it["reason"], it["count"]);
    let totals: Vec<String> = totals.as_array().expect("a list").iter().map(total).collect();
    assert_eq!(totals, [r#""customer" "rejected" "auth" 1"#, r#""loan" "dead" "transport" 1"#]);
    let refused = live.rowcall.command(&["parked", "list", "--older-than", "soon"]).await.expect_code(2);
    assert!(refused.stderr.contains("--older-than"), "{}", refused.stderr);
}

#[tokio::test]
async fn retrying_and_discarding_many_is_about_what_the_filters_choose() {
    let live = world().await;
    for (filter, count) in [
        (&["--older-than", "1h", "--route", "customer"][..], 1),
        (&["--state", "queued"], 0),
        (&["--reason", "refused"], 2),
        (&["--older-than", "3h"], 0),
    ] {
        assert_eq!(
            json(&live, &[&["retry"], filter].concat()).await,
            json!({ "count": count }),
            "{filter:?}"
        );
    }
    let expected = [
        "customer 1 retrying",
        "customer 1 queued",
        "customer 1 queued",
        "customer 2 retrying",
        "customer 3 rejected",
        "loan 1 retrying",
        "loan 2 dead",
    ];
    assert_eq!(listed(&live, &[]).await, expected);
    for (filter, count) in [
        (&["--state", "queued", "--key", "2"][..], 0),
        (&["--older-than", "1h", "--state", "dead"], 1),
        (&["--newer-than", "1h", "--route", "customer", "--reason", "conflict"], 1),
        (&["--key", "1", "--route", "loan"], 1),
    ] {
        assert_eq!(
            json(&live, &[&["discard"], filter].concat()).await,
            json!({ "count": count }),
            "{filter:?}"
        );
    }
    assert_eq!(listed(&live, &[]).await, expected[..4]);
    // What is left is sent, and what was given up is not.
    live.bank.faults().clear();
    live.calls();
    let _service = live.run();
    live.parked_as(&[]).await;
    let mut calls = live.calls();
    calls.sort();
    calls.dedup();
    assert_eq!(calls, ["PUT /objects/c/1 {}", "PUT /objects/c/2 {}"]);
}
