//! A change that would tell the remote what it was told last is skipped, and no other one.

use crate::harness::{Live, Version, each_version};
use rowcall::demo::{Fault, Rule};
use serde_json::Value;

const TABLE: &str = "create table customers (id int primary key, name text, seen int default 0, big text);
    alter table customers alter column big set storage external";

const ENTITY: &str = "
  customer:
    table: customers
    when: '{{ row.seen >= 0 }}'
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}' }]";

async fn status(live: &Live) -> Value {
    let status = live.rowcall.command(&["status", "--json"]).await.expect_code(0);
    serde_json::from_str::<Value>(&status.stdout).expect("JSON")["routes"][0].clone()
}

fn put(name: &str) -> String {
    format!(r#"PUT /objects/c/1 {{"name":"{name}"}}"#)
}

each_version! {
    async fn only_what_a_step_reads_makes_a_call(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&[
            "insert into customers values (1, 'a')",
            "update customers set seen = seen + 1",
            "update customers set id = id",
            "update customers set seen = -1",
            "update customers set seen = 1",
        ]).await;
        assert_eq!(live.calls(), [put("a")]);
        let route = status(&live).await;
        assert_eq!((&route["applied"], &route["skipped"]), (&1.into(), &4.into()), "{route}");
        live.after(&["update customers set name = 'b'", "update customers set name = 'a'"]).await;
        assert_eq!(live.calls(), [put("b"), put("a")]);
        live.after(&["delete from customers", "insert into customers values (1, 'a')"]).await;
        assert_eq!(live.calls(), ["DELETE /objects/c/1".to_owned(), put("a")]);

        let preview = live.rowcall.command(&["preview", "customer", "1"]).await.expect_code(0);
        assert!(preview.stdout.contains("PUT /objects/c/1"), "{}", preview.stdout);
        assert!(preview.stdout.contains("told the same before"), "{}", preview.stdout);

        // Known across a crash.
        service.sigkill().await;
        let service = live.run();
        live.after(&[]).await;
        live.after(&["update customers set seen = 5"]).await;
        assert_eq!(live.calls(), [""; 0]);

        // Another configuration says something else.
        service.sigkill().await;
        live.configure(&ENTITY.replace("name: '{{ row.name }}'", "called: '{{ row.name }}'"));
        let preview = live.rowcall.command(&["preview", "customer", "1"]).await.expect_code(0);
        assert!(!preview.stdout.contains("told the same before"), "{}", preview.stdout);
        let service = live.run();
        live.after(&[]).await;
        live.after(&["update customers set seen = 6", "update customers set seen = 7"]).await;
        assert_eq!(live.calls(), [r#"PUT /objects/c/1 {"called":"a"}"#]);

        service.sigkill().await;
        live.configure(&ENTITY.replace("    when", "    always: true\n    when"));
        let _service = live.run();
        live.after(&[]).await;
        live.after(&["update customers set seen = 8", "update customers set seen = 9"]).await;
        assert_eq!(live.calls(), [put("a"), put("a")]);
    }
}

#[tokio::test]
async fn a_large_value_that_was_not_sent_is_never_taken_for_the_same() {
    let entity = ENTITY.replace("{{ row.name }}", "{{ row.name }}', big: '{{ row.big }}");
    let live = Live::new(Version::V16, TABLE, &entity).await;
    let _service = live.run();
    live.after(&["insert into customers select 1, 'a', 0, repeat('x', 10000)"]).await;
    live.calls();
    live.after(&["update customers set seen = 1"]).await;
    assert_eq!(live.calls(), [put("a")]);
    // With the row read again it is known, and can be compared.
    drop(_service);
    live.configure(&format!("{entity}\n    fetch: row"));
    let _service = live.run();
    live.after(&[]).await;
    live.after(&["update customers set seen = 2"]).await;
    assert_eq!(live.calls().len(), 1);
    live.after(&["update customers set seen = 3"]).await;
    assert_eq!(live.calls(), [""; 0]);
    live.after(&["update customers set big = big || 'x'"]).await;
    assert_eq!(live.calls().len(), 1);
}

#[tokio::test]
async fn what_is_read_again_is_compared() {
    let tables = format!("{TABLE}; create table orders (id int primary key, customer_id int, price int)");
    let entity = ENTITY
        .replace(
            "    when",
            "    tables: { orders: { key: customer_id } }
    fetch: 'select sum(price) as total from orders where customer_id = $1'
    when",
        )
        .replace("{{ row.name }}'", "{{ row.name }}', total: '{{ fetched.total }}'");
    let live = Live::new(Version::V16, &tables, &entity).await;
    let _service = live.run();
    live.after(&["insert into customers values (1, 'a')"]).await;
    live.after(&["insert into orders values (1, 1, 5)"]).await;
    assert_eq!(live.calls().len(), 2);
    live.after(&["insert into orders values (2, 1, 0)", "update orders set price = price"]).await;
    assert_eq!(live.calls(), [""; 0]);
    live.after(&["update orders set price = 1 where id = 2"]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/c/1 {"name":"a","total":6}"#]);
}

/// The remote may have applied what was given up.
#[tokio::test]
async fn after_a_discarded_change_the_former_values_are_sent_again() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let service = live.run();
    live.after(&["insert into customers values (1, 'a')"]).await;
    live.bank.faults().add(Rule::new(Fault::DropAfter));
    live.after(&[]).await;
    live.postgres.execute("update customers set name = 'b'").await;
    live.parked_as(&["customer 1 dead transport"]).await;
    live.bank.faults().clear();
    service.sigkill().await;
    live.rowcall.command(&["parked", "discard", "--all"]).await.expect_code(0);
    let _service = live.run();
    live.after(&[]).await;
    live.calls();
    live.after(&["update customers set name = 'a'"]).await;
    assert_eq!(live.calls(), [put("a")]);
}
