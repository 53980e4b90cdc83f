//! What is counted agrees with what happened.

use crate::harness::{
    Live, Version,
    admin::{ADMIN, Admin},
    postgres::tools,
};
use rowcall::{
    demo::{Fault, Rule},
    metrics::{Kind, catalog},
};
use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
};

const TABLES: &str = "create table customers (id int primary key, name text);
                      create table drafts (id int primary key)";

const ENTITIES: &str = "
  customer:
    table: customers
    validate: [{ name: named, rule: \"{{ row.name != '' }}\", message: it has no name }]
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}' }]
  draft:
    table: drafts
    when: \"{{ false }}\"
    upsert: [{ put: '/objects/d/{{ row.id }}', body: {} }]";

async fn live() -> Live {
    let live = Live::new(Version::V16, TABLES, ENTITIES).await;
    live.reconfigure(|yaml| yaml.replace("\nadmin: { listen: off }\n", "") + ADMIN);
    live
}

fn outcomes(route: &str, outcome: &str) -> String {
    format!("rowcall_outcomes_total{{source=\"main\",route=\"{route}\",outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn counts_agree_with_what_the_bank_saw() {
    let live = live().await;
    let service = live.run();
    let admin = Admin::of(&service).await;
    live.bank.faults().add(Rule::new(Fault::Status(503)).path("/objects/c/17").times(2));
    live.after(&[
        "insert into customers select i, 'n' || i from generate_series(1, 20) i",
        "update customers set name = name where id <= 5",
        "update customers set name = 'm' where id = 6",
        "insert into customers values (100, '')",
        "delete from customers where id > 17 and id < 21",
        "insert into drafts values (1), (2)",
    ])
    .await;
    let journal = live.bank.journal();
    let (answered, failed) = (journal.len(), 2);
    assert_eq!(answered, 20 + 1 + 3);
    let captured = "rowcall_changes_captured_total{source=\"main\"}";
    admin.metric_is(captured, f64::from(20 + 5 + 1 + 1 + 3 + 2)).await;
    for (route, outcome, count) in [
        ("customer", "applied", answered),
        ("customer", "unchanged", 5),
        ("customer", "parked", 1),
        ("customer", "skipped", 0),
        ("draft", "skipped", 2),
        ("draft", "applied", 0),
    ] {
        assert_eq!(admin.metric(&outcomes(route, outcome)).await, Some(count as f64), "{route} {outcome}");
    }
    for (series, count) in [
        ("rowcall_calls_total{remote=\"bank\",outcome=\"answered\"}", answered),
        ("rowcall_attempts_total{remote=\"bank\",class=\"answered\"}", answered),
        ("rowcall_attempts_total{remote=\"bank\",class=\"failing\"}", failed),
        ("rowcall_retries_total{remote=\"bank\"}", failed),
        ("rowcall_attempt_duration_seconds_count{remote=\"bank\"}", answered + failed),
        ("rowcall_commit_to_answer_seconds_count{source=\"main\",route=\"customer\"}", answered),
    ] {
        assert_eq!(admin.metric(series).await, Some(count as f64), "{series}");
    }
    for (series, value) in [
        ("rowcall_changes_parked{source=\"main\",route=\"customer\",state=\"rejected\"}", 1.0),
        ("rowcall_changes_in_flight{source=\"main\",route=\"customer\"}", 0.0),
        ("rowcall_remote_gate{remote=\"bank\",state=\"ready\"}", 1.0),
        ("rowcall_slot_status{source=\"main\",status=\"reserved\"}", 1.0),
        ("rowcall_call_log_records_total{result=\"written\"}", (answered + failed) as f64),
        ("rowcall_memory_used_bytes{source=\"main\"}", 0.0),
    ] {
        admin.metric_is(series, value).await;
    }
    assert!(admin.metric("rowcall_process_resident_memory_bytes").await.is_some_and(|it| it > 1e6));
    // Behind it, the repaired row is queued, and goes on when it is discarded.
    live.after(&["update customers set name = 'repaired' where id = 100"]).await;
    live.rowcall.command(&["parked", "discard", "--state", "rejected"]).await.expect_code(0);
    live.calls_made(answered + 1).await;
    let drained = "rowcall_parked_drained_total{source=\"main\",route=\"customer\"}";
    admin.metric_is(drained, 1.0).await;
}

#[tokio::test]
async fn a_page_is_well_formed_and_no_key_is_in_it() {
    let live = live().await;
    let service = live.run();
    let admin = Admin::of(&service).await;
    live.after(&["insert into customers select i, 'n' || i from generate_series(7770, 7779) i"]).await;
    admin.metric_is("rowcall_slot_status{source=\"main\",status=\"reserved\"}", 1.0).await;
    let (_, page) = admin.get("/metrics").await;
    assert!(!page.contains("777"), "{page}");
    let known: BTreeMap<&str, _> = catalog::ALL.iter().map(|it| (it.name, it)).collect();
    let mut now = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().expect("a name");
            now = Some(*known.get(name).unwrap_or_else(|| panic!("{name} is not in the catalog")));
        }
        if line.starts_with('#') {
            continue;
        }
        let of = now.expect("a type comes first");
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let suffix = name.strip_prefix(of.name).unwrap_or_else(|| panic!("{line} is not of {}", of.name));
        let allowed: &[&str] =
            if of.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(allowed.contains(&suffix), "{line}");
        let told: Vec<&str> =
            labels.trim_end_matches('}').split(',').filter_map(|it| it.split('=').next()).collect();
        let told: Vec<&str> = told.into_iter().filter(|it| !it.is_empty() && *it != "le").collect();
        assert_eq!(told, of.labels, "{line}");
    }
}

/// Prometheus' own tool has nothing to complain of; what it says otherwise is the failure.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new(tools().join("promtool"));
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("`scripts/provision promtool` brings it");
    // All of it is read before anything is said.
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("to write");
    let output = child.wait_with_output().expect("to end");
    let [said, complained] =
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success(), "promtool {}: {said}{complained}", arguments.join(" "));
}

#[tokio::test]
async fn what_is_scraped_and_what_it_is_judged_by_is_what_prometheus_expects() {
    let live = live().await;
    let service = live.run();
    let admin = Admin::of(&service).await;
    live.after(&["insert into customers values (1, 'a'), (2, '')"]).await;
    admin.metric_is("rowcall_slot_status{source=\"main\",status=\"reserved\"}", 1.0).await;
    promtool(&["check", "metrics"], &admin.get("/metrics").await.1);
    promtool(&["check", "rules", "config/prometheus/alerts.yml"], "");
    promtool(&["test", "rules", "config/prometheus/alerts_test.yml"], "");
}
