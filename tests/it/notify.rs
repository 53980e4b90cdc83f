//! Whoever is configured is told that something is not well, and that it is again: once each.

use crate::harness::{
    Live, Version,
    admin::{ADMIN, Admin},
    eventually,
    proxy::{Proxy, Way},
    wait::LONG,
};
use rowcall::demo::{Fault, Rule};
use serde_json::Value;
use std::fs;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

const TABLE: &str = "create table customers (id int primary key, name text)";

const ENTITY: &str = "
  customer:
    table: customers
    validate: [{ name: named, rule: \"{{ row.name != '' }}\", message: it has no name }]
    upsert: [{ name: put, put: '/objects/secret/{{ row.id }}', body: { name: '{{ row.name }}' } }]";

/// A webhook that takes everything.
async fn hook() -> MockServer {
    let hook = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(204)).mount(&hook).await;
    hook
}

/// A bank whose breaker opens soon, and targets that are told at once.
async fn live(targets: &str) -> Live {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.reconfigure(|yaml| {
        let yaml = yaml.replace("failures: 0", "failures: 2, open: 50ms, max: 100ms");
        let yaml = yaml.replace("\nadmin: { listen: off }\n", "") + ADMIN;
        format!("{yaml}notify: {{ after: 100ms, targets: {{ {targets} }} }}\n")
    });
    live
}

fn pager(hook: &MockServer, only: &str) -> String {
    format!("pager: {{ url: \"{}/hunter2\", only: [\"{only}\"] }}", hook.uri())
}

/// `event name` of what has arrived, and all of it.
async fn told(hook: &MockServer) -> (Vec<String>, Vec<Value>) {
    let requests = hook.received_requests().await.expect("they are kept");
    let notices: Vec<Value> =
        requests.iter().map(|it| serde_json::from_slice(&it.body).expect("JSON")).collect();
    let line = |it: &Value| {
        format!("{} {}", it["event"].as_str().unwrap_or("?"), it["name"].as_str().unwrap_or("?"))
    };
    (notices.iter().map(line).collect(), notices)
}

/// Waits until exactly this has arrived.
async fn is_told(hook: &MockServer, expected: &[&str]) -> Vec<Value> {
    eventually(&format!("told: {expected:?}"), LONG, async || {
        let (lines, notices) = told(hook).await;
        if lines == expected { Ok(notices) } else { Err(notices) }
    })
    .await
}

/// Waits until the state database knows it.
async fn is_kept(live: &Live, sql: &str) {
    eventually(sql, LONG, async || {
        let found = live.postgres.text(sql).await;
        if found.as_deref() == Some("t") { Ok(()) } else { Err(found) }
    })
    .await;
}

const FAILS: &str =
    "select exists (select from rowcall.notice where name = 'remote.bank' and state = 'fail')";

async fn goes_down(live: &Live) {
    live.bank.faults().add(Rule::new(Fault::Status(503)));
    live.postgres.execute("insert into customers select it, 'n' from generate_series(1, 10) it").await;
}

#[tokio::test]
async fn a_remote_that_goes_down_is_told_once_and_so_is_that_it_is_back() {
    let hook = hook().await;
    let live = live(&pager(&hook, "remote.*")).await;
    let service = live.run();
    let admin = Admin::of(&service).await;
    goes_down(&live).await;
    let notices = is_told(&hook, &["problem remote.bank"]).await;
    assert_eq!((&notices[0]["state"], &notices[0]["was"]), (&"fail".into(), &"ok".into()), "{notices:?}");
    assert_eq!(notices[0]["runbook"], "docs/runbook.md#breaker-open");
    let text = notices[0]["text"].as_str().expect("a text");
    assert!(text.contains("remote.bank fails: the breaker has been open"), "{text}");
    assert!(!notices[0].to_string().contains("secret"), "{notices:?}");
    // It is tried, and stays as it is.
    eventually("the breaker opens again and again", LONG, async || {
        let opened = admin.metric("rowcall_breaker_opened_total{remote=\"bank\"}").await;
        let failed = admin.metric("rowcall_attempts_total{remote=\"bank\",class=\"failing\"}").await;
        if failed >= Some(12.0) { Ok(()) } else { Err((opened, failed)) }
    })
    .await;
    live.bank.faults().clear();
    live.calls_made(10).await;
    let notices = is_told(&hook, &["problem remote.bank", "recovered remote.bank"]).await;
    assert_ne!(notices[0]["id"], notices[1]["id"]);
    admin.metric_is("rowcall_notices_total{target=\"pager\",result=\"delivered\"}", 2.0).await;
    assert!(!service.stderr().contains("hunter2"), "{}", service.stderr());
}

#[tokio::test]
async fn a_restart_neither_repeats_a_problem_nor_forgets_its_end() {
    let hook = hook().await;
    let live = live(&pager(&hook, "remote.*")).await;
    let service = live.run();
    goes_down(&live).await;
    is_told(&hook, &["problem remote.bank"]).await;
    is_kept(&live, FAILS).await;
    service.sigkill().await;

    let service = live.run();
    let admin = Admin::of(&service).await;
    admin.says("/healthz", 503, "remote.bank", "it answers 503").await;
    live.bank.faults().clear();
    live.calls_made(10).await;
    is_told(&hook, &["problem remote.bank", "recovered remote.bank"]).await;
}

#[tokio::test]
async fn a_standby_tells_nothing_until_it_takes_over_and_then_what_is_new() {
    let hook = hook().await;
    let live = live(&pager(&hook, "remote.*")).await;
    let first = live.run();
    Admin::of(&first).await.says("/readyz", 200, "source.main.stream", "streaming").await;
    let second = live.run();
    let standby = Admin::of(&second).await;
    standby.says("/readyz", 200, "source.main.stream", "standby").await;
    goes_down(&live).await;
    is_told(&hook, &["problem remote.bank"]).await;
    is_kept(&live, FAILS).await;
    first.sigkill().await;
    standby.says("/healthz", 503, "remote.bank", "it answers 503").await;
    live.bank.faults().clear();
    live.calls_made(10).await;
    is_told(&hook, &["problem remote.bank", "recovered remote.bank"]).await;
}

#[tokio::test]
async fn a_webhook_that_does_not_take_a_notice_has_it_later() {
    let hook = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).up_to_n_times(2).mount(&hook).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&hook).await;
    let live = live(&pager(&hook, "remote.*")).await;
    let service = live.run();
    let admin = Admin::of(&service).await;
    goes_down(&live).await;
    let notices = is_told(&hook, &["problem remote.bank"; 3]).await;
    assert!(notices.iter().all(|it| it["id"] == notices[0]["id"]), "{notices:?}");
    admin.metric_is("rowcall_notices_total{target=\"pager\",result=\"delivered\"}", 1.0).await;
    live.bank.faults().clear();
    let problem = "problem remote.bank";
    is_told(&hook, &[problem, problem, problem, "recovered remote.bank"]).await;
}

