//! From a change to what the remote made of it, and back, by the command.

use crate::harness::{Live, MongoDb, Version, eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};
use serde_json::{Value, json};

const TABLE: &str = "create table loans (id int primary key, amount int)";
const ENTITY: &str = "
  loan:
    table: loans
    upsert:
      - { name: create, if: '{{ !has(link.loan_id) }}', post: /loans, body: { amount: '{{ row.amount }}' }, save: { loan_id: '{{ answer.body.id }}' } }
      - { name: update, if: '{{ has(link.loan_id) }}', patch: '/loans/{{ link.loan_id }}', body: { amount: '{{ row.amount }}' } }
    delete: [{ name: close, delete: '/loans/{{ link.loan_id }}' }]";

async fn lineage(live: &Live, arguments: &[&str]) -> Value {
    let arguments = [&["calls", "lineage", "--json"], arguments].concat();
    let said = live.rowcall.command(&arguments).await;
    serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", said.stdout, said.stderr))
}

/// `change: outcome outcome`, without the position, for each.
fn outcomes(object: &Value) -> Vec<String> {
    let of = |change: &Value| {
        let calls = change["calls"].as_array().expect("calls");
        let said: Vec<String> =
            calls.iter().map(|it| format!("{} {}", it["step"], it["outcome"]).replace('"', "")).collect();
        said.join(", ")
    };
    object["changes"].as_array().expect("changes").iter().map(of).collect()
}

/// What it is in whichever store.
async fn both_ways(live: &Live) {
    live.bank.faults().add(Rule::new(Fault::Status(503)).times(1));
    let service = live.run();
    live.after(&["insert into loans values (42, 1)", "insert into loans values (43, 1)"]).await;
    live.after(&["update loans set amount = 2 where id = 42"]).await;
    let found = eventually("the calls are in the log", LONG, async || {
        let found = live.rowcall.command(&["calls", "search", "--json", "--entity", "loan"]).await;
        let all: Vec<Value> = found.stdout.lines().filter_map(|it| serde_json::from_str(it).ok()).collect();
        if all.len() == 4 { Ok(all) } else { Err((all.len(), found.stderr)) }
    })
    .await;
    // The newest first: the update, of 42.
    let update = found[0]["changes"][0].as_str().expect("a change");
    let create = found.iter().rev().find(|it| it["keys"][0] == "42").expect("its first call");
    let create = create["changes"][0].as_str().expect("a change");
    let from_update = lineage(live, &["--change", update]).await;
    let id = from_update["objects"][0]["link"]["saved"]["loan_id"].as_str().expect("an id").to_owned();
    assert_eq!(from_update["objects"][0]["link"]["change"], update);

    let forth = lineage(live, &["--change", create]).await;
    let object = &forth["objects"][0];
    assert_eq!(
        (&object["route"], &object["key"], &object["found_by"]),
        (&json!("loan"), &json!("42"), &json!("change"))
    );
    let said = outcomes(object);
    assert!(said == ["create retry, create answered"] || said == ["create answered"], "{said:?}");
    assert_eq!(object["link"]["saved"], json!({ "loan_id": id }));

    let back = lineage(live, &["--remote-id", &id, "--entity", "loan"]).await;
    let object = &back["objects"][0];
    assert_eq!((&object["key"], &object["found_by"]), (&json!("42"), &json!("link")));
    assert_eq!((outcomes(object).len(), &back["objects"][1]), (2, &Value::Null));
    let text = live.rowcall.command(&["calls", "lineage", "--remote-id", &id]).await.expect_code(0).stdout;
    for part in [
        "loan 42, found by its link",
        create,
        update,
        &format!("PATCH /loans/{id}"),
        &format!("→ {{\"loan_id\":\"{id}\"}}"),
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let other = live.rowcall.command(&["calls", "lineage", "--remote-id", &id, "--entity", "fee"]).await;
    assert!(other.expect_code(1).stdout.contains("no link knows"));
    let none = live.rowcall.command(&["calls", "lineage", "--change", "0/1.0"]).await.expect_code(1).stdout;
    assert!(none.contains("no call of change `0/1.0` is in the log"), "{none}");
    live.rowcall.command(&["calls", "lineage"]).await.expect_code(2);

    // What was saved goes with the object; the log still knows.
    live.after(&["delete from loans where id = 42"]).await;
    let object = eventually("its end is in the log", LONG, async || {
        let back = lineage(live, &["--remote-id", &id, "--entity", "loan"]).await;
        match &back["objects"][0] {
            object if outcomes(object).len() == 3 => Ok(object.clone()),
            _ => Err(back),
        }
    })
    .await;
    assert_eq!((&object["key"], &object["found_by"]), (&json!("42"), &json!("log")));
    assert_eq!(outcomes(&object)[2], "close answered");
    // Until it is forgotten.
    let link = &object["link"];
    assert!(link.is_null() || link["gone"] == true, "{link}");
    service.sigterm();
    service.wait().await;
}

#[tokio::test]
async fn a_change_leads_to_the_remotes_id_and_back_in_a_file() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    both_ways(&live).await;
    // An id is found among many, be it a text or a number.
    let fill = "insert into rowcall.link (route, key, saved, commit_lsn, ordinal)
                select 'loan', 'x' || i, jsonb_build_object('loan_id', 'X' || i, 'no', i), '0/1', 0
                from generate_series(1, 20000) i";
    live.postgres.execute(fill).await;
    for id in ["X777", "777"] {
        let found = lineage(&live, &["--remote-id", id]).await;
        let object = &found["objects"][0];
        assert_eq!((&object["key"], &object["found_by"]), (&json!("x777"), &json!("link")), "{found}");
        assert_eq!((outcomes(object).len(), &object["link"]["saved"]["no"]), (0, &json!(777)));
    }
    // Without the state database what the log has is shown all the same.
    let change =
        live.rowcall.command(&["calls", "search", "--json", "--limit", "1"]).await.expect_code(0).stdout;
    let change: Value = serde_json::from_str(&change).expect("a record");
    let port = crate::harness::postgres::unused_port();
    live.reconfigure(|yaml| {
        let url = live.postgres.url();
        let state = format!("postgres://nobody@127.0.0.1:{port}/nothing");
        yaml.replace(&format!("url: \"{url}\""), &format!("url: \"{url}\", state: {{ url: \"{state}\" }}"))
    });
    let change = change["changes"][0].as_str().expect("a change");
    let text = live.rowcall.command(&["calls", "lineage", "--change", change]).await.expect_code(0).stdout;
    for part in ["⚠ what became of them at the remote is not known", "/loans"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn a_change_leads_to_the_remotes_id_and_back_in_mongodb() {
    let (live, mongodb) = tokio::join!(Live::new(Version::V16, TABLE, ENTITY), MongoDb::start());
    live.reconfigure(|yaml| yaml + &format!("call_log:\n  mongodb: {{ url: \"{}\" }}\n", mongodb.url()));
    both_ways(&live).await;
}
