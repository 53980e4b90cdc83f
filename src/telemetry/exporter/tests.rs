use super::*;
use serde_json::{Value, json};
use tokio::time::timeout;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, header, path},
};

/// Long enough for anything that should happen at all, on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn exporter(endpoint: &str) -> Exporter {
    let settings = json!({ "endpoint": endpoint, "headers": { "x-key": "s3cr3t" }, "timeout": "5m" });
    Exporter::new(serde_json::from_value(settings).expect("settings"), || jiff::Timestamp::UNIX_EPOCH)
}

/// Runs it while `meanwhile` lasts, and to its end.
async fn running(exporter: &Exporter, meanwhile: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(false);
    let run = exporter.run(exporter.collector().expect("a collector"), stopped);
    let all = async {
        tokio::join!(run, async {
            meanwhile.await;
            stop.send_replace(true);
        });
    };
    timeout(LONG, all).await.expect("it stops");
}

/// The items that have arrived at a path.
async fn arrived(server: &MockServer, at: &str) -> Vec<Value> {
    let requests = server.received_requests().await.expect("they are kept");
    let bodies = requests.iter().filter(|it| it.url.path() == at);
    let bodies = bodies.map(|it| serde_json::from_slice::<Value>(&it.body).expect("JSON"));
    let items = |it: Value| {
        let spans = &it["resourceSpans"][0]["scopeSpans"][0]["spans"];
        let lines = &it["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        spans.as_array().or(lines.as_array()).cloned().expect("a list")
    };
    bodies.flat_map(items).collect()
}

/// Waits until all that was given is answered for; what arrived only may come again at a stop.
async fn until_done(exporter: &Exporter) {
    while exporter.0.spans.len() + exporter.0.lines.len() > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn spans_and_lines_are_sent_with_the_headers_and_what_is_left_at_a_stop() {
    let server = MockServer::start().await;
    let taken = Mock::given(header("x-key", "s3cr3t")).and(header("content-type", "application/json"));
    taken.respond_with(ResponseTemplate::new(200).set_body_string("{}")).mount(&server).await;
    let exporter = exporter(&server.uri());
    exporter.0.spans.push("1".to_owned());
    exporter.line("2".to_owned());
    running(&exporter, async {
        until_done(&exporter).await;
        exporter.0.spans.push("3".to_owned());
    })
    .await;
    let mut spans = arrived(&server, "/v1/traces").await;
    spans.dedup();
    assert_eq!(spans, [1, 3]);
    assert_eq!(arrived(&server, "/v1/logs").await, [2]);
    assert_eq!((exporter.0.spans.len(), exporter.0.spans.take_dropped()), (0, 0));
}

#[tokio::test]
async fn what_a_collector_that_is_away_did_not_take_comes_again() {
    let server = MockServer::start().await;
    let away = Mock::given(any()).respond_with(ResponseTemplate::new(503));
    away.up_to_n_times(1).mount(&server).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let exporter = exporter(&server.uri());
    exporter.0.spans.push("1".to_owned());
    running(&exporter, until_done(&exporter)).await;
    assert_eq!(arrived(&server, "/v1/traces").await, [1, 1]);
    assert_eq!(exporter.0.spans.len(), 0);
}

#[tokio::test]
async fn what_would_be_refused_again_is_dropped() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/traces")).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    let exporter = exporter(&server.uri());
    exporter.0.spans.push("1".to_owned());
    running(&exporter, until_done(&exporter)).await;
    assert_eq!(exporter.0.spans.len(), 0);
    assert_eq!(arrived(&server, "/v1/traces").await, [1]);
}

#[tokio::test]
async fn a_collector_that_does_not_answer_keeps_no_stop_waiting() {
    let server = MockServer::start().await;
    let silent = ResponseTemplate::new(200).set_delay(10 * LONG);
    Mock::given(any()).respond_with(silent).mount(&server).await;
    let exporter = exporter(&server.uri());
    exporter.0.spans.push("1".to_owned());
    running(&exporter, async {}).await;
}

#[test]
fn a_collector_that_cannot_be_called_is_an_error_that_names_its_key() {
    for (endpoint, headers, said) in [
        ("http://collector.example:4318", json!({}), "log.otlp.endpoint: "),
        ("http://127.0.0.1:4318", json!({ "x": "a\nb" }), "log.otlp.headers: "),
    ] {
        let settings = json!({ "endpoint": endpoint, "headers": headers });
        let settings = serde_json::from_value(settings).expect("settings");
        let error = Exporter::new(settings, || jiff::Timestamp::UNIX_EPOCH).collector().expect_err(said);
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn health_waits_longer_each_time_and_forgets_that_once_it_works() {
    let mut health = Health { kind: Kind::Spans, wait: None, dropping: false };
    let waits = [(); 7].map(|()| {
        health.fails("away", "they wait");
        health.wait.map(|it| it.as_secs())
    });
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30].map(Some));
    health.works(0);
    assert_eq!(health.wait, None);
}