#[tokio::test]
async fn a_change_that_needs_a_person_is_told_by_a_program() {
    let live = live("script: { exec: [\"/bin/sh\", \"page.sh\", \"--now\"], only: [\"*.parked\"] }").await;
    let script = "cat >> notices\necho >> notices\necho \"$1 $ROWCALL_EVENT $ROWCALL_NAME $ROWCALL_STATE\" >> events\n";
    fs::write(live.rowcall.home().join("page.sh"), script).expect("a script");
    let _service = live.run();
    live.after(&["insert into customers values (7, '')"]).await;
    live.parked_as(&["customer 7 rejected invalid"]).await;
    let events = async |expected: &str| {
        eventually(expected, LONG, async || {
            let said = fs::read_to_string(live.rowcall.home().join("events")).unwrap_or_default();
            if said == expected { Ok(()) } else { Err(said) }
        })
        .await;
    };
    events("--now problem source.main.parked warn\n").await;
    let notices = fs::read_to_string(live.rowcall.home().join("notices")).expect("notices");
    let notice: Value = serde_json::from_str(&notices).expect("one notice");
    let reason = "parked changes that wait for a person: 1 (1 rejected, 0 dead)";
    assert_eq!((&notice["event"], &notice["reason"]), (&"problem".into(), &reason.into()));
    live.rowcall.command(&["parked", "discard", "--all"]).await.expect_code(0);
    events("--now problem source.main.parked warn\n--now recovered source.main.parked ok\n").await;
}

