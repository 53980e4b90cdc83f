//! `rowcall runs`: a person looks at runs, holds them, and waits for them.

use crate::harness::{Live, Version, eventually, rowcall::Output, wait::LONG};
use rowcall::{
    model::{RunId, RunKind, RunRequest},
    state::postgres::RunDesk,
};
use serde_json::{Value, json};

const TABLE: &str = "create table loans (id int primary key)";

const ENTITY: &str = "  loan: { table: loans, upsert: [{ name: put, put: '/loans/{{ row.id }}', body: { id: '{{ row.id }}' } }] }";

async fn live() -> Live {
    Live::new(Version::V16, TABLE, ENTITY).await
}

/// Asks as a command would, with no service there to begin it.
async fn ask(live: &Live, kind: RunKind, entity: Option<&str>) -> RunId {
    let Value::Object(options) = json!({ "where": "id > 7" }) else { return RunId(0) };
    let request = RunRequest { kind, entity: entity.map(Into::into), options, origin: "command".into() };
    let client = live.postgres.client().await;
    RunDesk { client: &client }.request("main", &request).await.expect("a run")
}

/// What the service does as it comes on.
async fn set(live: &Live, id: RunId, what: &str) {
    live.postgres.execute(&format!("update rowcall.run set {what} where id = {id}")).await;
}

const BEGUN: &str = "state = 'running', base_lsn = '0/700', started_at = now() - interval '10 seconds'";

async fn runs(live: &Live, args: &[&str]) -> Output {
    live.rowcall.command(&[&["runs"][..], args].concat()).await
}

async fn listed(live: &Live, args: &[&str]) -> Vec<Value> {
    let output = runs(live, &[&["list", "--json"][..], args].concat()).await.expect_code(0);
    serde_json::from_str(&output.stdout).expect("a list")
}

async fn ids(live: &Live, args: &[&str]) -> Vec<i64> {
    listed(live, args).await.iter().filter_map(|it| it["id"].as_i64()).collect()
}

async fn state(live: &Live, id: RunId) -> String {
    let sql = format!("select state || ' ' || (finished_at is not null) from rowcall.run where id = {id}");
    live.postgres.text(&sql).await.expect("a run")
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_those_that_are_over_when_asked_for() {
    let live = live().await;
    let nothing = runs(&live, &["list"]).await.expect_code(0).stdout;
    assert_eq!(nothing.trim(), "there are no such runs; `--all` lists those that are over too");
    let loan = ask(&live, RunKind::Snapshot, Some("loan")).await;
    let over = ask(&live, RunKind::Prune, Some("loan")).await;
    let all = ask(&live, RunKind::Replay, None).await;
    let come = "read = 1200, applied = 1100, skipped = 99, parked = 1, expected = 40000";
    set(&live, loan, &format!("{BEGUN}, {come}")).await;
    let failed = "state = 'failed', finished_at = now(), error = E'no such column\\nmore'";
    set(&live, over, failed).await;
    assert_eq!(ids(&live, &[]).await, [all.0, loan.0]);
    assert_eq!(ids(&live, &["--all"]).await, [all.0, over.0, loan.0]);
    assert_eq!(ids(&live, &["--all", "--limit", "1"]).await, [all.0]);
    assert_eq!(ids(&live, &["--all", "--entity", "loan"]).await, [over.0, loan.0]);
    assert_eq!(ids(&live, &["--state", "failed"]).await, [over.0]);
    assert_eq!(ids(&live, &["--kind", "replay"]).await, [all.0]);
    assert_eq!(ids(&live, &["--source", "main"]).await, [all.0, loan.0]);
    assert!(ids(&live, &["--source", "other"]).await.is_empty());
    let text = runs(&live, &["list", "--all"]).await.expect_code(0).stdout;
    for part in
        ["progress", "snapshot  loan", "running", "1200 of 40000 (3%)", "rows/s", "replay", "no such column"]
    {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert!(!text.contains("more"), "{text}");
    let wrong = runs(&live, &["list", "--state", "finished"]).await.expect_code(2).stderr;
    assert!(wrong.contains("requested, running, paused, done, failed, cancelled"), "{wrong}");
}

#[tokio::test]
async fn a_run_is_shown_whole() {
    let live = live().await;
    let id = ask(&live, RunKind::Snapshot, Some("loan")).await;
    set(
        &live,
        id,
        &format!("{BEGUN}, read = 5, cursor = '{{\"after\": [\"9\"]}}', error = E'first\\nsecond'"),
    )
    .await;
    let shown = runs(&live, &["show", &id.to_string(), "--json"]).await.expect_code(0).stdout;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let Value::Object(fields) = &shown else { panic!("{shown}") };
    let names = [
        "id",
        "source",
        "kind",
        "entity",
        "options",
        "origin",
        "state",
        "cursor",
        "counts",
        "expected",
        "base",
        "error",
        "requested_at",
        "started_at",
        "finished_at",
        "updated_at",
    ];
    assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), names);
    let known =
        ["id", "source", "kind", "entity", "origin", "state", "base", "error"].map(|name| &shown[name]);
    let expected = [
        "1",
        "\"main\"",
        "\"snapshot\"",
        "\"loan\"",
        "\"command\"",
        "\"running\"",
        "\"0/700\"",
        "\"first\\nsecond\"",
    ];
    assert_eq!(known.map(Value::to_string), expected);
    assert_eq!(
        (&shown["options"], &shown["cursor"]),
        (&json!({ "where": "id > 7" }), &json!({ "after": ["9"] }))
    );
    assert_eq!(shown["counts"], json!({ "read": 5, "applied": 0, "skipped": 0, "parked": 0 }));
    let text = runs(&live, &["show", &id.to_string()]).await.expect_code(0).stdout;
    for part in [
        "run 1 snapshot loan: running, 5 read",
        "asked for by command",
        "0/700",
        "id > 7",
        "[\"9\"]",
        "  second",
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    let none = runs(&live, &["show", "99"]).await.expect_code(1).stderr;
    assert_eq!(none.trim(), "rowcall: there is no run 99; see `rowcall runs list --all`");
}

#[tokio::test]
async fn a_person_pauses_resumes_and_cancels_what_is_not_over() {
    let live = live().await;
    let waiting = ask(&live, RunKind::Snapshot, Some("loan")).await;
    let begun = ask(&live, RunKind::Prune, Some("loan")).await;
    let done = ask(&live, RunKind::Audit, Some("loan")).await;
    set(&live, begun, BEGUN).await;
    set(&live, done, &format!("{BEGUN}, finished_at = now()").replace("running", "done")).await;
    let [a, b, c] = [waiting, begun, done].map(|id| id.to_string());
    let both = runs(&live, &["pause", &a, &b]).await.expect_code(0).stdout;
    assert_eq!(both, format!("run {a} is paused\nrun {b} is paused\n"));
    let again = runs(&live, &["pause", &a]).await.expect_code(1).stderr;
    assert_eq!(again.trim(), format!("rowcall: run {a} is paused already"));
    assert_eq!([state(&live, waiting).await, state(&live, begun).await], ["paused false", "paused false"]);
    runs(&live, &["resume", &a, &b]).await.expect_code(0);
    assert_eq!(
        [state(&live, waiting).await, state(&live, begun).await],
        ["requested false", "running false"]
    );
    let running = runs(&live, &["resume", &b]).await.expect_code(1).stderr;
    assert_eq!(running.trim(), format!("rowcall: run {b} is running, not paused"));
    // What cannot be done to some is done to the others.
    let mixed = runs(&live, &["cancel", &c, "99", &b]).await.expect_code(1);
    assert_eq!(mixed.stdout.trim(), format!("run {b} is cancelled"));
    assert!(mixed.stderr.contains(&format!("run {c} is done already")), "{}", mixed.stderr);
    assert!(mixed.stderr.contains("there is no run 99"), "{}", mixed.stderr);
    assert_eq!([state(&live, begun).await, state(&live, done).await], ["cancelled true", "done true"]);
    let over = runs(&live, &["resume", &b]).await.expect_code(1).stderr;
    assert_eq!(over.trim(), format!("rowcall: run {b} is cancelled already"));
    runs(&live, &["pause"]).await.expect_code(2);
}

#[tokio::test]
async fn status_shows_the_runs_that_are_not_over() {
    let live = live().await;
    let id = ask(&live, RunKind::Snapshot, Some("loan")).await;
    let over = ask(&live, RunKind::Snapshot, Some("loan")).await;
    runs(&live, &["cancel", &over.to_string()]).await.expect_code(0);
    let text = live.rowcall.command(&["status"]).await.expect_code(0).stdout;
    assert!(text.contains(&format!("run {id} snapshot loan: requested\n")), "{text}");
    assert!(!text.contains("cancelled"), "{text}");
    let json = live.rowcall.command(&["status", "--json"]).await.expect_code(0).stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["runs"], Value::Array(listed(&live, &[]).await));
    assert!(json["read_at"].is_string(), "{json}");
}

