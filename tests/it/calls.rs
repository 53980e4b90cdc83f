//! The log of calls, kept in a file as it is without any configuration.

use crate::harness::{Live, Version, eventually, wait::LONG};
use rowcall::demo::{Effect, Fault, Rule};
use serde_json::Value;
use std::{collections::BTreeSet, path::Path};

const TABLE: &str = "create table customers (id int primary key, name text, pin text)";
const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/customers/{{ row.id }}', body: { name: '{{ row.name }}', pin: '{{ row.pin }}' } }]";

async fn world() -> Live {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.rowcall.command(&["init"]).await.expect_code(0);
    live
}

/// What `rowcall calls search --json` finds, the oldest first.
async fn search(live: &Live, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["calls", "search", "--json", "--limit", "100000"], arguments].concat();
    let found = live.rowcall.command(&arguments).await.expect_code(0).stdout;
    let mut records: Vec<Value> =
        found.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    records.reverse();
    records
}

fn said(record: &Value) -> String {
    let text = |name: &str| record[name].as_str().unwrap_or("-").to_owned();
    let (status, key) = (&record["response"]["status"], &record["keys"][0]);
    format!(
        "{} {} {status} {} {}",
        text("method"),
        key.as_str().unwrap_or("-"),
        text("outcome"),
        text("class")
    )
}

