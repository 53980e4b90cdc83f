//! What the remote holds is compared with the rows.

mod changing;
mod keys;

use crate::harness::{Live, Version, each_version};
use rowcall::demo::Bank;
use serde_json::{Value, json};

const TABLE: &str = "create table customers (id int primary key, name text, credit numeric, city text);
    insert into customers select i, 'name ' || i, i + 0.50, 'Rome' from generate_series(1, 450) i";

const ENTITY: &str = "
  customer:
    table: customers
    when: '{{ row.id != 13 }}'
    upsert:
      - name: put
        put: '/objects/c/{{ row.id }}'
        body: { name: '{{ row.name }}', credit: '{{ row.credit }}', address: { city: '{{ row.city }}' } }
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}', accept: [200, 204, 404] }]
    read:
      get: '/objects/c/{{ row.id }}'
      expect: { name: '{{ row.name }}', credit: '{{ row.credit }}', address: { city: '{{ row.city }}' } }";

/// Everything is at the bank, and then it is not: 1 is missing, 2 and 3 are different, 450 is extra.
async fn out_of_step(live: &Live) {
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    live.calls();
    remove(&live.bank, "/objects/c/1").await;
    patch(&live.bank, "/objects/c/2", r#"{"name": "other", "address": null}"#).await;
    patch(&live.bank, "/objects/c/3", r#"{"credit": 3.51}"#).await;
    // Written differently, and more than is asked for: the same.
    patch(&live.bank, "/objects/c/4", r#"{"credit": 4.500, "note": "x"}"#).await;
    unnoticed(live, "delete from customers where id = 450").await;
    live.calls();
}

/// Somebody else changes an object.
async fn patch(bank: &Bank, path: &str, change: &'static str) {
    http().patch(format!("{}{path}", bank.url())).body(change).send().await.expect("an answer");
}

/// Somebody else deletes an object.
async fn remove(bank: &Bank, path: &str) {
    http().delete(format!("{}{path}", bank.url())).send().await.expect("an answer");
}

fn http() -> reqwest::Client {
    reqwest::Client::new()
}

/// Changes rows behind the stream's back; no service is at work.
async fn unnoticed(live: &Live, sql: &str) {
    let hide = "select pg_replication_slot_advance('rowcall', pg_current_wal_lsn())";
    live.postgres.execute(&format!("set session_replication_role = replica; {sql}; {hide}")).await;
    live.postgres.execute("update rowcall.checkpoint set lsn = pg_current_wal_lsn()").await;
}

/// `key finding` of each.
fn found(stdout: &str) -> Vec<String> {
    let text = |it: &Value| it.as_str().expect("a text").to_owned();
    lines(stdout).iter().map(|it| format!("{} {}", text(&it["key"]), text(&it["finding"]))).collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

each_version! {
    async fn what_is_missing_different_or_extra_is_said_and_repaired(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        out_of_step(&live).await;
        let service = live.run();
        live.after(&["update customers set name = 'new' where id = 7"]).await;
        live.calls();
        let output = live.rowcall.command(&["audit", "--json", "--repair"]).await.expect_code(1);
        let found: Vec<Value> = lines(&output.stdout);
        let kinds: Vec<_> = found.iter().map(|it| (it["key"].as_str(), it["finding"].as_str())).collect();
        let expected = [("1", "missing"), ("2", "different"), ("3", "different"), ("450", "extra")];
        assert_eq!(kinds, expected.map(|(key, kind)| (Some(key), Some(kind))), "{}", output.stderr);
        assert_eq!(
            found[1]["fields"],
            json!([
                { "field": "name", "here": "name 2", "there": "other" },
                { "field": "address", "here": { "city": "Rome" }, "there": null },
            ])
        );
        assert_eq!(found[2]["fields"][0]["field"], "credit");
        assert!(output.stderr.contains("449 rows and 449 links looked at: 2 different, 1 extra, 1 missing; 1 not to be sent"), "{}", output.stderr);
        let mut calls = live.calls_made(4).await;
        calls.sort();
        let called: Vec<_> = calls.iter().map(|it| it.split(" {").next().expect("a call")).collect();
        assert_eq!(called, ["DELETE /objects/c/450", "PUT /objects/c/1", "PUT /objects/c/2", "PUT /objects/c/3"]);
        let output = live.rowcall.command(&["audit"]).await.expect_code(0);
        assert!(output.stdout.contains("all agree"), "{}", output.stdout);
        service.sigkill().await;
    }
}

#[tokio::test]
async fn without_a_service_it_says_so_and_prints_as_it_is_asked_to() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    out_of_step(&live).await;
    let output = live.rowcall.command(&["audit", "--csv"]).await.expect_code(1);
    let expected = "entity,route,key,finding,field,here,there,message\n\
        customer,customer,1,missing,,,,\n\
        customer,customer,2,different,name,name 2,other,\n\
        customer,customer,2,different,address,\"{\"\"city\"\":\"\"Rome\"\"}\",null,\n\
        customer,customer,3,different,credit,3.50,3.51,\n\
        customer,customer,450,extra,,,,\n";
    assert_eq!(output.stdout, expected);
    assert!(output.stderr.contains("no service is at work on source `main`"), "{}", output.stderr);
    let output = live.rowcall.command(&["audit", "--entity", "customer"]).await.expect_code(1);
    assert!(
        output.stdout.contains("customer 3: different\n  credit: here 3.50, there 3.51\n"),
        "{}",
        output.stdout
    );
    assert_eq!(live.calls(), [""; 0], "nothing is changed");
    let output = live.rowcall.command(&["audit", "--sample", "40", "--rate", "10000"]).await;
    assert!(output.stdout.contains("40 rows and 0 links looked at"), "{}", output.stdout);
}

#[tokio::test]
async fn what_is_parked_is_not_said_to_differ() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    let service = live.run();
    live.bank.faults().add(
        serde_json::from_value(json!({
            "method": "PUT", "path": "/objects/c/5", "fault": { "status": 422 }
        }))
        .expect("a rule"),
    );
    live.after(&["update customers set name = 'refused' where id = 5"]).await;
    let output = live.rowcall.command(&["audit", "--json", "--repair"]).await.expect_code(1);
    assert_eq!(found(&output.stdout), ["5 parked"]);
    let runs = live.postgres.text("select count(*) from rowcall.run").await;
    assert_eq!(runs.as_deref(), Some("1"), "only the snapshot: what is parked is not repaired");
    service.sigkill().await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_said() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let without = ENTITY.split("    read:").next().expect("a part");
    live.configure(without);
    let output = live.rowcall.command(&["audit", "--entity", "customer"]).await.expect_code(2);
    assert!(output.stderr.contains("entity `customer` has no `read`"), "{}", output.stderr);
    live.configure(&format!("{without}    read: {{ get: /x, expect: {{ name: '{{{{ row.nam }}}}' }} }}"));
    let output = live.rowcall.command(&["audit"]).await.expect_code(2);
    assert!(output.stderr.contains("entities.customer.read.expect.name"), "{}", output.stderr);
    live.configure(ENTITY);
    live.reconfigure(|yaml| yaml.replace(&live.bank.url(), "http://127.0.0.1:1"));
    let output = live.rowcall.command(&["audit"]).await.expect_code(1);
    assert!(
        output.stderr.contains("remote `bank` cannot be asked: step `read`: GET /objects/c/1"),
        "{}",
        output.stderr
    );
}
