//! `status`, `preview` and `config`: looking changes nothing.

use crate::harness::{Live, Version, eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};
use serde_json::{Value, json};

const TABLE: &str = "create table loans (id int primary key, amount numeric, note text)";

const ENTITY: &str = "
  loan:
    table: loans
    when: '{{ row.note != \"draft\" }}'
    upsert:
      - name: create
        if: '{{ !has(link.loan_id) }}'
        post: /loans
        headers: { X-Branch: '{{ row.note }}' }
        body: { ref: '{{ row.id }}', amount: '{{ row.amount.fixed(2) }}' }
        save: { loan_id: '{{ answer.body.id }}' }
      - { name: update, if: '{{ has(link.loan_id) }}', patch: '/loans/{{ link.loan_id }}', body: { amount: '{{ row.amount }}' } }
      - { name: schedule, if: '{{ has(link.loan_id) }}', post: '/loans/{{ link.loan_id }}/schedule', body: {} }";

async fn status(live: &Live) -> Value {
    let output = live.rowcall.command(&["status", "--json"]).await.expect_code(0);
    serde_json::from_str(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn status_says_how_far_it_is_and_what_each_route_did() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let fresh = live.rowcall.command(&["status"]).await.expect_code(0).stdout;
    assert!(fresh.contains("source `main`: never started"), "{fresh}");
    live.bank.faults().add(Rule::new(Fault::Status(422)).path("/loans").every(3));
    let service = live.run();
    live.after(&["insert into loans values (1, 1, ''), (2, 2, ''), (3, 3, ''), (4, 4, 'draft')"]).await;
    live.after(&["update loans set amount = 9 where id = 4"]).await;
    let seen = status(&live).await;
    let route = &seen["routes"][0];
    let counts =
        ["applied", "skipped", "parked", "in_flight", "backing_off"].map(|name| route[name].as_i64());
    assert_eq!(counts, [2, 2, 1, 0, 0].map(Some), "{seen:#}");
    assert_eq!(route["parked_by"], json!([{ "state": "rejected", "reason": "refused", "count": 1 }]));
    assert!(route["last_error"].as_str().is_some_and(|it| it.contains("answered with 422")), "{route}");
    let source = &seen["sources"][0];
    assert_eq!((&source["source"], &source["slot"]), (&"main".into(), &"rowcall".into()));
    assert_eq!(
        (&source["instance"]["state"], &source["instance"]["alive"]),
        (&"running".into(), &true.into())
    );
    assert!(
        source["lag_bytes"].is_i64() && source["kept_bytes"].is_i64() && source["problem"].is_null(),
        "{source}"
    );
    assert!(source["checkpoint"].as_str().is_some_and(|it| it.contains('/')), "{source}");
    assert_eq!(source["lag_seconds"].as_f64(), Some(0.0), "nothing waits");
    let text = live.rowcall.command(&["status"]).await.expect_code(0).stdout;
    for part in [
        "source `main`: running (instance ",
        "checkpoint ",
        "lag ",
        "slot `rowcall` keeps",
        "loan   2        2        1",
        "loan: 1 parked, rejected (refused)",
        "loan: last failure",
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
    assert_eq!(status(&live).await["sources"][0]["instance"]["state"], "stopped");
}

#[tokio::test]
async fn status_shows_what_waits_and_for_how_long() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.reconfigure(|yaml| {
        yaml.replace("attempts: 3, base: 10ms, max: 200ms", "attempts: 9, base: 10m, max: 10m")
    });
    live.bank.faults().add(Rule::new(Fault::Status(503)));
    let _service = live.run();
    live.postgres.execute("insert into loans values (1, 1, ''), (2, 2, ''), (3, 3, '')").await;
    eventually("three wait for another attempt", LONG, async || {
        let seen = status(&live).await;
        let route = &seen["routes"][0];
        if route["backing_off"] == 3 && route["in_flight"] == 3 { Ok(()) } else { Err(seen) }
    })
    .await;
    let seen = status(&live).await;
    assert!(seen["sources"][0]["lag_seconds"].as_f64().is_some_and(|it| it > 0.0), "{seen:#}");
    assert!(seen["routes"][0]["last_error"].as_str().is_some_and(|it| it.contains("503")), "{seen:#}");
}

#[tokio::test]
async fn preview_shows_the_calls_and_makes_none() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.postgres.execute("insert into loans values (7, 100.5, 'B1'), (8, 1, 'draft')").await;
    let preview = async |args: &[&str]| live.rowcall.command(&[&["preview"][..], args].concat()).await;
    let text = preview(&["loan", "7"]).await.expect_code(0).stdout;
    for part in [
        "route `loan`",
        "known of the key: nothing",
        "create: POST /loans",
        "X-Branch: B1",
        r#"{"ref":7,"amount":100.50}"#,
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert!(preview(&["loan", "8"]).await.expect_code(0).stdout.contains("skipped"));
    let service = live.run();
    live.after(&[]).await;
    live.calls();
    let seen = preview(&["loan", "7", "--json"]).await.expect_code(0).stdout;
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    assert_eq!(seen[0]["link"], json!({ "loan_id": "L1" }));
    let calls = seen[0]["calls"].as_array().expect("calls");
    let calls: Vec<_> = calls.iter().map(|it| format!("{} {}", it["method"], it["path"])).collect();
    assert_eq!(calls, ["\"PATCH\" \"/loans/L1\"", "\"POST\" \"/loans/L1/schedule\""]);
    let missing = preview(&["loan", "99"]).await.expect_code(1);
    assert!(missing.stderr.contains("table public.loans has no row with the key 99"), "{}", missing.stderr);
    let wrong = preview(&["loan", "1,2"]).await.expect_code(1);
    assert!(wrong.stderr.contains("has 1 columns (id)"), "{}", wrong.stderr);
    let unknown = preview(&["lona", "1"]).await.expect_code(1);
    assert!(unknown.stderr.contains("there is no entity `lona`; there are: loan"), "{}", unknown.stderr);
    preview(&["loan", "not-a-number"]).await.expect_code(1);
    assert_eq!(live.bank.stats().requests, 1, "only the service's own");
    drop(service);
}

#[tokio::test]
async fn config_prints_a_schema_and_the_configuration() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let schema = live.rowcall.command(&["config", "schema"]).await.expect_code(0);
    let schema: Value = serde_json::from_str(&schema.stdout).expect("JSON");
    assert!(schema["$schema"].is_string() && schema["properties"]["entities"].is_object());
    let shown = live.rowcall.command(&["config", "show"]).await.expect_code(0);
    assert!(shown.stdout.contains("loans") && shown.stdout.contains("attempts: 3"), "{}", shown.stdout);
}