#[tokio::test]
async fn every_attempt_is_found_again_by_what_it_was() {
    let live = world().await;
    live.bank.faults().add(Rule::new(Fault::Status(503)).times(1));
    let service = live.run();
    live.after(&["insert into customers values (1, 'Ada', '1')"]).await;
    live.bank.faults().add(Rule::new(Fault::Status(422)).times(1));
    live.after(&["insert into customers values (2, 'Bob', '2')"]).await;
    service.sigterm();
    service.wait().await;

    let all = search(&live, &[]).await;
    let told: Vec<String> = all.iter().map(said).collect();
    assert_eq!(
        told,
        ["PUT 1 503 retry refused", "PUT 1 201 answered -", "PUT 2 422 rejected refused"],
        "an orderly stop keeps what was in memory"
    );
    let journal = live.bank.journal();
    assert_eq!(all[1]["call_key"].as_str(), journal[0].key.as_deref(), "it is what the bank was told");
    assert_eq!(all[1]["request"]["body"], "{\"name\":\"Ada\",\"pin\":\"1\"}");

    for (arguments, expected) in [
        (&["--entity", "customer", "--key", "2"][..], &told[2..]),
        (&["--status", "5xx"], &told[..1]),
        (&["--class", "refused", "--text", "bob"], &told[2..]),
        (&["--route", "customer", "--since", "1h", "--status", "201"], &told[1..2]),
        (&["--until", "1h"], &[]),
    ] {
        let found: Vec<String> = search(&live, arguments).await.iter().map(said).collect();
        assert_eq!(found, expected, "{arguments:?}");
    }
    let change = all[0]["changes"][0].as_str().expect("a change");
    assert_eq!(search(&live, &["--change", change]).await.len(), 2, "{change}");
    let id = all[2]["id"].as_str().expect("an id");
    let shown = live.rowcall.command(&["calls", "show", id]).await.expect_code(0).stdout;
    for part in [
        "> PUT http",
        "< 422",
        "\"name\": \"Bob\"",
        "outcome",
        "rejected (refused)",
        "idempotency-key: customer-",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let missing = live.rowcall.command(&["calls", "show", "nothing"]).await.expect_code(1).stderr;
    assert!(missing.contains("there is no call `nothing`"), "{missing}");
}

#[tokio::test]
async fn tail_follows_what_comes() {
    let live = world().await;
    let _service = live.run();
    live.after(&["insert into customers values (1, 'Ada', '1')"]).await;
    eventually("the log is there", LONG, async || {
        let found = live.rowcall.command(&["calls", "tail"]).await;
        if found.stdout.contains("customer/1") { Ok(()) } else { Err(found.stderr) }
    })
    .await;
    let tail = live.rowcall.start(&["calls", "tail", "--follow"]);
    eventually("it shows what was", LONG, async || {
        if tail.stdout().contains("customer/1") { Ok(()) } else { Err(tail.stderr()) }
    })
    .await;
    live.after(&["insert into customers values (2, 'Bob', '2')"]).await;
    eventually("it shows what comes", LONG, async || {
        if tail.stdout().contains("customer/2") { Ok(()) } else { Err(tail.stdout()) }
    })
    .await;
    assert_eq!(tail.stdout().matches("customer/1").count(), 1, "{}", tail.stdout());
}

#[tokio::test]
async fn with_a_log_that_is_required_no_crash_loses_a_record_of_what_counts_as_done() {
    let live = world().await;
    live.reconfigure(|yaml| yaml + "call_log: { required: true }\n");
    for round in 0..4 {
        let service = live.run();
        let from = round * 100;
        let insert = format!(
            "insert into customers select i, 'n', 'p' from generate_series({}, {}) i",
            from + 1,
            from + 100
        );
        live.postgres.execute(&insert).await;
        eventually("it is under way", LONG, async || {
            let made = live.bank.journal().len();
            if made > from + 20 { Ok(()) } else { Err(made) }
        })
        .await;
        service.sigkill().await;
    }
    let service = live.run();
    live.after(&[]).await;
    service.sigterm();
    service.wait().await;
    let applied: BTreeSet<String> = live
        .bank
        .journal()
        .iter()
        .filter(|it| it.effect == Effect::Applied)
        .filter_map(|it| it.key.as_deref().map(str::to_owned))
        .collect();
    let records = search(&live, &[]).await;
    let logged: BTreeSet<String> =
        records.iter().map(|it| it["call_key"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!((applied.len(), applied == logged), (400, true), "every call that was made is in the log");
    let ids: BTreeSet<&str> = records.iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(ids.len(), records.len());
}

/// Everything in a folder, as bytes.
fn contents(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            contents(&path, into);
        } else {
            into.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
        }
    }
}

#[tokio::test]
async fn what_is_redacted_or_sealed_is_in_no_file() {
    let live = world().await;
    live.reconfigure(|yaml| {
        let yaml = yaml.replace("bank: {", "bank: { auth: { bearer: { token: s3cret-token } }, ");
        yaml + "call_log:\n  redact: { paths: [pin], patterns: ['s3cret-\\w+'] }\n  \
                encrypt: { key: \"${CALL_LOG_KEY}\" }\n"
    });
    let mut live = live;
    live.rowcall.environment("CALL_LOG_KEY", &"0f".repeat(32));
    let service = live.run();
    live.after(&["insert into customers values (1, 'Ada s3cret-name', 's3cret pin')"]).await;
    service.sigterm();
    let (_, log) = service.end().await;
    let shown = live.rowcall.command(&["calls", "search", "--json"]).await.expect_code(0).stdout;
    assert!(
        shown.contains(r#"{\"name\":\"Ada ***\",\"pin\":\"***\"}"#),
        "it is opened by who has the key: {shown}"
    );
    assert!(!shown.contains("s3cret") && !log.contains("s3cret"), "{shown} {log}");
    let mut files = Vec::new();
    contents(live.rowcall.home(), &mut files);
    let log = files.iter().find(|(path, _)| path.ends_with("rowcall-calls.db")).expect("the log is there");
    assert!(log.1.windows(6).any(|it| it == b"sealed"), "bodies are sealed at rest");
    for (path, bytes) in files.iter().filter(|(path, _)| !path.ends_with(".yaml")) {
        for secret in ["s3cret", "Ada"] {
            assert!(!bytes.windows(secret.len()).any(|it| it == secret.as_bytes()), "{secret} in {path}");
        }
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_to_is_named_with_what_to_do() {
    let live = world().await;
    live.reconfigure(|yaml| yaml + "call_log: { sqlite: { path: missing/calls.db } }\n");
    let failed = live.rowcall.command(&["run"]).await.expect_code(1).stderr;
    for part in ["missing/calls.db", "is its directory there", "call_log.sqlite.path"] {
        assert!(failed.contains(part), "{part} in {failed}");
    }
    live.reconfigure(|yaml| yaml.replace("{ sqlite: { path: missing/calls.db } }", "{ enabled: false }"));
    let none = live.rowcall.command(&["calls", "tail"]).await.expect_code(1).stderr;
    assert!(none.contains("no log of calls is kept"), "{none}");
}

/// The connection by which the service says that it is alive, and no other, breaks.
#[tokio::test]
async fn a_request_that_is_under_way_when_the_report_is_lost_has_its_record() {
    let live = world().await;
    live.reconfigure(|yaml| format!("{yaml}\nlimits: {{ drain: 1s }}\n"));
    live.bank.faults().add(Rule::new(Fault::Hold).times(1));
    let service = live.run();
    live.postgres.execute("insert into customers values (1, 'Ada', '1')").await;
    let seen = || if live.bank.stats().requests > 0 { Ok(()) } else { Err("no request") };
    eventually("the request is under way", LONG, async || seen()).await;
    let reports = "select pg_terminate_backend(pid) from pg_stat_activity
        where query ~ 'rowcall.(instance as i|call_log_status)|group by (kind|route), state' and pid <> pg_backend_pid()";
    eventually("the report is lost", LONG, async || {
        live.postgres.execute(reports).await;
        if service.stderr().contains("again_in_ms") { Ok(()) } else { Err(service.stderr()) }
    })
    .await;
    let sent = || if live.bank.journal().is_empty() { Err("nothing was applied") } else { Ok(()) };
    eventually("it is sent again", LONG, async || sent()).await;
    service.sigterm();
    assert!(service.wait().await.success());
    let told: Vec<String> = search(&live, &[]).await.iter().map(said).collect();
    assert_eq!(told, ["PUT 1 null interrupted -", "PUT 1 201 answered -"]);
}
