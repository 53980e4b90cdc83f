//! Inserts, updates and deletes, and the sequences they become.

use crate::harness::{Live, Postgres, Version, each_version};
use rowcall::demo::{Bank, Effect};

const CUSTOMER: &str = "
  customer:
    table: customers
    insert:
      - { name: create, post: '/objects/customer/{{ row.id }}', body: { name: '{{ row.name }}' } }
    update:
      - { name: put, put: '/objects/customer/{{ row.id }}', body: { name: '{{ row.name }}', op: '{{ op }}' } }
    delete:
      - { name: delete, delete: '/objects/customer/{{ row.id }}' }";

const CUSTOMERS: &str = "create table customers (id int primary key, name text)";

each_version! {
    async fn an_insert_an_update_and_a_delete_become_their_calls(version: Version) {
        let live = Live::new(version, CUSTOMERS, CUSTOMER).await;
        // Written before the first start, but after `init`: it is not lost.
        live.postgres.execute("insert into customers values (1, 'Ann')").await;
        let service = live.run();
        live.after(&["update customers set name = 'Zoë \"Z\"'", "delete from customers"]).await;
        assert_eq!(live.calls(), [
            r#"POST /objects/customer/1 {"name":"Ann"}"#,
            r#"PUT /objects/customer/1 {"name":"Zoë \"Z\"","op":"update"}"#,
            "DELETE /objects/customer/1",
        ]);
        live.after(&["insert into customers values (2, null)"]).await;
        assert_eq!(live.calls(), [r#"POST /objects/customer/2 {"name":null}"#]);
        // Transactions that touch nothing of ours let the slot move too.
        live.postgres.execute("create table noise as select generate_series(1, 1000)").await;
        live.acknowledged().await;
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));
    }

    async fn what_rowcall_wrote_itself_is_left_out(version: Version) {
        let live = Live::new(version, CUSTOMERS, CUSTOMER).await;
        let _service = live.run();
        for origin in ["rowcall_rowcall", "somebody"] {
            live.postgres.execute(&format!("select pg_replication_origin_create('{origin}')")).await;
        }
        let of = |origin: &str, id: i32| format!(
            "select pg_replication_origin_session_setup('{origin}'); insert into customers values ({id}, '{origin}')"
        );
        live.after(&[&of("rowcall_rowcall", 1), &of("somebody", 2), "insert into customers values (3, 'none')"]).await;
        let mut calls = live.calls();
        calls.sort();
        assert_eq!(calls, [
            r#"POST /objects/customer/2 {"name":"somebody"}"#,
            r#"POST /objects/customer/3 {"name":"none"}"#,
        ]);
    }
}

#[tokio::test]
async fn a_transaction_is_sent_in_its_order_and_a_rolled_back_one_not_at_all() {
    let postgres = Postgres::with(Version::V16).conf("logical_decoding_work_mem = '64kB'").start().await;
    let live = Live::on(postgres, CUSTOMERS, CUSTOMER).await;
    let _service = live.run();
    live.after(&[
        "begin; insert into customers select i, 'never' from generate_series(1, 2000) i; rollback",
        "begin; insert into customers values (1, 'a'); savepoint s; update customers set name = 'no'; \
         insert into customers values (9, 'no'); rollback to s; update customers set name = 'b'; \
         insert into customers values (2, 'c'); update customers set name = 'd' where id = 1; \
         delete from customers where id = 2; commit",
        "insert into customers values (1, 'again') on conflict (id) do update set name = 'e'",
    ])
    .await;
    let mut calls = live.calls();
    // Keys are independent of each other; each has its own order.
    calls.sort_by_key(|call| call.contains("/2"));
    assert_eq!(
        calls,
        [
            r#"POST /objects/customer/1 {"name":"a"}"#,
            r#"PUT /objects/customer/1 {"name":"b","op":"update"}"#,
            r#"PUT /objects/customer/1 {"name":"d","op":"update"}"#,
            r#"PUT /objects/customer/1 {"name":"e","op":"update"}"#,
            r#"POST /objects/customer/2 {"name":"c"}"#,
            "DELETE /objects/customer/2",
        ]
    );
}