#[tokio::test]
async fn status_is_shown_again_and_again_until_a_signal() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    for (format, told) in [(&["--json"][..], "\"source\":\"main\""), (&[], "source `main`")] {
        let watching = live.rowcall.start(&[&["status", "--watch", "1"], format].concat());
        eventually("it is shown a second time", LONG, async || match watching.stdout() {
            shown if shown.matches(told).count() >= 2 => Ok(()),
            shown => Err(shown),
        })
        .await;
        let shown = watching.stdout();
        if format.is_empty() {
            assert!(!shown.contains('\x1b'), "it is no terminal: {shown:?}");
        } else {
            let first = shown.lines().next().unwrap_or_default();
            serde_json::from_str::<Value>(first).expect("an object a line");
        }
        watching.signal("INT");
        assert_eq!(watching.wait().await.code(), Some(0));
    }
}

#[tokio::test]
async fn what_commands_change_is_written_down_with_what_came_of_it() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.rowcall.command(&["parked", "retry", "--all"]).await.expect_code(0);
    live.rowcall.command(&["runs", "cancel", "99"]).await.expect_code(1);
    live.rowcall.command(&["checkpoint", "create", "here"]).await.expect_code(0);
    live.rowcall.command(&["checkpoint", "drop", "here"]).await.expect_code(0);
    let sql = "select string_agg(concat_ws(' ', action, outcome, asked #>> '{command,2}', answer), E'\\n' order by id)
               from rowcall.operation where who like 'command%'";
    let told = live.postgres.text(sql).await.expect("operations");
    let told: Vec<&str> = told.lines().collect();
    let refused = r#"runs.cancel refused 99 "there is no run 99; see `rowcall runs list --all`""#;
    assert_eq!(told[..2], ["parked.retry done --all 0", refused]);
    assert!(told[2].starts_with("checkpoints.create done here") && told[2].contains("lsn"), "{told:?}");
    assert_eq!(told[3..], [r#"checkpoints.drop done here "main""#]);
}
