//! Parents are sent first, however they are committed and whatever happens to the service.

use super::{REFERENCES, TABLES, family, in_order, paths};
use crate::harness::{eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};
use serde_json::Value;

#[tokio::test]
async fn a_child_that_is_written_before_its_parent_in_one_transaction_is_sent_after_it() {
    let live = family(REFERENCES).await;
    let _service = live.run();
    live.after(&["begin; insert into loans values (5, 10, 1), (6, 20, null); insert into customers values (1, 'Ada'); commit"])
        .await;
    let mut calls = live.calls_made(3).await;
    assert!(
        paths(&calls).iter().position(|it| it.ends_with("customer/1"))
            < paths(&calls).iter().position(|it| it.ends_with("loan/5"))
    );
    calls.sort();
    assert_eq!(
        calls,
        [
            r#"PUT /objects/customer/1 {"name":"Ada"}"#,
            r#"PUT /objects/loan/5 {"customer":1,"amount":10,"of":"C-1"}"#,
            r#"PUT /objects/loan/6 {"customer":null,"amount":20}"#,
        ]
    );
    live.parked_as(&[]).await;
    in_order(&live);
}

#[tokio::test]
async fn a_child_whose_parent_is_not_there_is_parked_and_released_by_the_parents_link() {
    let live = family(TABLES).await;
    let service = live.run();
    live.after(&[
        "insert into loans values (5, 1, 10)",
        "update loans set amount = 11",
        "insert into loans values (6, 2, 10)",
    ])
    .await;
    let waiting = ["loan 5 waiting parent", "loan 5 queued behind", "loan 6 waiting parent"];
    let parked = live.parked_as(&waiting).await;
    let message = parked[0]["message"].as_str().expect("a message");
    assert!(
        message.contains("key 1 of route `customer`") && message.contains("goes on by itself"),
        "{message}"
    );
    // The log may be forgotten meanwhile, and to try again does not help.
    live.acknowledged().await;
    service.sigkill().await;
    let service = live.run();
    live.rowcall.command(&["parked", "retry", "--state", "waiting"]).await.expect_code(0);
    live.parked_as(&waiting).await;
    assert_eq!(live.calls(), [""; 0]);
    live.after(&["insert into customers values (1, 'Ada')"]).await;
    live.parked_as(&waiting[2..]).await;
    assert_eq!(
        live.calls(),
        [
            r#"PUT /objects/customer/1 {"name":"Ada"}"#,
            r#"PUT /objects/loan/5 {"customer":1,"amount":10,"of":"C-1"}"#,
            r#"PUT /objects/loan/5 {"customer":1,"amount":11,"of":"C-1"}"#,
        ]
    );
    // What is deleted without its parent ever having come is nothing.
    live.after(&["delete from loans where id = 6"]).await;
    live.bank.faults().add(Rule::new(Fault::Status(204)).method("DELETE").path("/objects/loan/6"));
    live.rowcall.command(&["parked", "retry", "--all"]).await.expect_code(0);
    live.parked_as(&[]).await;
    in_order(&live);
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

#[tokio::test]
async fn children_that_wait_when_the_service_is_killed_are_sent_by_the_next_one() {
    let live = family(TABLES).await;
    let service = live.run();
    live.after(&["insert into loans select i, 1, i from generate_series(1, 40) i"]).await;
    let mut waiting: Vec<String> = (1..=40).map(|key| format!("loan {key} waiting parent")).collect();
    waiting.sort();
    live.parked_as(&waiting.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // The parent's answer does not come; more children wait for it in memory.
    live.bank.faults().add(Rule::new(Fault::Delay(600_000)).path("/objects/customer").times(1));
    live.postgres.execute("insert into customers values (1, 'Ada'); insert into loans select i, 1, i from generate_series(41, 80) i").await;
    eventually(
        "the parent is under way",
        LONG,
        async || {
            if live.bank.stats().faults > 0 { Ok(()) } else { Err(()) }
        },
    )
    .await;
    service.sigkill().await;
    assert!(live.calls().is_empty());
    let _service = live.run();
    live.after(&[]).await;
    live.parked_as(&[]).await;
    let calls = live.calls();
    assert_eq!((calls.len(), paths(&calls)[0]), (81, "PUT /objects/customer/1"));
    in_order(&live);
}

#[tokio::test]
async fn a_preview_says_what_is_missing() {
    let live = family(TABLES).await;
    let service = live.run();
    live.after(&["insert into loans values (5, 1, 10), (6, null, 10)"]).await;
    live.parked_as(&["loan 5 waiting parent"]).await;
    let shown = live.rowcall.command(&["preview", "loan", "5"]).await.expect_code(0).stdout;
    assert!(
        shown.contains("depends on `customer` 1: not at the remote") && shown.contains("it waits for"),
        "{shown}"
    );
    live.after(&["insert into customers values (1, 'Ada')"]).await;
    live.parked_as(&[]).await;
    let shown = live.rowcall.command(&["preview", "loan", "5"]).await.expect_code(0).stdout;
    assert!(shown.contains("depends on `customer` 1: linked") && shown.contains(r#""of":"C-1""#), "{shown}");
    let json = live.rowcall.command(&["preview", "loan", "5", "--json"]).await.expect_code(0).stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["parents"], serde_json::json!([{ "entity": "customer", "key": "1", "linked": true }]));
    let shown = live.rowcall.command(&["preview", "loan", "6"]).await.expect_code(0).stdout;
    assert!(!shown.contains("depends on"), "{shown}");
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

#[tokio::test]
async fn what_an_expression_may_name_of_a_parent_is_checked() {
    let live = family(TABLES).await;
    for (from, to, parts) in [
        (
            "parent.?customer.?remote_id",
            "parent.customer.remot_id",
            &[
                "entities.loan.upsert[0].body.of",
                "no step of `customer` saves `remot_id`; did you mean `remote_id`",
            ][..],
        ),
        ("parent.?customer", "parent.?custmer", &["does not depend on `custmer`; did you mean `customer`"]),
        (
            "row.customer_id }}' }",
            "row.custmer_id }}' }",
            &["entities.loan.depends_on.customer", "no column `custmer_id`; did you mean `customer_id`"],
        ),
    ] {
        live.reconfigure(|yaml| yaml.replace(from, to));
        let said = live.rowcall.command(&["check"]).await;
        let said = format!("{}{}", said.stdout, said.stderr);
        for part in parts {
            assert!(said.contains(part), "no {part} in\n{said}");
        }
        live.reconfigure(|yaml| yaml.replace(to, from));
    }
}