#[tokio::test]
async fn a_changed_key_is_the_old_one_deleted_and_then_the_new_one_made() {
    let live = Live::new(Version::V16, CUSTOMERS, CUSTOMER).await;
    let _service = live.run();
    live.after(&["insert into customers values (1, 'a'), (5, 'b')"]).await;
    live.calls();
    live.after(&[
        "update customers set id = 2, name = 'moved' where id = 1",
        "update customers set name = 'on' where id = 2",
        // A swap: neither key may be made before it is free.
        "begin; update customers set id = 0 where id = 2; update customers set id = 2 where id = 5; \
         update customers set id = 5 where id = 0; commit",
    ])
    .await;
    let calls = live.calls();
    let at = |call: &str| {
        calls.iter().position(|it| it == call).unwrap_or_else(|| panic!("no {call} in {calls:#?}"))
    };
    assert!(
        at("DELETE /objects/customer/1") < at(r#"POST /objects/customer/2 {"name":"moved"}"#),
        "{calls:#?}"
    );
    assert!(at("DELETE /objects/customer/0") < at(r#"POST /objects/customer/5 {"name":"on"}"#), "{calls:#?}");
    let names = live.bank.dump().into_iter().map(|(path, value)| format!("{path} {}", value["name"]));
    let expected = [r#"/objects/customer/2 "b""#, r#"/objects/customer/5 "on""#];
    assert_eq!(names.collect::<Vec<_>>(), expected, "{calls:#?}");
}

const LOAN: &str = "
  loan:
    table: loans
    upsert:
      - name: create
        if: '{{ !has(link.loan_id) }}'
        post: /loans
        body: { ref: '{{ row.id }}', amount: '{{ row.amount.fixed(2) }}' }
        save: { loan_id: '{{ answer.body.id }}' }
      - name: update
        if: '{{ has(link.loan_id) }}'
        patch: '/loans/{{ link.loan_id }}'
        body: { amount: '{{ row.amount.fixed(2) }}' }
        on: { 404: create }
      - name: schedule
        post: '/loans/{{ saved.?loan_id.orValue(link.?loan_id.orValue(\"\")) }}/schedule'
        body: { months: '{{ row.months }}' }
    delete:
      - { name: close, if: '{{ has(link.loan_id) }}', delete: '/loans/{{ link.loan_id }}', accept: [204, 404] }";

const LOANS: &str =
    "create table loans (id bigint primary key, amount numeric not null, months int not null)";

#[tokio::test]
async fn a_sequence_keeps_what_the_remote_drew_for_the_next_steps_and_changes() {
    let live = Live::new(Version::V16, LOANS, LOAN).await;
    let service = live.run();
    live.after(&[
        "insert into loans values (7, 100.5, 12)",
        "update loans set amount = 12345678901234567890.999",
    ])
    .await;
    assert_eq!(
        live.calls(),
        [
            r#"POST /loans {"ref":7,"amount":100.50}"#,
            r#"POST /loans/L1/schedule {"months":12}"#,
            r#"PATCH /loans/L1 {"amount":12345678901234567891.00}"#,
            r#"POST /loans/L1/schedule {"months":12}"#,
        ]
    );
    // The link is durable; and an object that has vanished is made again.
    service.sigkill().await;
    let gone = reqwest_delete(&live.bank, "/loans/L1").await;
    assert_eq!(gone, 204);
    let _service = live.run();
    live.after(&["update loans set months = 24", "delete from loans"]).await;
    assert_eq!(
        live.calls(),
        [
            "DELETE /loans/L1",
            r#"POST /loans {"ref":7,"amount":12345678901234567891.00}"#,
            r#"POST /loans/L2/schedule {"months":24}"#,
            "DELETE /loans/L2",
        ]
    );
    live.after(&["insert into loans values (7, 1, 1)"]).await;
    assert_eq!(live.calls()[0], r#"POST /loans {"ref":7,"amount":1.00}"#, "a deleted key's link is gone");
}

/// Somebody else deletes at the bank.
async fn reqwest_delete(bank: &Bank, path: &str) -> u16 {
    let client = reqwest::Client::new();
    client.delete(format!("{}{path}", bank.url())).send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn every_mutating_call_has_a_key_of_its_own_that_names_it() {
    let live = Live::new(Version::V16, LOANS, LOAN).await;
    let _service = live.run();
    live.after(&["insert into loans values (7, 1, 1), (8, 1, 1)", "update loans set amount = 2"]).await;
    let journal = live.bank.journal();
    assert!(journal.iter().all(|it| it.effect == Effect::Applied));
    let mut keys: Vec<_> = journal.iter().map(|it| it.key.clone().expect("a key").to_string()).collect();
    assert!(keys.iter().all(|key| key.starts_with("loan-")), "{keys:#?}");
    assert_eq!(keys.iter().filter(|key| key.ends_with("-schedule")).count(), 4, "{keys:#?}");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 8);
}

#[tokio::test]
async fn when_leaves_changes_out() {
    let entity = "
  customer:
    table: customers
    when: '{{ row.name != \"draft\" }}'
    upsert: [{ put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ delete: '/objects/c/{{ row.id }}', accept: [204, 404] }]";
    let live = Live::new(Version::V16, CUSTOMERS, entity).await;
    let _service = live.run();
    live.after(&[
        "insert into customers values (1, 'draft'), (2, 'real')",
        "update customers set name = 'draft' where id = 2",
        "delete from customers",
    ])
    .await;
    assert_eq!(live.calls(), [r#"PUT /objects/c/2 {"name":"real"}"#, "DELETE /objects/c/2"]);
    let status = live.rowcall.command(&["status", "--json"]).await.expect_code(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    let route = &status["routes"][0];
    assert_eq!(
        [&route["applied"], &route["skipped"], &route["parked"]].map(|it| it.as_i64()),
        [Some(2), Some(3), Some(0)]
    );
}

#[tokio::test]
async fn several_remotes_each_get_every_change_and_one_does_not_wait_for_the_other() {
    let second = Bank::start("127.0.0.1:0").await.expect("a bank");
    let live =
        Live::new(Version::V16, CUSTOMERS, &CUSTOMER.replace("table:", "remote: bank\n    table:")).await;
    let yaml = std::fs::read_to_string(live.rowcall.config()).expect("the configuration");
    let other =
        format!("remotes:\n  ledger: {{ url: \"{}\", retry: {{ attempts: 2, base: 1s }} }}\n", second.url());
    live.rowcall
        .configure(&yaml.replace("remotes:\n", &other).replace("remote: bank", "remotes: [bank, ledger]"));
    second
        .faults()
        .add(rowcall::demo::Rule::new(rowcall::demo::Fault::Status(400)).path("/objects/customer/1"));
    let _service = live.run();
    live.after(&[
        "insert into customers values (1, 'a'), (2, 'b')",
        "update customers set name = 'c' where id = 1",
    ])
    .await;
    assert_eq!(live.calls().len(), 3);
    assert_eq!(
        second.journal().iter().map(|it| it.path.to_string()).collect::<Vec<_>>(),
        ["/objects/customer/2"]
    );
    let parked =
        live.parked_as(&["customer.ledger 1 rejected refused", "customer.ledger 1 queued behind"]).await;
    assert!(parked[0]["message"].as_str().is_some_and(|it| it.contains("answered with 400")), "{parked:#?}");
}
