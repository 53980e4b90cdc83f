//! Keys of several columns, and objects at several remotes.

use super::{ENTITY, found, lines, patch, remove, unnoticed};
use crate::harness::{Live, Version, each_version};
use rowcall::demo::Bank;
use serde_json::json;

const ACCOUNTS: &str = r#"
    create table accounts (branch text, day date, no numeric(6, 2), name text, primary key (no, branch, day));
    insert into accounts values
        ('a,b', '2024-02-29', 1, 'commas'), ('a', '2024-02-29', 1, 'plain'), ('a\b', '2024-02-29', 1, 'backslash'),
        ('ü "q" / ?', '2024-02-29', 1.5, 'letters'), ('a', '2024-03-01', 1, 'other day'), ('a', '2024-02-29', -1, 'below')"#;

const ACCOUNT: &str = "
  account:
    table: accounts
    upsert: [{ name: put, put: '/objects/a/{{ row.branch }}:{{ row.day }}:{{ row.no }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/a/{{ row.branch }}:{{ row.day }}:{{ row.no }}', accept: [200, 204, 404] }]
    read:
      get: '/objects/a/{{ row.branch }}:{{ row.day }}:{{ row.no }}'
      expect: { name: '{{ row.name }}' }";

/// The path of the object with this name.
fn path(bank: &Bank, name: &str) -> String {
    let dump = bank.dump();
    dump.into_iter().find(|(_, object)| object["name"] == name).expect("an object").0
}

each_version! {
    async fn keys_of_several_columns_are_told_apart_and_repaired(version: Version) {
        let live = Live::new(version, ACCOUNTS, ACCOUNT).await;
        live.rowcall.command(&["snapshot"]).await.expect_code(0);
        remove(&live.bank, &path(&live.bank, "commas")).await;
        patch(&live.bank, &path(&live.bank, "backslash"), r#"{"name": "other"}"#).await;
        unnoticed(&live, "delete from accounts where no = 1.5 or no = -1").await;
        remove(&live.bank, &path(&live.bank, "below")).await;
        live.calls();
        let service = live.run();
        live.after(&[]).await;
        let output = live.rowcall.command(&["audit", "--json", "--repair"]).await.expect_code(1);
        let expected = [
            r"a\,b,2024-02-29,1.00 missing",
            r"a\\b,2024-02-29,1.00 different",
            r#"ü "q" / ?,2024-02-29,1.50 extra"#,
        ];
        assert_eq!(found(&output.stdout), expected, "{}", output.stderr);
        let calls = live.calls_made(3).await;
        assert_eq!(calls.iter().filter(|it| it.starts_with("DELETE")).count(), 1, "{calls:?}");
        for name in ["commas", "backslash"] {
            assert!(calls.iter().any(|it| it.contains(name)), "{calls:?}");
        }
        live.rowcall.command(&["audit"]).await.expect_code(0);
        let output = live.rowcall.command(&["audit", "--sample", "3"]).await.expect_code(0);
        assert!(output.stdout.contains("3 rows and 0 links looked at: all agree"), "{}", output.stdout);
        service.sigkill().await;
    }
}

#[tokio::test]
async fn each_remote_is_asked_for_its_own_object() {
    let table = "create table customers (id int primary key, name text, credit numeric, city text);
        insert into customers select i, 'name ' || i, 1, 'Rome' from generate_series(1, 5) i";
    let live = Live::new(Version::V16, table, ENTITY).await;
    let mirror = Bank::start("127.0.0.1:0").await.expect("a bank");
    live.configure(&ENTITY.replace("table: customers", "table: customers\n    remotes: [bank, mirror]"));
    live.reconfigure(|yaml| {
        yaml.replace("remotes:\n", &format!("remotes:\n  mirror: {{ url: \"{}\" }}\n", mirror.url()))
    });
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    patch(&live.bank, "/objects/c/2", r#"{"name": "other"}"#).await;
    remove(&mirror, "/objects/c/2").await;
    patch(&mirror, "/objects/c/3", r#"{"city": "unasked", "address": { "city": "Oslo" }}"#).await;
    unnoticed(&live, "delete from customers where id >= 4").await;
    remove(&live.bank, "/objects/c/4").await;
    remove(&mirror, "/objects/c/5").await;
    live.calls();
    let service = live.run();
    live.after(&[]).await;
    let output = live.rowcall.command(&["audit", "--json", "--repair"]).await.expect_code(1);
    let found: Vec<_> = lines(&output.stdout)
        .iter()
        .map(|it| json!([it["entity"], it["route"], it["key"], it["finding"]]))
        .collect();
    let expected = [
        json!(["customer", "customer.bank", "2", "different"]),
        json!(["customer", "customer.bank", "5", "extra"]),
        json!(["customer", "customer.mirror", "2", "missing"]),
        json!(["customer", "customer.mirror", "3", "different"]),
        json!(["customer", "customer.mirror", "4", "extra"]),
    ];
    assert_eq!(found, expected, "{}", output.stderr);
    let asked = output.stderr.rsplit_once("runs follow ").expect("what was asked for").1;
    let runs: Vec<_> = asked.split('`').next().expect("numbers").split(' ').collect();
    live.rowcall.command(&[&["runs", "follow"], &runs[..]].concat()).await.expect_code(0);
    let output = live.rowcall.command(&["audit"]).await.expect_code(0);
    assert!(output.stdout.contains("6 rows and 6 links looked at: all agree"), "{}", output.stdout);
    for bank in [&live.bank, &mirror] {
        assert_eq!(bank.dump().len(), 3);
    }
    service.sigkill().await;
}
