//! What is wrong is said, with what would do, and nothing that is too much is read.

use super::ask::{Ask, listening};
use crate::harness::{Live, Version};
use reqwest::Method;
use serde_json::{Value, json};

const TABLE: &str = "create table customers (id int primary key, name text)";
const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]";

#[tokio::test]
async fn what_is_wrong_names_the_place_and_what_would_do() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    listening(&live, "admin: { listen: \"127.0.0.1:0\" }");
    let service = live.run();
    let ask = Ask::of(&service, None).await;
    for (path, parameter, accepted) in [
        ("/api/v1/parked?state=lost", "state", "retrying"),
        ("/api/v1/parked?limit=0", "limit", ""),
        ("/api/v1/parked?stat=dead", "stat", "state"),
        ("/api/v1/parked/x", "id", ""),
        ("/api/v1/runs?kind=all", "kind", "snapshot"),
        ("/api/v1/calls?since=soon", "since", ""),
        ("/api/v1/calls?status=9xx", "status", ""),
        ("/api/v1/lineage", "change", "remote_id"),
    ] {
        let told = ask.get(path).await;
        assert_eq!((told.status, told.problem()), (400, "bad-parameter"), "{path}");
        assert_eq!(told.body["parameter"], parameter, "{path}");
        let accepts = told.body["accepted"].as_array().is_some_and(|it| it.contains(&accepted.into()));
        assert!(accepted.is_empty() || accepts, "{path}: {:#}", told.body);
    }
    for (path, body, parameter) in [
        ("/api/v1/parked/retry", json!({}), json!("filter")),
        ("/api/v1/parked/retry", json!({ "filter": { "sate": "dead" } }), json!("filter.sate")),
        ("/api/v1/parked/retry", json!({ "filter": { "state": "lost" } }), json!("filter.state")),
        ("/api/v1/parked/discard", json!({ "all": true }), Value::Null),
        ("/api/v1/parked/discard", json!({ "all": true, "reason": " " }), json!("reason")),
        ("/api/v1/parked/retry", json!({ "filter": { "key": "\0" } }), Value::Null),
        ("/api/v1/remotes/bank/pause", json!({ "reason": "x".repeat(1_001) }), json!("reason")),
        ("/api/v1/runs/snapshot", json!({ "rate": 0 }), json!("rate")),
        ("/api/v1/runs/snapshot", json!({ "entities": ["loan"] }), Value::Null),
        ("/api/v1/runs/audit", json!({}), Value::Null),
        ("/api/v1/runs/replay", json!({ "from": "Not A Point" }), Value::Null),
        ("/api/v1/checkpoints", json!({ "name": "Bad Name" }), Value::Null),
    ] {
        let told = ask.post(path, &body).await;
        assert_eq!(
            (told.status, &told.body["parameter"]),
            (400, &parameter),
            "{path} {body}: {:#}",
            told.body
        );
    }
    for path in ["/api/v1/parked/99", "/api/v1/runs/99", "/api/v1/nothing", "/nothing"] {
        assert_eq!(ask.get(path).await.status, 404, "{path}");
    }
    assert_eq!(ask.delete("/api/v1/checkpoints/none").await.problem(), "missing");
    assert_eq!(ask.post("/api/v1/runs/99/pause", &json!({})).await.problem(), "missing");
    let told = ask.delete("/api/v1/status").await;
    assert_eq!((told.status, told.problem()), (405, "no-method"));
    assert!(told.headers["allow"].to_str().is_ok_and(|it| it.contains("GET")), "{:?}", told.headers);
}

#[tokio::test]
async fn what_is_too_much_is_not_read() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    listening(&live, "admin: { listen: \"127.0.0.1:0\" }");
    let service = live.run();
    let ask = Ask::of(&service, None).await;
    let large = json!({ "filter": { "key": "x".repeat(70_000) } });
    let told = ask.post("/api/v1/parked/retry", &large).await;
    assert_eq!((told.status, told.problem()), (413, "too-large"));
    assert_eq!(told.headers["connection"], "close", "the rest of it is not read");
    let told = ask.get(&format!("/api/v1/parked?key={}", "x".repeat(9_000))).await;
    assert_eq!((told.status, told.problem()), (414, "too-long"));
    let told = ask.get(&format!("/api/v1/parked?key={}", "x".repeat(2_000))).await;
    assert_eq!((told.status, &told.body["parameter"]), (400, &json!("key")));
    let headers = [("x-rowcall", "1"), ("content-type", "text/plain")];
    let told = ask.checked(Method::POST, "/api/v1/parked/retry", &headers, "all".to_owned()).await;
    assert_eq!((told.status, told.problem()), (415, "bad-type"));
    let json = [("content-type", "application/json")];
    let told = ask.checked(Method::POST, "/api/v1/parked/retry", &json, "{\"all\": true".to_owned()).await;
    assert_eq!((told.status, told.problem()), (400, "bad-body"));
    ask.get("/api/v1/status").await.expect(200);
}