#[tokio::test]
async fn the_end_of_each_run_is_told_once_whoever_ended_it() {
    let hook = hook().await;
    let live = live(&pager(&hook, "run")).await;
    let service = live.run();
    live.after(&["insert into customers values (1, 'a'), (2, 'b')"]).await;
    live.rowcall.command(&["snapshot", "--entity", "customer", "--wait"]).await.expect_code(0);
    let notices = is_told(&hook, &["run_ended run"]).await;
    let run = &notices[0]["run"];
    assert_eq!(
        (&run["kind"], &run["entity"], &run["end"]),
        (&"snapshot".into(), &"customer".into(), &"done".into())
    );
    assert_eq!((&run["read"], &notices[0]["state"]), (&2.into(), &"ok".into()), "{run}");
    is_kept(&live, "select count(*) = 1 from rowcall.notice_run where run > 0").await;
    service.sigterm();
    assert!(service.wait().await.success());

    // Nobody is at work while this one ends.
    let cancelled = "insert into rowcall.run (source, kind, entity, origin, state, finished_at)
                     values ('main', 'prune', 'customer', 'command', 'cancelled', now())";
    live.postgres.execute(cancelled).await;
    let _service = live.run();
    let notices = is_told(&hook, &["run_ended run"; 2]).await;
    assert_eq!((&notices[1]["run"]["end"], &notices[1]["state"]), (&"cancelled".into(), &"warn".into()));
    live.rowcall.command(&["snapshot", "--entity", "customer", "--wait"]).await.expect_code(0);
    let notices = is_told(&hook, &["run_ended run"; 3]).await;
    assert_eq!(notices[2]["run"]["kind"], "snapshot");
}

#[tokio::test]
async fn a_service_that_needs_a_person_says_so_before_it_ends() {
    let hook = hook().await;
    let live = live(&pager(&hook, "service")).await;
    let service = live.run();
    live.after(&["insert into customers values (1, 'a')"]).await;
    service.sigterm();
    assert!(service.wait().await.success());
    live.postgres.execute("drop publication rowcall").await;
    let (status, said) = live.run().end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    let (lines, notices) = told(&hook).await;
    assert_eq!(lines, ["stopped service"], "a stop that was asked for is not told");
    let reason = notices[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("rowcall init"), "{reason}");
}

#[tokio::test]
async fn a_command_tries_each_target_and_says_what_came_of_it() {
    let hook = hook().await;
    let targets = format!(
        "{}, script: {{ exec: [/bin/sh, -c, \"echo no network >&2; exit 3\"] }}",
        pager(&hook, "run")
    );
    let live = live(&targets).await;
    let said = live.rowcall.command(&["notify", "test"]).await.expect_code(1).stdout;
    assert!(said.contains("✓ pager: delivered\n"), "{said}");
    assert!(said.contains("✗ script: `/bin/sh` ended with exit status: 3: no network"), "{said}");
    live.rowcall.command(&["notify", "test", "pager"]).await.expect_code(0);
    assert_eq!(told(&hook).await.0, ["test test", "test test"]);
    let said = live.rowcall.command(&["notify", "test", "pgr"]).await.expect_code(2).stderr;
    assert!(said.contains("known are pager, script"), "{said}");
    let shown = live.rowcall.command(&["config", "show"]).await.expect_code(0).stdout;
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn while_the_state_database_is_away_it_tells_all_the_same_and_remembers_that_later() {
    let hook = hook().await;
    let live = live(&pager(&hook, "source.*.stream")).await;
    let proxy = Proxy::before(live.postgres.port()).await;
    let far = live.postgres.url().replace(&live.postgres.port().to_string(), &proxy.port().to_string());
    live.reconfigure(|yaml| yaml.replace(&live.postgres.url(), &far));
    let service = live.run();
    let admin = Admin::of(&service).await;
    admin.says("/readyz", 200, "source.main.stream", "streaming").await;
    // A start that takes longer than 100 ms is told too, so only the last notice says how it stands.
    let is_last = async |event: &str| {
        eventually(event, LONG, async || {
            let (_, notices) = told(&hook).await;
            if notices.last().is_some_and(|it| it["event"] == event) { Ok(()) } else { Err(notices) }
        })
        .await;
    };
    proxy.set(Way::Cut);
    admin.says("/readyz", 503, "source.main.stream", "reconnecting").await;
    eventually("what was told cannot be kept", LONG, async || {
        let said = service.stderr();
        if said.contains("which notices were told cannot be kept") { Ok(()) } else { Err(said) }
    })
    .await;
    is_last("problem").await;
    proxy.set(Way::Open);
    is_last("recovered").await;
    is_kept(&live, "select bool_and(state = 'ok') from rowcall.notice where name = 'source.main.stream'")
        .await;
    let (lines, _) = told(&hook).await;
    assert!(lines.windows(2).all(|it| it[0] != it[1]) && lines[0].starts_with("problem"), "{lines:?}");
}
