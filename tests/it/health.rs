//! `/livez`, `/readyz` and `/healthz`, of a service between a real database and a bank.

use crate::harness::{
    Live, Postgres, Rowcall, Version,
    admin::{ADMIN, Admin},
    eventually,
    live::configuration,
    proxy::{Proxy, Way},
    wait::LONG,
};
use rowcall::demo::{Bank, Fault, Rule};

const TABLE: &str = "create table customers (id int primary key)";

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/secret/{{ row.id }}', body: {} }]";

async fn live() -> Live {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.reconfigure(|yaml| yaml.replace("\nadmin: { listen: off }\n", "") + ADMIN);
    live
}

#[tokio::test]
async fn a_source_that_streams_is_ready_and_each_thing_it_works_with_is_told() {
    let live = live().await;
    let service = live.run();
    let admin = Admin::of(&service).await;
    admin.says("/livez", 200, "source.main.loop", "streaming").await;
    admin.says("/readyz", 200, "source.main.stream", "streaming").await;
    admin.says("/healthz", 200, "source.main.slot", "reserved").await;
    let report = admin.says("/healthz", 200, "check.source.main", "").await;
    for check in report["checks"].as_array().expect("checks") {
        assert!(check["since"].is_string() && check["state"] != "fail", "{check}");
    }
    let names: Vec<&str> =
        report["checks"].as_array().expect("checks").iter().filter_map(|it| it["name"].as_str()).collect();
    for name in [
        "source.main.stream",
        "source.main.database",
        "source.main.slot",
        "source.main.lag",
        "remote.bank",
        "call_log",
        "check.configuration",
        "check.source.main",
        "check.remote.bank",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
}

#[tokio::test]
async fn a_command_asks_whether_the_service_is_ready() {
    let live = live().await;
    let said = live.rowcall.command(&["ready"]).await.expect_code(1).stderr;
    assert!(said.contains("port 0"), "{said}");
    let service = live.run();
    let admin = Admin::of(&service).await;
    admin.says("/readyz", 200, "source.main.stream", "streaming").await;
    live.reconfigure(|yaml| yaml.replace("127.0.0.1:0\"", &format!("{}\"", admin.address())));
    let said = live.rowcall.command(&["ready"]).await.expect_code(0).stdout;
    assert!(said.contains("streaming"), "{said}");
    service.sigterm();
    assert!(service.wait().await.success());
    let said = live.rowcall.command(&["ready"]).await.expect_code(1).stderr;
    assert!(said.contains("cannot be asked"), "{said}");
}

#[tokio::test]
async fn health_needs_no_token_and_metrics_do() {
    let live = live().await;
    live.reconfigure(|yaml| {
        let tokens = "0\", token: 0123456789abcdef-all, read_token: 0123456789abcdef-read }";
        yaml.replace("0\" }", tokens)
    });
    let service = live.run();
    let admin = Admin::of(&service).await;
    admin.says("/readyz", 200, "source.main.stream", "streaming").await;
    for path in ["/livez", "/healthz"] {
        assert_eq!(admin.get(path).await.0, 200, "{path}");
    }
    assert_eq!(admin.get("/metrics").await.0, 401);
    let admin = admin.with_token("0123456789abcdef-read");
    assert_eq!(admin.get("/metrics").await.0, 200);
}

#[tokio::test]
async fn a_remote_that_is_down_is_told_with_how_it_fails_and_without_a_key() {
    let live = live().await;
    live.reconfigure(|yaml| yaml.replace("failures: 0", "failures: 2, open: 50ms, max: 100ms"));
    live.bank.faults().add(Rule::new(Fault::Status(503)));
    let service = live.run();
    let admin = Admin::of(&service).await;
    live.postgres.execute("insert into customers select generate_series(1, 10)").await;
    let report = admin.says("/healthz", 503, "remote.bank", "it answers 503").await;
    assert!(!report.to_string().contains("secret"), "{report}");
    // Nothing is gained by restarting us, or by asking another instance.
    assert_eq!((admin.get("/livez").await.0, admin.get("/readyz").await.0), (200, 200));
    live.bank.faults().clear();
    live.calls_made(10).await;
    admin.says("/healthz", 200, "remote.bank", "it takes calls").await;
}

/// The source behind a proxy, the state beside it, and little patience with a source that says nothing.
async fn behind_a_proxy() -> (Postgres, Bank, Proxy, Rowcall) {
    let postgres = Postgres::start(Version::V16).await;
    postgres.execute(TABLE).await;
    let bank = Bank::start("127.0.0.1:0").await.expect("a bank");
    let proxy = Proxy::before(postgres.port()).await;
    let far = postgres.url().replace(&postgres.port().to_string(), &proxy.port().to_string());
    let state = format!("heartbeat: 50ms, state: {{ url: \"{}\" }}", postgres.url());
    let yaml = configuration(&far, &bank.url(), ENTITY).replace("heartbeat: 50ms", &state)
        + "admin: { listen: \"127.0.0.1:0\", health: { heartbeat: { late: 3s, restart: 6s } } }\n";
    let rowcall = Rowcall::with_config(&yaml);
    rowcall.command(&["init"]).await.expect_code(0);
    (postgres, bank, proxy, rowcall)
}

async fn arrives(bank: &Bank, count: usize) {
    eventually(&format!("{count} calls"), LONG, async || {
        let made = bank.journal().len();
        if made >= count { Ok(()) } else { Err(made) }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_says_nothing_any_more_is_told_and_begun_anew() {
    let (postgres, bank, proxy, rowcall) = behind_a_proxy().await;
    let mut service = rowcall.run();
    let admin = Admin::of(&service).await;
    postgres.execute("insert into customers values (1)").await;
    arrives(&bank, 1).await;
    admin.says("/readyz", 200, "source.main.stream", "streaming").await;
    proxy.set(Way::HalfOpen);
    admin.says("/readyz", 503, "source.main.stream", "nothing has come from the source for").await;
    eventually("the capture is begun anew", LONG, async || {
        let said = service.stderr();
        if said.contains("the capture has stalled and is begun anew") { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(admin.get("/livez").await.0, 200);
    proxy.set(Way::Open);
    postgres.execute("insert into customers values (2)").await;
    arrives(&bank, 2).await;
    admin.says("/readyz", 200, "source.main.stream", "streaming").await;
    assert_eq!(admin.metric("rowcall_stalls_total{source=\"main\"}").await, Some(1.0));
    assert!(service.ended().is_none());
}

/// Whatever waits for the dead connections is left behind: the state lies in the source's database.
#[tokio::test]
async fn a_database_that_says_nothing_any_more_is_left_and_found_again() {
    let (postgres, bank, proxy, rowcall) = behind_a_proxy().await;
    let yaml = rowcall.text().replace(&format!("state: {{ url: \"{}\" }}", postgres.url()), "wal_guard: {}");
    rowcall.configure(&format!("limits: {{ drain: 1s }}\n{yaml}"));
    let service = rowcall.run();
    let admin = Admin::of(&service).await;
    postgres.execute("insert into customers values (1)").await;
    arrives(&bank, 1).await;
    proxy.set(Way::HalfOpen);
    admin.says("/readyz", 503, "source.main.stream", "nothing has come from the source for").await;
    admin.says("/readyz", 503, "source.main.stream", "reconnecting").await;
    proxy.set(Way::Open);
    postgres.execute("insert into customers values (2)").await;
    arrives(&bank, 2).await;
    admin.says("/readyz", 200, "source.main.stream", "streaming").await;
}

#[tokio::test]
async fn a_source_that_cannot_be_reached_is_told_and_a_slot_that_is_gone_ends_the_service() {
    let (postgres, bank, proxy, rowcall) = behind_a_proxy().await;
    let service = rowcall.run();
    let admin = Admin::of(&service).await;
    postgres.execute("insert into customers values (1)").await;
    arrives(&bank, 1).await;
    proxy.set(Way::Cut);
    admin.says("/readyz", 503, "source.main.stream", "reconnecting").await;
    let state = "rowcall_source_state{source=\"main\",state=\"reconnecting\"}";
    admin.metric_is(state, 1.0).await;
    let gone = "select pg_drop_replication_slot(slot_name)::text from pg_replication_slots
                where slot_name = 'rowcall' and not active";
    eventually("the slot can be dropped", LONG, async || postgres.text(gone).await.ok_or("it is in use"))
        .await;
    proxy.set(Way::Open);
    let (status, said) = service.end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("slot `rowcall`") && said.contains("rowcall init"), "{said}");
}

#[tokio::test]
async fn a_standby_is_ready_as_a_standby() {
    let live = live().await;
    let first = live.run();
    let admin = Admin::of(&first).await;
    admin.says("/readyz", 200, "source.main.stream", "streaming").await;
    let second = live.run();
    let standby = Admin::of(&second).await;
    standby.says("/readyz", 200, "source.main.stream", "standby").await;
    assert_eq!(standby.get("/livez").await.0, 200);
    first.sigterm();
    first.wait().await;
    standby.says("/readyz", 200, "source.main.stream", "streaming").await;
}
