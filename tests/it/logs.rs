//! What the process says of what it does: to standard error, and to a collector.

use crate::harness::{
    Live, Postgres, Rowcall, Version, eventually,
    live::{configuration, settled},
    wait::LONG,
};
use serde_json::Value;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

const TABLE: &str = "create table customers (id int primary key, name text)";
const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/customers/{{ row.id }}', body: { name: '{{ row.name }}' } }]";

/// A server that answers with the status that `status` says.
async fn server(status: impl Fn(usize) -> u16 + Send + Sync + 'static) -> MockServer {
    let server = MockServer::start().await;
    let made = std::sync::atomic::AtomicUsize::new(0);
    let answer = move |_: &Request| ResponseTemplate::new(status(made.fetch_add(1, Ordering::Relaxed)));
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

async fn requests(server: &MockServer, path: &str) -> Vec<Request> {
    let all = server.received_requests().await.expect("they are kept");
    all.into_iter().filter(|it| it.url.path().starts_with(path)).collect()
}

/// The spans or lines that a collector has been sent.
async fn collected(server: &MockServer, path: &str) -> Vec<Value> {
    let mut items = Vec::new();
    for request in requests(server, path).await {
        let sent: Value = serde_json::from_slice(&request.body).expect("JSON");
        let spans = &sent["resourceSpans"][0]["scopeSpans"][0]["spans"];
        let lines = &sent["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        for item in spans.as_array().or(lines.as_array()).expect("a list") {
            // What was under way at a stop comes twice.
            if !items.contains(item) {
                items.push(item.clone());
            }
        }
    }
    items
}

fn attribute(item: &Value, key: &str) -> Option<String> {
    let all = item["attributes"].as_array().expect("a list");
    let value = &all.iter().find(|it| it["key"] == key)?["value"];
    let text = value["stringValue"].as_str().or(value["intValue"].as_str());
    text.map(str::to_owned)
}

/// A home whose remote is at one URL and whose collector at another.
async fn home(postgres: &Postgres, remote: &str, otlp: &str) -> Rowcall {
    postgres.execute(TABLE).await;
    let yaml = configuration(&postgres.url(), remote, ENTITY);
    let home = Rowcall::with_config(&format!("{yaml}log: {{ format: text, otlp: {otlp} }}\n"));
    // A `file:` is relative to the configuration.
    std::fs::write(home.home().join("token"), "Bearer s3cr3t\n").expect("to write a secret");
    home.command(&["init"]).await.expect_code(0);
    home
}

/// What a service says in whose life one row is sent.
async fn sends_a_row(home: &Rowcall, postgres: &Postgres) -> String {
    let service = home.run();
    postgres.execute("insert into customers values (1, 'Ada')").await;
    settled(postgres).await;
    service.sigterm();
    let (status, said) = service.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    said
}

#[tokio::test]
async fn a_span_has_the_names_of_its_record_and_of_what_the_remote_was_told() {
    let postgres = Postgres::start(Version::V16).await;
    let remote = server(|made| if made == 0 { 503 } else { 200 }).await;
    let collector = server(|_| 200).await;
    let otlp = "{ endpoint: \"URL\", headers: { authorization: \"file:token\" }, service: bank-sync }";
    let home = home(&postgres, &remote.uri(), &otlp.replace("URL", &collector.uri())).await;
    let said = sends_a_row(&home, &postgres).await;

    let told: Vec<String> = requests(&remote, "/customers")
        .await
        .iter()
        .map(|it| it.headers["traceparent"].to_str().expect("text").to_owned())
        .collect();
    assert_eq!(told.len(), 2);
    let found = home.command(&["calls", "search", "--json"]).await.expect_code(0).stdout;
    let mut records: Vec<Value> =
        found.lines().map(|it| serde_json::from_str(it).expect("a record")).collect();
    records.reverse();
    let text = |it: &Value| it.as_str().unwrap_or("-").to_owned();
    let header = |trace: &Value, span: &Value| format!("00-{}-{}-01", text(trace), text(span));
    let recorded: Vec<String> = records.iter().map(|it| header(&it["trace"], &it["span"])).collect();
    assert_eq!(recorded, told);

    let spans = collected(&collector, "/v1/traces").await;
    let sent: Vec<String> = spans.iter().map(|it| header(&it["traceId"], &it["spanId"])).collect();
    assert_eq!(sent, told, "they are sent before it ends");
    let shown: Vec<_> = spans
        .iter()
        .map(|it| {
            ["http.response.status_code", "rowcall.key", "rowcall.outcome"].map(|key| attribute(it, key))
        })
        .collect();
    let some = |values: [&str; 3]| values.map(|it| Some(it.to_owned()));
    assert_eq!(shown, [some(["503", "1", "retry"]), some(["200", "1", "answered"])]);

    let lines = collected(&collector, "/v1/logs").await;
    let outcome = lines.iter().find(|it| attribute(it, "target").as_deref() == Some("rowcall::outcome"));
    let outcome = outcome.expect("the outcome's line");
    assert_eq!(
        (&outcome["traceId"], &outcome["body"]["stringValue"]),
        (&spans[0]["traceId"], &"applied".into())
    );
    let all = requests(&collector, "/v1").await;
    assert!(all.iter().all(|it| it.headers["authorization"] == "Bearer s3cr3t"));
    let shown = home.command(&["config", "show"]).await.expect_code(0).stdout;
    assert!(!said.contains("s3cr3t") && !shown.contains("s3cr3t") && shown.contains("bank-sync"), "{shown}");
}

/// Replication does not notice; both are said once.
#[tokio::test]
async fn a_collector_that_is_away_and_comes_back_misses_nothing() {
    let postgres = Postgres::start(Version::V16).await;
    let (remote, away) = (server(|_| 200).await, Arc::new(AtomicBool::new(true)));
    let is_away = Arc::clone(&away);
    let collector = server(move |_| if is_away.load(Ordering::Relaxed) { 503 } else { 200 }).await;
    let home =
        home(&postgres, &remote.uri(), &format!("{{ endpoint: \"{}\", lines: false }}", collector.uri()))
            .await;
    let check = home.command(&["check"]).await.expect_code(0);
    assert!(check.stdout.contains("log.otlp: 127.0.0.1"), "{}", check.stdout);

    let service = home.run();
    postgres.execute("insert into customers values (1, 'Ada')").await;
    settled(&postgres).await;
    let tried = async |count| {
        eventually("it is tried again", LONG, async || {
            let made = requests(&collector, "/v1/traces").await.len();
            if made >= count { Ok(()) } else { Err(made) }
        })
        .await;
    };
    tried(2).await;
    away.store(false, Ordering::Relaxed);
    eventually("it says so", LONG, async || {
        let said = service.stderr();
        if said.contains("spans are sent to `log.otlp` again; 0 were dropped") { Ok(()) } else { Err(said) }
    })
    .await;
    service.sigterm();
    let (status, said) = service.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(said.matches("cannot be sent to `log.otlp`").count(), 1, "{said}");
    assert!(requests(&collector, "/v1/logs").await.is_empty(), "spans alone");
}

#[tokio::test]
async fn nothing_at_the_endpoint_is_a_warning_of_check_and_stops_nothing() {
    let postgres = Postgres::start(Version::V16).await;
    let remote = server(|_| 200).await;
    // Nobody listens on a port that was just given back, as a rule; nobody speaks HTTP there either way.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let home = home(&postgres, &remote.uri(), &format!("{{ endpoint: \"http://{port}\" }}")).await;
    let check = home.command(&["check"]).await.expect_code(0);
    assert!(check.stdout.contains(&format!("{port} cannot be reached")), "{}", check.stdout);
    let said = sends_a_row(&home, &postgres).await;
    assert!(said.contains("the last 1 spans were not sent"), "{said}");
}

#[tokio::test]
async fn where_no_terminal_is_a_line_is_json_and_a_run_is_not_a_line_for_each_unchanged_row() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.rowcall.configure(&format!(
        "{}log: {{ level: info }}\n",
        configuration(&live.postgres.url(), &live.bank.url(), ENTITY)
    ));
    let service = live.run();
    live.after(&["insert into customers values (1, 'Ada')", "update customers set name = 'Ada'"]).await;
    live.rowcall.command(&["snapshot", "--wait"]).await.expect_code(0);
    service.sigterm();
    let (_, said) = service.end().await;
    let lines: Vec<Value> = said.lines().map(|it| serde_json::from_str(it).expect(it)).collect();
    let outcomes = lines.iter().filter(|it| it["target"] == "rowcall::outcome");
    let shown: Vec<String> = outcomes
        .map(|it| {
            ["level", "route", "key", "op", "outcome", "calls"].map(|key| it[key].to_string()).join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [r#""INFO" "customer" "1" "insert" "applied" 1"#, r#""INFO" "customer" "1" "update" "unchanged" 0"#],
        "{said}"
    );
    assert!(!lines.iter().any(|it| it["target"] == "rowcall::attempt"), "{said}");
}
