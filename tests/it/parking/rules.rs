//! Rules and fragments of every layer, through the built program.

use crate::harness::{Live, Version};
use rowcall::demo::Bank;

const TABLES: &str = "create table customers (id int primary key, name text, email text);
    create table loans (id int primary key, amount numeric, customer_id int)";

const RULES: &str = r#"rules:
  fragments:
    who: { name: '{{ row.name.trim() }}', from: '{{ fragment.country }}' }
    country: DE
  validate:
    - { name: named, rule: "{{ row.name.trim() != '' }}", message: 'a customer needs a name', entities: [customer] }
    - { name: positive, rule: '{{ row.id > 0 }}', message: 'ids begin at one' }
"#;

const PLAIN: &str = "
  customer: { table: customers, delete: [{ delete: /x }] }
  loan: { table: loans, delete: [{ delete: /x }] }";

const ENTITIES: &str = r#"
  customer:
    table: customers
    remotes: [bank, ledger]
    validate: [{ name: mail, rule: "{{ row.email.contains('@') }}", when: '{{ row.email != null }}' }]
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { who: '{{ fragment.who }}' } }]
  loan:
    table: loans
    remote: bank
    rules: { fragments: { amount: '{{ row.amount.fixed(2) }}' } }
    upsert: [{ name: put, put: '/objects/l/{{ row.id }}', body: { amount: '{{ fragment.amount }}' } }]"#;

#[tokio::test]
async fn rejects_name_their_rule_and_each_remote_has_its_own() {
    let ledger = Bank::start("127.0.0.1:0").await.expect("a bank");
    let live = Live::new(Version::V16, TABLES, PLAIN).await;
    let url = ledger.url();
    live.configure(ENTITIES);
    live.reconfigure(|yaml| {
        let second = format!(
            "remotes:\n  ledger:\n    url: \"{url}\"\n    rules:\n      fragments: {{ country: FR }}\n      \
             validate: [{{ name: small, rule: '{{{{ row.id < 100 }}}}' }}]\n"
        );
        format!("{RULES}{}", yaml.replace("remotes:\n", &second))
    });
    let _service = live.run();
    live.after(&[
        "insert into customers values (1, ' Ann ', null), (2, ' ', null), (3, 'Bob', 'nowhere'), (100, 'Cid', 'c@d')",
        "insert into loans values (1, 7.5, 1), (0, 1, 1)",
    ])
    .await;
    let parked = live
        .parked_as(&[
            "customer.bank 2 rejected invalid",
            "customer.bank 3 rejected invalid",
            "customer.ledger 100 rejected invalid",
            "customer.ledger 2 rejected invalid",
            "customer.ledger 3 rejected invalid",
            "loan 0 rejected invalid",
        ])
        .await;
    let message = |route: &str, key: &str| {
        let found = parked.iter().find(|it| it["route"] == route && it["key"] == key);
        found.and_then(|it| it["message"].as_str()).unwrap_or_default().to_owned()
    };
    for (route, key, start) in [
        ("customer.bank", "2", "rule named: a customer needs a name ("),
        ("customer.ledger", "2", "rule named: "),
        ("customer.bank", "3", "rule mail: (the row violates the rule `{{ row.email.contains('@') }}`)"),
        ("customer.ledger", "100", "rule small: "),
        ("loan", "0", "rule positive: ids begin at one ("),
    ] {
        let told = message(route, key);
        assert!(told.starts_with(start), "{route} {key}: {told}");
    }
    let mut calls = live.calls();
    calls.sort();
    assert_eq!(
        calls,
        [
            r#"PUT /objects/c/1 {"who":{"name":"Ann","from":"DE"}}"#,
            r#"PUT /objects/c/100 {"who":{"name":"Cid","from":"DE"}}"#,
            r#"PUT /objects/l/1 {"amount":7.50}"#,
        ]
    );
    let journal = ledger.journal();
    assert_eq!(journal.len(), 1);
    assert_eq!(journal[0].body(), serde_json::json!({ "who": { "name": "Ann", "from": "FR" } }));
}

#[tokio::test]
async fn a_common_rule_must_fit_every_table_it_is_asked_of_and_a_fragment_where_it_is_used() {
    let live = Live::new(Version::V16, TABLES, PLAIN).await;
    live.configure(&ENTITIES.replace("[bank, ledger]", "[bank]"));
    // `who` needs a name, which loans have not; but they do not use it.
    live.reconfigure(|yaml| format!("{RULES}{yaml}"));
    live.rowcall.command(&["check"]).await.expect_code(0);
    live.reconfigure(|yaml| yaml.replace(", entities: [customer] }", " }"));
    let check = live.rowcall.command(&["check"]).await.expect_code(1);
    let told = "rules.validate[0].rule (";
    assert!(check.stdout.contains(told) && check.stdout.contains("no column `name`"), "{}", check.stdout);
    live.reconfigure(|yaml| yaml.replace("country: DE", "country: '{{ fragment.who }}'"));
    let check = live.rowcall.command(&["check"]).await.expect_code(2);
    assert!(check.stderr.contains("`country` → `who` → `country`"), "{}", check.stderr);
    assert_eq!(check.stderr.matches("in a circle").count(), 1, "{}", check.stderr);
}