#[tokio::test]
async fn who_follows_runs_is_told_how_they_end_even_if_the_database_was_away() {
    let mut live = live().await;
    let [one, two] =
        [ask(&live, RunKind::Snapshot, Some("loan")).await, ask(&live, RunKind::Audit, Some("loan")).await];
    let follower = live.rowcall.start(&["runs", "follow", &one.to_string(), &two.to_string()]);
    let says = async |part: &str| {
        eventually(part, LONG, async || {
            let said = follower.stdout() + &follower.stderr();
            if said.contains(part) { Ok(()) } else { Err(said) }
        })
        .await;
    };
    says("run 2 audit loan: requested").await;
    live.postgres.stop_immediate().await;
    says("the state database cannot be read, trying on").await;
    live.postgres.start_again().await;
    set(&live, one, BEGUN).await;
    says("run 1 snapshot loan: running").await;
    for id in [one, two] {
        set(
            &live,
            id,
            &format!("{BEGUN}, read = 3, applied = 3, finished_at = now()").replace("running", "done"),
        )
        .await;
    }
    says("run 1 snapshot loan: done, 3 read, 3 applied").await;
    let (out, status) = (follower.stdout(), follower.end().await);
    assert_eq!(status.0.code(), Some(0), "{}", status.1);
    assert_eq!(status.1.matches("trying on").count(), 1, "said once: {}", status.1);
    assert!(!out.contains('\u{1b}'), "nothing is redrawn where there is no terminal: {out}");
}

#[tokio::test]
async fn following_fails_when_a_run_does_not_get_done() {
    let live = live().await;
    let [done, cancelled] =
        [ask(&live, RunKind::Snapshot, None).await, ask(&live, RunKind::Snapshot, None).await];
    set(&live, done, &format!("{BEGUN}, finished_at = now()").replace("running", "done")).await;
    runs(&live, &["cancel", &cancelled.to_string()]).await.expect_code(0);
    runs(&live, &["follow", &done.to_string()]).await.expect_code(0);
    let ended = runs(&live, &["follow", &done.to_string(), &cancelled.to_string()]).await.expect_code(1);
    assert_eq!(ended.stdout.lines().last(), Some("run 2 snapshot: cancelled"));
    let none = runs(&live, &["follow", "99"]).await.expect_code(1).stderr;
    assert!(none.contains("there is no run 99"), "{none}");
}
