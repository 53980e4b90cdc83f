//! Audits that the service carries.

use super::{missed, over};
use crate::harness::{Live, Version, each_version, eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};
use serde_json::{Value, json};

fn table(rows: u32) -> String {
    format!(
        "create table customers (id int primary key, name text);
         insert into customers select i, 'name ' || i from generate_series(1, {rows}) i"
    )
}

const ENTITY: &str = "
  customer:
    table: customers
    when: '{{ row.id != 13 }}'
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}', accept: [200, 204, 404] }]
    read: { get: '/objects/c/{{ row.id }}', expect: { name: '{{ row.name }}' } }
    schedule: { run: audit, cron: '* * 29 2 *', OPTIONS }";

fn entity(options: &str) -> String {
    ENTITY.replace(", OPTIONS", options)
}

/// Everything is at the bank, and then it is not: 1 is missing, 2 is different, the last is extra.
async fn out_of_step(live: &Live, last: u32) {
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    let (client, url) = (http(), live.bank.url());
    client.delete(format!("{url}/objects/c/1")).send().await.expect("an answer");
    client.patch(format!("{url}/objects/c/2")).body(r#"{"name": "other"}"#).send().await.expect("an answer");
    let hide = "select pg_replication_slot_advance('rowcall', pg_current_wal_lsn())";
    let delete = format!("delete from customers where id = {last}");
    live.postgres.execute(&format!("set session_replication_role = replica; {delete}; {hide}")).await;
    live.postgres.execute("update rowcall.checkpoint set lsn = pg_current_wal_lsn()").await;
    live.calls();
}

fn http() -> reqwest::Client {
    reqwest::Client::new()
}

async fn run(live: &Live, id: i64) -> Value {
    let shown = live.rowcall.command(&["runs", "show", &id.to_string(), "--json"]).await.expect_code(0);
    serde_json::from_str(&shown.stdout).expect("a run")
}

async fn recorded(live: &Live, run: i64) -> Vec<Value> {
    let found = live
        .rowcall
        .command(&["calls", "search", "--json", "--limit", "5000", "--run", &run.to_string()])
        .await;
    let records = found.expect_code(0).stdout;
    records.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

each_version! {
    async fn what_is_due_is_audited_by_the_service_reported_and_repaired(version: Version) {
        let live = Live::new(version, &table(40), &entity(", repair: true")).await;
        out_of_step(&live, 40).await;
        let service = live.run();
        missed(&live).await;
        let id = over(&live, 1, "done").await;
        let audit = run(&live, id).await;
        // 39 rows and 39 links; 13 is not to be sent.
        assert_eq!(audit["counts"], json!({ "read": 78, "applied": 74, "skipped": 1, "parked": 0 }), "{audit}");
        assert_eq!(audit["expected"], 78, "{audit}");
        let report = &audit["report"];
        assert_eq!(report["found"], json!({ "different": 1, "extra": 1, "missing": 1 }), "{audit}");
        let first: Vec<_> = report["first"].as_array().expect("findings").iter().map(|it| (it["key"].as_str(), it["finding"].as_str())).collect();
        assert_eq!(first, [("1", "missing"), ("2", "different"), ("40", "extra")].map(|(key, kind)| (Some(key), Some(kind))));
        assert_eq!(report["first"][1]["fields"], json!([{ "field": "name", "here": "name 2", "there": "other" }]));
        assert_eq!(report["repairs"].as_array().map(Vec::len), Some(2), "{audit}");
        let shown = live.rowcall.command(&["runs", "show", &id.to_string()]).await.expect_code(0).stdout;
        assert!(shown.contains("74 agree, 1 skipped, 1 different, 1 extra, 1 missing"), "{shown}");
        assert!(shown.contains("name: here \"name 2\", there \"other\""), "{shown}");
        let mut calls = live.calls_made(3).await;
        calls.sort();
        assert_eq!(calls, ["DELETE /objects/c/40", r#"PUT /objects/c/1 {"name":"name 1"}"#, r#"PUT /objects/c/2 {"name":"name 2"}"#]);
        assert!(service.stderr().contains("found what is not in step: 1 different, 1 extra, 1 missing"), "{}", service.stderr());
        // Every question has a record, with the run.
        eventually("the records are stored", LONG, async || {
            let records = recorded(&live, id).await;
            let asked = records.iter().filter(|it| it["step"] == "read" && it["method"] == "GET" && it["entity"] == "customer" && it["outcome"] == "answered").count();
            // 38 rows and 1 link at first, and what was found once more.
            if asked == 42 { Ok(()) } else { Err((asked, records.len())) }
        })
        .await;
        let ids: std::collections::BTreeSet<_> = recorded(&live, id).await.iter().map(|it| it["span"].to_string()).collect();
        assert!(ids.len() >= 42, "{ids:?}");
        // The next one has nothing to say.
        missed(&live).await;
        let next = over(&live, 2, "done").await;
        assert_eq!(run(&live, next).await["report"]["found"], json!({}));
        let status = live.rowcall.command(&["status"]).await.expect_code(0);
        assert!(status.stdout.contains("schedule audit customer `* * 29 2 *` (UTC)"), "{}", status.stdout);
        service.sigkill().await;
    }
}

/// The first piece is looked at, and a question of the second has no answer; gives the audit's number.
async fn held_in_the_middle(live: &Live, nth: u32) -> i64 {
    let before = live.bank.stats().faults;
    live.bank.faults().add(Rule::new(Fault::Hold).method("GET").path("/objects/c/300"));
    missed(live).await;
    eventually("a question is held", LONG, async || {
        let faults = live.bank.stats().faults - before;
        if faults > 0 { Ok(()) } else { Err(faults) }
    })
    .await;
    let id = over(live, nth, "running").await;
    assert_eq!(run(live, id).await["counts"]["read"], 200);
    id
}

#[tokio::test]
async fn it_goes_on_where_it_was_after_a_pause_a_stop_and_a_kill_and_holds_up_nothing() {
    let live = Live::new(Version::V16, &table(450), &entity("")).await;
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    let service = live.run();
    let id = held_in_the_middle(&live, 1).await;
    live.calls();
    live.after(&["update customers set name = 'new' where id = 7"]).await;
    assert_eq!(live.calls().len(), 1, "the stream goes on meanwhile");
    live.rowcall
        .command(&["snapshot", "--entity", "customer", "--force", "--keys", "9", "--wait"])
        .await
        .expect_code(0);
    assert_eq!(live.calls().len(), 1, "and so do other runs");
    live.rowcall.command(&["runs", "pause", &id.to_string()]).await.expect_code(0);
    eventually("the question is given up, and recorded", LONG, async || {
        let records = recorded(&live, id).await;
        let given_up: Vec<_> =
            records.iter().filter(|it| it["outcome"] == "interrupted").map(|it| it["keys"].clone()).collect();
        if given_up == [json!(["300"])] { Ok(()) } else { Err(given_up) }
    })
    .await;
    assert_eq!(run(&live, id).await["counts"]["read"], 200);
    live.rowcall.command(&["runs", "resume", &id.to_string()]).await.expect_code(0);
    let again = live.bank.stats().faults;
    eventually("it is asked again", LONG, async || {
        let faults = live.bank.stats().faults;
        if faults > again { Ok(()) } else { Err(faults) }
    })
    .await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0), "a question without an answer does not hold up a stop");
    let service = live.run();
    let again = live.bank.stats().faults;
    eventually("it is asked once more", LONG, async || {
        let faults = live.bank.stats().faults;
        if faults > again { Ok(()) } else { Err(faults) }
    })
    .await;
    service.sigkill().await;
    live.bank.faults().clear();
    let service = live.run();
    assert_eq!(over(&live, 1, "done").await, id);
    let audit = run(&live, id).await;
    assert_eq!(audit["counts"], json!({ "read": 899, "applied": 898, "skipped": 1, "parked": 0 }), "{audit}");
    service.sigkill().await;
}

#[tokio::test]
async fn one_that_is_cancelled_keeps_what_it_found_and_another_begins() {
    let live = Live::new(Version::V16, &table(450), &entity("")).await;
    out_of_step(&live, 450).await;
    let service = live.run();
    let id = held_in_the_middle(&live, 1).await;
    live.rowcall.command(&["runs", "cancel", &id.to_string()]).await.expect_code(0);
    live.bank.faults().clear();
    missed(&live).await;
    let next = over(&live, 2, "done").await;
    let (cancelled, done) = (run(&live, id).await, run(&live, next).await);
    assert_eq!(cancelled["report"]["found"], json!({ "different": 1, "missing": 1 }), "{cancelled}");
    assert_eq!(done["report"]["found"], json!({ "different": 1, "extra": 1, "missing": 1 }), "{done}");
    assert_eq!(live.calls(), [""; 0], "nothing is repaired unless that is said");
    service.sigkill().await;
}

#[tokio::test]
async fn a_sample_is_a_part_and_what_stands_in_the_way_is_said() {
    let live = Live::new(Version::V16, &table(100), &entity(", sample: 40, rate: 5000")).await;
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    let service = live.run();
    missed(&live).await;
    let id = over(&live, 1, "done").await;
    let audit = run(&live, id).await;
    assert_eq!((&audit["counts"]["read"], &audit["expected"]), (&json!(40), &json!(40)), "{audit}");
    live.bank.faults().add(Rule::new(Fault::Status(401)).method("GET"));
    missed(&live).await;
    let id = over(&live, 2, "failed").await;
    let audit = run(&live, id).await;
    assert!(
        audit["error"].as_str().is_some_and(|it| it.contains("remote `bank` cannot be asked")),
        "{audit}"
    );
    service.sigterm();
    service.wait().await;
    live.configure(ENTITY.split("    read:").next().expect("a part"));
    let service = live.run();
    let ask = "insert into rowcall.run (source, kind, entity, origin) values ('main', 'audit', 'customer', 'schedule')";
    live.postgres.execute(ask).await;
    let id = over(&live, 3, "failed").await;
    let audit = run(&live, id).await;
    assert!(
        audit["error"].as_str().is_some_and(|it| it.contains("entity `customer` has no `read`")),
        "{audit}"
    );
    service.sigkill().await;
}

#[tokio::test]
async fn a_command_leaves_a_record_of_each_question_too() {
    let live = Live::new(Version::V16, &table(40), &entity("")).await;
    live.reconfigure(|yaml| yaml + "call_log: { redact: { paths: [name] } }\n");
    out_of_step(&live, 40).await;
    for audits in [1, 2] {
        live.rowcall.command(&["audit"]).await.expect_code(1);
        let found =
            live.rowcall.command(&["calls", "search", "--json", "--limit", "5000"]).await.expect_code(0);
        let records: Vec<Value> =
            found.stdout.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
        let asked: Vec<&Value> =
            records.iter().filter(|it| it["step"] == "read" && it["outcome"] == "answered").collect();
        assert_eq!(asked.len(), 42 * audits, "each audit has records of its own");
        assert!(asked.iter().all(|it| it["run"].is_null() && it["changes"] == json!([])));
        assert!(!found.stdout.contains("other"), "it is redacted like everything else");
    }
    let one = live.rowcall.command(&["calls", "search", "--json", "--key", "2"]).await.expect_code(0);
    let record: Value = serde_json::from_str(one.stdout.lines().next().expect("a record")).expect("JSON");
    let shown =
        live.rowcall.command(&["calls", "show", record["id"].as_str().expect("an id")]).await.expect_code(0);
    assert!(shown.stdout.contains("key       2\n"), "{}", shown.stdout);
}
